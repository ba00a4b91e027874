//! Packets of an open session: control first, then repairs, then what was never sent (SPEC.md,
//! `sender`).

use super::files::{Files, Phase as FilePhase};
use super::{OutgoingSession, Phase};
use crate::config::MIN_DATAGRAM;
use crate::congestion::pacing::Pacer;
use crate::digest::LEAF_SIZE;
use crate::id::FileIndex;
use crate::manifest::MAX_NAME;
use crate::storage::StorageOp;
use crate::time::{Duration, Instant};
use crate::timer::Timer;
use crate::transmit::{Ecn, Transmit, TransmitBuf};
use crate::wire::frame::{Ack, Block, Frame, Ping};
use crate::wire::header::Kind;
use crate::wire::message::{Message, WireEntry};
use crate::wire::packet::{DATA_OVERHEAD, FrameWriter, encode_data_parts};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Files offered ahead of the one that is being sent.
const OFFER_AHEAD: u32 = 2_048;
/// Entries in one message at most; and bytes of offers that wait to leave before more are made.
const OFFER_ENTRIES: usize = 32;
const OFFER_BACKLOG: usize = 16 << 10;
/// Bytes of the entries in one message at most, and what an entry may have besides its name.
const MAX_OFFER_LEN: usize = 8 << 10;
const MAX_ENTRY_REST: usize = 64;
/// Slowest rhythm of probes while data is on its way, and while only storage at the other end is.
const MAX_PROBE: Duration = Duration::from_millis(500);
const IDLE_PROBE: Duration = Duration::from_millis(200);
/// Probes right behind the last data, so that its loss is noticed within a round trip.
const TAIL_PROBES: u32 = 3;
/// What a receiver offers that has too many holes: that is room, for what fills one (SPEC.md,
/// `flow-control`).
const HOLES_WINDOW: u64 = 4_800;
/// Leaves that are tried for a repair before first transmissions go on.
const REPAIR_TRIES: usize = 4;
/// Control blocks go out twice where more than this share of packets is lost, or it is not known
/// yet, unless more bytes than this wait.
const LOSSY: f64 = 0.001;
const MAX_REDUNDANT: usize = 4 << 10;

/// Asking for feedback.
#[derive(Debug, Default)]
pub(super) struct Probe {
    is_due: bool,
    /// Probes without an answer.
    count: u32,
    tail: u32,
    /// The receiver has all that there was to send; only its storage is waited for.
    is_delivered: bool,
}

impl Probe {
    /// A probe goes out with the next packet.
    pub fn ask(&mut self) {
        self.is_due = true;
    }

    pub fn on_report(&mut self, is_news: bool, is_delivered: bool) {
        self.is_delivered = is_delivered;
        if is_news {
            self.count = 0;
        }
    }
}

/// What the next data packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Lost(u64),
    Late(u64),
    Fresh(u64),
    /// A repair that went out before.
    Copy(u64),
}

impl OutgoingSession {
    pub(super) fn rate(&self) -> u64 {
        let rate = self
            .congestion
            .as_ref()
            .map_or(0, |congestion| congestion.rate());
        rate.min(self.config.max_rate.unwrap_or(u64::MAX)).max(1)
    }

    /// Offers the next files.
    pub(super) fn offer_files(&mut self) {
        let total = self.files.files.len() as u32;
        while self.files.offered < total
            && self.files.offered < self.files.cursor_file().saturating_add(OFFER_AHEAD)
            && self.control.backlog() < OFFER_BACKLOG
        {
            let first = FileIndex(self.files.offered);
            let rest = self.files.files.get(first.as_usize()..).unwrap_or_default();
            let mut len = 0;
            let entries: Vec<WireEntry> = rest
                .iter()
                .take(OFFER_ENTRIES)
                .take_while(|file| {
                    len += file.entry.name.as_bytes().len() + MAX_ENTRY_REST;
                    len <= MAX_OFFER_LEN
                })
                .map(|file| WireEntry::from(&file.entry))
                .collect();
            for entry in &entries {
                // The manifest is ours: its sizes are bounded, and so is their sum in chunks.
                let _ = self.files.layout.push(entry.size);
            }
            self.files.offered += entries.len() as u32;
            self.control.push(&Message::Offer { first, entries });
            if self.files.offered == total {
                self.control.push(&Message::OfferEnd { files: total });
            }
        }
    }

    pub(super) fn transmit(&mut self, now: Instant, out: &mut TransmitBuf<'_>) -> Option<Transmit> {
        match self.phase {
            Phase::Closed => None,
            Phase::Closing => self.transmit_close(now, out),
            Phase::Opening | Phase::Open => {
                if self.phase == Phase::Opening {
                    if let Some(transmit) = self.transmit_hello(now, out) {
                        return Some(transmit);
                    }
                    if !self.opening.is_sending() {
                        return None;
                    }
                }
                if let Some(transmit) = self.transmit_control(now, out) {
                    return Some(transmit);
                }
                let renewal = self.transmit_renewal(now, out);
                renewal.or_else(|| self.transmit_data(now, out))
            }
        }
    }

    /// What came from the receiver, where anything did.
    pub(super) fn push_ack(&mut self, now: Instant, packet: &mut FrameWriter) {
        if let Some(largest) = self.receipt.largest() {
            let delay_us = self.receipt.delay_us(now);
            let blocks = self.peer_control.ack();
            packet.push(&Frame::Ack(Ack {
                largest,
                delay_us,
                blocks,
            }));
        }
    }

    /// One packet of frames, if there is something to say.
    fn transmit_control(&mut self, now: Instant, out: &mut TransmitBuf<'_>) -> Option<Transmit> {
        let is_ack_due = self.timers.take_due(Timer::Ack, now);
        if !is_ack_due && !self.probe.is_due && !self.control.has_next() {
            return None;
        }
        let number = self.take_number();
        let mut packet = FrameWriter::new(Kind::Control, self.id, number, self.tag, MIN_DATAGRAM);
        self.push_ack(now, &mut packet);
        if self.probe.is_due {
            let sent_end = self.files.cursor();
            let interval_us = self.report_interval_us();
            packet.push(&Frame::Ping(Ping {
                sent_end,
                interval_us,
            }));
            self.probe.is_due = false;
        }
        let is_lossy = self.phase == Phase::Opening || self.sent.loss() > LOSSY;
        self.control
            .set_redundant(is_lossy && self.control.backlog() < MAX_REDUNDANT);
        let room = packet.room().saturating_sub(32);
        if let Some((sequence, bytes)) = self.control.next(room)
            && packet.push(&Frame::Block(Block { sequence, bytes }))
        {
            self.control.on_sent(sequence, number.0);
        }
        out.push(|bytes| packet.finish(bytes));
        let transmit = out.finish(self.peer, Ecn::Ect0);
        let bytes = transmit.len as u64;
        self.stall.on_control_sent();
        self.sent.on_sent(now, number.0, 1, bytes);
        self.pacer.on_sent(now, bytes, self.rate());
        self.arm_probe_if_unset(now);
        Some(transmit)
    }

    /// One batch of data packets, as far as pacing, congestion and the receiver's memory allow.
    fn transmit_data(&mut self, now: Instant, out: &mut TransmitBuf<'_>) -> Option<Transmit> {
        if self.pacer.next() > now {
            self.timers.set(Timer::Pacing, self.pacer.next());
            return None;
        }
        let rate = self.rate();
        let in_flight = self.sent.in_flight();
        let controller = self.congestion.as_ref();
        let congestion = controller.map_or(0, |controller| controller.window());
        let batch_time = controller.map_or(Duration::ZERO, |controller| controller.batch_time());
        let window = congestion.min(self.peer_window);
        let packet = self.path.packet_size();
        let size = packet as u64;
        // A whole packet at the least, also where the rate makes less of a large one in that time.
        let batch = Pacer::quantum(rate, batch_time).max(size);
        let budget = batch.min(window.saturating_sub(in_flight));
        if budget < size && in_flight > 0 {
            self.pacer.on_blocked(now);
            self.on_window_full(congestion, size);
            self.arm_probe_if_unset(now);
            return None;
        }
        if self.peer_window >= size.min(HOLES_WINDOW) {
            self.zero_window.on_room();
        } else if in_flight == 0
            && let Err(at) = self.zero_window.try_at(now, self.rtt.smoothed())
        {
            self.timers.set(Timer::Pacing, at);
            self.arm_probe_if_unset(now);
            return None;
        }
        let first = self.next_number;
        // What swallowed full packets may look at a batch before it is cut into packets: where a
        // path has shrunk, each leaves alone.
        let most = if self.path.is_cut() { 1 } else { budget.max(1) };
        while (out.len() as u64) < most && out.has_room(packet) {
            if self.write_part(out) {
                continue;
            }
            if let Some(choice) = self.choose() {
                self.write_data(now, choice, out);
            } else if !self.write_parity(out) {
                let Some(copy) = self.choose_copy() else {
                    break;
                };
                self.write_data(now, copy, out);
            }
        }
        if out.is_empty() {
            self.on_nothing_to_send(now);
            return None;
        }
        let transmit = out.finish(self.peer, Ecn::Ect0);
        let bytes = transmit.len as u64;
        self.sent
            .on_sent(now, first, self.next_number - first, bytes);
        self.pacer.on_sent(now, bytes, rate);
        if let Some(congestion) = &mut self.congestion {
            congestion.on_sent(self.sent.in_flight());
        }
        self.probe.tail = 0;
        if in_flight == 0 {
            self.arm_probe(now);
        } else {
            self.arm_probe_if_unset(now);
        }
        Some(transmit)
    }

    /// Nothing may leave: whether that says something about the path depends on whose window is
    /// full.
    fn on_window_full(&mut self, congestion: u64, size: u64) {
        if self.peer_window.saturating_add(size) < congestion {
            self.sent.on_app_limited(self.next_number);
        } else {
            self.is_window_limited = true;
        }
    }

    fn write_data(&mut self, now: Instant, choice: Choice, out: &mut TransmitBuf<'_>) {
        let (Choice::Lost(chunk)
        | Choice::Late(chunk)
        | Choice::Fresh(chunk)
        | Choice::Copy(chunk)) = choice;
        let Some(place) = self.files.layout.place(chunk) else {
            return;
        };
        if self.path.part_of(place.len).is_some() {
            self.start_parts(chunk, place.len);
            self.write_part(out);
        } else {
            let number = self.take_number();
            let Some((head, tail)) = self.files.payload(chunk, &mut self.storage) else {
                return;
            };
            out.push(|bytes| encode_data_parts(bytes, self.id, number, chunk, head, tail));
            self.flights.on_sent(chunk, number.0);
            self.path.on_sent(number.0, place.len + DATA_OVERHEAD);
        }
        let len = place.len as u64;
        self.stats.data_bytes += len;
        self.files
            .blocks
            .touch((place.file, place.offset / LEAF_SIZE));
        match choice {
            Choice::Fresh(_) => self.files.on_fresh_sent(now, place.file, len),
            Choice::Late(_) => {
                self.files.late.remove(chunk..chunk + 1);
            }
            Choice::Lost(_) | Choice::Copy(_) => {
                self.stats.retransmitted_bytes += len;
                if let Some(state) = self.files.get_mut(place.file) {
                    state.retransmitted += len;
                }
                if matches!(choice, Choice::Copy(_)) {
                    self.tail.on_sent();
                } else if self.parity.is_pending(chunk, self.sent.lost_below()) {
                    self.tail.on_likely_copy();
                } else if self.files.is_all_sent() {
                    // Those that are known, or those that are likely among what is in flight.
                    let share = self.sent.loss();
                    let likely = self.sent.in_flight() as f64 * share;
                    let likely = likely as u64 / self.path.packet_size() as u64;
                    let missing = likely.max(self.flights.lost_count() + 1);
                    self.tail.on_repair(chunk, missing, share);
                }
            }
        }
    }

    /// The next chunk whose content is in memory: repairs first. Reads that are missing are asked
    /// for.
    fn choose(&mut self) -> Option<Choice> {
        let Self {
            flights,
            files,
            storage,
            repair_from,
            ..
        } = self;
        // Repairs sweep upwards and begin again: each block is read once a sweep, however often new
        // losses turn up behind.
        let next_lost = |_: &Files, from| flights.next_lost(from);
        let from = match flights.next_lost(*repair_from) {
            Some(_) => *repair_from,
            None => 0,
        };
        let mut may_read = true;
        if let Some(chunk) = ready(files, storage, &mut may_read, from, next_lost) {
            *repair_from = chunk;
            return Some(Choice::Lost(chunk));
        }
        let late = |files: &Files, from| files.late.first_from(from);
        if let Some(chunk) = ready(files, storage, &mut may_read, 0, late) {
            return Some(Choice::Late(chunk));
        }
        let chunk = files.next_fresh()?;
        let is_ready = if may_read {
            files.payload(chunk, storage).is_some()
        } else {
            files.is_in_memory(chunk)
        };
        is_ready.then_some(Choice::Fresh(chunk))
    }

    /// There was nothing to send: if that is because all was sent, the last of it may go again.
    fn choose_copy(&mut self) -> Option<Choice> {
        let copy = self.next_copy();
        if copy.is_some() || self.phase != Phase::Open || !self.files.is_all_sent() {
            return copy;
        }
        let flight = self.sent.in_flight() / self.path.packet_size().max(1) as u64;
        let (end, share) = (self.files.cursor(), self.sent.loss());
        let is_new =
            !self.parity.is_for(end) && self.tail.on_all_sent(end, flight, self.next_number, share);
        is_new.then(|| self.next_copy()).flatten()
    }

    fn next_copy(&mut self) -> Option<Choice> {
        let chunk = self.tail.next(self.next_number)?;
        // A copy is worth no read. That also leaves out files that came to an end.
        if !self.files.is_in_memory(chunk) {
            self.tail.on_received(&(chunk..chunk + 1));
            return None;
        }
        Some(Choice::Copy(chunk))
    }

    /// Everything is sent, or waits for a read or an answer.
    fn on_nothing_to_send(&mut self, now: Instant) {
        self.sent.on_app_limited(self.next_number);
        let is_tail = self.phase == Phase::Open
            && self.sent.in_flight() > 0
            && self.flights.lost_count() == 0
            && self.probe.tail < TAIL_PROBES
            && self.files.is_all_sent();
        if is_tail {
            let wait = if self.probe.tail == 0 {
                Duration::ZERO
            } else {
                // A little more, so that the probe overtakes the last data for certain.
                self.sent.reorder_window(self.rtt.smoothed()) * 9 / 8
            };
            self.timers.set_earliest(Timer::Probe, now + wait);
        } else {
            self.arm_probe_if_unset(now);
        }
    }

    pub(super) fn on_probe(&mut self, now: Instant) {
        if self.phase != Phase::Open {
            return self.arm_probe(now);
        }
        self.probe.is_due = true;
        let is_tail = self.probe.tail < TAIL_PROBES && self.files.is_all_sent();
        if is_tail {
            self.probe.tail += 1;
            return;
        }
        self.probe.count += 1;
        self.renewal.on_silence(self.probe.count);
        self.control.repeat_oldest();
        let waited = self
            .sent
            .oldest_in_flight()
            .map_or(Duration::ZERO, |at| now.since(at));
        if waited > (self.rtt.smoothed() * 4).max(MAX_PROBE)
            && let Some(congestion) = &mut self.congestion
        {
            congestion.on_silence(now);
        }
    }

    fn arm_probe_if_unset(&mut self, now: Instant) {
        if self.timers.at(Timer::Probe).is_none() {
            self.arm_probe(now);
        }
    }

    /// News has come: the next is overdue a probe timeout after the longest time between reports.
    pub(super) fn on_news(&mut self, now: Instant) {
        let interval = Duration::from_micros(u64::from(self.report_interval_us()));
        self.arm_probe(now + interval * 3);
    }

    /// Feedback is overdue a probe timeout from here, however much is sent until then; twice as
    /// long after each probe without an answer.
    fn arm_probe(&mut self, now: Instant) {
        let interval = Duration::from_micros(u64::from(self.report_interval_us()));
        let pto = self.rtt.pto() + interval;
        let base = if self.probe.is_delivered {
            pto.max(IDLE_PROBE)
        } else {
            pto
        };
        let wait = base * (1 << self.probe.count.min(6));
        self.timers
            .set(Timer::Probe, now + wait.min(base.max(MAX_PROBE)));
    }
}

/// The first chunk that `next` names from `from` on whose content is in memory. Asks for that of
/// the first that is not, where it `may_read`.
fn ready(
    files: &mut Files,
    storage: &mut VecDeque<StorageOp>,
    may_read: &mut bool,
    mut from: u64,
    next: impl Fn(&Files, u64) -> Option<u64>,
) -> Option<u64> {
    for _ in 0..REPAIR_TRIES {
        let chunk = next(files, from)?;
        let place = files.layout.place(chunk)?;
        let is_wanted = files
            .get(place.file)
            .is_some_and(|file| file.phase == FilePhase::Sending);
        if is_wanted && files.is_in_memory(chunk) {
            return Some(chunk);
        }
        if is_wanted && core::mem::take(may_read) {
            // One chunk at a time: more would push each other out before they are used, for ever
            // where there is room for the blocks of one only.
            files.payload(chunk, storage);
        }
        let leaf_end = (place.offset / LEAF_SIZE + 1) * LEAF_SIZE;
        let bytes = leaf_end.min(files.layout.size(place.file));
        from = files
            .layout
            .chunks_touching(place.file, 0..bytes)
            .end
            .max(chunk + 1);
    }
    None
}

const _: () = assert!(DATA_OVERHEAD < MIN_DATAGRAM);
// The longest name fits an offer of its own, or offering would never end.
const _: () = assert!(MAX_NAME + MAX_ENTRY_REST <= MAX_OFFER_LEN);
