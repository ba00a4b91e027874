use serde::{Deserialize, Serialize};

/// One piece of the control stream (SPEC.md, `frame-block`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block<'a> {
    /// Position among the pieces, from 0. A piece that is sent again has the same bytes.
    pub sequence: u64,
    /// The bytes.
    #[serde(borrow)]
    pub bytes: &'a [u8],
}
