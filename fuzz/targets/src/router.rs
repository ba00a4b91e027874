//! Datagrams of strangers.

use crate::packets::{frames_packet, with_checksum};
use arbitrary::{Arbitrary, Result, Unstructured};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use xfer_proto::config::MIN_DATAGRAM;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::{PacketNumber, SessionId};
use xfer_proto::machine::Received;
use xfer_proto::router::{Route, Router, RouterConfig};
use xfer_proto::session::IncomingSession;
use xfer_proto::time::{Duration, Instant};
use xfer_proto::transmit::{Ecn, TransmitBuf};
use xfer_proto::wire::frame::{Close, Frame, Hello};
use xfer_proto::wire::header::Kind;
use xfer_proto::wire::packet::{FrameWriter, Packet, encode_data};

const MAX_SESSIONS: usize = 6;
const MAX_SESSIONS_PER_ADDRESS: usize = 3;

/// What happens at the door.
#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Raw {
        from: u8,
        data: &'a [u8],
    },
    Hello {
        from: u8,
        session: u8,
        tag: u8,
        token: Token<'a>,
        datagram_size: u16,
        padding: u16,
    },
    Data {
        from: u8,
        session: u8,
        chunk: u64,
        payload: &'a [u8],
    },
    Control {
        from: u8,
        session: u8,
        is_goodbye: bool,
    },
    Wait {
        millis: u16,
    },
    Closed {
        session: u8,
    },
}

#[derive(Arbitrary, Debug)]
enum Token<'a> {
    None,
    /// The last one that was given to anyone.
    Last,
    Forged(&'a [u8]),
}

/// Nobody gets back more than he sent, no session opens without a proven address, and never too
/// many.
pub fn router(data: &[u8]) {
    // There is nothing to see where the bytes do not suffice to say what happens.
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let mut door = Door::new();
    while !u.is_empty() {
        door.step(u.arbitrary()?);
    }
    Ok(())
}

/// Who a token was made for: source, session, tag, and when.
type Grant = (SocketAddr, SessionId, u64, Instant);

struct Door {
    router: Router,
    now: Instant,
    sessions: BTreeMap<SessionId, Box<IncomingSession>>,
    last_token: Vec<u8>,
    grants: Vec<(Vec<u8>, Grant)>,
    reply: Vec<u8>,
}

impl Door {
    fn new() -> Self {
        let mut config = RouterConfig::new([7; 32]);
        config.max_sessions = MAX_SESSIONS;
        config.max_sessions_per_address = MAX_SESSIONS_PER_ADDRESS;
        Self {
            router: Router::new(config),
            now: Instant::from_millis(1_000),
            sessions: BTreeMap::new(),
            last_token: Vec::new(),
            grants: Vec::new(),
            reply: Vec::new(),
        }
    }

    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Raw { from, data } => self.route(address(from), &with_checksum(data), None),
            Step::Hello {
                from,
                session,
                tag,
                token,
                datagram_size,
                padding,
            } => {
                let token = match token {
                    Token::None => Vec::new(),
                    Token::Last => self.last_token.clone(),
                    Token::Forged(bytes) => bytes.get(..64).unwrap_or(bytes).to_vec(),
                };
                let hello = Hello {
                    token: &token,
                    datagram_size,
                    interval_us: 0,
                };
                let (session, tag) = (SessionId(session.into()), u64::from(tag));
                let data = hello_packet(session, tag, &hello, usize::from(padding) % 2_000);
                self.route(address(from), &data, Some((&token, session, tag)));
            }
            Step::Data {
                from,
                session,
                chunk,
                payload,
            } => {
                let mut data = Vec::new();
                let session = SessionId(session.into());
                encode_data(&mut data, session, PacketNumber(0), chunk, payload);
                self.route(address(from), &data, None);
            }
            Step::Control {
                from,
                session,
                is_goodbye,
            } => {
                let failure = (!is_goodbye).then(|| Failure::from(ErrorCode::BUSY));
                let frames = [Frame::Close(Close { failure })];
                let session = SessionId(session.into());
                let data = frames_packet(Kind::Control, session, 0, 0, &frames);
                self.route(address(from), &data, None);
            }
            Step::Wait { millis } => {
                self.now = self.now + Duration::from_millis(u64::from(millis) * 16)
            }
            Step::Closed { session } => {
                let session = SessionId(session.into());
                if let Some(session) = self.sessions.remove(&session) {
                    self.router.on_closed(self.now, &session);
                }
            }
        }
    }

    fn route(&mut self, source: SocketAddr, data: &[u8], hello: Option<(&[u8], SessionId, u64)>) {
        let mut out = TransmitBuf::new(&mut self.reply, 1);
        let received = Received {
            source,
            ecn: Ecn::NotEct,
            data,
        };
        let sessions = &self.sessions;
        let peer_of = |id: SessionId| sessions.get(&id).map(|session| session.peer());
        let route = self.router.route(self.now, &received, peer_of, &mut out);
        match route {
            Route::Session(id) => assert!(self.sessions.contains_key(&id)),
            Route::Incoming(session) => {
                assert!(data.len() >= 40 && session.peer() == source);
                if let Some((token, id, tag)) = hello {
                    assert_eq!(session.id(), id);
                    assert!(self.was_granted(token, source, id, tag), "a forged token");
                }
                let before = self.sessions.insert(session.id(), session);
                assert!(before.is_none(), "a session opened twice");
                assert!(self.sessions.len() <= MAX_SESSIONS);
                let addresses = self.sessions.values().map(|it| it.peer().ip());
                let of_this = addresses.filter(|ip| *ip == source.ip()).count();
                assert!(of_this <= MAX_SESSIONS_PER_ADDRESS);
            }
            Route::Reply(transmit) | Route::Full(transmit, _) => {
                assert_eq!(transmit.destination, source);
                assert!(transmit.len <= data.len(), "an amplifier");
                assert_eq!(transmit.len, self.reply.len());
                self.on_reply(source, data.len());
            }
            Route::Drop(_) => {}
        }
    }

    fn on_reply(&mut self, source: SocketAddr, asked: usize) {
        match Packet::decode(&self.reply) {
            Ok(Packet::Versions { .. }) => assert!(asked >= MIN_DATAGRAM),
            Ok(Packet::Frames {
                header,
                tag,
                frames,
            }) => match frames.as_slice() {
                [Frame::Retry(retry)] => {
                    assert!(asked >= MIN_DATAGRAM);
                    self.last_token = retry.token.to_vec();
                    let grant = (source, header.session, tag, self.now);
                    self.grants.push((self.last_token.clone(), grant));
                }
                [Frame::Close(_)] => assert!(matches!(header.kind, Kind::Reset | Kind::Control)),
                other => panic!("a stateless answer of {other:?}"),
            },
            other => panic!("a stateless answer of {other:?}"),
        }
    }

    fn was_granted(&self, token: &[u8], source: SocketAddr, id: SessionId, tag: u64) -> bool {
        let lifetime = xfer_proto::config::TOKEN_LIFETIME;
        self.grants.iter().any(|(granted, grant)| {
            granted == token
                && (grant.0, grant.1, grant.2) == (source, id, tag)
                && self.now.since(grant.3) <= lifetime
        })
    }
}

/// Few addresses and few ports, so that they meet.
fn address(from: u8) -> SocketAddr {
    let port = 1_000 + u16::from(from >> 4 & 3);
    if from & 0x80 == 0 {
        SocketAddr::from(([10, 0, 0, from & 3], port))
    } else {
        SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, u16::from(from & 3)], port))
    }
}

fn hello_packet(session: SessionId, tag: u64, hello: &Hello<'_>, size: usize) -> Vec<u8> {
    let mut packet = FrameWriter::new(Kind::Hello, session, PacketNumber(0), tag, size.max(200));
    assert!(packet.push(&Frame::Hello(*hello)));
    packet.pad();
    let mut bytes = Vec::new();
    packet.finish(&mut bytes);
    bytes
}
