//! CRC-32 (IEEE 802.3) over a whole packet, in its last four bytes (SPEC.md, `checksum`).

use alloc::vec::Vec;

/// Bytes of the checksum at the end of each packet.
pub const CHECKSUM_LEN: usize = 4;

/// Appends the checksum of everything from `start` on.
pub fn append(out: &mut Vec<u8>, start: usize) {
    let sum = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&sum.to_be_bytes());
}

/// The packet without its checksum, or `None` when that is missing or wrong.
///
/// Under a fuzzer every checksum counts as right, so that the bytes behind it are reached.
pub fn verify(packet: &[u8]) -> Option<&[u8]> {
    let (body, sum) = packet.split_last_chunk::<CHECKSUM_LEN>()?;
    (cfg!(fuzzing) || crc32fast::hash(body).to_be_bytes() == *sum).then_some(body)
}
