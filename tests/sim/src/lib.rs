//! A network, storage and clock that exist only in memory.
