//! `swapon`, `swapoff` of files, and what a file may not do meanwhile (`mm/swapfile.c`, `fs/iomap/swapfile.c`, Linux 6.12).
//!
//! Nothing is ever swapped here. What counts is who may become a swap file, and that its blocks stay where they are.

use daxkit_format::dax::Errno;
use daxkit_format::dax::fileattr::XFlags;

use super::namespace::At;
use super::open::{close, open};
use super::sync::vfs_fsync_range;
use crate::fail::{Fail, Result};
use crate::filemap::rw::buffered_read;
use crate::fs::{Backing, FileSystem};
use crate::ids::{FileId, InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::locks::{LockId, Mode, with_lock};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::World;
use crate::world::objects::{Aops, OpenFlags};

impl<F: FileSystem> World<F> {
    /// Refuses what an active swap file must not suffer (`IS_SWAPFILE`).
    ///
    /// # Errors
    /// `ETXTBSY`.
    pub(crate) fn not_swapped_to(&self, inode: InodeId) -> std::result::Result<(), Errno> {
        if self.inodes[inode].swap.is_some() { Err(Errno::ETXTBSY) } else { Ok(()) }
    }
}

/// `CAP_SYS_ADMIN`, as far as tasks have it.
fn may_administer<R: Runtime>(rt: &R) -> Result<()> {
    let task = rt.task();
    let may = rt.step(Op::new("capable"), |w| w.tasks.cred(task).privileged);
    if may { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// `swapon`. The file stays open until [`swapoff`].
///
/// # Errors
/// `EPERM`, those of opening it for reading and writing, `EBUSY` (it is one), `EINVAL` (no signature, longer by its header than
/// it is, accessed directly, with holes, with shared blocks, not on the data device).
pub fn swapon<R: Runtime>(rt: &R, at: At<'_>) -> Result<()> {
    may_administer(rt)?;
    let file = open(rt, at, OpenFlags::RDWR, 0)?;
    let inode = rt.step(Op::new("swap_file"), |w| w.files[file].inode);
    let done = with_lock(rt, LockId::i_rwsem(inode), Mode::Exclusive, || activate(rt, file, inode));
    match done {
        Ok(()) | Err(Fail::Oops) => done,
        Err(_) => close(rt, file).and(done),
    }
}

fn activate<R: Runtime>(rt: &R, file: FileId, inode: InodeId) -> Result<()> {
    let aops = rt.step(Op::new("a_ops->read_folio").read(Object::aops(inode)).read(Object::attr(inode)), |w| {
        w.touch(Object::aops(inode), false);
        if w.inodes[inode].swap.is_some() {
            return Err(Errno::EBUSY);
        }
        Ok((w.inodes[inode].aops, w.inodes[inode].kind()))
    })?;
    // Neither the vector of DAX nor that of a special file reads pages.
    if aops != (Aops::PageCache, daxkit_format::dax::FileKind::Regular) {
        return Err(Errno::EINVAL.into());
    }
    let mut header = vec![0; PAGE_SIZE as usize];
    let got = buffered_read(rt, inode, 0, &mut header)?;
    let size = rt.step(Op::new("i_size_read").read(Object::size(inode)), |w| w.size(inode));
    read_swap_header(&header[..got], size / PAGE_SIZE)?;
    vfs_fsync_range(rt, file, inode, 0, u64::MAX >> PAGE_SHIFT, true)?;
    rt.step(Op::new("iomap_swapfile_activate").read(Object::WORLD).write(Object::attr(inode)), |w| {
        let node = &w.inodes[inode];
        let fs = &w.sb(node.sb).fs;
        if node.disk.xflags.contains(XFlags::REALTIME) {
            return Err(Errno::EINVAL.into());
        }
        let (mut at, end) = (0, size / PAGE_SIZE);
        while at < end {
            let extent = fs.map(node.ino, at, end - at)?;
            if extent.backing == Backing::Hole || extent.shared {
                return Err(Errno::EINVAL.into());
            }
            at += extent.len.max(1);
        }
        if end == 0 {
            return Err(Errno::EINVAL.into());
        }
        w.touch(Object::attr(inode), true);
        w.inodes[inode].swap = file;
        Ok(())
    })
}

/// `read_swap_header`: signature, version 1, at least one page behind the header and not more than `pages` in all, none of them bad.
fn read_swap_header(header: &[u8], pages: u64) -> Result<()> {
    let word = |at: usize| header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
    let signed = header.get(PAGE_SIZE as usize - 10..) == Some(b"SWAPSPACE2");
    // Either byte order will do.
    let swapped = word(1024).swap_bytes() == 1;
    let value = |at| if swapped { word(at).swap_bytes() } else { word(at) };
    let (version, last, bad) = (value(1024), value(1028), value(1032));
    let fits = last != 0 && (pages == 0 || u64::from(last) < pages);
    if signed && version == 1 && fits && bad == 0 { Ok(()) } else { Err(Errno::EINVAL.into()) }
}

/// `swapoff`.
///
/// # Errors
/// `EPERM`, those of opening it, `EINVAL` (it is no swap file).
pub fn swapoff<R: Runtime>(rt: &R, at: At<'_>) -> Result<()> {
    may_administer(rt)?;
    let victim = open(rt, at, OpenFlags::RDWR, 0)?;
    let inode = rt.step(Op::new("victim"), |w| w.files[victim].inode);
    let held = with_lock(rt, LockId::i_rwsem(inode), Mode::Exclusive, || {
        Ok::<_, Fail>(rt.step(Op::new("S_SWAPFILE").write(Object::attr(inode)), |w| {
            w.touch(Object::attr(inode), true);
            std::mem::replace(&mut w.inodes[inode].swap, FileId::NONE)
        }))
    })?;
    close(rt, victim)?;
    if held.is_some() { close(rt, held) } else { Err(Errno::EINVAL.into()) }
}
