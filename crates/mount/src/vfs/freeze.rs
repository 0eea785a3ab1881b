//! (freeze)
