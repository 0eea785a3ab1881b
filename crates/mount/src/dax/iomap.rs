//! (iomap)
