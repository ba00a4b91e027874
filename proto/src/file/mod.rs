//! Files as both ends see them: where chunks lie, blocks on their way from and to storage.

pub mod assembly;
pub mod backlog;
pub mod layout;
pub mod parts;
pub mod source;
