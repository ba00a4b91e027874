//! Moves files over UDP, whole and fast, to one host or to many.
