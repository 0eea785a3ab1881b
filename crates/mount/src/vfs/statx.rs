//! `statx`, `statfs`. `statx` takes no lock: what it says of `S_DAX` may be old when it returns.

use super::namespace::{At, lookup};
use super::open::release_path;
use crate::fail::Result;
use crate::fs::{FileSystem, Ino, Space};
use crate::ids::{FileId, InodeId, SbId};
use crate::op::{Object, Op};
use crate::runtime::Runtime;

/// What `statx` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statx {
    /// `stx_attributes`.
    pub attributes: u64,
    /// `stx_attributes_mask`.
    pub attributes_mask: u64,
    /// Number on disk.
    pub ino: Ino,
    /// Type and permissions.
    pub mode: u16,
    /// Links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Units of 512 bytes.
    pub blocks: u64,
    /// Seconds.
    pub mtime: i64,
}

fn of_inode<R: Runtime>(rt: &R, inode: InodeId) -> Statx {
    let dax = rt.step(Op::new("statx IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
    rt.step(Op::new("generic_fillattr").read(Object::attr(inode)).read(Object::size(inode)), |w| {
        w.refresh_inode(inode);
        let node = &w.inodes[inode];
        let bit = w.sb(node.sb).profile.statx_dax_bit();
        Statx {
            attributes: if dax { bit } else { 0 },
            attributes_mask: bit,
            ino: node.ino,
            mode: node.disk.mode,
            nlink: node.disk.nlink,
            uid: node.disk.uid,
            gid: node.disk.gid,
            size: node.disk.size,
            blocks: node.disk.blocks,
            mtime: node.disk.mtime,
        }
    })
}

/// `statx` of a path; symbolic links are followed.
///
/// # Errors
/// Those of the walk.
pub fn statx<R: Runtime>(rt: &R, at: At<'_>) -> Result<Statx> {
    let (inode, dentry) = lookup(rt, at, true)?;
    let stat = of_inode(rt, inode);
    release_path(rt, inode, dentry)?;
    Ok(stat)
}

/// `statx` of an open file.
///
/// # Errors
/// None today.
pub fn fstatx<R: Runtime>(rt: &R, file: FileId) -> Result<Statx> {
    let inode = rt.step(Op::new("fdget").read(Object::file(file)), |w| w.files[file].inode);
    Ok(of_inode(rt, inode))
}

/// `statfs`.
pub fn statfs<R: Runtime>(rt: &R, sb: SbId) -> Space {
    rt.step(Op::new("statfs").read(Object::fs(sb)), |w| w.sb(sb).fs.space())
}
