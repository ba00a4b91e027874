//! Packets made from anything.

use xfer_proto::id::{PacketNumber, SessionId};
use xfer_proto::wire::checksum::{self, CHECKSUM_LEN};
use xfer_proto::wire::frame::Frame;
use xfer_proto::wire::header::Kind;
use xfer_proto::wire::packet::FrameWriter;

/// The bytes with the checksum that they should have in their last four; less than that stays.
pub(crate) fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    let Some((body, _)) = bytes.split_last_chunk::<CHECKSUM_LEN>() else {
        return bytes.to_vec();
    };
    let mut repaired = body.to_vec();
    checksum::append(&mut repaired, 0);
    repaired
}

/// A packet of frames, as long as it must be.
pub(crate) fn frames_packet(
    kind: Kind,
    session: SessionId,
    number: u64,
    tag: u64,
    frames: &[Frame<'_>],
) -> Vec<u8> {
    let mut writer = FrameWriter::new(kind, session, PacketNumber(number), tag, usize::MAX);
    for frame in frames {
        assert!(writer.push(frame), "a packet without a limit is full");
    }
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    bytes
}
