use serde::{Deserialize, Serialize};

/// Proves the sender's address and tells what its probe was worth (SPEC.md, `frame-retry`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry<'a> {
    /// To be returned in the next `Hello`.
    #[serde(borrow)]
    pub token: &'a [u8],
    /// Bytes of UDP payload of the `Hello` that this answers.
    pub received_size: u16,
    /// The receiver's clock when that came, in microseconds from an origin of its own.
    pub arrived_at_us: u64,
}
