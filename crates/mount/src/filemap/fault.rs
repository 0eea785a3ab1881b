//! Faults on the page cache (`mm/filemap.c`, `ext4_page_mkwrite`, `iomap_page_mkwrite`, Linux 6.12).

use daxkit_format::dax::Errno;
use daxkit_format::ext4::inode_flags::InodeFlags;

use crate::dax::entry::label;
use crate::dax::fault::file_update_time;
use crate::dax::iomap::iomap_begin;
use crate::dax::pte::vmf_error;
use crate::fail::{Fail, Oops, Result, VmFault};
use crate::fs::{Backing, FileSystem, Media};
use crate::ids::{FolioId, InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::locks::{LockId, Mode, acquire, release};
use crate::mm::fault::Vmf;
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::trace::Event;
use crate::vfs::inline::convert_inline;
use crate::wait::{QueueKey, sleep_on};
use crate::world::objects::Aops;

/// Takes a folio's lock, asleep if need be. Returns false if the folio left the mapping meanwhile; it is not locked then.
pub(crate) fn lock_folio<R: Runtime>(rt: &R, inode: InodeId, folio: FolioId) -> bool {
    let task = rt.task();
    let queue = QueueKey::folio(InodeId(folio.0), 0);
    loop {
        let op = Op::new("folio_lock").write(Object::entries(inode)).write(queue.object());
        let locked = rt.step(op, |w| {
            if w.try_lock_folio(folio) {
                return true;
            }
            w.queue_up(task, queue, true);
            false
        });
        if locked {
            break;
        }
        sleep_on(rt, queue);
    }
    let op = Op::new("folio->mapping").write(Object::entries(inode)).write(queue.object());
    rt.step(op, |w| {
        let still = w.folios[folio].inode == inode;
        if !still {
            w.unlock_folio(folio);
        }
        still
    })
}

/// Reads a page into a locked folio: `a_ops->read_folio`, looked up now.
///
/// # Errors
/// An oops when the vector has no such method; `EIO`.
pub(crate) fn read_folio<R: Runtime>(rt: &R, inode: InodeId, folio: FolioId) -> Result<()> {
    let task = rt.task();
    let aops = rt.step(Op::new("a_ops->read_folio").read(Object::aops(inode)), |w| {
        w.touch(Object::aops(inode), false);
        w.inodes[inode].aops
    });
    if aops == Aops::Dax {
        return Err(rt.step(Op::new("oops"), |w| w.oops(task, Oops::NullMethod { method: "dax_aops.read_folio" })));
    }
    let (index, inline) = rt
        .step(Op::new("folio->index").read(Object::entries(inode)).read(Object::attr(inode)), |w| {
            (w.folios[folio].index, w.inodes[inode].disk.inline_data)
        });
    if inline {
        return read_inline_folio(rt, inode, folio, index);
    }
    let extent = iomap_begin(rt, inode, index, 1, false)?;
    let op = Op::new("submit_bio read").read(Object::data(inode)).write(label(inode, index));
    rt.step(op, |w| {
        if let Backing::Mapped(block) = extent.backing {
            let sb = w.inodes[inode].sb;
            let mut bytes = [0; PAGE_SIZE as usize];
            if w.sb(sb).fs.load(block * PAGE_SIZE, &mut bytes).is_err() {
                return Err(Fail::Errno(Errno::EIO));
            }
            w.folio_bytes[folio.0 as usize] = bytes;
        }
        w.folios[folio].uptodate = true;
        Ok(())
    })
}

/// `ext4_readpage_inline`: the first page holds what the inode holds, the others are zero.
fn read_inline_folio<R: Runtime>(rt: &R, inode: InodeId, folio: FolioId, index: u64) -> Result<()> {
    let op = Op::new("ext4_readpage_inline").write(Object::WORLD);
    rt.step(op, |w| {
        let node = &w.inodes[inode];
        let content = if index == 0 { w.sb(node.sb).fs.read_inline(node.ino)? } else { Vec::new() };
        let bytes = &mut w.folio_bytes[folio.0 as usize];
        bytes.fill(0);
        bytes.iter_mut().zip(&content).for_each(|(to, from)| *to = *from);
        w.folios[folio].uptodate = true;
        Ok(())
    })
}

/// The folio at an index, with a reference, up to date, locked: found, or added and read.
///
/// # Errors
/// `EIO`, an oops.
pub(crate) fn get_folio<R: Runtime>(rt: &R, inode: InodeId, index: u64) -> Result<FolioId> {
    let task = rt.task();
    loop {
        let op = Op::new("filemap_get_folio").write(label(inode, index)).write(Object::entries(inode));
        let (folio, new) = rt.step(op, |w| match w.find_folio(inode, index) {
            Some(folio) => {
                w.folios[folio].refs += 1;
                (folio, false)
            }
            None => {
                let folio = w.add_folio(task, inode, index);
                w.folios[folio].refs += 1;
                (folio, true)
            }
        });
        if !new && !lock_folio(rt, inode, folio) {
            rt.step(Op::new("put_page").write(Object::entries(inode)), |w| w.put_folio(folio));
            continue;
        }
        let uptodate = rt.step(Op::new("uptodate").read(Object::entries(inode)), |w| w.folios[folio].uptodate);
        if !uptodate && let Err(fail) = read_folio(rt, inode, folio) {
            if fail != Fail::Oops {
                rt.step(Op::new("remove_folio").write(Object::entries(inode)), |w| {
                    w.remove_folio(task, folio);
                    w.unlock_folio(folio);
                    w.put_folio(folio);
                });
            }
            return Err(fail);
        }
        return Ok(folio);
    }
}

/// `filemap_fault`: half 1. Returns the folio locked.
///
/// # Errors
/// An oops only.
pub fn filemap_fault<R: Runtime>(rt: &R, vmf: &mut Vmf) -> Result<VmFault> {
    let (inode, index) = (vmf.inode, vmf.pgoff);
    if past_end(rt, inode, index) {
        return Ok(VmFault::Sigbus);
    }
    let invalidate = LockId::invalidate(inode);
    acquire(rt, invalidate, Mode::Shared);
    rt.step(Op::new("trace"), |w| w.trace.emit(vmf.task, Event::FilemapFault { inode, pgoff: index }));
    let got = get_folio(rt, inode, index);
    let folio = match got {
        Ok(folio) => folio,
        Err(Fail::Oops) => return Err(Fail::Oops),
        Err(fail) => {
            release(rt, invalidate);
            return vmf_error(fail);
        }
    };
    release(rt, invalidate);
    if past_end(rt, inode, index) {
        rt.step(Op::new("unlock_page").write(Object::entries(inode)), |w| {
            w.unlock_folio(folio);
            w.put_folio(folio);
        });
        return Ok(VmFault::Sigbus);
    }
    vmf.folio = folio;
    Ok(VmFault::Locked)
}

fn past_end<R: Runtime>(rt: &R, inode: InodeId, index: u64) -> bool {
    rt.step(Op::new("i_size_read").read(Object::size(inode)), |w| index << PAGE_SHIFT >= w.size(inode))
}

/// `page_mkwrite`: half 2. Blocks are allocated, the folio is returned locked.
///
/// # Errors
/// An oops: without a page (`vmf->page` of a fault that had no half 1) the kernel crashes.
pub fn page_mkwrite<R: Runtime>(rt: &R, vmf: &mut Vmf) -> Result<VmFault> {
    let inode = vmf.inode;
    let (pagefault, invalidate) = (LockId::sb_pagefault(vmf.sb), LockId::invalidate(inode));
    let (personality, immutable) = rt.step(Op::new("IS_IMMUTABLE").read(Object::attr(inode)), |w| {
        (w.sb(vmf.sb).personality, w.inodes[inode].disk.flags.contains(InodeFlags::IMMUTABLE))
    });
    // ext4_page_mkwrite refuses whoever mapped an immutable file before it was one; XFS lets them go on.
    if immutable && personality == Personality::Ext4 {
        return Ok(VmFault::Sigbus);
    }
    acquire(rt, pagefault, Mode::Shared);
    file_update_time(rt, vmf);
    acquire(rt, invalidate, Mode::Shared);
    let result = mkwrite_locked(rt, vmf, personality)?;
    release(rt, invalidate);
    release(rt, pagefault);
    Ok(result)
}

fn mkwrite_locked<R: Runtime>(rt: &R, vmf: &Vmf, personality: Personality) -> Result<VmFault> {
    let (inode, index, folio) = (vmf.inode, vmf.pgoff, vmf.folio);
    if folio.is_none() {
        let function = if personality == Personality::Xfs { "iomap_page_mkwrite" } else { "ext4_page_mkwrite" };
        return Err(rt.step(Op::new("oops"), |w| w.oops(vmf.task, Oops::NullPage { function })));
    }
    if personality == Personality::Ext4
        && let Err(fail) = convert_inline(rt, inode)
    {
        return vmf_error(fail);
    }
    if !lock_folio(rt, inode, folio) {
        return Ok(VmFault::NoPage);
    }
    let unlock = || rt.step(Op::new("unlock_page").write(Object::entries(inode)), |w| w.unlock_folio(folio));
    if past_end(rt, inode, index) {
        unlock();
        return Ok(VmFault::NoPage);
    }
    if let Err(fail) = iomap_begin(rt, inode, index, 1, true) {
        if fail != Fail::Oops {
            unlock();
        }
        return vmf_error(fail);
    }
    Ok(VmFault::Locked)
}

/// `folio_mark_dirty`: `a_ops->dirty_folio`, looked up now. That of DAX does nothing to a folio.
pub fn dirty_folio<R: Runtime>(rt: &R, inode: InodeId, folio: FolioId) {
    let aops = rt.step(Op::new("a_ops->dirty_folio").read(Object::aops(inode)), |w| {
        w.touch(Object::aops(inode), false);
        w.inodes[inode].aops
    });
    if aops == Aops::PageCache {
        let op = Op::new("dirty_folio").write(Object::entries(inode)).write(Object::life(inode));
        rt.step(op, |w| w.mark_folio_dirty(folio));
    }
}
