//! `posix_fadvise` (`mm/fadvise.c`, `xfs_file_fadvise`, Linux 6.12). There is no read-ahead but what is asked for here.

use daxkit_format::dax::{Errno, FileKind};

use super::open::fdget;
use crate::fail::{Fail, Result};
use crate::filemap::fault::get_folio;
use crate::filemap::invalidate::invalidate_mapping_pages;
use crate::filemap::writeback::filemap_write_and_keep_errors;
use crate::ids::{FileId, InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::locks::{LockId, Mode, with_lock};
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;

/// What is said of a range of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileAdvice {
    /// `POSIX_FADV_NORMAL`, `SEQUENTIAL`, `RANDOM`: how much would be read ahead, of which there is none.
    Pattern,
    /// `POSIX_FADV_WILLNEED`: read into the page cache.
    WillNeed,
    /// `POSIX_FADV_DONTNEED`: written, and clean pages dropped.
    DontNeed,
}

/// `fadvise`; a length of 0 means all that follows.
///
/// # Errors
/// `EBADF`, `ESPIPE` (a FIFO); an oops.
pub fn fadvise<R: Runtime>(rt: &R, file: FileId, offset: u64, len: u64, advice: FileAdvice) -> Result<()> {
    let inode = fdget(rt, file)?.inode;
    let (kind, fifo, locks) = rt.step(Op::new("i_mode").read(Object::attr(inode)), |w| {
        let node = &w.inodes[inode];
        let locks = w.sb(node.sb).personality == Personality::Xfs && advice == FileAdvice::WillNeed;
        (node.kind(), node.disk.mode & 0o17_0000 == 0o1_0000, locks)
    });
    if fifo {
        return Err(Errno::ESPIPE.into());
    }
    let dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
    // A DAX file has nothing that could be cached: the advice is valid, and ignored.
    if dax || kind != FileKind::Regular {
        return Ok(());
    }
    let end = if len == 0 { u64::MAX } else { offset.saturating_add(len) };
    match advice {
        FileAdvice::Pattern => Ok(()),
        // Against holes that are punched while pages are made.
        FileAdvice::WillNeed if locks => {
            with_lock(rt, LockId::i_rwsem(inode), Mode::Shared, || force_readahead(rt, inode, offset, end))
        }
        FileAdvice::WillNeed => force_readahead(rt, inode, offset, end),
        FileAdvice::DontNeed => {
            let _ = filemap_write_and_keep_errors(rt, inode, offset >> PAGE_SHIFT, (end - 1) >> PAGE_SHIFT);
            // A page that is only partly in the range stays.
            let (first, last) = (offset.div_ceil(PAGE_SIZE), end / PAGE_SIZE);
            if first < last {
                invalidate_mapping_pages(rt, inode, first, last - 1);
            }
            Ok(())
        }
    }
}

/// `force_page_cache_readahead`: nobody is told of an error.
fn force_readahead<R: Runtime>(rt: &R, inode: InodeId, from: u64, to: u64) -> Result<()> {
    let size = rt.step(Op::new("i_size_read").read(Object::size(inode)), |w| w.size(inode));
    for index in from >> PAGE_SHIFT..to.min(size).div_ceil(PAGE_SIZE) {
        let read = with_lock(rt, LockId::invalidate(inode), Mode::Shared, || get_folio(rt, inode, index));
        match read {
            Ok(folio) => rt.step(Op::new("unlock_page").write(Object::entries(inode)), |w| {
                w.unlock_folio(folio);
                w.put_folio(folio);
            }),
            Err(Fail::Oops) => return Err(Fail::Oops),
            Err(_) => break,
        }
    }
    Ok(())
}
