//! `statx`, `statfs`. `statx` takes no lock: what it says of `S_DAX` may be old when it returns.

use daxkit_format::ext4::inode_flags::InodeFlags;

use super::namespace::{At, lookup};
use super::open::release_path;
use crate::fail::Result;
use crate::fs::{FileSystem, Ino, Space};
use crate::ids::{FileId, InodeId, SbId};
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;

/// `STATX_ATTR_*` but for that of DAX, by the words that scenarios use.
pub const ATTRIBUTES: [(u64, &str); 6] = [
    (0x0004, "compressed"),
    (0x0010, "immutable"),
    (0x0020, "append"),
    (0x0040, "nodump"),
    (0x0800, "encrypted"),
    (0x0010_0000, "verity"),
];

/// What XFS says of a file besides DAX, and what of it ext4 says too (`xfs_vn_getattr`, `ext4_getattr`).
const XFS_MASK: u64 = 0x0070;
const EXT4_MASK: u64 = XFS_MASK | 0x0010_0804;

/// The bits for the flags of an inode. XFS's are kept as the flags that `FS_IOC_GETFLAGS` shows.
fn attributes(flags: InodeFlags) -> u64 {
    [
        (InodeFlags::COMPR, 0x0004),
        (InodeFlags::IMMUTABLE, 0x0010),
        (InodeFlags::APPEND, 0x0020),
        (InodeFlags::NODUMP, 0x0040),
        (InodeFlags::ENCRYPT, 0x0800),
        (InodeFlags::VERITY, 0x0010_0000),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .fold(0, |bits, (_, bit)| bits | bit)
}

/// What `statx` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statx {
    /// `stx_attributes`.
    pub attributes: u64,
    /// `stx_attributes_mask`.
    pub attributes_mask: u64,
    /// Which of their bits is `STATX_ATTR_DAX` in this release.
    pub dax_bit: u64,
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
        let mount = w.sb(node.sb);
        let bit = mount.profile.statx_dax_bit();
        let mask = match mount.personality {
            Personality::Ext4 => EXT4_MASK,
            Personality::Xfs => XFS_MASK,
        };
        Statx {
            attributes: attributes(node.disk.flags) & mask | if dax { bit } else { 0 },
            attributes_mask: mask | bit,
            dax_bit: bit,
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

/// `statx` of a path; `follow` a symbolic link at its end or not (`AT_SYMLINK_NOFOLLOW`).
///
/// # Errors
/// Those of the walk.
pub fn statx<R: Runtime>(rt: &R, at: At<'_>, follow: bool) -> Result<Statx> {
    let (inode, dentry) = lookup(rt, at, follow)?;
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
