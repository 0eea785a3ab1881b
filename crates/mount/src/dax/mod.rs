//! DAX (`fs/dax.c`): entries in `i_pages`, faults that map the device's own pages, write-back of what the CPU cached,
//! and the care that is needed before blocks are taken away.

pub mod entry;
pub mod failure;
pub mod fault;
pub mod insert;
pub mod iomap;
pub mod layout;
pub mod pmd;
pub mod pte;
pub mod rw;
pub mod writeback;
