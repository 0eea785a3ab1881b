//! `fsync`, `sync`: what was changed becomes durable.

use super::icache::{each_super, hold_inodes, write_inode};
use crate::dax::writeback::dax_writeback_mapping_range;
use crate::fail::Result;
use crate::filemap::writeback::{file_write_and_wait, filemap_write_and_keep_errors};
use crate::fs::FileSystem;
use crate::ids::{FileId, InodeId, PAGE_SHIFT, SbId};
use crate::locks::{LockId, Mode, with_lock};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::objects::{IState, OpenFlags};
use daxkit_format::dax::Errno;

/// `vfs_fsync_range`, pages `from ..= to`: data first, then the journal. `file` is told of data that were lost before.
///
/// # Errors
/// `EIO` and others of the file system.
pub fn vfs_fsync_range<R: Runtime>(
    rt: &R,
    file: FileId,
    inode: InodeId,
    from: u64,
    to: u64,
    datasync: bool,
) -> Result<()> {
    let dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)).read(Object::attr(inode)), |w| {
        w.alive(w.inodes[inode].sb)?;
        Ok::<_, Errno>(w.is_dax(inode))
    })?;
    if dax {
        dax_writeback_mapping_range(rt, inode, from, to)?;
    } else {
        file_write_and_wait(rt, file, inode, from, to)?;
    }
    let _ = datasync;
    write_inode(rt, inode)?;
    rt.step(Op::world("jbd2_complete_transaction"), |w| {
        let sb = w.inodes[inode].sb;
        w.inodes[inode].state.remove(IState::DIRTY_PAGES);
        w.sb_mut(sb).fs.commit()
    })?;
    Ok(())
}

/// `fsync`, `fdatasync`.
///
/// # Errors
/// `EBADF` (`O_PATH`), `EIO`.
pub fn fsync<R: Runtime>(rt: &R, file: FileId, datasync: bool) -> Result<()> {
    let open = rt.step(Op::new("fdget").read(Object::file(file)), |w| w.files[file]);
    if open.flags.contains(OpenFlags::PATH) {
        return Err(Errno::EBADF.into());
    }
    vfs_fsync_range(rt, file, open.inode, 0, u64::MAX >> PAGE_SHIFT, datasync)
}

/// `sync_filesystem`: every inode of a mount, then the journal. The caller holds `s_umount`.
///
/// # Errors
/// Those of the file system.
pub fn sync_filesystem<R: Runtime>(rt: &R, sb: SbId) -> Result<()> {
    // An error does not keep the inodes behind it from being written, and none of them from being let go; the first is told.
    let mut first = Ok(());
    for inode in hold_inodes(rt, sb) {
        let dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
        let block_size = rt.step(Op::new("i_blkbits"), |w| w.sb(sb).fs.features().block_size);
        let done = match dax {
            true if u64::from(block_size) == crate::ids::PAGE_SIZE => {
                dax_writeback_mapping_range(rt, inode, 0, u64::MAX >> PAGE_SHIFT)
            }
            true => Ok(()),
            false => filemap_write_and_keep_errors(rt, inode, 0, u64::MAX >> PAGE_SHIFT),
        };
        let written = write_inode(rt, inode);
        super::icache::iput(rt, inode)?;
        first = first.and(done).and(written);
    }
    first?;
    rt.step(Op::world("sync_fs"), |w| w.alive(sb).and_then(|()| w.sb_mut(sb).fs.commit()))?;
    Ok(())
}

/// `sync`.
///
/// # Errors
/// Those of a file system.
pub fn sync<R: Runtime>(rt: &R) -> Result<()> {
    each_super(rt, |sb| sync_filesystem(rt, sb))
}

/// `syncfs`.
///
/// # Errors
/// Those of the file system.
pub fn syncfs<R: Runtime>(rt: &R, sb: SbId) -> Result<()> {
    with_lock(rt, LockId::s_umount(sb), Mode::Shared, || sync_filesystem(rt, sb))
}
