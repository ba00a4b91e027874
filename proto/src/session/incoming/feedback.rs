//! Packets back to the sender: reports, control blocks, goodbye (SPEC.md, `reports`).

use super::{IncomingSession, MAX_SENT_AT, Phase};
use crate::config::{MAX_RANGES, MIN_DATAGRAM};
use crate::id::PacketNumber;
use crate::time::{Duration, Instant};
use crate::timer::{Timer, TimerTable};
use crate::transmit::TransmitBuf;
use crate::wire::frame::{Block, Close, Frame, GapRun, Report};
use crate::wire::header::Kind;
use crate::wire::packet::FrameWriter;
use alloc::vec::Vec;
use core::ops::Range;

/// Bounds of the interval that a sender may ask for.
const MIN_INTERVAL: Duration = Duration::from_micros(500);
const MAX_INTERVAL: Duration = Duration::from_millis(100);
/// A report waits for so many bytes, unless four intervals have passed: on a slow path feedback
/// stays a small share of what comes.
const MIN_BYTES: u64 = 20_000;
/// Bytes of runs in one page: with everything else in a report they fit the smallest datagram.
const MAX_PAGE: usize = 800;
/// Pages in one report.
const MAX_PAGES: u32 = 4;

/// Control blocks go out twice on a lossy path unless more bytes than this wait.
const MAX_REDUNDANT: usize = 4 << 10;
/// So few packets say nothing about loss.
const FEW_PACKETS: u64 = 500;

/// When the next report is due and what it covers.
#[derive(Debug)]
pub(super) struct Reporting {
    interval: Duration,
    /// Bytes since the last report, and when that was.
    bytes: u64,
    reported_at: Instant,
    is_due: bool,
    /// The sender asked for this report: it waits.
    is_asked: bool,
    /// One past the last chunk that the sender says it has sent.
    sent_end: u64,
    /// Where the next page starts, while one report goes over several.
    page: Option<u64>,
    pages: u32,
    /// The last window that was told is so small that more room is news.
    is_window_low: bool,
}

impl Default for Reporting {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(5),
            bytes: 0,
            reported_at: Instant::ZERO,
            is_due: false,
            is_asked: false,
            sent_end: 0,
            page: None,
            pages: 0,
            is_window_low: false,
        }
    }
}

impl Reporting {
    pub fn set_interval(&mut self, micros: u32) {
        let interval = Duration::from_micros(u64::from(micros));
        self.interval = interval.clamp(MIN_INTERVAL, MAX_INTERVAL);
    }

    /// A report goes out as soon as possible.
    pub fn ask(&mut self) {
        self.is_due = true;
    }

    /// Chunks below `end` were sent: those that have to come again are asked for also where nothing
    /// above them is there.
    pub fn on_sent(&mut self, end: u64) {
        self.sent_end = self.sent_end.max(end);
    }

    pub fn on_ping(&mut self, sent_end: u64) {
        self.on_sent(sent_end);
        self.is_due = true;
        self.is_asked = true;
    }

    pub fn on_probe(&mut self) {
        self.is_due = true;
    }

    pub fn on_packet(&mut self, now: Instant, bytes: usize, timers: &mut TimerTable) {
        self.bytes += bytes as u64;
        let wait = if self.bytes >= MIN_BYTES {
            self.interval
        } else {
            self.interval * 4
        };
        let at = self.reported_at + wait;
        if at <= now {
            self.is_due = true;
        } else {
            timers.set_earliest(Timer::Report, at);
        }
    }

    pub fn on_timer(&mut self, now: Instant, timers: &mut TimerTable) {
        self.is_due |= timers.take_due(Timer::Report, now);
    }

    /// Storage has taken something: a sender that waits for room is told.
    pub fn on_room(&mut self, room: u64, limit: u64) {
        if self.is_window_low && room >= limit / 2 {
            self.is_due = true;
        }
    }

    fn on_reported(&mut self, now: Instant, next_page: Option<u64>, is_window_low: bool) {
        self.pages += 1;
        self.page = next_page;
        self.is_window_low = is_window_low;
        if self.page.is_none() || self.pages >= MAX_PAGES {
            self.pages = 0;
            self.bytes = 0;
            self.is_due = false;
            self.is_asked = false;
            self.reported_at = now;
        }
    }
}

impl IncomingSession {
    /// Writes the next packet, if there is something to say; answers whether there was.
    pub(super) fn write_packet(&mut self, now: Instant, out: &mut TransmitBuf<'_>) -> bool {
        match self.phase {
            Phase::Closed => return false,
            Phase::Closing => return self.write_close(now, out),
            Phase::Open => {}
        }
        let has_block = self.control.has_next();
        if !has_block && !self.reporting.is_due {
            return false;
        }
        let number = self.next_number;
        self.next_number += 1;
        let mut packet = FrameWriter::new(
            Kind::Control,
            self.id,
            PacketNumber(number),
            self.tag,
            MIN_DATAGRAM,
        );
        if self.reporting.is_due {
            if self.is_young() || self.reporting.is_asked {
                self.control.repeat_oldest();
            }
            self.timers.stop(Timer::Report);
            self.books.settle(self.book_bytes());
            let (report, next_page) = self.report(now);
            self.reporting.on_sent(report.end);
            let is_window_low = report.window < self.most_window() / 2;
            packet.push(&Frame::Report(report));
            self.reporting.on_reported(now, next_page, is_window_low);
        }
        // A report with many holes may leave no room: then the block has a packet of its own, next.
        let is_redundant = self.is_path_lossy() && self.control.backlog() < MAX_REDUNDANT;
        self.control.set_redundant(is_redundant);
        let room = packet.room().saturating_sub(32);
        if let Some((sequence, bytes)) = self.control.next(room)
            && packet.push(&Frame::Block(Block { sequence, bytes }))
        {
            self.control.on_sent(sequence, number);
            if self.sent_at.len() == MAX_SENT_AT {
                self.sent_at.pop_front();
            }
            self.sent_at.push_back((number, now));
            self.timers.set(Timer::Probe, now + self.rtt.pto());
        }
        if packet.is_empty() {
            return false;
        }
        out.push(|bytes| packet.finish(bytes));
        if !self.control.is_idle() && self.timers.at(Timer::Probe).is_none() {
            self.timers.set(Timer::Probe, now + self.rtt.pto());
        }
        true
    }

    /// More than a thousandth of the sender's packets was lost, or too few have come to tell.
    fn is_path_lossy(&self) -> bool {
        let sent = self.packets_sent();
        self.is_young() || sent.saturating_sub(self.receipt.received()) > sent / 1_000
    }

    /// The sender's first flights: it waits for the first answer, and how long a round trip takes
    /// is not known here, so every report carries a block that is not acknowledged.
    fn is_young(&self) -> bool {
        self.packets_sent() < FEW_PACKETS
    }

    fn packets_sent(&self) -> u64 {
        let largest = self.receipt.largest();
        largest.map_or(0, |largest| largest.saturating_add(1))
    }

    fn write_close(&mut self, now: Instant, out: &mut TransmitBuf<'_>) -> bool {
        if !self.timers.take_due(Timer::Close, now) {
            // What storage still writes counts as held, and is nobody else's.
            if self.closed_at.is_some() && !self.assembly.is_writing() {
                self.phase = Phase::Closed;
            }
            return false;
        }
        self.closed_at = Some(now);
        let number = self.next_number;
        self.next_number += 1;
        let mut packet = FrameWriter::new(
            Kind::Control,
            self.id,
            PacketNumber(number),
            self.tag,
            MIN_DATAGRAM,
        );
        packet.push(&Frame::Close(Close {
            failure: self.farewell.clone(),
        }));
        out.push(|bytes| packet.finish(bytes));
        true
    }

    /// The next report, and where the one after it starts if it has to go on.
    fn report(&self, now: Instant) -> (Report, Option<u64>) {
        let first_missing = self.received.first_missing();
        let sent_end = self.reporting.sent_end.min(self.files.layout.end());
        let end = self.received.end().max(sent_end);
        let page_start = self.reporting.page.unwrap_or(0).max(first_missing).min(end);
        let (missing, page_end) = page(self.received.gaps(page_start..end), page_start, end);
        let crowded = self.received.range_count() >= MAX_RANGES;
        let window = if crowded {
            MIN_DATAGRAM as u64 * 4
        } else {
            self.window()
        };
        let report = Report {
            largest: self.receipt.largest().unwrap_or(0),
            received: self.receipt.received(),
            overtaken: self.receipt.overtaken(now),
            largest_at_us: self.receipt.largest_at().as_micros(),
            delay_us: self.receipt.delay_us(now),
            ce: self.ce,
            host_drops: self.host_drops,
            duplicates: self.stats.duplicate_chunks,
            window,
            first_missing: first_missing.min(end),
            end,
            page_start,
            page_end,
            missing,
            blocks: self.peer_control.ack(),
        };
        (report, (page_end < end).then_some(page_end))
    }
}

/// The first gaps as a list that fits a packet, and how far the list speaks for.
fn page(gaps: impl Iterator<Item = Range<u64>>, start: u64, end: u64) -> (Vec<GapRun>, u64) {
    let mut runs = Vec::new();
    let (mut at, mut len) = (start, 0);
    for gap in gaps {
        let run = GapRun {
            gap: gap.start - at,
            run: gap.end - gap.start,
        };
        len += varint_len(run.gap) + varint_len(run.run);
        if len > MAX_PAGE {
            return (runs, at);
        }
        runs.push(run);
        at = gap.end;
    }
    (runs, end)
}

/// Bytes that a number takes on the wire: seven bits each.
const fn varint_len(number: u64) -> usize {
    let bits = u64::BITS - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range_set::RangeSet;
    use crate::wire::frame::{BlockAck, ranges};

    #[test]
    fn the_largest_report_fits_the_smallest_datagram() {
        // SPEC: R-frame-report-1
        let mut set = RangeSet::new();
        // Gaps so far apart that each takes long numbers.
        (1..2_000_u64).for_each(|at| {
            set.insert(at << 51..(at << 51) + (1 << 50));
        });
        let (missing, page_end) = page(set.gaps(0..u64::MAX), 0, u64::MAX);
        assert!(page_end < u64::MAX);
        assert!(ranges(&missing, 0, page_end).is_some());
        let far = u64::MAX;
        let blocks = BlockAck {
            next: far,
            end: far,
            missing: alloc::vec![GapRun { gap: 255, run: 255 }; BlockAck::MAX_RUNS],
        };
        let report = Report {
            largest: far,
            received: far,
            overtaken: far,
            largest_at_us: far,
            delay_us: u32::MAX,
            ce: far,
            host_drops: far,
            duplicates: far,
            window: far,
            first_missing: far,
            end: far,
            page_start: far,
            page_end: far,
            missing,
            blocks,
        };
        let number = PacketNumber(0);
        let id = crate::id::SessionId(0);
        let mut packet = FrameWriter::new(Kind::Control, id, number, 0, MIN_DATAGRAM);
        assert!(packet.push(&Frame::Report(report)));
    }

    #[test]
    fn pages_cover_every_gap() {
        // SPEC: R-reports-3
        let mut set = RangeSet::new();
        (0..5_000).for_each(|at| {
            set.insert(at * 3..at * 3 + 2);
        });
        let (mut start, mut found) = (0, 0);
        while start < 15_000 {
            let (missing, end) = page(set.gaps(start..15_000), start, 15_000);
            found += ranges(&missing, start, end).unwrap().len();
            start = end;
        }
        assert_eq!(found, 5_000);
    }
}
