//! Random words and keys from the system.

use std::io;

/// 64 random bits that nobody can guess.
///
/// # Errors
///
/// When the system has no randomness to give.
pub(crate) fn word() -> io::Result<u64> {
    getrandom::u64().map_err(io::Error::other)
}

/// A key of 256 random bits.
///
/// # Errors
///
/// When the system has no randomness to give.
pub(crate) fn key() -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    Ok(key)
}
