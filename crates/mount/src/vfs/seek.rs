//! `lseek`, with holes and data by the map of the file (`generic_file_llseek`, `iomap_seek_hole`, `iomap_seek_data`, Linux 6.12).

use daxkit_format::dax::{Errno, FileKind};

use super::open::fdget;
use crate::fail::Result;
use crate::fs::{Backing, FileSystem};
use crate::ids::{FileId, InodeId, PAGE_SIZE};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::World;

/// From where an offset counts, or what is looked for from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whence {
    /// `SEEK_SET`.
    Set,
    /// `SEEK_CUR`.
    Cur,
    /// `SEEK_END`.
    End,
    /// `SEEK_DATA`.
    Data,
    /// `SEEK_HOLE`.
    Hole,
}

/// Whether the page cache has a page, read or written.
fn cached<F: FileSystem>(w: &World<F>, inode: InodeId, page: u64) -> bool {
    w.find_folio(inode, page).is_some_and(|folio| w.folios[folio].uptodate)
}

/// `lseek`: the new position. What is reserved and not written is a hole; the end of a file is one, too.
///
/// # Errors
/// `EBADF`, `ESPIPE` (special files), `EINVAL` (past the largest position), `ENXIO` (past the end, or no data behind).
pub fn lseek<R: Runtime>(rt: &R, file: FileId, offset: i64, whence: Whence) -> Result<u64> {
    let open = fdget(rt, file)?;
    let inode = open.inode;
    let op = Op::new("llseek").read(Object::WORLD).write(Object::file(file));
    Ok(rt.step(op, |w| {
        let node = w.inodes[inode];
        if node.kind() == FileKind::Special {
            return Err(Errno::ESPIPE);
        }
        let size = node.disk.size;
        let from = match whence {
            Whence::Cur => open.pos,
            Whence::End => size,
            _ => 0,
        };
        let sum = from.checked_add_signed(offset);
        let offset = offset as u64;
        let to = match whence {
            Whence::Set | Whence::Cur | Whence::End => sum,
            // What lies before the beginning lies behind every end.
            Whence::Data | Whence::Hole if offset >= size => return Err(Errno::ENXIO),
            Whence::Data if node.disk.inline_data => Some(offset),
            Whence::Hole if node.disk.inline_data => Some(size),
            Whence::Data | Whence::Hole => {
                w.may_map(inode)?;
                let blocks = size.div_ceil(PAGE_SIZE);
                let mut at = offset / PAGE_SIZE;
                let mut found = None;
                while at < blocks && found.is_none() {
                    let extent = w.sb(node.sb).fs.map(node.ino, at, blocks - at)?;
                    let end = at + extent.len.max(1);
                    let data = whence == Whence::Data;
                    let first = match extent.backing {
                        // mapping_seek_hole_data: what is reserved holds data where the page cache does.
                        Backing::Unwritten(_) => (at..end).find(|page| cached(w, inode, *page) == data),
                        Backing::Mapped(_) => data.then_some(at),
                        Backing::Hole => (!data).then_some(at),
                    };
                    found = first.map(|page| offset.max(page * PAGE_SIZE));
                    at = end;
                }
                match found {
                    None if whence == Whence::Data => return Err(Errno::ENXIO),
                    found => Some(found.unwrap_or(size).min(size)),
                }
            }
        };
        let to = to.filter(|to| *to <= w.max_size(inode)).ok_or(Errno::EINVAL)?;
        w.files[file].pos = to;
        Ok(to)
    })?)
}
