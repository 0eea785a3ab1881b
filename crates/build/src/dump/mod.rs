//! The text form of an image: every byte of it appears exactly once.
//!
//! Golden tests pin it, two images are compared by it, and it is written to be read by people. It is *injective*: images
//! that differ in any byte have different texts (file data and the content of free blocks are hashed with BLAKE3 unless
//! [`Data::Full`] asks for all of it). The dump reads raw bytes, without replaying the journal, and takes damage as it
//! finds it: what does not have the shape of its structure is printed in hexadecimal.
//!
//! # The form
//!
//! A line that begins in the first column begins a section and, as a rule, starts with a place
//! ([`daxkit_format::field::Place`]). Indented lines belong to it; where one begins with `.`, `/` or `+`, section and
//! line together are a place that can be pasted into `dax-debugfs`. `@N` is the block of the image in which something
//! lies.
//!
//! * What is not mentioned is zero: fields, blocks, bitmaps, inodes. Magic numbers go without saying. An `empty` inode has a
//!   checksum that fits and nothing else.
//! * `ok` stands for a checksum (or hash) that fits what it protects; any other value is printed.
//! * A directory record has the length its name needs unless `rec_len` says otherwise; an attribute's value lies where
//!   the kernel packs it unless `offs` says otherwise; unused bits at the end of a bitmap are set unless `padding` says
//!   otherwise.
//! * A copy of the superblock or of a descriptor is like the primary one apart from the fields listed; `groups A-B:C same` is a
//!   copy in group C that is wholly the same. A line `groups A-B` stands for descriptors that continue the one before: the three
//!   locations advance by the numbers given, everything else stays.
//! * Where data is given in full, a line with the blocks of the file and where they lie comes before it, and a block of the log that is
//!   content is a section of its own.
//! * Bytes that belong to no field (slack, padding, leftovers) are printed as `+0xOFFSET HEX` when they are not zero.
//! * A block claimed by two owners is printed with the first; the second says `elsewhere`.
//!
//! A path behind an inode is the first that leads to it, for the reader; it says nothing that the directories do not say.
//!
//! Memory: a set of claimed ranges, a few blocks and a bounded number of names, whatever the size of the image. Regions the host knows as holes are
//! skipped, not read.

mod content;
mod cover;
mod dirs;
pub(crate) mod fields;
mod free;
pub(crate) mod groups;
pub(crate) mod image;
pub(crate) mod inodes;
mod journal;
mod maps;
mod names;
mod special;
mod supers;
pub(crate) mod xattrs;

use daxkit_device::{BlockDevice, DeviceError};
use image::Image;
use names::Names;
use std::io::{self, Write};
use std::sync::Arc;

/// Version of the text form; it changes when the same image gets another text.
pub const VERSION: u32 = 2;

/// The first word of a text.
pub(crate) const TITLE: &str = "daxkit-dump";

/// How the data of files and the content of free blocks appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Data {
    /// As a BLAKE3 hash.
    #[default]
    Hash,
    /// In full, so that the image can be built from the text.
    Full,
}

/// What to print, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DumpOptions {
    /// File data and free blocks.
    pub data: Data,
}

/// A dump that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The image could not be read.
    #[error("cannot read the image: {0}")]
    Device(#[from] DeviceError),
    /// The text could not be written.
    #[error("cannot write the dump: {0}")]
    Write(#[from] io::Error),
}

/// Writes the text form of the image on `device` to `out`.
///
/// # Errors
/// See [`DumpError`]. Damage in the image is none: it is printed.
pub fn dump(device: &Arc<dyn BlockDevice>, options: &DumpOptions, out: &mut dyn Write) -> Result<(), DumpError> {
    let names = Names::collect(device);
    Image::open(&**device, *options, names, out)?.dump()
}

/// As [`dump`], into a string: for small images, as in golden tests.
///
/// # Errors
/// As [`dump`].
pub fn dump_to_string(device: &Arc<dyn BlockDevice>, options: &DumpOptions) -> Result<String, DumpError> {
    let mut out = Vec::new();
    dump(device, options, &mut out)?;
    // All that is written is text; should that ever fail, the golden shows where.
    Ok(String::from_utf8_lossy(&out).into_owned())
}
