//! The page cache: folios in `i_pages`, faults on them, buffered reads and writes, write-back, invalidation.

pub mod failure;
pub mod fault;
pub mod folio;
pub mod invalidate;
pub mod rw;
pub mod writeback;
