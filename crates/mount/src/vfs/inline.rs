//! Contents inside the inode (`fs/ext4/inline.c`, Linux 6.12): a new file that is small begins there, and leaves for a block with
//! the first thing that wants one. Such a file is never accessed directly.

use daxkit_format::dax::Errno;

use crate::fail::Result;
use crate::filemap::invalidate::truncate_pagecache;
use crate::fs::FileSystem;
use crate::ids::InodeId;
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::World;
use crate::world::objects::IState;

/// More than any inode holds: a size behind it is not worth trying.
const MOST: usize = 1 << 12;

/// Whether a write or a new size may be tried inside.
fn may_try<R: Runtime>(rt: &R, inode: InodeId) -> bool {
    rt.step(Op::new("EXT4_STATE_MAY_INLINE_DATA").read(Object::attr(inode)), |w| {
        let node = &w.inodes[inode];
        node.disk.inline_data || node.state.contains(IState::MAY_INLINE)
    })
}

/// The flags that say where contents are belong to the file system.
fn refresh_flags<F: FileSystem>(w: &mut World<F>, inode: InodeId) -> std::result::Result<(), Errno> {
    use daxkit_format::ext4::inode_flags::InodeFlags;
    let node = &w.inodes[inode];
    let disk = w.sb(node.sb).fs.read_inode(node.ino)?;
    let place = InodeFlags::INLINE_DATA | InodeFlags::EXTENTS;
    let node = &mut w.inodes[inode];
    node.disk.flags = (node.disk.flags - place) | (disk.flags & place);
    node.disk.inline_data = disk.inline_data;
    Ok(())
}

/// Makes `change` to the contents inside an inode, in one step as under its `xattr_sem`; false when they do not stay inside.
fn try_inside<R: Runtime>(
    rt: &R,
    inode: InodeId,
    change: impl FnOnce(&mut Vec<u8>) -> bool,
    name: &'static str,
) -> Result<bool> {
    Ok(rt.step(Op::world(name), |w| {
        let node = w.inodes[inode];
        // A size that nothing inside could have does not become the length of a list.
        let Some(size) = usize::try_from(node.disk.size).ok().filter(|size| *size <= MOST) else { return Ok(false) };
        let fs = &mut w.sb_mut(node.sb).fs;
        let mut content = if node.disk.inline_data { fs.read_inline(node.ino)? } else { Vec::new() };
        content.resize(size, 0);
        if !change(&mut content) || !fs.set_inline(node.ino, &content)? {
            return Ok(false);
        }
        if let Some(folio) = w.find_folio(inode, 0) {
            let bytes = &mut w.folio_bytes[folio.0 as usize];
            bytes.fill(0);
            bytes[..content.len()].copy_from_slice(&content);
        }
        refresh_flags(w, inode)?;
        let now = w.now;
        let node = &mut w.inodes[inode];
        node.disk.size = content.len() as u64;
        (node.disk.mtime, node.disk.ctime) = (now, now);
        node.state |= IState::DIRTY;
        Ok::<_, Errno>(true)
    })?)
}

/// A write that stays inside the inode (`ext4_try_to_write_inline_data`); when it does not, what was inside has left for a block.
///
/// # Errors
/// Those of the file system.
pub(crate) fn write_inline<R: Runtime>(rt: &R, inode: InodeId, pos: u64, data: &[u8]) -> Result<bool> {
    if !may_try(rt, inode) {
        return Ok(false);
    }
    let write = |content: &mut Vec<u8>| {
        let Some(pos) = usize::try_from(pos).ok().filter(|pos| *pos <= MOST) else { return false };
        let end = pos + data.len();
        content.resize(content.len().max(end), 0);
        content[pos..end].copy_from_slice(data);
        true
    };
    if try_inside(rt, inode, write, "ext4_try_to_write_inline_data")? {
        return Ok(true);
    }
    leave(rt, inode)?;
    Ok(false)
}

/// A new size of contents that are inside and stay there (`ext4_inline_data_truncate`); when they do not, they
/// have left for a block.
///
/// # Errors
/// Those of the file system.
pub(crate) fn truncate_inline<R: Runtime>(rt: &R, inode: InodeId, size: u64) -> Result<bool> {
    let inline = rt.step(Op::new("has_inline").read(Object::attr(inode)), |w| w.inodes[inode].disk.inline_data);
    let cut = |content: &mut Vec<u8>| {
        let Some(size) = usize::try_from(size).ok().filter(|size| *size <= MOST) else { return false };
        content.resize(size, 0);
        true
    };
    if !inline {
        return Ok(false);
    }
    if !try_inside(rt, inode, cut, "ext4_inline_data_truncate")? {
        leave(rt, inode)?;
        return Ok(false);
    }
    truncate_pagecache(rt, inode, size);
    Ok(true)
}

/// Contents inside the inode go to a block before anything is done that wants one, and nothing goes inside again.
///
/// # Errors
/// `ENOSPC` and others.
pub(crate) fn convert_inline<R: Runtime>(rt: &R, inode: InodeId) -> Result<()> {
    if may_try(rt, inode) { leave(rt, inode) } else { Ok(()) }
}

fn leave<R: Runtime>(rt: &R, inode: InodeId) -> Result<()> {
    let task = rt.task().0;
    Ok(rt.step(Op::world("ext4_convert_inline_data"), |w| {
        w.inodes[inode].state.remove(IState::MAY_INLINE);
        let node = w.inodes[inode];
        if !node.disk.inline_data {
            return Ok(());
        }
        w.sb_mut(node.sb).fs.convert_inline(task, node.ino)?;
        refresh_flags(w, inode)
    })?)
}
