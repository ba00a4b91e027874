//! Our address as the receiver sees it may change under us, when a router on the way forgets it:
//! then answers stop, and the session goes on once the new one is proven (SPEC.md,
//! `address-change`).

use super::OutgoingSession;
use crate::config::MIN_DATAGRAM;
use crate::time::Instant;
use crate::transmit::{Transmit, TransmitBuf};

/// Probes without an answer before the silence may be that of a changed address.
pub(super) const SILENT_PROBES: u32 = 3;

/// Where the renewal of our address stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// Nothing hints at a change, or the receiver has lost the session.
    #[default]
    Idle,
    /// A `Hello` without a token is due.
    Ask,
    /// It is sent: a token is waited for.
    Asked,
    /// A token came: the `Hello` that returns it is due.
    Prove,
}

/// The renewal of our address.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Renewal {
    step: Step,
    is_lost: bool,
}

impl Renewal {
    /// So many probes in a row found no answer.
    pub fn on_silence(&mut self, probes: u32) {
        if probes >= SILENT_PROBES && !self.is_lost {
            self.step = Step::Ask;
        }
    }

    /// A packet of the session came: it finds us where we are.
    pub fn on_heard(&mut self) {
        *self = Self::default();
    }

    /// The receiver says that it does not know the session.
    pub fn on_reset(&mut self) {
        *self = Self {
            step: Step::Idle,
            is_lost: true,
        };
    }

    /// A token came; answers whether it was asked for.
    pub fn on_retry(&mut self) -> bool {
        let was_asked = self.step == Step::Asked;
        if was_asked {
            self.step = Step::Prove;
        }
        was_asked
    }
}

impl OutgoingSession {
    /// The next packet of the renewal, if one is due.
    pub(super) fn transmit_renewal(
        &mut self,
        now: Instant,
        out: &mut TransmitBuf<'_>,
    ) -> Option<Transmit> {
        let (has_token, next) = match self.renewal.step {
            Step::Idle | Step::Asked => return None,
            Step::Ask => (false, Step::Asked),
            Step::Prove => (true, Step::Idle),
        };
        self.renewal.step = next;
        Some(self.write_hello(now, has_token, MIN_DATAGRAM, out))
    }
}
