//! What is remembered of sessions that ended (SPEC.md, `handshake` and `closing`).

use crate::config::TOKEN_LIFETIME;
use crate::id::SessionId;
use crate::session::Epitaph;
use crate::time::Instant;
use alloc::collections::{BTreeMap, VecDeque};

/// Sessions remembered after their end.
pub(super) const MAX_ENDED: usize = 4_096;

/// What is left of a session.
#[derive(Debug)]
pub(super) struct Ended {
    pub epitaph: Epitaph,
    /// When its sender was last told.
    pub told: Option<Instant>,
}

/// Sessions that ended lately: a late packet of theirs opens nothing, and is told.
#[derive(Debug, Default)]
pub(super) struct Memory {
    ended: BTreeMap<SessionId, Ended>,
    /// The same, oldest first.
    order: VecDeque<(Instant, SessionId)>,
    /// The last end that had to be forgotten before its tokens were void.
    forgotten: Option<Instant>,
}

impl Memory {
    pub fn contains(&self, id: SessionId) -> bool {
        self.ended.contains_key(&id)
    }

    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Ended> {
        self.ended.get_mut(&id)
    }

    /// Whether a token made at that time may be one of a session that ended and is forgotten.
    ///
    /// No token is made for a session that is remembered as ended, so those of a forgotten one are
    /// at most as young as its end. An honest newcomer is refused only where more than
    /// [`MAX_ENDED`] sessions end between its Retry and its Hello, and asks again.
    pub fn is_token_doubtful(&self, made: Instant) -> bool {
        self.forgotten.is_some_and(|end| made <= end)
    }

    pub fn insert(&mut self, now: Instant, id: SessionId, epitaph: Epitaph) {
        self.expire(now);
        if self.order.len() == MAX_ENDED
            && let Some((end, oldest)) = self.order.pop_front()
        {
            self.ended.remove(&oldest);
            self.forgotten = self.forgotten.max(Some(end));
        }
        let ended = Ended {
            epitaph,
            told: None,
        };
        if self.ended.insert(id, ended).is_none() {
            self.order.push_back((now, id));
        }
    }

    /// Forgets what ended so long ago that no token of it is valid.
    pub fn expire(&mut self, now: Instant) {
        while let Some(&(_, id)) = self
            .order
            .front()
            .filter(|ended| now.since(ended.0) > TOKEN_LIFETIME)
        {
            self.order.pop_front();
            self.ended.remove(&id);
        }
    }
}
