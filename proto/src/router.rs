//! Decides which session a datagram belongs to, or answers it without state.

use crate::config::{MAX_SESSIONS, MAX_SESSIONS_PER_ADDRESS, ReceiverConfig};
use crate::id::SessionId;
use crate::machine::Received;
use crate::session::IncomingSession;
use crate::time::Instant;
use crate::transmit::{Transmit, TransmitBuf};
use alloc::boxed::Box;

/// Settings of a [`Router`].
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// Key of the address tokens: 32 random bytes that nobody else knows.
    pub secret: [u8; 32],
    /// Sessions at once. Default [`MAX_SESSIONS`].
    pub max_sessions: usize,
    /// Sessions at once from one IP address. Default [`MAX_SESSIONS_PER_ADDRESS`].
    pub max_sessions_per_address: usize,
    /// For each session that the router makes.
    pub session: ReceiverConfig,
}

impl RouterConfig {
    /// The defaults with this secret.
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            max_sessions: MAX_SESSIONS,
            max_sessions_per_address: MAX_SESSIONS_PER_ADDRESS,
            session: ReceiverConfig::default(),
        }
    }
}

/// Where a datagram goes.
#[derive(Debug)]
pub enum Route {
    /// To the session of this name, which the driver holds.
    Session(SessionId),
    /// To a new session, which has not seen the datagram: the driver keeps it and hands it the datagram.
    Incoming(Box<IncomingSession>),
    /// Nowhere, but this answer goes out. It is never larger than the datagram.
    Reply(Transmit),
    /// Nowhere.
    Drop(DropReason),
}

/// Why a datagram went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Too short, or not of this protocol.
    Malformed,
    /// The checksum is wrong.
    Checksum,
    /// The session exists, but not for this address.
    WrongAddress,
    /// There is nothing to say to it, or too much was said already.
    Ignored,
}

/// The stateless part of a receiver. It knows no session; the driver owns them and calls
/// [`Router::on_closed`] when one ends.
#[derive(Debug)]
pub struct Router {}

impl Router {
    /// A router with no sessions.
    pub fn new(_config: RouterConfig) -> Self {
        Self {}
    }

    /// Decides about one datagram. `peer_of` tells the address of a session that the driver holds. A reply
    /// is written to `out`.
    pub fn route(
        &mut self,
        _now: Instant,
        _received: &Received<'_>,
        _peer_of: impl FnOnce(SessionId) -> Option<core::net::SocketAddr>,
        _out: &mut TransmitBuf<'_>,
    ) -> Route {
        Route::Drop(DropReason::Malformed)
    }

    /// A session that this router made has ended.
    pub fn on_closed(&mut self, _now: Instant, _session: SessionId, _peer: core::net::SocketAddr) {}
}
