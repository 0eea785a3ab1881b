//! A small file system in memory.
