//! The scan itself: groups side by side, inodes in the order in which they lie.

use daxkit_volume::ext4::inode_sums::{self, LANES};

use crate::code::Code;
use crate::finding::{At, Finding};
use crate::pass::{Context, Local};
use crate::state::{Known, bits};

/// Inodes of a group that one thread takes at once.
const PART: u32 = 1024;

impl Context<'_> {
    /// Scans all tables.
    pub(crate) fn scan(&self) -> Local {
        let scans = &self.scans;
        let mut work = Vec::new();
        for (group, scan) in scans.iter().enumerate() {
            let starts = (0..scan.inodes).step_by(PART as usize);
            work.extend(starts.map(|start| (group as u32, start, PART.min(scan.inodes - start))));
        }
        let mut found = self.parallel(1, &work, |local, part| self.scan_part(local, *part));
        found.dirs_of.sort_unstable();
        found.dirs_of.dedup_by(|(group, more), (first, count)| {
            let same = group == first;
            *count += if same { *more } else { 0 };
            same
        });
        found
    }

    /// Scans a part of a group's table: from this inode of the group on, so many.
    fn scan_part(&self, local: &mut Local, (group, start, count): (u32, u32, u32)) {
        let geo = &self.image.geo;
        let size = usize::from(geo.inode_size);
        let first = group * geo.inodes_per_group + 1 + start;
        let Some(at) = self.image.inode_at(first) else { return };
        local.group_dirs = 0;
        let mut room = std::mem::take(&mut local.room);
        room.resize(count as usize * size, 0);
        if self.image.device.read_at(at, &mut room).is_err() {
            self.scan_slowly(local, at, first, &mut room);
        } else {
            self.scan_bytes(local, first, &room, size);
        }
        local.room = room;
        if local.group_dirs > 0 {
            local.dirs_of.push((group, local.group_dirs));
        }
    }

    /// Scans inodes that were read.
    fn scan_bytes(&self, local: &mut Local, first: u32, bytes: &[u8], size: usize) {
        let mut ino = first;
        let at_once = if size == inode_sums::SIZE { LANES } else { 1 };
        for batch in bytes.chunks(size * at_once) {
            let inodes: Option<&[[u8; inode_sums::SIZE]; LANES]> = batch.as_chunks().0.try_into().ok();
            let inodes = inodes.filter(|_| at_once > 1);
            match inodes.zip(self.image.seed).and_then(|(raw, seed)| Some((raw, inode_sums::fit(seed, ino, raw)?))) {
                Some((inodes, fit)) => self.batch(local, ino, inodes, fit),
                None => {
                    for (raw, ino) in batch.chunks_exact(size).zip(ino..) {
                        self.inode(local, ino, raw, None);
                    }
                }
            }
            ino += at_once as u32;
        }
    }

    /// Checks inodes side by side, of which it is known whether their checksums fit.
    #[inline]
    fn batch(&self, local: &mut Local, first: u32, inodes: &[[u8; inode_sums::SIZE]; LANES], fit: [bool; LANES]) {
        let none_reserved = first >= self.image.geo.first_ino && self.bad.is_empty();
        let (mut plain, mut empty) = (0, 0);
        for (index, ((raw, fits), ino)) in inodes.iter().zip(fit).zip(first..).enumerate() {
            match if fits && none_reserved { self.plain_file(local, raw) } else { None } {
                Some(Known { links: 1, bits, .. }) => {
                    plain |= 1 << index;
                    empty |= u64::from(bits & bits::EMPTY != 0) << index;
                }
                Some(known) => self.inodes.set(ino, known),
                None => self.inode(local, ino, raw, Some(fits)),
            }
        }
        self.inodes.set_plain(first, plain, empty);
    }

    /// Reads a part of a table block by block, because some of it cannot be read.
    fn scan_slowly(&self, local: &mut Local, at: u64, first: u32, chunk: &mut [u8]) {
        let (size, block) = (usize::from(self.image.geo.inode_size), self.image.block_size());
        let mut ino = first;
        for (index, part) in chunk.chunks_mut(block).enumerate() {
            let at = at + (index * block) as u64;
            if self.image.device.read_at(at, part).is_err() {
                local.find(Finding::new(Code::Unreadable, At::Block(at / block as u64)));
                ino += (part.len() / size) as u32;
                continue;
            }
            self.scan_bytes(local, ino, part, size);
            ino += (part.len() / size) as u32;
        }
    }
}
