use crate::error::Failure;
use serde::{Deserialize, Serialize};

/// The session is over for the end that says so (SPEC.md, `frame-close`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// Nothing where every file has its status at both ends.
    pub failure: Option<Failure>,
}
