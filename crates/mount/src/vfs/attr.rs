//! (attr)
