//! From what was typed to [`Params`](crate::params::Params): every option, its limits, its default, and what it excludes.
//!
//! A [`Request`] is the command line, [`Facts`] are what `main` knows of the world (target, source, clock, chance); nothing
//! here asks for either. The rules are mke2fs's (e2fsprogs 1.47) under the same letters. Invariant: a value that cannot be
//! met is refused, in one line that names the option; what is merely doubtful becomes a [`Notice`].
//!
//! Where this is stricter than `mke2fs -n`: sizes that must be powers of two are not rounded to one, types and usage types
//! must exist, numbers must fit their fields, bits without a name are not made, `orphan_file` needs a journal.

mod dax;
mod error;
mod extended;
mod features;
mod identity;
mod journal;
mod numbers;
mod request;
mod resolve;
mod sizes;
mod usage;

pub use error::{Level, Notice, OptionError};
pub use features::makeable_names;
pub use identity::{parse_uuid, random_uuid, time_uuid};
pub use journal::JournalWords;
pub use numbers::{bytes, human, number};
pub use request::{Content, Facts, JournalDevice, PmemAlign, Request, Target};
pub use resolve::{Resolved, block_size, copies_xattrs, journal_device_path, offset, resolve};
