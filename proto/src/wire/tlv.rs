//! Type, length, value: how frames sit in a packet and messages in the control stream (SPEC.md,
//! `extension`).

use super::DecodeError;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Bytes before the value: the type, and the length in two bytes.
pub const TLV_HEADER_LEN: usize = 3;
/// Set in types that a receiver which does not know them skips.
pub const IGNORABLE: u8 = 0x80;

/// Appends one value in postcard format.
pub fn encode<T: Serialize>(out: &mut Vec<u8>, kind: u8, value: &T) {
    let start = out.len();
    out.extend_from_slice(&[kind, 0, 0]);
    // Serialising into memory has no way to fail: every type of ours is one that postcard knows.
    let body = postcard::to_allocvec(value).unwrap_or_default();
    debug_assert!(
        body.len() <= usize::from(u16::MAX),
        "a value outgrew its length field"
    );
    out.extend_from_slice(&body);
    let len = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    if let Some([_kind, field @ ..]) = out
        .get_mut(start..)
        .and_then(<[u8]>::first_chunk_mut::<TLV_HEADER_LEN>)
    {
        field.copy_from_slice(&len);
    }
}

/// Takes the next value off the front of `bytes`.
pub fn split<'a>(bytes: &mut &'a [u8]) -> Result<(u8, &'a [u8]), DecodeError> {
    let ([kind, high, low], rest) = bytes
        .split_first_chunk::<TLV_HEADER_LEN>()
        .ok_or(DecodeError::Truncated)?;
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let (value, rest) = rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
    *bytes = rest;
    Ok((*kind, value))
}

/// Reads a value that must use all of `bytes`, in the one form that [`encode`] makes.
pub fn decode<'a, T: Deserialize<'a> + Serialize>(
    kind: u8,
    bytes: &'a [u8],
) -> Result<T, DecodeError> {
    let malformed = DecodeError::Malformed(kind);
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).map_err(|_| malformed)?;
    // postcard reads overlong numbers; only the shortest form is ours (SPEC.md, `numbers`).
    let is_canonical = postcard::to_allocvec(&value).is_ok_and(|again| again == bytes);
    if rest.is_empty() && is_canonical {
        Ok(value)
    } else {
        Err(malformed)
    }
}
