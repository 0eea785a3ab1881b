//! (madvise)
