//! A filter in the kernel for what belongs to no session, so that a flood of it is dropped before
//! it takes room in the socket's buffer or time of the loop (SPEC.md, `stateless-answers`).
//!
//! It is a classic packet filter, which needs no privilege. What a session of the list may own
//! always passes; of each other [`Class`] the kernel lets through a share, at random: so much that
//! newcomers still get in, and that the end of a flood can be seen.

use xfer_proto::config::MIN_DATAGRAM;
use xfer_proto::id::SessionId;
use xfer_proto::wire::header::{HEADER_LEN, Invariant, Kind, VERSION, VERSION_LIST};

/// Bytes of the shortest packet: a header and a checksum.
const MIN_PACKET: usize = HEADER_LEN + 4;
/// What a receiver takes besides [`Kind::Hello`].
const SESSION_KINDS: [Kind; 4] = [Kind::Data, Kind::Part, Kind::Parity, Kind::Control];

/// What can be seen of a datagram that belongs to no session from its first bytes. Where the kernel
/// has put several together, it judges all of them by the first and by the length of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// No packet that a receiver takes.
    Garbage,
    /// It asks for a session, in whatever version.
    Hello,
    /// It is for a session that the receiver does not know.
    Stray,
}

impl Class {
    /// The class of what came in one piece and begins with these bytes, if no session owns it.
    pub(crate) fn of(arrival: &[u8]) -> Self {
        let Ok(head) = Invariant::decode(arrival) else {
            return Self::Garbage;
        };
        if arrival.len() < MIN_PACKET {
            return Self::Garbage;
        }
        if head.version != VERSION {
            let may_be_asked = head.version != VERSION_LIST && arrival.len() >= MIN_DATAGRAM;
            return [Self::Garbage, Self::Hello][usize::from(may_be_asked)];
        }
        let is = |kind: &Kind| *kind as u8 == head.kind_bits;
        match arrival.get(1) {
            Some(0) if is(&Kind::Hello) => Self::Hello,
            Some(0) if SESSION_KINDS.iter().any(is) => Self::Stray,
            _ => Self::Garbage,
        }
    }
}

/// Which part of a class passes, in steps of `2^-32`: one of them with 0, all with [`ALL`].
pub(crate) type Share = u32;

/// A class passes whole.
pub(crate) const ALL: Share = Share::MAX;

/// What passes: a share of each class, and everything of these sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sieve {
    /// Of [`Class::Garbage`].
    pub(crate) garbage: Share,
    /// Of [`Class::Hello`].
    pub(crate) hello: Share,
    /// Of [`Class::Stray`]. With [`ALL`], `sessions` does not matter.
    pub(crate) stray: Share,
    /// The sessions whose packets are no strays.
    pub(crate) sessions: Vec<SessionId>,
}

impl Default for Sieve {
    fn default() -> Self {
        Self {
            garbage: ALL,
            hello: ALL,
            stray: ALL,
            sessions: Vec::new(),
        }
    }
}

impl Sieve {
    /// Most sessions that it can tell from strays: the kernel bounds a filter's memory, by 20,480
    /// bytes on older systems, and looks at one after the other.
    pub(crate) const MAX_SESSIONS: usize = 1_024;

    /// Whether everything passes.
    pub(crate) fn is_open(&self) -> bool {
        (self.garbage, self.hello, self.stray) == (ALL, ALL, ALL)
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::apply;

/// There is no such filter here.
#[cfg(not(target_os = "linux"))]
pub(super) fn apply(_socket: &std::net::UdpSocket, _sieve: &Sieve) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{
        ALL, Kind, MIN_DATAGRAM, MIN_PACKET, SESSION_KINDS, Share, Sieve, VERSION, VERSION_LIST,
    };
    use socket2::{SockFilter, SockRef};
    use std::io;
    use std::net::UdpSocket;

    /// Bytes of the UDP header, where the kernel lets a filter of a UDP socket begin.
    const UDP_HEADER: usize = 8;
    const FLAGS_AT: u32 = UDP_HEADER as u32 + 1;
    const SESSION_AT: u32 = UDP_HEADER as u32 + 2;
    /// Kernel: `SKF_AD_OFF + SKF_AD_RANDOM`, where a load finds a random number.
    const RANDOM_AT: u32 = (-0x1000_i32 + 56) as u32;
    // Kernel: codes of instructions, see bpf_common.h.
    const LOAD_WORD: u16 = 0x20;
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_LENGTH: u16 = 0x80;
    const SHIFT_RIGHT: u16 = 0x74;
    const JUMP: u16 = 0x05;
    const IF_EQUAL: u16 = 0x15;
    const IF_AT_LEAST: u16 = 0x35;
    const IF_ABOVE: u16 = 0x25;
    const RETURN: u16 = 0x06;
    /// Most instructions that a test can skip.
    const MAX_JUMP: usize = u8::MAX as usize;
    const DROP: u32 = 0;
    /// Bytes of the datagram to keep.
    const PASS: u32 = u32::MAX;

    /// An instruction: its code, how many to skip if it holds and if not, its operand.
    type Code = (u16, u8, u8, u32);

    /// Lets `sieve` take effect on `socket`.
    pub(in super::super) fn apply(socket: &UdpSocket, sieve: &Sieve) -> io::Result<()> {
        let socket = SockRef::from(socket);
        if sieve.is_open() {
            return detach(&socket);
        }
        let filter =
            |(code, then, otherwise, operand)| SockFilter::new(code, then, otherwise, operand);
        let program: Vec<SockFilter> = program(sieve).into_iter().map(filter).collect();
        socket.attach_filter(&program).or_else(|_| {
            // While one is replaced the kernel charges the socket with both.
            detach(&socket)?;
            socket.attach_filter(&program)
        })
    }

    /// It is no error that there is none.
    fn detach(socket: &SockRef<'_>) -> io::Result<()> {
        match socket.detach_filter() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn program(sieve: &Sieve) -> Vec<Code> {
        let (garbage, hello) = (end(sieve.garbage), end(sieve.hello));
        let long = |len: usize| (UDP_HEADER + len) as u32;
        let mut program = vec![plain(LOAD_LENGTH, 0)];
        unless(&mut program, IF_AT_LEAST, &[long(MIN_PACKET)], &garbage);

        let mut other_version = Vec::new();
        unless(&mut other_version, IF_AT_LEAST, &[1], &garbage);
        other_version.push(plain(LOAD_LENGTH, 0));
        unless(
            &mut other_version,
            IF_AT_LEAST,
            &[long(MIN_DATAGRAM)],
            &garbage,
        );
        other_version.extend(&hello);
        const { assert!(VERSION_LIST == 0, "the version that is not at least 1") };
        program.push(plain(LOAD_BYTE, UDP_HEADER as u32));
        program.push(plain(SHIFT_RIGHT, 4));
        unless(&mut program, IF_EQUAL, &[VERSION.into()], &other_version);

        program.push(plain(LOAD_BYTE, FLAGS_AT));
        unless(&mut program, IF_EQUAL, &[0], &garbage);

        let first_byte = |kind: Kind| u32::from(VERSION << 4 | kind as u8);
        let mut no_hello = Vec::new();
        unless(
            &mut no_hello,
            IF_EQUAL,
            &SESSION_KINDS.map(first_byte),
            &garbage,
        );
        no_hello.extend(strays(sieve));
        // What is behind the border of a jump comes first, the short way last.
        program.push(plain(LOAD_BYTE, UDP_HEADER as u32));
        let over_the_short_way = hello.len() as u8;
        let is_hello = (IF_EQUAL, 0, over_the_short_way, first_byte(Kind::Hello));
        program.push(is_hello);
        program.extend(hello);
        program.extend(no_hello);
        program
    }

    /// Everything of the sieve's sessions passes, and a share of the rest. Half of an id has to do:
    /// who does not know one meets it by one packet in millions, and it takes a fifth of the
    /// memory.
    fn strays(sieve: &Sieve) -> Vec<Code> {
        let mut program = Vec::new();
        if sieve.stray < ALL {
            program.push(plain(LOAD_WORD, SESSION_AT + 4));
            for sessions in sieve.sessions.chunks(MAX_JUMP) {
                for (at, session) in sessions.iter().enumerate() {
                    let over = (sessions.len() - at) as u8;
                    program.push((IF_EQUAL, over, 0, session.0 as u32));
                }
                program.push(plain(JUMP, 1));
                program.push(plain(RETURN, PASS));
            }
        }
        program.extend(end(sieve.stray));
        program
    }

    /// The end for a class of which this much passes.
    fn end(share: Share) -> Vec<Code> {
        vec![
            plain(LOAD_WORD, RANDOM_AT),
            (IF_ABOVE, 0, 1, share),
            plain(RETURN, DROP),
            plain(RETURN, PASS),
        ]
    }

    /// `otherwise` for what fulfils the condition with none of `values`.
    fn unless(program: &mut Vec<Code>, test: u16, values: &[u32], otherwise: &[Code]) {
        let behind = values.len() + otherwise.len();
        for (at, &value) in values.iter().enumerate() {
            // Short by construction: a few tests and a class's end.
            let over = u8::try_from(behind - at - 1).unwrap_or(u8::MAX);
            program.push((test, over, 0, value));
        }
        program.extend(otherwise);
    }

    const fn plain(code: u16, operand: u32) -> Code {
        (code, 0, 0, operand)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

    /// One in `2^32`.
    const SHUT: Share = 0;
    const OURS: SessionId = SessionId(0x1234_5678_9abc_def0);

    fn datagram(first: u8, flags: u8, session: SessionId, len: usize) -> Vec<u8> {
        let mut bytes = vec![first, flags];
        bytes.extend(session.0.to_be_bytes());
        bytes.resize(len, 0);
        bytes
    }

    /// What of `datagrams` passes `sieve`, with either version of IP.
    fn passed(sieve: &Sieve, datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let passed = passed_at(SocketAddr::from(([127, 0, 0, 1], 0)), sieve, datagrams);
        let is_random = [sieve.garbage, sieve.hello, sieve.stray]
            .iter()
            .any(|share| ![SHUT, ALL].contains(share));
        // A host may have no IPv6.
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        if !is_random && UdpSocket::bind(v6).is_ok() {
            assert!(passed_at(v6, sieve, datagrams) == passed);
        }
        passed
    }

    /// The loopback delivers before `send_to` returns.
    fn passed_at(address: SocketAddr, sieve: &Sieve, datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let here = UdpSocket::bind(address).unwrap();
        let there = UdpSocket::bind(address).unwrap();
        there.set_nonblocking(true).unwrap();
        apply(&there, sieve).unwrap();
        let mut buffer = [0; 2_000];
        let mut got = Vec::new();
        for datagram in datagrams {
            here.send_to(datagram, there.local_addr().unwrap()).unwrap();
            if let Ok(len) = there.recv(&mut buffer) {
                got.push(buffer[..len].to_vec());
            }
        }
        got
    }

    /// One of every first byte, with lengths at the borders.
    fn all_kinds(session: SessionId) -> Vec<Vec<u8>> {
        let lengths = [0, 1, 9, 10, 21, 22, 1_199, 1_200, 1_472];
        let whole = |first, flags| lengths.map(|len| (first, flags, len));
        (0..=u8::MAX)
            .flat_map(|first| [whole(first, 0), whole(first, 4)])
            .flatten()
            .map(|(first, flags, len)| {
                let mut bytes = datagram(first, flags, session, len.max(10));
                bytes.truncate(len);
                bytes
            })
            .collect()
    }

    #[test]
    fn the_kernel_sees_the_same_classes() {
        let all = all_kinds(SessionId(5));
        let sieves = [
            (Class::Garbage, [ALL, SHUT, SHUT]),
            (Class::Hello, [SHUT, ALL, SHUT]),
            (Class::Stray, [SHUT, SHUT, ALL]),
        ];
        for (open, [garbage, hello, stray]) in sieves {
            let sieve = Sieve {
                garbage,
                hello,
                stray,
                sessions: vec![OURS],
            };
            let mut expected = all.clone();
            expected.retain(|datagram| Class::of(datagram) == open);
            assert!(!expected.is_empty());
            assert!(passed(&sieve, &all) == expected, "{open:?}");
        }
    }

    #[test]
    fn sessions_of_the_list_pass_and_no_other() {
        let near = [0, 1, 1 << 16, 1 << 31].map(|bit| SessionId(OURS.0 ^ bit));
        let last = SessionId(OURS.0 ^ (1 << 31));
        for count in [2, 255, 256, 257, Sieve::MAX_SESSIONS] {
            let mut sessions = vec![OURS];
            sessions.extend((2..count as u64).map(SessionId));
            sessions.push(last);
            let sieve = Sieve {
                garbage: SHUT,
                hello: SHUT,
                stray: SHUT,
                sessions,
            };
            let all: Vec<Vec<u8>> = near.iter().flat_map(|&id| all_kinds(id)).collect();
            let mut expected = [all_kinds(OURS), all_kinds(last)].concat();
            expected.retain(|datagram| Class::of(datagram) == Class::Stray);
            assert!(passed(&sieve, &all) == expected, "{count} sessions");
        }
    }

    #[test]
    fn a_part_of_a_class_passes_and_an_open_sieve_lets_all_through() {
        let garbage = vec![vec![0xff; 30]; 4_096];
        let one_in_eight = Sieve {
            garbage: ALL / 8,
            ..Sieve::default()
        };
        // Within seven standard deviations.
        let count = passed(&one_in_eight, &garbage).len();
        assert!((364..=660).contains(&count), "{count} of 4,096");
        assert!(Sieve::default().is_open());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        apply(&socket, &one_in_eight).unwrap();
        apply(&socket, &Sieve::default()).unwrap();
        apply(&socket, &Sieve::default()).expect("nothing to take off");
    }
}
