//! P13: two runs of the same set call, with a design and without it.

use daxkit_format::dax::fileattr::XFlags;

use super::Broken;
use crate::fail::Result;
use crate::fs::{DiskInode, FileSystem};
use crate::ids::InodeId;
use crate::world::World;

/// How a set call ended and what it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetOutcome {
    /// What the caller was told.
    pub result: Result<()>,
    /// The inode, without the DAX flag: of that alone a design may think what it likes.
    pub disk: DiskInode,
    /// Its pages in the mapping: a set call takes none out.
    pub nrpages: u64,
}

impl SetOutcome {
    /// Of a call that has just ended with `result`.
    #[must_use]
    pub fn of<F: FileSystem>(w: &World<F>, inode: InodeId, result: Result<()>) -> Self {
        let mut disk = w.inodes[inode].disk;
        disk.flags.remove(daxkit_format::ext4::inode_flags::InodeFlags::DAX);
        disk.xflags.remove(XFlags::DAX);
        Self { result, disk, nrpages: w.inodes[inode].nrpages }
    }
}

/// Compares a set call that changes no DAX bit with the same call in the same place without the design.
#[must_use]
pub fn same_but_for_dax(with: &SetOutcome, without: &SetOutcome) -> Option<Broken> {
    let say = |what: String| Some(Broken { property: 13, what });
    if with.result != without.result {
        let told = |result: &Result<()>| result.as_ref().map_or_else(ToString::to_string, |()| "success".to_owned());
        return say(format!("the call ends with {}, without it {}", told(&with.result), told(&without.result)));
    }
    if with.disk != without.disk {
        return say(format!("the call leaves {:?}, without it {:?}", with.disk, without.disk));
    }
    if with.nrpages != without.nrpages {
        return say(format!("the call leaves {} pages, without it {}", with.nrpages, without.nrpages));
    }
    None
}
