//! Peers made by hand from the packets of the specification: they can say what no program of ours
//! would.

use super::WATCHDOG;
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};
use xfer_proto::config::MIN_DATAGRAM;
use xfer_proto::digest::{leaf_value, root};
use xfer_proto::error::Failure;
use xfer_proto::id::{FileIndex, PacketNumber, SessionId};
use xfer_proto::wire::frame::{Ack, Block, BlockAck, Close, Frame, Hello, Ping, Report, Retry};
use xfer_proto::wire::header::Kind;
use xfer_proto::wire::message::{Message, Verdict, WireEntry};
use xfer_proto::wire::packet::{FrameWriter, Packet, encode_data};

/// What was said is said again after so long without an answer, as every sender does.
const AGAIN: Duration = Duration::from_millis(200);
const MAX_DATAGRAM: usize = 65_536;
/// Most bytes of one piece of the control stream (SPEC.md, `frame-block`).
const MAX_BLOCK: usize = 900;
/// Lines of a manifest in one message, few enough for one packet.
const LINES: usize = 1;

/// A sender.
pub(crate) struct RawSender {
    socket: UdpSocket,
    id: SessionId,
    tag: u64,
    number: u64,
    sequence: u64,
    lines: u32,
    /// Every packet that was sent since the handshake.
    pub(crate) packets: Vec<Vec<u8>>,
    stream: BTreeMap<u64, Vec<u8>>,
    closed: Option<Failure>,
}

impl RawSender {
    /// Does the handshake.
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let seed = u64::from(std::process::id()) << 32;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = u64::from(socket.local_addr().unwrap().port());
        Self::connect_as(socket, to, SessionId(seed | port), seed ^ port << 17)
    }

    /// Another sender that uses the same session and tag.
    pub(crate) fn twin(&self) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Self::connect_as(socket, self.socket.peer_addr().unwrap(), self.id, self.tag)
    }

    fn connect_as(socket: UdpSocket, to: SocketAddr, id: SessionId, tag: u64) -> Self {
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(AGAIN)).unwrap();
        let mut sender = Self {
            socket,
            id,
            tag,
            number: 0,
            sequence: 0,
            lines: 0,
            packets: Vec::new(),
            stream: BTreeMap::new(),
            closed: None,
        };
        let started = Instant::now();
        let token = loop {
            assert!(started.elapsed() < WATCHDOG, "no token");
            let hello = hello(sender.id, sender.tag, &[]);
            sender.socket.send(&hello).unwrap();
            if let Some(token) = sender.receive_token() {
                break token;
            }
        };
        let hello = hello(sender.id, sender.tag, &token);
        sender.packets.push(hello);
        sender.socket.send(&sender.packets[0]).unwrap();
        sender
    }

    /// Asks for many tokens in packets of full length; bytes that went out and came back.
    pub(crate) fn ask_for_tokens(to: SocketAddr, times: u64) -> (usize, usize) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(AGAIN)).unwrap();
        let (mut sent, mut received) = (0, 0);
        for at in 0..times {
            let token = vec![7; usize::from(at % 2 == 1) * 24];
            sent += socket.send(&hello(SessionId(at), at, &token)).unwrap();
        }
        while let Ok(len) = socket.recv(&mut [0; MAX_DATAGRAM]) {
            received += len;
        }
        (sent, received)
    }

    fn receive_token(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; MAX_DATAGRAM];
        let len = self.socket.recv(&mut buffer).ok()?;
        let Ok(Packet::Frames { frames, .. }) = Packet::decode(&buffer[..len]) else {
            return None;
        };
        frames.into_iter().find_map(|frame| match frame {
            Frame::Retry(Retry { token, .. }) => Some(token.to_vec()),
            _ => None,
        })
    }

    /// Sends these bytes as they are.
    pub(crate) fn send_raw(&self, bytes: &[u8]) {
        // A full buffer is a lost datagram, as anywhere.
        let _ = self.socket.send(bytes);
    }

    fn send_packet(&mut self, packet: Vec<u8>) {
        self.send_raw(&packet);
        self.packets.push(packet);
    }

    fn control(&mut self, frame: &Frame<'_>) {
        self.number += 1;
        let number = PacketNumber(self.number);
        let mut packet = FrameWriter::new(Kind::Control, self.id, number, self.tag, MAX_DATAGRAM);
        assert!(packet.push(frame));
        let mut bytes = Vec::new();
        packet.finish(&mut bytes);
        assert!(bytes.len() <= MIN_DATAGRAM || matches!(frame, Frame::Block(_)));
        self.send_packet(bytes);
    }

    /// Sends a message, in as many pieces as it takes.
    fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        for bytes in bytes.chunks(MAX_BLOCK) {
            let sequence = self.sequence;
            self.sequence += 1;
            self.control(&Frame::Block(Block { sequence, bytes }));
        }
    }

    /// Offers these and nothing more.
    pub(crate) fn offer(&mut self, entries: Vec<WireEntry>) {
        for entries in entries.chunks(LINES) {
            self.say(&Message::Offer {
                first: FileIndex(self.lines),
                entries: entries.to_vec(),
            });
            self.lines += entries.len() as u32;
        }
        self.say(&Message::OfferEnd { files: self.lines });
    }

    /// All of a file that is one chunk.
    pub(crate) fn content(&mut self, file: u32, chunk: u64, content: &[u8]) {
        self.number += 1;
        let (number, mut bytes) = (PacketNumber(self.number), Vec::new());
        encode_data(&mut bytes, self.id, number, chunk, content);
        self.send_packet(bytes);
        self.end_of_file(file, content);
    }

    /// The end of a file with this content.
    pub(crate) fn end_of_file(&mut self, file: u32, content: &[u8]) {
        let size = content.len() as u64;
        self.say(&Message::Eof {
            file: FileIndex(file),
            size,
            chunks: u64::from(size > 0),
            digest: root(&[leaf_value(size, 0, content)]),
        });
    }

    /// Ends the session.
    pub(crate) fn goodbye(&mut self) {
        self.control(&Frame::Close(Close { failure: None }));
    }

    /// What became of so many files, in their order.
    pub(crate) fn verdicts(&mut self, count: usize) -> Vec<(FileIndex, Verdict)> {
        let mut verdicts = BTreeMap::new();
        self.listen(|sender| {
            verdicts = sender.told();
            assert_eq!(sender.closed, None, "told only {verdicts:?}");
            verdicts.len() >= count
        });
        verdicts.into_iter().collect()
    }

    /// Why a file, or the whole session, failed.
    pub(crate) fn failure(&mut self, file: u32) -> Failure {
        let mut failure = None;
        self.listen(|sender| {
            failure = sender.closed.clone();
            if let Some(Verdict::Failed(why)) = sender.told().remove(&FileIndex(file)) {
                failure = Some(why);
            }
            failure.is_some()
        });
        failure.unwrap()
    }

    /// Takes in what comes until it is enough; says everything again where nothing comes.
    fn listen(&mut self, mut is_enough: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        let mut buffer = [0; MAX_DATAGRAM];
        while !is_enough(self) {
            assert!(started.elapsed() < WATCHDOG, "not told");
            match self.socket.recv(&mut buffer) {
                Ok(len) => self.on_datagram(&buffer[..len]),
                Err(_) => {
                    // What was lost gets through, what was not is known by its number.
                    let said = self.packets.len();
                    self.packets.iter().for_each(|packet| self.send_raw(packet));
                    self.control(&Frame::Ping(Ping {
                        sent_end: 0,
                        interval_us: 10_000,
                    }));
                    self.packets.truncate(said);
                }
            }
        }
    }

    fn on_datagram(&mut self, datagram: &[u8]) {
        let Ok(Packet::Frames { header, frames, .. }) = Packet::decode(datagram) else {
            return;
        };
        let before = self.stream.len();
        for frame in frames {
            match frame {
                Frame::Block(block) => {
                    self.stream.insert(block.sequence, block.bytes.to_vec());
                }
                Frame::Close(close) => self.closed = self.closed.take().or(close.failure),
                _ => {}
            }
        }
        if self.stream.len() > before {
            let said = self.packets.len();
            self.control(&Frame::Ack(Ack {
                largest: header.number.0,
                delay_us: 0,
                blocks: arrived(&self.stream),
            }));
            self.packets.truncate(said);
        }
    }

    fn told(&self) -> BTreeMap<FileIndex, Verdict> {
        let messages = messages(&self.stream).into_iter();
        messages
            .filter_map(|message| match message {
                Message::Status { files } => Some(files),
                _ => None,
            })
            .flatten()
            .collect()
    }
}

fn hello(id: SessionId, tag: u64, token: &[u8]) -> Vec<u8> {
    let size = MIN_DATAGRAM as u16;
    let mut packet = FrameWriter::new(Kind::Hello, id, PacketNumber(0), tag, MIN_DATAGRAM);
    packet.push(&Frame::Hello(Hello {
        token,
        datagram_size: if token.is_empty() { 0 } else { size },
        interval_us: 10_000,
    }));
    packet.pad();
    let mut bytes = Vec::new();
    packet.finish(&mut bytes);
    bytes
}

fn arrived(stream: &BTreeMap<u64, Vec<u8>>) -> BlockAck {
    let next = (0..).take_while(|at| stream.contains_key(at)).count() as u64;
    BlockAck {
        next,
        end: next,
        missing: Vec::new(),
    }
}

fn messages(stream: &BTreeMap<u64, Vec<u8>>) -> Vec<Message> {
    let whole = (0..).map_while(|at| stream.get(&at));
    let bytes: Vec<u8> = whole.flatten().copied().collect();
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while let Ok(Some(message)) = Message::take(&mut rest) {
        messages.extend(message);
    }
    messages
}

/// A receiver that behaves until the first data comes.
pub(crate) struct RawReceiver<L> {
    socket: UdpSocket,
    stream: BTreeMap<u64, Vec<u8>>,
    number: u64,
    lie: L,
}

impl<L: Fn(u64) -> Option<Report> + Send + 'static> RawReceiver<L> {
    /// Runs until the test program ends. With each data packet, whose number it gets, it reports
    /// what `lie` says, or nothing from there on.
    pub(crate) fn start(lie: L) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut receiver = Self {
            socket,
            stream: BTreeMap::new(),
            number: 0,
            lie,
        };
        thread::spawn(move || receiver.run());
        address
    }

    fn run(&mut self) {
        let mut buffer = [0; MAX_DATAGRAM];
        // There is one file to send, so there is one session.
        let mut session = None;
        let mut is_silent = false;
        while let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
            let datagram = &buffer[..len];
            match Packet::decode(datagram) {
                Ok(Packet::Frames {
                    header,
                    tag,
                    frames,
                }) if !is_silent => {
                    session = Some((header.session, tag));
                    for frame in frames {
                        self.on_frame(from, (header.session, tag), header.number.0, &frame, len);
                    }
                }
                Ok(Packet::Data { header, .. }) if !is_silent => {
                    match ((self.lie)(header.number.0), session) {
                        (Some(report), Some(session)) => {
                            self.answer(from, session, &[Frame::Report(report)]);
                        }
                        _ => is_silent = true,
                    }
                }
                _ => {}
            }
        }
    }

    fn on_frame(
        &mut self,
        from: SocketAddr,
        session: (SessionId, u64),
        number: u64,
        frame: &Frame<'_>,
        len: usize,
    ) {
        match frame {
            Frame::Hello(hello) if hello.token.is_empty() => {
                let retry = Frame::Retry(Retry {
                    token: &[1; 24],
                    received_size: len as u16,
                    arrived_at_us: 0,
                });
                self.answer_as(Kind::Retry, from, session, &[retry]);
            }
            Frame::Hello(_) => self.report(from, session, number),
            Frame::Block(block) => {
                self.stream.insert(block.sequence, block.bytes.to_vec());
                self.report(from, session, number);
                let total = messages(&self.stream)
                    .into_iter()
                    .find_map(|message| match message {
                        Message::OfferEnd { files } => Some(files),
                        _ => None,
                    });
                if let Some(through) = total {
                    let mut bytes = Vec::new();
                    Message::Answer { through }.encode(&mut bytes);
                    let (sequence, bytes) = (0, bytes.as_slice());
                    self.answer(from, session, &[Frame::Block(Block { sequence, bytes })]);
                }
            }
            _ => {}
        }
    }

    /// What an honest receiver says before the first data.
    fn report(&mut self, to: SocketAddr, session: (SessionId, u64), largest: u64) {
        let report = Report {
            largest,
            received: 1,
            window: 1 << 20,
            blocks: arrived(&self.stream),
            ..Report::default()
        };
        self.answer(to, session, &[Frame::Report(report)]);
    }

    fn answer(&mut self, to: SocketAddr, session: (SessionId, u64), frames: &[Frame<'_>]) {
        self.answer_as(Kind::Control, to, session, frames);
    }

    fn answer_as(
        &mut self,
        kind: Kind,
        to: SocketAddr,
        (id, tag): (SessionId, u64),
        frames: &[Frame<'_>],
    ) {
        let number = PacketNumber(self.number);
        self.number += 1;
        let mut packet = FrameWriter::new(kind, id, number, tag, MIN_DATAGRAM);
        for frame in frames {
            assert!(packet.push(frame));
        }
        let mut bytes = Vec::new();
        packet.finish(&mut bytes);
        let _ = self.socket.send_to(&bytes, to);
    }
}
