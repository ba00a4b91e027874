//! What was sent and what came of it: flights and rates, losses, the control stream, receipts.

pub mod control;
pub mod flights;
pub mod receipt;
pub mod sent;
