use super::*;
use crate::config::{PROGRESS_WINDOW, PROGRESS_WINDOWS};
use crate::machine::{Input, Machine, Output};
use crate::wire::frame::{Hello, Ping};
use crate::wire::packet::encode_part;
use alloc::vec;

const SECRET: [u8; 32] = [7; 32];
const ID: SessionId = SessionId(0xfeed);
const TAG: u64 = 99;

fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn hello(token: &[u8], size: usize) -> Vec<u8> {
    hello_of(ID, token, size)
}

fn hello_of(id: SessionId, token: &[u8], size: usize) -> Vec<u8> {
    let mut packet = FrameWriter::new(Kind::Hello, id, PacketNumber(0), TAG, size);
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
        if let Route::Reply(transmit) | Route::Full(transmit, _) = &route {
            assert!(
                transmit.len <= data.len(),
                "the answer is larger than the question"
            );
            assert_eq!(transmit.destination, source);
        }
        route
    }

    fn token(&mut self, source: SocketAddr) -> Vec<u8> {
        self.token_of(ID, source, &[])
    }

    /// The token that a `Hello` with `token` gets.
    fn token_of(&mut self, id: SessionId, source: SocketAddr, token: &[u8]) -> Vec<u8> {
        let route = self.route(source, &hello_of(id, token, 1_200));
        assert!(matches!(route, Route::Reply(_)), "{route:?}");
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
        // SPEC: R-train-3
        assert_eq!(retry.arrived_at_us, self.now.as_micros());
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
    let Route::Incoming(session) = bench.route(peer(1), &hello(&token, 200)) else {
        panic!("not opened");
    };
    let other = bench.token(peer(2));
    let crowd = Crowd::Of(peer(1).ip());
    for is_first in [true, false] {
        match bench.route(peer(2), &hello(&other, 200)) {
            Route::Full(_, full) if is_first => assert_eq!(full, crowd),
            Route::Reply(_) if !is_first => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(weakest(crowd, [&*session].into_iter()), None, "it is new");
    bench.router.on_closed(bench.now, &session);
    let mut part = Vec::new();
    encode_part(&mut part, ID, PacketNumber(9), (0, 0), &[0; 600], &[]);
    // SPEC: R-closing-6
    for late in [hello(&token, 200), part] {
        bench.now = bench.now + CLOSE_INTERVAL;
        match bench.route(peer(1), &late) {
            Route::Reply(close) => assert!(close.len <= late.len()),
            other => panic!("a late packet opens nothing: {other:?}"),
        }
        let other = bench.route(peer(3), &late);
        assert!(!matches!(other, Route::Incoming(_)));
    }
}

/// Opens a session of a peer of its own, and ends it.
fn open_and_end(bench: &mut Bench, id: u64) -> Vec<u8> {
    let (id, source) = (SessionId(id), peer(id as u16));
    let token = bench.token_of(id, source, &[]);
    let hello = hello_of(id, &token, 1_200);
    let Route::Incoming(session) = bench.route(source, &hello) else {
        panic!("not opened");
    };
    bench.router.on_closed(bench.now, &session);
    hello
}

#[test]
fn what_was_forgotten_too_early_opens_nothing_and_newcomers_ask_again() {
    // SPEC: R-handshake-5
    let mut bench = Bench::new();
    let newcomer = (SessionId(0xabcd_0000), peer(0xabcd));
    let captured = open_and_end(&mut bench, 1);
    let mut waiting = bench.token_of(newcomer.0, newcomer.1, &[]);
    for id in 2..=5_000 {
        bench.now = bench.now + Duration::from_millis(1);
        open_and_end(&mut bench, id);
    }
    assert!(!bench.router.ended.contains(SessionId(1)), "forgotten");
    let route = bench.route(peer(1), &captured);
    assert!(matches!(route, Route::Reply(_)), "{route:?}");
    let Ok(Packet::Frames { header, .. }) = Packet::decode(&bench.reply) else {
        panic!("no frames");
    };
    assert_eq!(header.kind, Kind::Retry, "it has to prove itself anew");
    // A token from before what was forgotten costs a round trip, in which the crowd goes on.
    waiting = bench.token_of(newcomer.0, newcomer.1, &waiting);
    for id in 5_001..=9_000 {
        bench.now = bench.now + Duration::from_micros(50);
        // Of this crowd more end than tokens are made for in one turn of the budget.
        bench.router.tokens = ReplyBudget::new(MAX_TOKENS);
        open_and_end(&mut bench, id);
    }
    let hello = hello_of(newcomer.0, &waiting, 1_200);
    assert!(matches!(
        bench.route(newcomer.1, &hello),
        Route::Incoming(_)
    ));
}

#[test]
fn no_token_is_made_for_a_session_that_ended() {
    // SPEC: R-handshake-5
    let mut bench = Bench::new();
    open_and_end(&mut bench, 1);
    let asking = hello_of(SessionId(1), &[], 1_200);
    assert!(matches!(bench.route(peer(1), &asking), Route::Reply(_)));
    let Ok(Packet::Frames { frames, .. }) = Packet::decode(&bench.reply) else {
        panic!("no frames");
    };
    assert!(matches!(frames.as_slice(), [Frame::Close(_)]), "{frames:?}");
    assert!(matches!(bench.route(peer(2), &asking), Route::Drop(_)));
    bench.now = bench.now + TOKEN_LIFETIME + CLOSE_INTERVAL;
    bench.token_of(SessionId(1), peer(1), &[]);
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

fn open(bench: &mut Bench) -> Box<IncomingSession> {
    let token = bench.token(peer(1));
    let hello = hello(&token, 200);
    let Route::Incoming(mut session) = bench.route(peer(1), &hello) else {
        panic!("not opened");
    };
    let received = Received {
        source: peer(1),
        ecn: Ecn::NotEct,
        data: &hello,
    };
    session.handle(bench.now, Input::Datagram(received));
    poll(bench.now, &mut session);
    session
}

/// Polls until there is nothing to do; answers whether the session is over.
fn poll(now: Instant, session: &mut IncomingSession) -> bool {
    let mut bytes = Vec::new();
    loop {
        match session.poll(now, &mut TransmitBuf::new(&mut bytes, 1)) {
            Output::Wait(_) => return false,
            Output::Done => return true,
            _ => {}
        }
    }
}

#[test]
fn who_missed_the_goodbye_gets_it_again() {
    // SPEC: R-closing-6
    let mut bench = Bench::new();
    let mut session = open(&mut bench);
    let reason = Failure::new(ErrorCode::QUOTA, "x".repeat(200));
    session.handle(bench.now, Input::Abort(reason));
    assert!(poll(bench.now, &mut session), "it said goodbye, once");
    bench.router.on_closed(bench.now, &session);
    let mut data = Vec::new();
    crate::wire::packet::encode_data(&mut data, ID, PacketNumber(1), 0, &[0; 1_100]);
    let mut damaged = data.clone();
    damaged[30] ^= 1;
    for (source, data) in [(peer(2), &data), (peer(1), &damaged)] {
        assert!(matches!(bench.route(source, data), Route::Drop(_)));
    }
    let mut numbers = Vec::new();
    for _ in 0..3 {
        assert!(matches!(bench.route(peer(1), &data), Route::Reply(_)));
        let Ok(Packet::Frames {
            header,
            tag: TAG,
            frames,
        }) = Packet::decode(&bench.reply)
        else {
            panic!("no frames");
        };
        assert_eq!(header.kind, Kind::Control);
        numbers.push(header.number.0);
        let [Frame::Close(close)] = frames.as_slice() else {
            panic!("{frames:?}");
        };
        assert_eq!(close.failure.as_ref().unwrap().code, ErrorCode::QUOTA);
        assert!(
            matches!(bench.route(peer(1), &data), Route::Drop(_)),
            "so soon"
        );
        bench.now = bench.now + CLOSE_INTERVAL;
    }
    assert!(
        numbers.is_sorted() && numbers[0] < numbers[2],
        "{numbers:?}"
    );
    // A small question gets a small answer, without the text.
    let ping = Frame::Ping(Ping {
        sent_end: 0,
        interval_us: 0,
    });
    let mut packet = FrameWriter::new(Kind::Control, ID, PacketNumber(9), TAG, 1_200);
    packet.push(&ping);
    packet.push(&ping);
    let mut small = Vec::new();
    packet.finish(&mut small);
    assert!(matches!(bench.route(peer(1), &small), Route::Reply(_)));
    bench.now = bench.now + TOKEN_LIFETIME + CLOSE_INTERVAL;
    bench.router.ended.expire(bench.now);
    assert!(matches!(bench.route(peer(1), &data), Route::Drop(_)));
}

#[test]
fn a_session_that_gets_nowhere_gives_its_place() {
    // SPEC: R-progress-2
    let mut bench = Bench::new();
    let mut session = open(&mut bench);
    let weak = |session: &IncomingSession| weakest(Crowd::All, [session].into_iter());
    assert_eq!(weak(&session), None);
    for _ in 0..PROGRESS_WINDOWS - 1 {
        bench.now = bench.now + PROGRESS_WINDOW;
        assert!(!poll(bench.now, &mut session));
        assert_eq!(weak(&session), Some(ID));
        // A sign of life is no progress.
        let ping = Frame::Ping(Ping {
            sent_end: 0,
            interval_us: 0,
        });
        let number = PacketNumber(bench.now.as_nanos());
        let mut packet = FrameWriter::new(Kind::Control, ID, number, TAG, 1_200);
        packet.push(&ping);
        let mut data = Vec::new();
        packet.finish(&mut data);
        let received = Received {
            source: peer(1),
            ecn: Ecn::NotEct,
            data: &data,
        };
        session.handle(bench.now, Input::Datagram(received));
    }
    let elsewhere = Crowd::Of(SocketAddr::from(([10, 9, 9, 9], 1)).ip());
    assert_eq!(weakest(elsewhere, [&*session].into_iter()), None);
    bench.now = bench.now + PROGRESS_WINDOW;
    assert!(poll(bench.now, &mut session), "its time is up");
}

#[test]
fn a_flood_of_hellos_gets_so_many_answers_and_newcomers_get_theirs_later() {
    // SPEC: R-handshake-2
    let mut bench = Bench::new();
    let packet = hello(&[], 1_200);
    let mut answers = 0;
    for _ in 0..10_000 {
        answers += u32::from(matches!(bench.route(peer(1), &packet), Route::Reply(_)));
    }
    assert_eq!(answers, MAX_TOKENS.0);
    bench.now = bench.now + MAX_TOKENS.1;
    assert!(matches!(bench.route(peer(2), &packet), Route::Reply(_)));
}
