//! Directory entries, entries of an htree, and what else a directory block holds.

use std::ops::Range;

use daxkit_format::OnDisk;
use daxkit_format::ext4::dir_entry::{self, DirEntry, DirEntryTail, FT_DIR_CSUM, entry_len, rec_len_from_disk};
use daxkit_format::ext4::dx::{self, DxCountLimit, DxEntry, NODE_ENTRIES, ROOT_ENTRIES};
use daxkit_format::ext4::inline_data::DOTDOT_SIZE;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::field::{InodeRef, Object, Structure};

use super::super::error::VolumeError;
use super::super::seal::{Block, Kind, Seal};
use super::finder::{Finder, absent};
use super::inode::Found;
use super::{Absent, LocateError, Spot};

/// Bytes of the entries `.` and `..`: what a block 0 that is no root of an htree has of [`Structure::DxRoot`].
const DOT_AND_DOTDOT: u64 = 0x18;

impl Finder<'_> {
    fn directory(&self, dir: &InodeRef) -> Result<Found, LocateError> {
        let found = self.inode(dir)?;
        if found.inode.is_dir() {
            Ok(found)
        } else {
            Err(VolumeError::NotADirectory { inode: found.inode.nr() }.into())
        }
    }

    pub(super) fn entry(&self, object: &Object, dir: &InodeRef, name: &[u8]) -> Result<Spot, LocateError> {
        let found = self.directory(dir)?;
        let names = self.lenient()?;
        // An index that misleads must not hide what is there.
        let entry = match names.lookup(&found.inode, name).ok().flatten() {
            Some(entry) => Some(entry),
            None => names.read_dir(&found.inode)?.flatten().find(|e| e.name == name),
        };
        let entry = entry.ok_or_else(|| VolumeError::NotFound { dir: found.inode.nr(), name: name.to_vec() })?;
        match entry.block {
            Some(nr) => self.entry_in_block(object, &found, self.block(nr.get())?, entry.logical, entry.offset),
            None if entry.is_dot() => self.inline_dot(object, &found, name),
            None => self.inline_entry(object, &found, entry.offset),
        }
    }

    pub(super) fn entry_at(
        &self,
        object: &Object,
        dir: &InodeRef,
        logical: u64,
        offset: u32,
    ) -> Result<Spot, LocateError> {
        let found = self.directory(dir)?;
        if found.inode.has_inline_data() && logical == 0 {
            return self.inline_entry(object, &found, offset);
        }
        let block = self.mapped(object, &found, logical)?;
        self.entry_in_block(object, &found, block, logical, offset)
    }

    fn entry_in_block(
        &self,
        object: &Object,
        found: &Found,
        block: Block,
        logical: u64,
        offset: u32,
    ) -> Result<Spot, LocateError> {
        let bytes = self.read(object, block.range())?;
        let seals = self.dir_seal(found, block, &bytes, logical).into_iter().collect();
        let rest = block.at.saturating_add(offset.into())..block.range().end;
        self.entry_spot(object, found, rest, bytes.get(offset as usize..).unwrap_or_default(), seals)
    }

    /// An entry that begins where `rest` does; whether one is known to begin there is not asked, since the entries before
    /// it may be damaged.
    fn entry_spot(
        &self,
        object: &Object,
        found: &Found,
        rest: Range<u64>,
        bytes: &[u8],
        seals: Vec<Seal>,
    ) -> Result<Spot, LocateError> {
        let room = bytes.len() as u64;
        let head = DirEntry::peek(bytes).ok_or_else(|| absent(object, Absent::DirEntry))?;
        let claimed = u64::from(rec_len_from_disk(head.rec_len.get(), self.volume.block_size()));
        let len = claimed.clamp(size_of::<DirEntry>() as u64, room);
        let spot = Spot::one(Structure::DirEntry, rest.start..rest.start.saturating_add(len), seals);
        let flags = found.inode.flags();
        let hashed = flags.contains(InodeFlags::CASEFOLD) && flags.contains(InodeFlags::ENCRYPT);
        let behind_name = entry_len(head.name_len.into()) as u64;
        Ok(if hashed { spot.with(Structure::DirEntryHash, behind_name) } else { spot })
    }

    /// An inline directory has no `.`, and of `..` only the number.
    fn inline_dot(&self, object: &Object, found: &Found, name: &[u8]) -> Result<Spot, LocateError> {
        if name != b".." {
            return Err(absent(object, Absent::DirEntry));
        }
        let start = found.i_block_at();
        let seals = self.inode_seal(found).into_iter().collect();
        Ok(Spot::one(Structure::DirEntry, start..start + DOTDOT_SIZE as u64, seals))
    }

    /// An entry at a byte of the content of an inline directory: in `i_block`, then in the attribute that holds the rest.
    fn inline_entry(&self, object: &Object, found: &Found, offset: u32) -> Result<Spot, LocateError> {
        let in_block = found.inode.i_block.len() as u64;
        let offset = u64::from(offset);
        let start = found.i_block_at();
        let rest = if offset < in_block {
            start.saturating_add(offset)..start.saturating_add(in_block)
        } else {
            let tail = self.inline_tail(found).ok_or_else(|| absent(object, Absent::DirEntry))?;
            tail.start.saturating_add(offset - in_block)..tail.end
        };
        if rest.is_empty() {
            return Err(absent(object, Absent::DirEntry));
        }
        let bytes = self.read(object, rest.clone())?;
        self.entry_spot(object, found, rest, &bytes, self.inode_seal(found).into_iter().collect())
    }

    pub(super) fn dx_entry(
        &self,
        object: &Object,
        dir: &InodeRef,
        logical: u64,
        index: u32,
    ) -> Result<Spot, LocateError> {
        let found = self.directory(dir)?;
        let block = self.mapped(object, &found, logical)?;
        let bytes = self.read(object, block.range())?;
        let offset = entries_at(&found, &bytes, logical).ok_or_else(|| absent(object, Absent::NotHtree))?;
        let room = bytes.len().saturating_sub(offset) / size_of::<DxEntry>();
        let stored = bytes.get(offset..).and_then(DxCountLimit::peek).map_or(0, |cl| cl.count.get());
        let count = u32::from(stored).min(room as u32);
        if index >= count {
            return Err(absent(object, Absent::Dx { index, count }));
        }
        let start = block.at.saturating_add(offset as u64 + u64::from(index) * size_of::<DxEntry>() as u64);
        let seals = self.dir_seal(&found, block, &bytes, logical).into_iter().collect();
        Ok(Spot::one(Structure::DxEntry, start..start.saturating_add(size_of::<DxEntry>() as u64), seals))
    }

    pub(super) fn dir_block(&self, object: &Object, dir: &InodeRef, logical: u64) -> Result<Spot, LocateError> {
        let found = self.directory(dir)?;
        let block = self.mapped(object, &found, logical)?;
        let bytes = self.read(object, block.range())?;
        let seals = self.dir_seal(&found, block, &bytes, logical).into_iter().collect();
        let mut spot = Spot::plain(block.range(), seals);
        if let Some(offset) = entries_at(&found, &bytes, logical) {
            if offset == ROOT_ENTRIES {
                spot = spot.with(Structure::DxRoot, 0);
            }
            spot = spot.with(Structure::DxCountLimit, offset as u64);
            let tail = dx::tail_offset(&bytes, offset).filter(|_| self.seed.is_some());
            return Ok(tail.map_or(spot.clone(), |at| spot.with(Structure::DxTail, at as u64)));
        }
        if logical == 0 {
            spot.structures.push((Structure::DxRoot, block.at..block.at.saturating_add(DOT_AND_DOTDOT)));
        }
        let tail = leaf_tail(&bytes).filter(|_| self.seed.is_some());
        Ok(tail.map_or(spot.clone(), |at| spot.with(Structure::DirEntryTail, at as u64)))
    }

    /// The checksum of a directory block, if it has one: of an htree block or of a leaf.
    pub(super) fn dir_seal(&self, found: &Found, block: Block, bytes: &[u8], logical: u64) -> Option<Seal> {
        let seed = self.inode_seed(found)?;
        if let Some(entries_at) = entries_at(found, bytes, logical) {
            return Some(Seal(Kind::DirIndex { block, seed, entries_at }));
        }
        leaf_tail(bytes).map(|_| Seal(Kind::DirLeaf { block, seed }))
    }
}

/// Where the entries of an htree block begin; `None` for a leaf. The kernel takes block 0 of a hashed directory for a root
/// whatever it holds, and any other for a node when its first entry fills it (`__ext4_read_dirblock`).
fn entries_at(found: &Found, bytes: &[u8], logical: u64) -> Option<usize> {
    if !found.inode.flags().contains(InodeFlags::INDEX) {
        return None;
    }
    if logical == 0 {
        return Some(ROOT_ENTRIES);
    }
    let block_size = u32::try_from(bytes.len()).ok()?;
    let first = DirEntry::peek(bytes)?;
    (rec_len_from_disk(first.rec_len.get(), block_size) == block_size).then_some(NODE_ENTRIES)
}

/// Where the tail of a leaf lies, if it has one. One of its fields may be damaged.
fn leaf_tail(bytes: &[u8]) -> Option<usize> {
    let at = bytes.len().checked_sub(size_of::<DirEntryTail>())?;
    let tail = DirEntryTail::peek(bytes.get(at..)?)?;
    let unnamed = tail.det_reserved_zero1.get() == 0 && tail.det_reserved_zero2 == 0;
    let signs = [tail.det_reserved_ft == FT_DIR_CSUM, tail.det_rec_len.get() == 12, unnamed];
    (dir_entry::tail(bytes).is_some() || signs.iter().filter(|s| **s).count() >= 2).then_some(at)
}
