//! Whole packets.

use crate::packets::{frames_packet, with_checksum};
use xfer_proto::wire::checksum::{self, CHECKSUM_LEN};
use xfer_proto::wire::frame::Frame;
use xfer_proto::wire::header::{HEADER_LEN, VERSION_LIST};
use xfer_proto::wire::packet::{Packet, encode_data, encode_parity, encode_part};

/// Bytes before the frames: the header and the tag.
const FIXED_LEN: usize = HEADER_LEN + 8;
/// Types from here on may be unknown.
const IGNORABLE: u8 = 0x80;

/// Decodes a packet; what was understood must encode to the same bytes.
pub fn frame_decode(data: &[u8]) {
    let datagram = with_checksum(data);
    let decoded = Packet::decode(&datagram);
    if cfg!(fuzzing) {
        assert_eq!(
            Packet::decode(data),
            decoded,
            "a fuzzer's checksums count as right"
        );
    }
    let again = match decoded {
        Err(error) => return assert!(!error.to_string().is_empty()),
        Ok(Packet::Data {
            header,
            chunk,
            payload,
        }) => {
            let mut again = Vec::new();
            encode_data(&mut again, header.session, header.number, chunk, payload);
            again
        }
        Ok(Packet::Part {
            header,
            chunk,
            offset,
            payload,
        }) => {
            let mut again = Vec::new();
            let at = (chunk, offset);
            encode_part(&mut again, header.session, header.number, at, payload, &[]);
            again
        }
        Ok(Packet::Parity {
            header,
            of,
            payload,
        }) => {
            let mut again = Vec::new();
            encode_parity(&mut again, header.session, header.number, of, payload);
            again
        }
        Ok(Packet::Versions { session, versions }) => {
            let mut again = vec![VERSION_LIST << 4, 0];
            again.extend(session.0.to_be_bytes());
            again.extend(versions);
            checksum::append(&mut again, 0);
            again
        }
        Ok(Packet::Frames {
            header,
            tag,
            frames,
        }) => {
            let number = header.number.0;
            let again = frames_packet(header.kind, header.session, number, tag, &frames);
            return assert_eq!(again, without_skipped(&datagram));
        }
    };
    assert_eq!(again, datagram);
}

/// The packet without its padding and the frames that nobody knows.
fn without_skipped(datagram: &[u8]) -> Vec<u8> {
    let (head, frames) = datagram.split_at(FIXED_LEN);
    let (mut frames, _) = frames.split_at(frames.len() - CHECKSUM_LEN);
    let mut kept = head.to_vec();
    while let [kind, high, low, ..] = *frames {
        let len = 3 + usize::from(u16::from_be_bytes([high, low]));
        let (frame, rest) = frames.split_at(len);
        if kind != Frame::PADDING && kind < IGNORABLE {
            kept.extend(frame);
        }
        frames = rest;
    }
    assert!(frames.is_empty(), "a frame was cut off");
    checksum::append(&mut kept, 0);
    kept
}
