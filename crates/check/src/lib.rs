//! Checks an ext4 image, part by part, and repairs it.
//!
//! What it knows: what must be true of every structure and of all of them together, and how what is not is mended. What it must
//! never know: screens, questions, exit statuses, where an image lies. It reads through [`daxkit_device::BlockDevice`] and changes
//! nothing but an overlay, which whoever calls writes under an undo file.
//!
//! A check reads every inode in use and every directory once, side by side on several threads; findings are data ([`Finding`]),
//! in one order whoever found them. A repair mends the findings of the lowest stage, checks again, and so on until nothing is left.
//!
//! Invariant: no bytes of an image make it panic, loop for ever or allocate without bound.
#![forbid(unsafe_code)]

mod check;
mod code;
mod finding;
mod image;
mod open;
mod pass;
mod repair;
mod state;
mod wishes;

pub use check::{Options, Progress, Report, check};
pub use code::{Code, Severity};
pub use finding::{At, Datum, Finding};
pub use open::Opening;
pub use pass::Usage;
pub use pass::dax::DaxRules;
pub use repair::{Decide, Repaired, repair};
pub use wishes::{BadBlocks, Directories, Improved, Scan, Wishes};
