//! (statx)
