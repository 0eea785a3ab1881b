//! The one table of field names and places.
//!
//! Recipes' defects, findings, `set_inode_field`, JSON and the image dump all name fields and places in this way, so that
//! what one of them prints can be pasted into another:
//!
//! * [`Structure`] lists every on-disk structure with its size and fields, under the kernel's names;
//! * [`Access`] finds a field by the kernel's name (`i_flags`), by debugfs's short name (`flags`) or by the name of a value
//!   that lies in two halves (`i_size`);
//! * [`Format`] says how a field's value is written as text, and reads the text back;
//! * [`Place`] is the written form of where something lies (`inode:12.i_flags`, `block:8193+0x40`);
//! * [`did_you_mean`] is what every reader of names says of one that is not known.
//!
//! Invariant: each textual form reads back as what it was made from. The short names are those of debugfs 1.47
//! (`set_super_value -l` and its kin).

mod access;
mod bits;
mod near;
mod number;
mod place;
mod quote;
mod structure;
mod time;
mod value;

pub use access::Access;
pub use bits::BitSet;
pub use near::did_you_mean;
pub use number::{all_bits, parse_any_base, parse_integer, parse_number};
pub use place::{FieldRef, InodeRef, Object, Place, PlaceError};
pub use quote::{quote, unquote};
pub use structure::{Structure, StructureInfo, structures};
pub use time::{format_time, parse_time};
pub use value::{Format, ValueError, parse_hex, parse_uuid, to_hex};

#[cfg(test)]
mod tests;
