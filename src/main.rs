//! The `xfer` command.
fn main() {}
