//! The emulated kernel: VFS, page cache, DAX and page tables over a file system and emulated persistent memory.
//!
//! What it knows: what Linux does between a system call or a trap and the bytes of a device, in which order and under which
//! locks, in the kernel's own words. What it must never know: any byte layout of a file system (it asks
//! [`fs::FileSystem`]), host threads and clocks (outside of [`runtime`]), or how schedules are explored.
//!
//! All state is plain data in one [`world::World`]; all code is a sequence of atomic steps on it, run by a
//! [`runtime::Runtime`]. The same code runs on real threads and under a scheduler that decides every step.
#![forbid(unsafe_code)]

pub mod dax;
pub mod fail;
pub mod filemap;
pub mod flat_map;
pub mod fs;
pub mod ids;
pub mod invariants;
pub mod locks;
pub mod mm;
pub mod op;
pub mod profile;
pub mod runtime;
pub mod slab;
pub mod trace;
pub mod vfs;
pub mod wait;
pub mod world;
pub mod xarray;
