//! (mmap)
