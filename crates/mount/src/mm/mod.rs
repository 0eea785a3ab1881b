//! Address spaces: VMAs, page tables, the dispatch of faults, and modelled loads and stores.

pub mod access;
pub mod fault;
mod frame;
pub mod gup;
pub mod madvise;
pub mod mmap;
pub mod page_table;
mod process;
mod remap;
pub mod rmap;
