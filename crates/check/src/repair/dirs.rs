//! Directories: blocks made whole, entries mended.

use daxkit_format::ext4::dir_block::NewEntry;
use daxkit_format::ext4::dir_entry::{self, Entry, entry_len, file_type, rec_len_from_disk};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::{dx, inode};

use super::fixer::{Done, Fixer};
use super::{EntryFix, edit_inode};
use crate::pass::Dir;
use crate::pass::entries::entry_at;
use crate::pass::inode_blocks::inode_seed;
use crate::pass::xattrs::Area;

/// Where the 60 bytes of a map lie in an inode.
const MAP: std::ops::Range<usize> = 0x28..0x28 + 60;
/// Bytes of the tail with the checksum.
const TAIL: usize = 12;

impl Fixer<'_, '_> {
    fn dir(&self, ino: u32) -> Done<&Dir> {
        let dirs = self.state.dirs;
        let index = dirs.binary_search_by_key(&ino, |dir| dir.ino).map_err(|_| format!("inode {ino}: no directory"))?;
        dirs.get(index).ok_or_else(|| format!("inode {ino}: no directory"))
    }

    /// The seed of the checksums of a directory's blocks.
    pub(crate) fn dir_seed(&self, ino: u32) -> Option<u32> {
        let generation = self.disk_inode(ino).map_or(0, |inode| inode.i_generation.get());
        inode_seed(self.image, ino, generation)
    }

    /// Writes a block of a directory with the checksum that its kind has.
    fn write_dir_block(&self, ino: u32, block: u64, bytes: &mut [u8]) -> Done {
        if let Some(seed) = self.dir_seed(ino) {
            if dir_entry::tail(bytes).is_some() {
                dir_entry::seal_block(seed, bytes);
            } else if let Some(offset) = dx::entries_offset(bytes) {
                dx::seal_block(seed, bytes, offset);
            }
        }
        self.write_block(block, bytes)
    }

    /// The entries that can be made out in an area: those that follow each other, and behind damage whatever looks like one.
    fn salvage(&self, area: &[u8], base: usize) -> Vec<(u32, u8, Vec<u8>)> {
        let (block_size, count) = (self.image.geo.block_size, self.image.geo.inodes_count);
        let good = |inode: u32, name: &[u8]| {
            (inode == 2 || inode >= self.image.geo.first_ino)
                && inode <= count
                && !name.is_empty()
                && !name.iter().any(|b| matches!(b, 0 | b'/'))
        };
        let (mut found, mut at, mut whole) = (Vec::new(), base, true);
        while at + 12 <= area.len() {
            match entry_at(area, at, block_size) {
                Some(raw) if whole || good(raw.inode, raw.name) => {
                    if raw.inode != 0 && !raw.name.is_empty() {
                        found.push((raw.inode, raw.file_type, raw.name.to_vec()));
                    }
                    whole = true;
                    at += raw.len;
                }
                _ => {
                    // The head may be right and only the length wrong.
                    if let Some(entry) = cut_off(area, at, block_size).filter(|e| good(e.0, &e.2)) {
                        at += entry_len(entry.2.len());
                        found.push(entry);
                    } else {
                        at += 4;
                    }
                    whole = false;
                }
            }
        }
        found
    }

    /// Makes a block of a directory whole: what can be saved of it, and room for the checksum.
    pub(crate) fn dir_block(&self, ino: u32, logical: u32, block: u64) -> Done {
        let size = self.image.block_size();
        let bytes = self.block(block).unwrap_or_else(|_| vec![0; size]);
        let has_tail = self.dir_seed(ino).is_some();
        // What lies where the tail will be is no entry, unless there was none.
        let area = match dir_entry::tail(&bytes) {
            Some(_) if has_tail => bytes.get(..size - TAIL).unwrap_or(&bytes),
            _ => &bytes,
        };
        let mut entries = self.salvage(area, 0);
        if logical == 0 {
            let parent = match entries.iter().position(|(_, _, name)| name == b"..") {
                Some(at) => entries.remove(at).0,
                None => 2,
            };
            entries.retain(|(_, _, name)| name != b".");
            entries.insert(0, (parent, file_type::DIR, b"..".to_vec()));
            entries.insert(0, (ino, file_type::DIR, b".".to_vec()));
        }
        let mut new = vec![0; size];
        let style = self.image.entry_style();
        let end = if has_tail { size - TAIL } else { size };
        let area = new.get_mut(..end).unwrap_or_default();
        if entries.is_empty() {
            style.clear(area);
        } else {
            // Inodes whose names have no room get new ones in lost+found.
            let mut used = 0;
            entries.retain(|(_, _, name)| {
                let len = entry_len(name.len());
                let fits = used + len <= end;
                used += if fits { len } else { 0 };
                fits
            });
            let all = entries.iter().map(|(inode, file_type, name)| Entry {
                offset: 0,
                inode: *inode,
                rec_len: 0,
                file_type: *file_type,
                name,
            });
            if !style.fill(area, all) {
                return Err("the entries do not fit".to_owned());
            }
        }
        if let Some(seed) = self.dir_seed(ino) {
            dir_entry::seal_block(seed, &mut new);
        }
        self.write_block(block, &new)
    }

    /// Makes inline entries whole.
    pub(crate) fn inline_dir(&self, ino: u32) -> Done {
        let raw = self.raw_inode(ino)?;
        let head = raw.get(MAP).unwrap_or_default();
        let mut parts = vec![(MAP.start + 4, head.len() - 4, self.salvage(head, 4))];
        if let Some((start, tail)) = tail_place(&raw) {
            parts.push((start, tail.len(), self.salvage(tail, 0)));
        }
        let style = self.image.entry_style();
        self.change_inode(ino, |raw| {
            for (start, len, entries) in parts {
                let Some(area) = raw.get_mut(start..start + len) else { continue };
                let (mut kept, mut used) = (Vec::new(), 0);
                for (inode, file_type, name) in &entries {
                    if matches!(name.as_slice(), b"." | b"..") || used + entry_len(name.len()) > len {
                        continue;
                    }
                    used += entry_len(name.len());
                    kept.push(Entry { offset: 0, inode: *inode, rec_len: 0, file_type: *file_type, name });
                }
                if kept.is_empty() && len >= 12 {
                    style.clear(area);
                } else if !kept.is_empty() {
                    style.fill(area, kept);
                }
            }
        })
    }

    /// Changes a part of a directory that holds entries: a block, or a part of the inode.
    fn change_part(&self, ino: u32, logical: u32, block: u64, change: impl FnOnce(&mut [u8]) -> Done) -> Done {
        if block != 0 {
            let mut bytes = self.block(block)?;
            let end = if dir_entry::tail(&bytes).is_some() && self.image.seed.is_some() {
                bytes.len() - TAIL
            } else {
                bytes.len()
            };
            change(bytes.get_mut(..end).unwrap_or_default())?;
            return self.write_dir_block(ino, block, &mut bytes);
        }
        let raw = self.raw_inode(ino)?;
        let place = match logical {
            0 => MAP,
            _ => tail_place(&raw).map(|(start, tail)| start..start + tail.len()).ok_or("there is no such part")?,
        };
        let mut done = Ok(());
        self.change_inode(ino, |raw| {
            if let Some(part) = raw.get_mut(place) {
                done = change(part);
            }
        })?;
        done
    }

    /// Mends an entry.
    pub(crate) fn entry(&self, ino: u32, logical: u32, block: u64, at: u32, how: EntryFix) -> Done {
        let style = self.image.entry_style();
        let (at, block_size) = (at as usize, self.image.geo.block_size);
        let inline = block == 0 && logical == 0;
        self.change_part(ino, logical, block, |bytes| {
            let raw = entry_at(bytes, at, block_size).ok_or("the entry is not there any more")?;
            let (name_at, len, inode, old_type) = (at + 8, raw.name.len(), raw.inode, raw.file_type);
            let name = bytes.get_mut(name_at..name_at + len).unwrap_or_default();
            match how {
                EntryFix::Dots => name.iter_mut().filter(|b| matches!(**b, 0 | b'/')).for_each(|b| *b = b'.'),
                EntryFix::Ascii => name.iter_mut().filter(|b| !b.is_ascii()).for_each(|b| *b = b'.'),
                EntryFix::Rename => rename(bytes, at, len, block_size, if inline { 4 } else { 0 }),
                EntryFix::Type(file_type) => {
                    style.set_target(bytes, at, inode, file_type);
                    // Without types in entries the byte is a part of the length, and zero.
                    if let Some(byte) = bytes.get_mut(at + 7).filter(|_| !style.has_file_type) {
                        *byte = 0;
                    }
                }
                EntryFix::Target(target, file_type) => {
                    let _ = old_type;
                    style.set_target(bytes, at, target, file_type);
                }
                EntryFix::Remove => {
                    let base = if inline { 4 } else { 0 };
                    let area = bytes.get_mut(base..).unwrap_or_default();
                    let removed = style.remove(area, at - base);
                    if !removed.is_ok_and(|there| there) {
                        // What comes before it cannot be read: it is made unused where it lies.
                        style.set_target(bytes, at, 0, 0);
                    }
                }
            }
            Ok(())
        })
    }

    /// Lets `..` lead to another directory.
    pub(crate) fn dotdot(&self, ino: u32, parent: u32) -> Done {
        let dir = self.dir(ino)?;
        if dir.inline {
            return self.change_inode(ino, |raw| {
                if let Some(place) = raw.get_mut(MAP.start..MAP.start + 4) {
                    place.copy_from_slice(&parent.to_le_bytes());
                }
            });
        }
        let block = dir.block(0).ok_or("the directory has no first block")?;
        let (style, block_size) = (self.image.entry_style(), self.image.geo.block_size);
        self.change_part(ino, 0, block, |bytes| {
            let dot = entry_at(bytes, 0, block_size).ok_or("the entry . cannot be read")?.len;
            entry_at(bytes, dot, block_size).filter(|raw| raw.name == b"..").ok_or("the entry .. cannot be read")?;
            style.set_target(bytes, dot, parent, file_type::DIR);
            Ok(())
        })
    }

    /// Takes a directory's index away: its blocks become blocks of entries.
    pub(crate) fn drop_index(&self, ino: u32) -> Done {
        let dir = self.dir(ino)?;
        for logical in 0..dir.blocks {
            let Some(block) = dir.block(logical) else { continue };
            let Ok(bytes) = self.block(block) else { continue };
            if dx::entries_offset(&bytes).is_some() && dir_entry::tail(&bytes).is_none() {
                self.dir_block(ino, logical, block)?;
            }
        }
        self.change_inode(ino, |raw| {
            edit_inode(raw, |inode| inode.set_flags(inode.flags().difference(InodeFlags::INDEX)));
        })
    }

    /// An empty block of a directory; the first has `.` and `..`.
    pub(crate) fn empty_dir_block(&self, ino: u32, logical: u64, parent: u32, generation: u32) -> Vec<u8> {
        let mut bytes = vec![0; self.image.block_size()];
        let seed = self.image.seed.map(|seed| inode::checksum_seed(seed, ino, generation));
        let end = if seed.is_some() { bytes.len() - TAIL } else { bytes.len() };
        let area = bytes.get_mut(..end).unwrap_or_default();
        let style = self.image.entry_style();
        if logical == 0 {
            style.dots(area, ino, parent)
        } else {
            style.clear(area)
        }
        if let Some(seed) = seed {
            dir_entry::seal_block(seed, &mut bytes);
        }
        bytes
    }
}

/// The part of a directory in the attribute, and where in the inode it lies.
fn tail_place(raw: &[u8]) -> Option<(usize, &[u8])> {
    let area = Area::inode(raw)?;
    let start = raw.len() - area.bytes.len();
    let entry = area.entries().into_iter().find(|e| e.index == 7 && e.name == b"data")?;
    let offset = area.bytes.get(entry.offset + 2..entry.offset + 4).and_then(|b| b.try_into().ok());
    Some((start + 4 + usize::from(u16::from_le_bytes(offset?)), entry.value))
}

/// An entry whose length is wrong, read by its name's length alone.
fn cut_off(area: &[u8], at: usize, block_size: u32) -> Option<(u32, u8, Vec<u8>)> {
    let &[a, b, c, d, e, f, name_len, kind] = area.get(at..at + 8)? else { return None };
    let len = rec_len_from_disk(u16::from_le_bytes([e, f]), block_size) as usize;
    // A length that is nowhere near makes it no entry.
    if len > area.len() * 2 {
        return None;
    }
    let name = area.get(at + 8..at + 8 + usize::from(name_len))?;
    Some((u32::from_le_bytes([a, b, c, d]), kind, name.to_vec()))
}

/// Gives an entry a name of the same length that nothing else in the area has.
fn rename(bytes: &mut [u8], at: usize, len: usize, block_size: u32, base: usize) {
    let taken: Vec<Vec<u8>> = {
        let (mut all, mut next) = (Vec::new(), base);
        while let Some(raw) = entry_at(bytes, next, block_size) {
            all.push(raw.name.to_vec());
            next += raw.len;
        }
        all
    };
    let old = bytes.get(at + 8..at + 8 + len).unwrap_or_default().to_vec();
    for n in 0u32..100_000 {
        let tail = format!("~{n}");
        let keep = len.saturating_sub(tail.len());
        let mut new = old.get(..keep).unwrap_or_default().to_vec();
        new.extend(tail.as_bytes().iter().skip(tail.len().saturating_sub(len - keep)));
        if !taken.contains(&new) {
            if let Some(place) = bytes.get_mut(at + 8..at + 8 + len) {
                place.copy_from_slice(&new);
            }
            return;
        }
    }
    let _ = NewEntry { inode: 0, name: b"", file_type: 0 };
}
