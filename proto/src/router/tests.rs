use super::*;
use crate::wire::frame::Hello;
use alloc::vec;

const SECRET: [u8; 32] = [7; 32];
const ID: SessionId = SessionId(0xfeed);
const TAG: u64 = 99;

fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn hello(token: &[u8], size: usize) -> Vec<u8> {
    let mut packet = FrameWriter::new(Kind::Hello, ID, PacketNumber(0), TAG, size);
    packet.push(&Frame::Hello(Hello {
        token,
        datagram_size: 1_200,
        interval_us: 1_000,
    }));
    packet.pad();
    let mut bytes = Vec::new();
    packet.finish(&mut bytes);
    bytes
}

struct Bench {
    router: Router,
    now: Instant,
    known: Option<SocketAddr>,
    reply: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let mut config = RouterConfig::new(SECRET);
        config.max_sessions_per_address = 1;
        let router = Router::new(config);
        Self {
            router,
            now: Instant::from_millis(5),
            known: None,
            reply: vec![],
        }
    }

    fn route(&mut self, source: SocketAddr, data: &[u8]) -> Route {
        let mut out = TransmitBuf::new(&mut self.reply, 1);
        let received = Received {
            source,
            ecn: Ecn::NotEct,
            data,
        };
        let known = self.known;
        let route = self.router.route(self.now, &received, |_| known, &mut out);
        if let Route::Reply(transmit) = &route {
            assert!(
                transmit.len <= data.len(),
                "the answer is larger than the question"
            );
            assert_eq!(transmit.destination, source);
        }
        route
    }

    fn token(&mut self, source: SocketAddr) -> Vec<u8> {
        assert!(matches!(
            self.route(source, &hello(&[], 1_200)),
            Route::Reply(_)
        ));
        let Ok(Packet::Frames {
            frames, tag: TAG, ..
        }) = Packet::decode(&self.reply)
        else {
            panic!("no retry");
        };
        let [Frame::Retry(retry)] = frames.as_slice() else {
            panic!("no retry")
        };
        assert_eq!(retry.received_size, 1_200);
        retry.token.to_vec()
    }
}

#[test]
fn a_token_opens_a_session_for_its_address_alone_and_for_a_while() {
    // SPEC: R-handshake-1, R-handshake-3, R-handshake-4
    let mut bench = Bench::new();
    let token = bench.token(peer(1));
    let with_token = hello(&token, 200);
    assert!(
        matches!(bench.route(peer(2), &with_token), Route::Drop(_)),
        "another address"
    );
    let mut altered = token.clone();
    altered[10] ^= 1;
    assert!(matches!(
        bench.route(peer(1), &hello(&altered, 1_200)),
        Route::Reply(_)
    ));
    let Route::Incoming(session) = bench.route(peer(1), &with_token) else {
        panic!("not opened")
    };
    assert_eq!((session.id(), session.peer()), (ID, peer(1)));
    bench.now = bench.now + TOKEN_LIFETIME + Duration::from_nanos(1);
    assert!(
        matches!(bench.route(peer(1), &with_token), Route::Drop(_)),
        "too old"
    );
}

#[test]
fn a_short_hello_gets_no_answer() {
    // SPEC: R-handshake-2
    let mut bench = Bench::new();
    assert!(matches!(
        bench.route(peer(1), &hello(&[], 1_199)),
        Route::Drop(DropReason::Ignored)
    ));
}

#[test]
fn caps_are_kept_and_an_ended_session_stays_ended() {
    // SPEC: R-handshake-5
    let mut bench = Bench::new();
    let token = bench.token(peer(1));
    assert!(matches!(
        bench.route(peer(1), &hello(&token, 200)),
        Route::Incoming(_)
    ));
    let other = bench.token(peer(2));
    assert!(
        matches!(bench.route(peer(2), &hello(&other, 200)), Route::Reply(_)),
        "busy"
    );
    bench.router.on_closed(bench.now, ID, peer(1));
    let again = bench.route(peer(1), &hello(&token, 200));
    assert!(
        matches!(again, Route::Drop(DropReason::Ignored)),
        "a late packet opens nothing"
    );
}

#[test]
fn packets_of_a_known_session_need_its_address_or_a_token() {
    // SPEC: R-address-1
    let mut bench = Bench::new();
    bench.known = Some(peer(1));
    let mut data = Vec::new();
    crate::wire::packet::encode_data(&mut data, ID, PacketNumber(1), 0, b"x");
    assert!(matches!(bench.route(peer(1), &data), Route::Session(ID)));
    assert!(matches!(
        bench.route(peer(2), &data),
        Route::Drop(DropReason::WrongAddress)
    ));
    let token = bench.token(peer(2));
    assert!(matches!(
        bench.route(peer(2), &hello(&token, 200)),
        Route::Session(ID)
    ));
}

#[test]
fn unknown_sessions_and_versions_get_a_small_answer_or_none() {
    // SPEC: R-version-negotiation-1, R-version-negotiation-2, R-stateless-answers-3
    let mut bench = Bench::new();
    let mut data = Vec::new();
    crate::wire::packet::encode_data(&mut data, ID, PacketNumber(1), 0, &[0; 1_400]);
    assert!(matches!(
        bench.route(peer(1), &data),
        Route::Drop(DropReason::Ignored)
    ));
    let mut other = hello(&[], 1_200);
    other[0] = 15 << 4 | 1;
    assert!(matches!(bench.route(peer(1), &other), Route::Reply(_)));
    let list = bench.reply.clone();
    assert_eq!(
        Packet::decode(&list),
        Ok(Packet::Versions {
            session: ID,
            versions: &[VERSION]
        })
    );
    assert!(
        matches!(bench.route(peer(1), &list), Route::Drop(_)),
        "no answer to an answer"
    );
    for len in 0..64 {
        for fill in [0, 0x11, 0x14, 0xff] {
            assert!(matches!(
                bench.route(peer(1), &vec![fill; len]),
                Route::Drop(_)
            ));
        }
    }
}
