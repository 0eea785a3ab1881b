//! An image as a block device and as persistent memory: files, memory, and the layers that stand on top of one.
//!
//! What it knows: byte ranges, and how the host keeps them: regular files with holes, block devices, windows inside a
//! larger disk, locks, who else uses an image, what is known to read as zero, pre-images, faults made on purpose,
//! and what of a store to persistent memory survives a power cut.
//! What it must never know: any file system. The one exception is `undo`, whose file format (that of `e2undo`) wants a
//! copy of 1,024 bytes at offset 1,024; it copies them without looking inside.
//!
//! `unsafe` lives in `sys` (three system calls), `lanes` (wide instructions) and `mapped` (a copy out of a memory map), nowhere else.

pub mod aligned;
pub mod block;
pub mod error;
pub mod fault;
pub mod file;
pub mod lanes;
pub mod lock;
pub mod mapped;
pub mod memory;
pub mod new_file;
pub mod overlay;
pub mod pmem;
pub mod range_set;
pub mod rollback;
mod sys;
pub mod undo;
pub mod write_out;
pub mod zero_map;

pub use aligned::AlignedBuffer;
pub use block::{BlockDevice, Geometry, check_range};
pub use error::{CopyError, DeviceError, InUse, OpenError};
pub use fault::{Counts, FaultInjector, FaultPlan};
pub use file::{FileDevice, FileOptions};
pub use lock::in_use;
pub use mapped::MappedDevice;
pub use memory::MemoryDevice;
pub use new_file::{Existing, NewFile};
pub use overlay::{Change, Overlay};
pub use range_set::RangeSet;
pub use undo::{UndoDevice, UndoError, UndoOptions, apply_undo};
pub use write_out::WriteOut;
pub use zero_map::ZeroMap;
