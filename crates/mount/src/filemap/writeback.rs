//! (writeback)
