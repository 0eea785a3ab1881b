//! (mount)
