//! Decides which session a datagram belongs to, or answers it without state (SPEC.md, `handshake`
//! and `stateless-answers`).

use crate::config::{
    MAX_SESSIONS, MAX_SESSIONS_PER_ADDRESS, MIN_DATAGRAM, ReceiverConfig, TOKEN_LIFETIME,
};
use crate::error::{ErrorCode, Failure};
use crate::id::{PacketNumber, SessionId};
use crate::machine::Received;
use crate::session::{CLOSE_INTERVAL, IncomingSession};
use crate::time::{Duration, Instant};
use crate::transmit::{Ecn, Transmit, TransmitBuf};
use crate::wire::DecodeError;
use crate::wire::frame::{Close, Frame, Retry};
use crate::wire::header::{Header, Invariant, Kind, VERSION, VERSION_LIST};
use crate::wire::packet::{FrameWriter, Packet, encode_versions};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use ended::{Ended, Memory};

mod ended;

/// Bytes of a token: the time it was made and half a BLAKE3 hash.
const TOKEN_LEN: usize = 8 + 16;
/// A driver is asked to make room at most this often: looking for it costs a look at each session.
const FULL_INTERVAL: Duration = Duration::from_millis(100);
/// Stateless answers other than tokens, in so long.
const MAX_REPLIES: (u32, Duration) = (1_000, Duration::from_secs(1));
/// Tokens, in so long: more than a crowd of newcomers asks for, less than what a flood would take
/// of the processor. A newcomer that gets none asks again.
const MAX_TOKENS: (u32, Duration) = (2_000, Duration::from_millis(100));

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
    /// Nowhere, because there are too many sessions; this answer goes out. The driver may end the
    /// [`weakest`] session, so that the sender finds room when it asks again.
    Full(Transmit, Crowd),
    /// Nowhere.
    Drop(DropReason),
}

/// Which sessions are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// All together.
    All,
    /// Those from one address.
    Of(IpAddr),
}

/// Of the sessions that get nowhere, the one that got least far: to be ended for another. Sessions
/// that get on are safe.
pub fn weakest<'a>(
    crowd: Crowd,
    sessions: impl Iterator<Item = &'a IncomingSession>,
) -> Option<SessionId> {
    sessions
        .filter(|session| match crowd {
            Crowd::All => true,
            Crowd::Of(address) => session.peer().ip() == address,
        })
        .filter_map(|session| Some((session.idleness()?, session.id())))
        .min()
        .map(|(_, id)| id)
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
    ended: Memory,
    replies: ReplyBudget,
    tokens: ReplyBudget,
    /// Before this, nobody is asked to make room.
    full_until: Instant,
}

/// Bounds what stateless answers may cost.
#[derive(Debug)]
struct ReplyBudget {
    most: u32,
    period: Duration,
    spent: u32,
    since: Instant,
}

impl ReplyBudget {
    fn new((most, period): (u32, Duration)) -> Self {
        Self {
            most,
            period,
            spent: 0,
            since: Instant::ZERO,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        if now.since(self.since) >= self.period {
            (self.spent, self.since) = (0, now);
        }
        self.spent = self.spent.saturating_add(1);
        self.spent <= self.most
    }
}

impl Router {
    /// A router with no sessions.
    pub fn new(config: RouterConfig) -> Self {
        Self {
            config,
            sessions: 0,
            by_address: BTreeMap::new(),
            ended: Memory::default(),
            replies: ReplyBudget::new(MAX_REPLIES),
            tokens: ReplyBudget::new(MAX_TOKENS),
            full_until: Instant::ZERO,
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
            (Kind::Data | Kind::Part | Kind::Parity | Kind::Control, Some(peer))
                if peer == received.source =>
            {
                Route::Session(header.session)
            }
            (Kind::Data | Kind::Part | Kind::Parity | Kind::Control, Some(_)) => {
                Route::Drop(DropReason::WrongAddress)
            }
            (Kind::Data | Kind::Part | Kind::Parity | Kind::Control, None)
                if self.ended.contains(header.session) =>
            {
                self.answer_late(now, received, header.session, out)
            }
            (Kind::Control, None) => self.answer_unknown(now, received, header, out),
            (Kind::Data | Kind::Part | Kind::Parity | Kind::Retry | Kind::Reset, _) => {
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
        self.ended.expire(now);
        // Whatever it carries: no token is made for what ended, see `Memory::is_token_doubtful`.
        if self.ended.contains(id) {
            return self.answer_late(now, received, id, out);
        }
        if !self.token_is_valid(now, hello.token, received.source, id, tag) {
            if received.data.len() < MIN_DATAGRAM || !self.tokens.take(now) {
                return Route::Drop(DropReason::Ignored);
            }
            let token = self.token(now, received.source, id, tag);
            let received_size = u16::try_from(received.data.len()).unwrap_or(u16::MAX);
            let retry = Frame::Retry(Retry {
                token: &token,
                received_size,
                arrived_at_us: now.as_micros(),
            });
            return reply(received, Kind::Retry, id, tag, &retry, out);
        }
        if peer.is_some() {
            return Route::Session(id);
        }
        let from_address = self
            .by_address
            .get(&received.source.ip())
            .copied()
            .unwrap_or(0);
        if from_address >= self.config.max_sessions_per_address {
            let crowd = Crowd::Of(received.source.ip());
            return self.answer_busy(now, received, (id, tag), crowd, out);
        }
        if self.sessions >= self.config.max_sessions {
            return self.answer_busy(now, received, (id, tag), Crowd::All, out);
        }
        let size = usize::from(hello.datagram_size);
        let config = self.config.session.clone();
        let Some(session) = IncomingSession::new(now, config, id, tag, received.source, size)
        else {
            return Route::Drop(DropReason::Malformed);
        };
        self.sessions = self.sessions.saturating_add(1);
        let from_address = self.by_address.entry(received.source.ip()).or_default();
        *from_address = from_address.saturating_add(1);
        Route::Incoming(Box::new(session))
    }

    fn answer_busy(
        &mut self,
        now: Instant,
        received: &Received<'_>,
        (id, tag): (SessionId, u64),
        crowd: Crowd,
        out: &mut TransmitBuf<'_>,
    ) -> Route {
        let failure = Some(Failure::from(ErrorCode::BUSY));
        let close = Frame::Close(Close { failure });
        match reply(received, Kind::Reset, id, tag, &close, out) {
            Route::Reply(transmit) if self.full_until <= now => {
                self.full_until = now + FULL_INTERVAL;
                Route::Full(transmit, crowd)
            }
            route => route,
        }
    }

    /// A packet of a session that is over: its sender has missed the goodbye, and gets it again.
    fn answer_late(
        &mut self,
        now: Instant,
        received: &Received<'_>,
        id: SessionId,
        out: &mut TransmitBuf<'_>,
    ) -> Route {
        let Some(Ended { epitaph, told }) = self.ended.get_mut(id) else {
            return Route::Drop(DropReason::Ignored);
        };
        if received.source != epitaph.peer {
            return Route::Drop(DropReason::Ignored);
        }
        if told.is_some_and(|told| now.since(told) < CLOSE_INTERVAL) {
            return Route::Drop(DropReason::Ignored);
        }
        match Packet::decode(received.data) {
            Ok(Packet::Data { .. } | Packet::Part { .. } | Packet::Parity { .. }) => {}
            Ok(Packet::Frames { tag, .. }) if tag == epitaph.tag => {}
            Err(DecodeError::Checksum) => return Route::Drop(DropReason::Checksum),
            _ => return Route::Drop(DropReason::Malformed),
        }
        if !self.replies.take(now) {
            return Route::Drop(DropReason::Ignored);
        }
        *told = Some(now);
        let number = PacketNumber(epitaph.next_number);
        epitaph.next_number = epitaph.next_number.saturating_add(1);
        let without_text = epitaph.failure.as_ref().map(|it| Failure::from(it.code));
        let limit = received.data.len();
        for failure in [epitaph.failure.clone(), without_text, None] {
            let mut packet = FrameWriter::new(Kind::Control, id, number, epitaph.tag, limit);
            if packet.push(&Frame::Close(Close { failure })) {
                out.push(|bytes| packet.finish(bytes));
                return Route::Reply(out.finish(received.source, Ecn::NotEct));
            }
        }
        Route::Drop(DropReason::Ignored)
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

    /// A session that this router made has ended.
    pub fn on_closed(&mut self, now: Instant, session: &IncomingSession) {
        let epitaph = session.epitaph();
        self.sessions = self.sessions.saturating_sub(1);
        if let Some(count) = self.by_address.get_mut(&epitaph.first_peer.ip()) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_address.remove(&epitaph.first_peer.ip());
            }
        }
        self.ended.insert(now, session.id(), epitaph);
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
        difference == 0
            && made <= now
            && now.since(made) <= TOKEN_LIFETIME
            && !self.ended.is_token_doubtful(made)
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
