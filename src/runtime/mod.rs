//! Where sessions live and what drives them.
