//! Writes real packets, messages, names and lines into `fuzz/corpus/`, for fuzzers to start from.
//!
//! `cargo run -p xfer-fuzz-targets --example seeds`

use std::path::Path;
use std::{fs, io};
use xfer::sum::format_line;
use xfer_proto::digest;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::{Digest, FileIndex, PacketNumber, SessionId};
use xfer_proto::manifest::{EntryKind, Timestamp};
use xfer_proto::wire::frame::{
    Ack, Block, BlockAck, Close, Frame, GapRun, Hello, Ping, Report, Retry,
};
use xfer_proto::wire::header::Kind;
use xfer_proto::wire::message::{Message, Verdict, WireEntry};
use xfer_proto::wire::packet::{FrameWriter, encode_data, encode_versions};

const ID: SessionId = SessionId(0x0123_4567_89ab_cdef);

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    write(&corpus.join("frame_decode"), packets())?;
    write(&corpus.join("control_messages"), streams())?;
    write(&corpus.join("names"), names())?;
    write(&corpus.join("sum_line"), lines())
}

fn write(dir: &Path, seeds: Vec<(&str, Vec<u8>)>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for (name, bytes) in seeds {
        fs::write(dir.join(name), bytes)?;
    }
    Ok(())
}

fn packets() -> Vec<(&'static str, Vec<u8>)> {
    let mut data = Vec::new();
    encode_data(&mut data, ID, PacketNumber(7), 300, b"a chunk of a file");
    let mut versions = Vec::new();
    encode_versions(&mut versions, ID);
    let hello = Frame::Hello(Hello {
        token: b"token",
        datagram_size: 1_200,
        interval_us: 5_000,
    });
    let mut padded = FrameWriter::new(Kind::Hello, ID, PacketNumber(0), 9, 120);
    padded.push(&hello);
    padded.pad();
    let mut padded_hello = Vec::new();
    padded.finish(&mut padded_hello);
    let retry = Frame::Retry(Retry {
        token: &[0xab; 24],
        received_size: 1_472,
        arrived_at_us: 1_000_000,
    });
    let failure = Failure::new(ErrorCode::CONFLICT, "it is there");
    let reset = Frame::Close(Close {
        failure: Some(ErrorCode::PEER_LOST.into()),
    });
    let close = Frame::Close(Close {
        failure: Some(failure),
    });
    vec![
        ("data", data),
        ("versions", versions),
        ("hello", packet(Kind::Hello, &[hello])),
        ("hello-padded", padded_hello),
        ("retry", packet(Kind::Retry, &[retry])),
        ("reset", packet(Kind::Reset, &[reset])),
        ("report", packet(Kind::Control, &[Frame::Report(report())])),
        ("control", packet(Kind::Control, &control())),
        ("close", packet(Kind::Control, &[close])),
        (
            "goodbye",
            packet(Kind::Control, &[Frame::Close(Close { failure: None })]),
        ),
    ]
}

fn packet(kind: Kind, frames: &[Frame<'_>]) -> Vec<u8> {
    let mut writer = FrameWriter::new(kind, ID, PacketNumber(5), 0xfeed, 1_200);
    assert!(frames.iter().all(|frame| writer.push(frame)));
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    bytes
}

fn report() -> Report {
    Report {
        largest: 900,
        received: 880,
        largest_at_us: 1_000_000,
        delay_us: 120,
        duplicates: 2,
        window: 1 << 20,
        first_missing: 100,
        end: 870,
        page_start: 100,
        page_end: 870,
        missing: vec![GapRun { gap: 0, run: 3 }, GapRun { gap: 200, run: 17 }],
        blocks: acknowledged(),
        ..Report::default()
    }
}

fn acknowledged() -> BlockAck {
    BlockAck {
        next: 3,
        end: 9,
        missing: vec![GapRun { gap: 0, run: 2 }],
    }
}

fn control() -> [Frame<'static>; 3] {
    [
        Frame::Ack(Ack {
            largest: 12,
            delay_us: 80,
            blocks: acknowledged(),
        }),
        Frame::Ping(Ping {
            sent_end: 870,
            interval_us: 2_500,
        }),
        Frame::Block(Block {
            sequence: 4,
            bytes: &[2, 0, 1, 1],
        }),
    ]
}

fn messages() -> Vec<(&'static str, Message)> {
    let (file, value) = (FileIndex(1), Digest([0x5a; 32]));
    let line = |name: &str, kind, size| WireEntry {
        name: name.into(),
        kind,
        size,
        modified: Some(Timestamp {
            seconds: -1,
            nanos: 999_999_999,
        }),
        mode: Some(0o644),
        identity: Some(77),
    };
    let offer = Message::Offer {
        first: FileIndex(0),
        entries: vec![
            line("dir", EntryKind::Directory, 0),
            line("a/b.bin", EntryKind::File, 5 << 20),
        ],
    };
    let resume = Message::Resume {
        file,
        is_same_source: true,
        leaves: vec![(0, value), (3, value)],
    };
    let leaves = Message::Leaves {
        file,
        first: 0,
        values: vec![value; 5],
    };
    let eof = Message::Eof {
        file,
        size: 5 << 20,
        chunks: 4_482,
        digest: digest::empty(),
    };
    let failure = Failure::new(ErrorCode::SOURCE_CHANGED, "it is shorter");
    let abandon = Message::Abandon {
        file,
        failure: failure.clone(),
    };
    let status = Message::Status {
        files: vec![
            (FileIndex(0), Verdict::Committed),
            (file, Verdict::Failed(failure)),
            (FileIndex(2), Verdict::Skipped),
        ],
    };
    vec![
        ("offer", offer),
        ("offer-end", Message::OfferEnd { files: 2 }),
        ("answer", Message::Answer { through: 2 }),
        ("hold", Message::Hold { file }),
        ("want", Message::Want { file }),
        ("resume", resume),
        ("leaves", leaves),
        ("eof", eof),
        ("abandon", abandon),
        ("status", status),
    ]
}

/// Each message alone and all of them in one stream. Two zeros before it: cut and ordered in no way
/// of its own.
fn streams() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![0, 0];
    let mut streams = Vec::new();
    for (name, message) in messages() {
        let mut stream = vec![0, 0];
        message.encode(&mut stream);
        message.encode(&mut all);
        streams.push((name, stream));
    }
    streams.push(("all", all));
    streams
}

fn names() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("plain", b"images/1.png".to_vec()),
        ("unicode", "dir/\u{e9}t\u{e9}\u{202e}gnp".into()),
        ("bytes", b"a\xff\xfe/b".to_vec()),
        ("dots", b"a/../b".to_vec()),
        ("absolute", b"/etc/passwd".to_vec()),
        ("control", b"a\x1b[2J".to_vec()),
        ("reserved", b".XFER-part/x".to_vec()),
        ("long", vec![b'x'; 256]),
        ("deep", b"x/".repeat(128)),
    ]
}

fn lines() -> Vec<(&'static str, Vec<u8>)> {
    let line = |path: &str| format_line(digest::empty(), Path::new(path));
    vec![
        ("plain", line("images/1.png")),
        ("escaped", line("a\\b\nc\rd")),
        ("ended", [line("x"), b"\r\n".to_vec()].concat()),
        ("empty", line("")),
    ]
}
