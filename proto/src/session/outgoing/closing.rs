//! The end of a session as its sender tells it (SPEC.md, `closing`).

use super::{OutgoingSession, Phase};
use crate::config::MIN_DATAGRAM;
use crate::error::Failure;
use crate::time::{Duration, Instant};
use crate::timer::Timer;
use crate::transmit::{Ecn, Transmit, TransmitBuf};
use crate::wire::frame::{Close, Frame};
use crate::wire::header::Kind;
use crate::wire::packet::FrameWriter;

/// How long an ending session goes on telling the peer so.
const MAX_CLOSING: Duration = Duration::from_secs(1);
/// Times that a failure is told.
const MAX_FAILED: u32 = 5;
/// Times that it is told that all went well: at least, and where more is lost. The chance that
/// none arrives is to stay below this; then the receiver waits for a while in vain.
const MIN_WELL: u32 = 3;
const MAX_WELL: u32 = 10;
const MAX_RISK: f64 = 1e-4;
/// They go out so far apart: a short burst of loss takes neighbours.
const WELL_GAP: Duration = Duration::from_millis(1);

/// Telling the peer that the session is over.
#[derive(Debug, Default)]
pub(super) struct Closing {
    failure: Option<Failure>,
    sent: u32,
    /// Packets that tell it, at most.
    packets: u32,
}

impl Closing {
    /// On a path that loses this `share` of the packets.
    fn new(failure: Option<Failure>, share: f64) -> Self {
        let mut packets = MAX_FAILED;
        if failure.is_none() {
            packets = MIN_WELL;
            while packets < MAX_WELL && pow(share, packets) > MAX_RISK {
                packets += 1;
            }
        }
        Self {
            failure,
            sent: 0,
            packets,
        }
    }
}

fn pow(base: f64, times: u32) -> f64 {
    (0..times).fold(1.0, |product, _| product * base)
}

impl OutgoingSession {
    pub(super) fn start_closing(&mut self, now: Instant, failure: Option<Failure>) {
        self.storage.clear();
        self.timers.stop_all();
        let is_peer_there = self.opening.is_sending();
        self.closing = Closing::new(failure, self.sent.loss());
        if is_peer_there {
            self.phase = Phase::Closing;
            self.timers.set(Timer::Close, now);
            self.timers
                .set(Timer::Idle, now + MAX_CLOSING.min(self.config.idle_timeout));
        } else {
            self.end();
        }
    }

    /// Nothing is sent or waited for any more.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Closed;
        self.timers.stop_all();
    }

    /// A failure is told until the peer answers. That all went well is told a few times at once:
    /// a round trip for the answer would change nothing, since a receiver whose files all have
    /// their status ends by itself.
    pub(super) fn transmit_close(
        &mut self,
        now: Instant,
        out: &mut TransmitBuf<'_>,
    ) -> Option<Transmit> {
        if !self.timers.take_due(Timer::Close, now) {
            return None;
        }
        if self.closing.sent == self.closing.packets {
            self.end();
            return None;
        }
        self.closing.sent += 1;
        let sent = self.closing.sent;
        let is_well = self.closing.failure.is_none();
        let number = self.take_number();
        let mut packet = FrameWriter::new(Kind::Control, self.id, number, self.tag, MIN_DATAGRAM);
        self.push_ack(now, &mut packet);
        packet.push(&Frame::Close(Close {
            failure: self.closing.failure.clone(),
        }));
        out.push(|bytes| packet.finish(bytes));
        if is_well && sent == self.closing.packets {
            self.end();
        } else {
            let backoff = 1 << sent.min(4);
            let gap = if is_well {
                WELL_GAP
            } else {
                self.rtt.pto() * backoff / 2
            };
            self.timers.set(Timer::Close, now + gap);
        }
        Some(out.finish(self.peer, Ecn::NotEct))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    // SPEC: R-closing-3
    #[test]
    fn a_good_end_is_told_as_often_as_the_path_needs() {
        let packets = |share| Closing::new(None, share).packets;
        assert_eq!(packets(0.0), 3);
        assert_eq!(packets(0.05), 4);
        assert_eq!(packets(0.08), 4);
        assert_eq!(packets(0.3), 8);
        assert_eq!(packets(1.0), 10);
        let failure = Failure::new(ErrorCode::TIMEOUT, "");
        assert_eq!(Closing::new(Some(failure), 1.0).packets, 5);
    }
}
