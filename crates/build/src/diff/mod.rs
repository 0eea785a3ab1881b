//! What differs between two file systems, by meaning: what their superblocks promise, which names there are, what stands behind
//! them. Where things lie, and under which numbers, is no difference unless it is asked for: a copy made by another tool is the same
//! tree.
//!
//! Both trees are walked together, directory by directory in the order of names' bytes. Memory: the names of one directory a level,
//! the numbers of directories, and the first name of each inode that has several.

mod content;
mod inode;
mod layout;
mod links;
mod super_block;
mod tree;
mod windows;

use daxkit_format::InodeNr;
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::pmd::WindowState;
use daxkit_volume::{Inode, Mapping, Volume, VolumeError};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

/// What to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiffOptions {
    /// The superblocks, too, and not the trees alone.
    pub super_block: bool,
    /// Access and change times, too, and when an inode was made.
    pub all_times: bool,
    /// Where blocks lie, and how inodes are stored.
    pub layout: bool,
}

/// Where to begin.
#[derive(Debug, Clone, Copy)]
pub struct Begin<'a> {
    /// The path of both, for the paths of differences; `/` for the roots.
    pub path: &'a [u8],
    /// In the first.
    pub a: &'a Inode,
    /// In the second.
    pub b: &'a Inode,
}

/// One difference.
#[derive(Debug)]
pub enum Difference {
    /// A feature that one of them has.
    Feature {
        /// Its name, as mke2fs takes it.
        name: String,
        /// Who has it.
        side: Side,
    },
    /// A field of the superblock. Values are text in the form of the field table.
    Super {
        /// Its name.
        field: &'static str,
        /// In the first.
        a: String,
        /// In the second.
        b: String,
        /// It says how the file system is laid out, not what it means.
        layout: bool,
    },
    /// A name that only one of them has, with everything below it.
    Only {
        /// Who has it.
        side: Side,
        /// The path.
        path: Vec<u8>,
        /// What it is (`i_mode`); `None` when the inode cannot be read.
        mode: Option<u16>,
        /// How many names there are below.
        below: u64,
    },
    /// Something about a file.
    Changed {
        /// The path.
        path: Vec<u8>,
        /// What.
        what: Change,
    },
    /// Something that cannot be compared, because it is damaged.
    Damaged {
        /// In which.
        side: Side,
        /// The path.
        path: Vec<u8>,
        /// Why.
        error: VolumeError,
    },
}

/// What about a file differs; the first's value, then the second's.
#[derive(Debug)]
pub enum Change {
    /// The type (both `i_mode`); what depends on it is not compared.
    Type(u16, u16),
    /// A number that is a field of the inode, by the field's name: `i_mode` (permissions alone), `i_uid`, `i_gid`, `i_size`,
    /// `i_links_count`, `i_projid`.
    Field(&'static str, u64, u64),
    /// A time: `mtime`, `atime`, `ctime`, `crtime`. An inode without room for it has none.
    Time(&'static str, Option<Timestamp>, Option<Timestamp>),
    /// A flag that one of them has, by the name in `i_flags`.
    Flag(String, Side),
    /// An attribute by its whole name; values as ext4 stores them.
    Xattr(Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>),
    /// Where a symbolic link leads.
    Target(Vec<u8>, Vec<u8>),
    /// Major and minor number of a device.
    Device((u32, u32), (u32, u32)),
    /// Bytes that differ, as far as both files go.
    Content {
        /// The first of them.
        first: u64,
        /// How many.
        bytes: u64,
    },
    /// This name and another are one file here, and two files in the other.
    Linked {
        /// The other name.
        with: Vec<u8>,
        /// Where they are one.
        side: Side,
    },
    /// How it is stored.
    Layout(Layout),
}

/// How a file is stored; the first's value, then the second's.
#[derive(Debug)]
pub enum Layout {
    /// Its number.
    Inode(InodeNr, InodeNr),
    /// A flag that says how, as `EXTENTS`.
    Flag(String, Side),
    /// Bytes of the blocks of a directory.
    DirSize(u64, u64),
    /// Its blocks lie elsewhere.
    Extents {
        /// Runs of blocks of the first.
        runs_a: u64,
        /// Of the second.
        runs_b: u64,
        /// Bytes of the file that lie at another byte of the file system, or in one of them only, or are written in one of them only.
        moved: u64,
        /// The first such byte of the file.
        first: u64,
        /// The run that holds it in the first, if one does.
        a: Option<Mapping>,
        /// In the second.
        b: Option<Mapping>,
    },
    /// Windows of 2 MiB that one fault maps in one of them only.
    Windows {
        /// Those of the first that one fault maps.
        mappable_a: u64,
        /// Of the second.
        mappable_b: u64,
        /// Those that one fault maps in one of them only.
        changed: u64,
        /// The first of these.
        first: u64,
        /// What it is in the first; `None` behind the end of the file.
        a: Option<WindowState>,
        /// In the second.
        b: Option<WindowState>,
    },
}

impl Difference {
    /// Whether it says only where things lie, or under which numbers.
    #[must_use]
    pub const fn is_layout(&self) -> bool {
        matches!(self, Self::Super { layout: true, .. } | Self::Changed { what: Change::Layout(_), .. })
    }
}

/// What takes differences as they are found; its error ends the comparison.
pub type Each<'e, E> = &'e mut dyn FnMut(Difference) -> Result<(), E>;

/// Compares two volumes; each difference is given to `each`.
///
/// # Errors
/// Those of `each`. Damage is a difference.
pub fn diff<E>(a: &Volume, b: &Volume, begin: Begin<'_>, options: DiffOptions, each: Each<'_, E>) -> Result<(), E> {
    if options.super_block {
        super_block::compare(a, b, options.layout, each)?;
    }
    tree::Trees::new(a, b, options, each).compare(begin)
}

/// What the parts of a comparison share: the volumes, and where differences go.
struct Pair<'v, 'e, E> {
    a: &'v Volume,
    b: &'v Volume,
    options: DiffOptions,
    each: Each<'e, E>,
}

impl<'v, E> Pair<'v, '_, E> {
    fn volume(&self, side: Side) -> &'v Volume {
        match side {
            Side::A => self.a,
            Side::B => self.b,
        }
    }

    fn changed(&mut self, path: &[u8], what: Change) -> Result<(), E> {
        (self.each)(Difference::Changed { path: path.to_vec(), what })
    }

    fn damaged(&mut self, side: Side, path: &[u8], error: VolumeError) -> Result<(), E> {
        (self.each)(Difference::Damaged { side, path: path.to_vec(), error })
    }

    /// Both values, or `None` when one cannot be read, which is told.
    fn both<T>(
        &mut self,
        path: &[u8],
        a: Result<T, VolumeError>,
        b: Result<T, VolumeError>,
    ) -> Result<Option<(T, T)>, E> {
        match (a, b) {
            (Ok(a), Ok(b)) => return Ok(Some((a, b))),
            (a, b) => {
                for (side, error) in [(Side::A, a.err()), (Side::B, b.err())] {
                    if let Some(error) = error {
                        self.damaged(side, path, error)?;
                    }
                }
            }
        }
        Ok(None)
    }
}
