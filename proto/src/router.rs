//! Decides which session a datagram belongs to, or answers it without state (SPEC.md, `handshake`
//! and `stateless-answers`).

use crate::config::{
    MAX_SESSIONS, MAX_SESSIONS_PER_ADDRESS, MIN_DATAGRAM, ReceiverConfig, TOKEN_LIFETIME,
};
use crate::error::{ErrorCode, Failure};
use crate::id::{PacketNumber, SessionId};
use crate::machine::Received;
use crate::session::IncomingSession;
use crate::time::{Duration, Instant};
use crate::transmit::{Ecn, Transmit, TransmitBuf};
use crate::wire::DecodeError;
use crate::wire::frame::{Close, Frame, Retry};
use crate::wire::header::{Header, Invariant, Kind, VERSION, VERSION_LIST};
use crate::wire::packet::{FrameWriter, Packet, encode_versions};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// Bytes of a token: the time it was made and half a BLAKE3 hash.
const TOKEN_LEN: usize = 8 + 16;
/// Sessions remembered after their end.
const MAX_ENDED: usize = 4_096;
/// Stateless answers a second, tokens not counted: those are never larger than what they answer.
const MAX_REPLIES: u32 = 1_000;

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
    /// To a new session, which has not seen the datagram: the driver keeps it and hands it the
    /// datagram.
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
pub struct Router {
    config: RouterConfig,
    sessions: usize,
    by_address: BTreeMap<IpAddr, usize>,
    /// Sessions that ended lately, oldest first: a late packet of theirs opens nothing.
    ended: VecDeque<(Instant, SessionId)>,
    replies: ReplyBudget,
}

/// Bounds what stateless answers other than tokens may cost.
#[derive(Debug, Default)]
struct ReplyBudget {
    spent: u32,
    since: Instant,
}

impl ReplyBudget {
    fn take(&mut self, now: Instant) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            *self = Self {
                spent: 0,
                since: now,
            };
        }
        self.spent = self.spent.saturating_add(1);
        self.spent <= MAX_REPLIES
    }
}

impl Router {
    /// A router with no sessions.
    pub fn new(config: RouterConfig) -> Self {
        Self {
            config,
            sessions: 0,
            by_address: BTreeMap::new(),
            ended: VecDeque::new(),
            replies: ReplyBudget::default(),
        }
    }

    /// Decides about one datagram. `peer_of` tells the address of a session that the driver holds.
    /// A reply is written to `out`.
    pub fn route(
        &mut self,
        now: Instant,
        received: &Received<'_>,
        peer_of: impl FnOnce(SessionId) -> Option<SocketAddr>,
        out: &mut TransmitBuf<'_>,
    ) -> Route {
        let Ok(invariant) = Invariant::decode(received.data) else {
            return Route::Drop(DropReason::Malformed);
        };
        if invariant.version != VERSION {
            return self.answer_version(now, received, invariant, out);
        }
        let Ok((header, _)) = Header::decode(received.data) else {
            return Route::Drop(DropReason::Malformed);
        };
        let peer = peer_of(header.session);
        match (header.kind, peer) {
            (Kind::Hello, _) => self.on_hello(now, received, header, peer, out),
            (Kind::Data | Kind::Part | Kind::Control, Some(peer)) if peer == received.source => {
                Route::Session(header.session)
            }
            (Kind::Data | Kind::Part | Kind::Control, Some(_)) => {
                Route::Drop(DropReason::WrongAddress)
            }
            (Kind::Control, None) => self.answer_unknown(now, received, header, out),
            (Kind::Data | Kind::Part | Kind::Retry | Kind::Reset, _) => {
                Route::Drop(DropReason::Ignored)
            }
        }
    }

    fn on_hello(
        &mut self,
        now: Instant,
        received: &Received<'_>,
        header: Header,
        peer: Option<SocketAddr>,
        out: &mut TransmitBuf<'_>,
    ) -> Route {
        let (tag, frames) = match Packet::decode(received.data) {
            Ok(Packet::Frames { tag, frames, .. }) => (tag, frames),
            Err(DecodeError::Checksum) => return Route::Drop(DropReason::Checksum),
            _ => return Route::Drop(DropReason::Malformed),
        };
        let [Frame::Hello(hello)] = frames.as_slice() else {
            return Route::Drop(DropReason::Malformed);
        };
        let id = header.session;
        if !self.token_is_valid(now, hello.token, received.source, id, tag) {
            if received.data.len() < MIN_DATAGRAM {
                return Route::Drop(DropReason::Ignored);
            }
            let token = self.token(now, received.source, id, tag);
            let received_size = u16::try_from(received.data.len()).unwrap_or(u16::MAX);
            let retry = Frame::Retry(Retry {
                token: &token,
                received_size,
            });
            return reply(received, Kind::Retry, id, tag, &retry, out);
        }
        if peer.is_some() {
            return Route::Session(id);
        }
        self.forget_ended(now);
        if self.ended.iter().any(|ended| ended.1 == id) {
            return Route::Drop(DropReason::Ignored);
        }
        let from_address = self
            .by_address
            .get(&received.source.ip())
            .copied()
            .unwrap_or(0);
        if self.sessions >= self.config.max_sessions
            || from_address >= self.config.max_sessions_per_address
        {
            let failure = Some(Failure::from(ErrorCode::BUSY));
            return reply(
                received,
                Kind::Reset,
                id,
                tag,
                &Frame::Close(Close { failure }),
                out,
            );
        }
        let size = usize::from(hello.datagram_size);
        let config = self.config.session.clone();
        let Some(session) = IncomingSession::new(now, config, id, tag, received.source, size)
        else {
            return Route::Drop(DropReason::Malformed);
        };
        self.sessions += 1;
        *self.by_address.entry(received.source.ip()).or_default() += 1;
        Route::Incoming(Box::new(session))
    }

    fn answer_version(
        &mut self,
        now: Instant,
        received: &Received<'_>,
        invariant: Invariant,
        out: &mut TransmitBuf<'_>,
    ) -> Route {
        let is_list = invariant.version == VERSION_LIST;
        if is_list || received.data.len() < MIN_DATAGRAM || !self.replies.take(now) {
            return Route::Drop(DropReason::Ignored);
        }
        out.push(|bytes| encode_versions(bytes, invariant.session));
        Route::Reply(out.finish(received.source, Ecn::NotEct))
    }

    /// A session that we do not know, or not any more: its sender need not wait for us.
    fn answer_unknown(
        &mut self,
        now: Instant,
        received: &Received<'_>,
        header: Header,
        out: &mut TransmitBuf<'_>,
    ) -> Route {
        let (tag, frames) = match Packet::decode(received.data) {
            Ok(Packet::Frames { tag, frames, .. }) => (tag, frames),
            Err(DecodeError::Checksum) => return Route::Drop(DropReason::Checksum),
            _ => return Route::Drop(DropReason::Malformed),
        };
        let is_goodbye = frames.iter().any(|frame| matches!(frame, Frame::Close(_)));
        if !self.replies.take(now) {
            return Route::Drop(DropReason::Ignored);
        }
        let failure = (!is_goodbye).then(|| Failure::from(ErrorCode::PEER_LOST));
        let close = Frame::Close(Close { failure });
        reply(received, Kind::Reset, header.session, tag, &close, out)
    }

    /// A session that this router made has ended. `peer` is the address that it had at first.
    pub fn on_closed(&mut self, now: Instant, session: SessionId, peer: SocketAddr) {
        self.sessions = self.sessions.saturating_sub(1);
        if let Some(count) = self.by_address.get_mut(&peer.ip()) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_address.remove(&peer.ip());
            }
        }
        self.forget_ended(now);
        if self.ended.len() == MAX_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back((now, session));
    }

    fn forget_ended(&mut self, now: Instant) {
        while self
            .ended
            .front()
            .is_some_and(|ended| now.since(ended.0) > TOKEN_LIFETIME)
        {
            self.ended.pop_front();
        }
    }

    /// A token: when it was made, and a keyed hash over that and everything that it is good for.
    fn token(
        &self,
        now: Instant,
        source: SocketAddr,
        session: SessionId,
        tag: u64,
    ) -> [u8; TOKEN_LEN] {
        let made = now.as_nanos().to_be_bytes();
        let mut input = Vec::with_capacity(64);
        input.extend_from_slice(&made);
        match source.ip() {
            IpAddr::V4(ip) => input.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => input.extend_from_slice(&ip.octets()),
        }
        input.extend_from_slice(&source.port().to_be_bytes());
        input.extend_from_slice(&session.0.to_be_bytes());
        input.extend_from_slice(&tag.to_be_bytes());
        let mac = blake3::keyed_hash(&self.config.secret, &input);
        let mut token = [0; TOKEN_LEN];
        for (to, from) in token.iter_mut().zip(made.iter().chain(mac.as_bytes())) {
            *to = *from;
        }
        token
    }

    fn token_is_valid(
        &self,
        now: Instant,
        token: &[u8],
        source: SocketAddr,
        session: SessionId,
        tag: u64,
    ) -> bool {
        let (Some(made), TOKEN_LEN) = (token.first_chunk::<8>(), token.len()) else {
            return false;
        };
        let made = Instant::from_nanos(u64::from_be_bytes(*made));
        let expected = self.token(made, source, session, tag);
        // All bytes are compared whatever they are: the time taken tells nothing about the hash.
        let difference = token
            .iter()
            .zip(&expected)
            .fold(0, |acc, (a, b)| acc | (a ^ b));
        difference == 0 && made <= now && now.since(made) <= TOKEN_LIFETIME
    }
}

/// Answers `received` with one frame, unless the answer would be larger.
fn reply(
    received: &Received<'_>,
    kind: Kind,
    session: SessionId,
    tag: u64,
    frame: &Frame<'_>,
    out: &mut TransmitBuf<'_>,
) -> Route {
    let mut packet = FrameWriter::new(kind, session, PacketNumber(0), tag, received.data.len());
    if !packet.push(frame) {
        return Route::Drop(DropReason::Ignored);
    }
    out.push(|bytes| packet.finish(bytes));
    Route::Reply(out.finish(received.source, Ecn::NotEct))
}

#[cfg(test)]
mod tests;
