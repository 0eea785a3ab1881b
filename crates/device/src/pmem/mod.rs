//! Emulated persistent memory: byte-addressable memory over an image.
//!
//! [`Pmem<B, W>`] is the memory. Below it lies an immutable base `B` (any [`BlockDevice`](crate::BlockDevice): an image
//! file, a [`MemoryDevice`](crate::MemoryDevice), [`Resident`] for an image read into memory once, [`Zeroes`] for none),
//! shared by `Arc`; what was stored lies above it as cache lines. `W` watches: [`NoWatch`] costs nothing, [`Counting`]
//! counts, [`Persistence`] keeps apart what is in the CPU cache, on its way and durable, and `Both(a, b)` is two of them.
//!
//! **Snapshots.** `Pmem` is plain data: a clone is a snapshot, and `clone_from` restores one without allocating (once
//! the allocations are as large as they ever get), in time proportional to the lines touched, not to the memory's length.
//!
//! **One memory under a volume and a mount.** A volume owns an `Arc<dyn BlockDevice>` and calls it through `&self`;
//! [`PmemHandle`] is that device: a cloneable handle on one `Pmem` behind a mutex, which is [`PersistentMemory`] too. Give
//! one clone to the volume and one to the mount. [`PmemHandle::snapshot`] and [`PmemHandle::restore`] are then what
//! `clone` and `clone_from` are for a `Pmem` of one's own. Where nobody needs a block device (exploration over the
//! in-memory file system), the mount owns the `Pmem` itself and pays for no lock. The trait [`Snapshots`] is the same for both.
//!
//! **Addresses** are bytes from the start of the memory; page tables hold [`Pfn`]s, and
//! [`address_of`](PersistentMemory::address_of) leads back. Every operation names the [`Cpu`] (or task) that runs it,
//! because a fence orders that CPU's write-backs only.
//!
//! **What the CPU does, what the driver does.** [`PersistentMemory`] has the instructions and, as provided by the pmem
//! driver, `driver_read`, `driver_write`, `zero`, `recovery_write`. The difference is poison: a load of a poisoned line
//! fails and a store does not heal it; the driver refuses to read a 512-byte sector with a poisoned line in it (EIO),
//! and a driver's write of whole sectors heals them.

mod access;
mod align;
mod count;
mod crash;
mod driver;
mod emulated;
mod error;
mod handle;
mod line_map;
mod persistence;
mod ranges;
mod resident;
mod watch;

pub use access::{Cpu, DirectAccess, LINE, PAGE, PersistentMemory, Pfn, SECTOR, Snapshots};
pub use align::PmemAlign;
pub use count::{Counting, PmemCounts};
pub use crash::{CrashLine, CrashStates};
pub use emulated::{Pmem, PmemOptions};
pub use error::PmemError;
pub use handle::PmemHandle;
pub use persistence::{Domain, InFlight, Persistence, Whereabouts};
pub use resident::{Resident, Zeroes};
pub use watch::{Both, LineStore, NoWatch, StoreKind, Tracks, Watch, WriteBack};
