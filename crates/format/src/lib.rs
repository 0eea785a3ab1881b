//! The on-disk format: structures, flags, checksums, field names and rules.
//!
//! What it knows: where every field of ext4 and jbd2 lives, what each bit means, how each checksum is computed, and the
//! rules of the inheritable DAX flag. What it must never know: files, devices, threads, clocks. It does no I/O, has no
//! `unsafe`, and does not panic on any bytes.
#![forbid(unsafe_code)]

#[macro_use]
mod on_disk;
pub mod checksum;
pub mod dax;
pub mod ext4;
pub mod field;
pub mod ids;
pub mod jbd2;
pub mod pmd;

pub use ids::{BlockNr, GroupNr, InodeNr, LogicalBlock};
pub use on_disk::{FieldDef, FieldKind, FieldValue, OnDisk};
