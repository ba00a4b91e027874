use super::checksum::{self, CHECKSUM_LEN};
use super::frame::{
    Ack, Block, BlockAck, Close, Frame, GapRun, Hello, Ping, Report, Retry, ranges,
};
use super::header::{HEADER_LEN, Header, Invariant, Kind, VERSION, VERSION_LIST};
use super::message::{Message, Verdict, WireEntry};
use super::packet::{
    DATA_OVERHEAD, FRAMES_OVERHEAD, FrameWriter, MAX_VERSIONS, Packet, encode_data,
    encode_data_parts, encode_parity, encode_part, encode_versions,
};
use super::{DecodeError, tlv};
use crate::config::{MAX_DATAGRAM, MIN_DATAGRAM};
use crate::error::{ErrorCode, Failure, MAX_MESSAGE};
use crate::id::{Digest, FileIndex, PacketNumber, SessionId};
use crate::manifest::{EntryKind, Timestamp};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use proptest::collection::vec as list;
use proptest::prelude::*;

mod frames;
mod messages;
mod packets;

/// Small numbers, numbers at the borders of their encodings, and any others.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..300,
        (0_u32..64).prop_map(|bits| 1 << bits),
        (0_u32..64).prop_map(|bits| (1 << bits) - 1),
        Just(u64::MAX),
        any::<u64>(),
    ]
}

fn gap_runs() -> impl Strategy<Value = Vec<GapRun>> {
    let one = (number(), number()).prop_map(|(gap, run)| GapRun { gap, run });
    list(one, 0..20)
}

fn block_ack() -> impl Strategy<Value = BlockAck> {
    (number(), number(), gap_runs()).prop_map(|(next, end, missing)| BlockAck {
        next,
        end,
        missing,
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    let code = any::<u16>().prop_map(ErrorCode);
    (code, any::<String>()).prop_map(|(code, text)| Failure::new(code, text))
}

fn report() -> impl Strategy<Value = Report> {
    let numbers = prop::array::uniform13(number());
    (numbers, any::<u32>(), gap_runs(), block_ack()).prop_map(
        |(numbers, delay_us, missing, blocks)| {
            let [
                largest,
                received,
                overtaken,
                largest_at_us,
                ce,
                host_drops,
                duplicates,
                ..,
            ] = numbers;
            let [.., window, first_missing, end, page_start, page_end] = numbers;
            Report {
                largest,
                received,
                overtaken,
                largest_at_us,
                delay_us,
                ce,
                host_drops,
                duplicates,
                window,
                first_missing,
                end,
                page_start,
                page_end,
                missing,
                blocks,
            }
        },
    )
}

/// Bytes that frames borrow from.
type Material = (Vec<u8>, u16, u32, u64);

fn material() -> impl Strategy<Value = Material> {
    (
        list(any::<u8>(), 0..80),
        any::<u16>(),
        any::<u32>(),
        number(),
    )
}

/// One frame of every type.
fn every_frame<'a>(
    (bytes, short, int, long): &'a Material,
    report: &Report,
    failure: &Option<Failure>,
) -> Vec<Frame<'a>> {
    vec![
        Frame::Hello(Hello {
            token: bytes,
            datagram_size: *short,
            interval_us: *int,
        }),
        Frame::Retry(Retry {
            token: bytes,
            received_size: *short,
            arrived_at_us: *long,
        }),
        Frame::Block(Block {
            sequence: *long,
            bytes,
        }),
        Frame::Report(report.clone()),
        Frame::Ack(Ack {
            largest: *long,
            delay_us: *int,
            blocks: report.blocks.clone(),
        }),
        Frame::Ping(Ping {
            sent_end: *long,
            interval_us: *int,
        }),
        Frame::Close(Close {
            failure: failure.clone(),
        }),
    ]
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn file() -> impl Strategy<Value = FileIndex> {
    any::<u32>().prop_map(FileIndex)
}

fn wire_entry() -> impl Strategy<Value = WireEntry> {
    let time = (any::<i64>(), any::<u32>());
    let time = time.prop_map(|(seconds, nanos)| Timestamp { seconds, nanos });
    let kind = prop_oneof![Just(EntryKind::File), Just(EntryKind::Directory)];
    let rest = (
        prop::option::of(time),
        any::<Option<u32>>(),
        any::<Option<u64>>(),
    );
    (list(any::<u8>(), 0..40), kind, number(), rest).prop_map(
        |(name, kind, size, (modified, mode, identity))| WireEntry {
            name,
            kind,
            size,
            modified,
            mode,
            identity,
        },
    )
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Committed),
        Just(Verdict::Skipped),
        failure().prop_map(Verdict::Failed),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (file(), list(wire_entry(), 0..6))
            .prop_map(|(first, entries)| Message::Offer { first, entries }),
        any::<u32>().prop_map(|files| Message::OfferEnd { files }),
        any::<u32>().prop_map(|through| Message::Answer { through }),
        file().prop_map(|file| Message::Hold { file }),
        file().prop_map(|file| Message::Want { file }),
        (file(), any::<bool>(), list((number(), digest()), 0..5)).prop_map(
            |(file, is_same_source, leaves)| Message::Resume {
                file,
                is_same_source,
                leaves,
            }
        ),
        (file(), number(), list(digest(), 0..5)).prop_map(|(file, first, values)| {
            Message::Leaves {
                file,
                first,
                values,
            }
        }),
        (file(), number(), number(), digest()).prop_map(|(file, size, chunks, digest)| {
            Message::Eof {
                file,
                size,
                chunks,
                digest,
            }
        }),
        (file(), failure()).prop_map(|(file, failure)| Message::Abandon { file, failure }),
        list((file(), verdict()), 0..5).prop_map(|files| Message::Status { files }),
    ]
}

fn data_packet(chunk: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_data(&mut bytes, SessionId(3), PacketNumber(4), chunk, payload);
    bytes
}

fn frames_packet(kind: Kind, frames: &[Frame<'_>]) -> Vec<u8> {
    let mut writer = FrameWriter::new(kind, SessionId(3), PacketNumber(4), 5, usize::MAX);
    assert!(frames.iter().all(|frame| writer.push(frame)));
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    bytes
}

/// A packet with this content between header and checksum.
fn raw_packet(kind: Kind, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Header {
        kind,
        session: SessionId(3),
        number: PacketNumber(4),
    }
    .encode(&mut bytes);
    bytes.extend_from_slice(content);
    checksum::append(&mut bytes, 0);
    bytes
}

fn with_checksum(mut body: Vec<u8>) -> Vec<u8> {
    checksum::append(&mut body, 0);
    body
}

/// The content of a frame or message without its type and length.
fn content(encoded: &[u8]) -> &[u8] {
    &encoded[tlv::TLV_HEADER_LEN..]
}

/// Every way to write one of the numbers at the end of `bytes` longer than it has to be: the last
/// byte of a number gets its continuation bit and a zero behind it.
fn overlong(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte < 0x80)
        .map(|(at, _)| {
            let mut long = bytes.to_vec();
            long[at] |= 0x80;
            long.insert(at + 1, 0);
            long
        })
}
