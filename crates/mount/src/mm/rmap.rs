//! (rmap)
