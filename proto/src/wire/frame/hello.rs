use serde::{Deserialize, Serialize};

/// Opens a session (SPEC.md, `frame-hello`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello<'a> {
    /// The token of a `Retry`, or nothing.
    #[serde(borrow)]
    pub token: &'a [u8],
    /// Bytes of UDP payload of a full data packet of this session; 0 while it is not known.
    pub datagram_size: u16,
    /// Microseconds between reports that the sender wishes for: a fraction of its round-trip time.
    pub interval_us: u32,
}
