//! SPEC.md against the implementation: its test vectors, its appendix, its requirements.
//!
//! `generate.py` beside this file makes the vectors with an encoder that shares no code with the
//! implementation. Here each of them is decoded, compared field by field, and encoded again.

mod codec;
mod requirements;
mod session;
mod support;
