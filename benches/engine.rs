//! The hot paths of the engine, in time. `cargo bench --bench engine`; a name after `--` selects.

mod memory;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use xfer_proto::id::{PacketNumber, SessionId};
use xfer_proto::range_set::RangeSet;
use xfer_proto::wire::frame::{Frame, Report, ranges};
use xfer_proto::wire::header::Kind;
use xfer_proto::wire::packet::{DATA_OVERHEAD, FrameWriter, Packet, encode_data};

/// Datagrams of an Ethernet path, and of one with jumbo frames.
const DATAGRAMS: [usize; 2] = [1_472, 8_952];
/// Holes in the report and in the set: those of a lossy long path.
const HOLES: u64 = 100;

fn main() {
    divan::main();
}

#[divan::bench(args = DATAGRAMS)]
fn encode_data_packet(bencher: Bencher<'_, '_>, datagram: usize) {
    let payload = vec![5; datagram - DATA_OVERHEAD];
    let mut out = Vec::with_capacity(datagram);
    bencher.counter(BytesCount::new(datagram)).bench_local(|| {
        out.clear();
        let (session, number) = (SessionId(1), PacketNumber(2));
        encode_data(&mut out, session, number, 3, black_box(&payload));
        out.len()
    });
}

#[divan::bench(args = DATAGRAMS)]
fn decode_data_packet(bencher: Bencher<'_, '_>, datagram: usize) {
    let payload = vec![5; datagram - DATA_OVERHEAD];
    let mut packet = Vec::new();
    encode_data(&mut packet, SessionId(1), PacketNumber(2), 3, &payload);
    bencher
        .counter(BytesCount::new(datagram))
        .bench(|| Packet::decode(black_box(&packet)).is_ok());
}

#[divan::bench(args = DATAGRAMS)]
fn crc(bencher: Bencher<'_, '_>, datagram: usize) {
    let bytes = vec![5; datagram];
    bencher
        .counter(BytesCount::new(datagram))
        .bench(|| crc32fast::hash(black_box(&bytes)));
}

/// What has arrived when every tenth packet is missing.
fn received() -> RangeSet {
    let mut set = RangeSet::new();
    for at in 0..=HOLES {
        set.insert(at * 10..at * 10 + 9);
    }
    set
}

#[divan::bench]
fn range_set_fill_in_order(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(1_000_u32)).bench(|| {
        let mut set = RangeSet::new();
        for at in 0..black_box(1_000) {
            set.insert(at..at + 1);
        }
        set.end()
    });
}

#[divan::bench]
fn range_set_fill_holes(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(HOLES))
        .with_inputs(received)
        .bench_local_values(|mut set| {
            for at in 0..HOLES {
                set.insert(at * 10 + 9..at * 10 + 10);
            }
            set.range_count()
        });
}

/// The packet that a receiver with holes sends.
fn report_packet(set: &RangeSet) -> Vec<u8> {
    let mut at = 0;
    let missing = set.gaps(0..set.end()).map(|gap| {
        let run = xfer_proto::wire::frame::GapRun {
            gap: gap.start - at,
            run: gap.end - gap.start,
        };
        at = gap.end;
        run
    });
    let report = Report {
        missing: missing.collect(),
        end: set.end(),
        page_end: set.end(),
        ..Report::default()
    };
    let number = PacketNumber(1);
    let mut packet = FrameWriter::new(Kind::Control, SessionId(1), number, 2, 1_200);
    assert!(packet.push(&Frame::Report(report)), "a report fits");
    let mut out = Vec::new();
    packet.finish(&mut out);
    out
}

#[divan::bench]
fn build_report(bencher: Bencher<'_, '_>) {
    let set = received();
    bencher.bench(|| report_packet(black_box(&set)));
}

#[divan::bench]
fn parse_report(bencher: Bencher<'_, '_>) {
    let packet = report_packet(&received());
    bencher.bench(|| match Packet::decode(black_box(&packet)) {
        Ok(Packet::Frames { frames, .. }) => match frames.first() {
            Some(Frame::Report(report)) => ranges(&report.missing, 0, report.page_end),
            _ => None,
        },
        _ => None,
    });
}

/// Both ends of a transfer on one core; items are packets of the sender.
#[divan::bench(args = [None, Some(100), Some(10)], sample_count = 10)]
fn transfer_16_mib_losing_one_in(bencher: Bencher<'_, '_>, lose: Option<u64>) {
    let size = 16 << 20;
    let counts = memory::transfer(size, DATAGRAMS[0], lose);
    bencher
        .counter(ItemsCount::new(counts.packets))
        .bench(|| memory::transfer(black_box(size), DATAGRAMS[0], lose).back);
}
