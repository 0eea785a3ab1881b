//! What the passes learn of blocks and inodes, in memory that grows with what is in use.

use daxkit_format::ext4::dir_entry::file_type;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Bits of a chunk.
const CHUNK: u64 = 32_768;
const WORDS: usize = (CHUNK / 64) as usize;

type Chunk = Box<[AtomicU64]>;

/// One bit for each cluster, in chunks that are there when a bit of them was set.
#[derive(Debug)]
pub(crate) struct BlockMap {
    chunks: Vec<OnceLock<Chunk>>,
    bits: u64,
}

/// The words that a range of bits touches, with the bits of each.
fn words(first: u64, len: u64) -> impl Iterator<Item = (u64, u64)> {
    let end = first + len;
    let mut at = first;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (word, bit) = (at / 64, at % 64);
        let take = (64 - bit).min(end - at);
        at += take;
        Some((word, (u64::MAX >> (64 - take)) << bit))
    })
}

impl BlockMap {
    pub(crate) fn new(bits: u64) -> Self {
        let chunks = usize::try_from(bits.div_ceil(CHUNK)).unwrap_or(0);
        Self { chunks: std::iter::repeat_with(OnceLock::new).take(chunks).collect(), bits }
    }

    /// Cuts a range to the bits that there are.
    fn cut(&self, first: u64, len: u64) -> (u64, u64) {
        let first = first.min(self.bits);
        (first, len.min(self.bits - first))
    }

    fn word(&self, word: u64) -> Option<&AtomicU64> {
        self.chunks.get(usize::try_from(word).ok()? / WORDS)?.get()?.get(word as usize % WORDS)
    }

    /// Sets bits; returns whether one of them was set already.
    pub(crate) fn mark(&self, first: u64, len: u64) -> bool {
        let (first, len) = self.cut(first, len);
        let mut twice = false;
        for (word, bits) in words(first, len) {
            let Some(chunk) = self.chunks.get(word as usize / WORDS) else { continue };
            let chunk = chunk.get_or_init(|| std::iter::repeat_with(AtomicU64::default).take(WORDS).collect());
            if let Some(word) = chunk.get(word as usize % WORDS) {
                twice |= word.fetch_or(bits, Relaxed) & bits != 0;
            }
        }
        twice
    }

    /// Whether a bit of a range is set.
    pub(crate) fn any(&self, first: u64, len: u64) -> bool {
        let (first, len) = self.cut(first, len);
        words(first, len).any(|(word, bits)| self.word(word).is_some_and(|w| w.load(Relaxed) & bits != 0))
    }

    pub(crate) fn get(&self, bit: u64) -> bool {
        self.any(bit, 1)
    }

    /// Whether nothing was ever set in the chunks of a range.
    pub(crate) fn is_untouched(&self, first: u64, len: u64) -> bool {
        let (first, len) = self.cut(first, len);
        len == 0
            || (first / CHUNK..=(first + len - 1) / CHUNK)
                .all(|chunk| self.chunks.get(chunk as usize).is_none_or(|c| c.get().is_none()))
    }

    /// 64 bits from `first` on; zero behind the end.
    pub(crate) fn load(&self, first: u64) -> u64 {
        let get = |word| self.word(word).map_or(0, |w| w.load(Relaxed));
        match first % 64 {
            0 => get(first / 64),
            shift => get(first / 64) >> shift | get(first / 64 + 1) << (64 - shift),
        }
    }
}

/// What an inode turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum Kind {
    #[default]
    Free = 0,
    File = 1,
    Dir = 2,
    Chr = 3,
    Blk = 4,
    Fifo = 5,
    Sock = 6,
    Link = 7,
    /// In use, of no type.
    Bad = 8,
}

impl Kind {
    pub(crate) fn of(mode: u16) -> Self {
        match file_type::of_mode(mode) {
            file_type::UNKNOWN => Self::Bad,
            kind => Self::from_u32(kind.into()),
        }
    }

    /// `file_type` of an entry.
    pub(crate) fn file_type(self) -> u8 {
        if self == Self::Bad { 0 } else { self as u8 }
    }

    fn from_u32(n: u32) -> Self {
        match n {
            0 => Self::Free,
            1 => Self::File,
            2 => Self::Dir,
            3 => Self::Chr,
            4 => Self::Blk,
            5 => Self::Fifo,
            6 => Self::Sock,
            7 => Self::Link,
            _ => Self::Bad,
        }
    }
}

/// What is known of an inode.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    pub(crate) kind: Kind,
    /// `i_links_count`.
    pub(crate) links: u16,
    /// Bits of [`bits`].
    pub(crate) bits: u8,
}

/// More that is known of an inode.
pub(crate) mod bits {
    /// It holds the value of an attribute.
    pub(crate) const EA_INODE: u8 = 1;
    /// It is encrypted.
    pub(crate) const ENCRYPTED: u8 = 2;
    /// It will be cleared: entries that name it are not worth a word of their own.
    pub(crate) const DOOMED: u8 = 4;
    /// It has neither size nor blocks.
    pub(crate) const EMPTY: u8 = 8;
    /// The file system's own: no name leads there.
    pub(crate) const RESERVED: u8 = 16;
    /// A directory with an index.
    pub(crate) const INDEXED: u8 = 64;
    /// It carries the DAX flag.
    pub(crate) const DAX: u8 = 32;
}

/// Eight bytes for each inode of the groups' used parts.
#[derive(Debug)]
struct Slot {
    /// Kind, bits, links.
    known: AtomicU32,
    /// Entries that name it.
    names: AtomicU32,
}

/// The inodes.
#[derive(Debug)]
pub(crate) struct Inodes {
    groups: Vec<OnceLock<Box<[Slot]>>>,
    per_group: u32,
    count: u32,
}

impl Inodes {
    pub(crate) fn new(groups: u32, per_group: u32) -> Self {
        Self {
            groups: std::iter::repeat_with(OnceLock::new).take(groups as usize).collect(),
            per_group: per_group.max(1),
            count: groups.saturating_mul(per_group),
        }
    }

    /// Makes room for the first inodes of a group.
    pub(crate) fn open(&self, group: u32, inodes: u32) {
        if let Some(slots) = self.groups.get(group as usize) {
            slots.get_or_init(|| {
                std::iter::repeat_with(|| Slot { known: AtomicU32::new(0), names: AtomicU32::new(0) })
                    .take(inodes.min(self.per_group) as usize)
                    .collect()
            });
        }
    }

    fn slot(&self, ino: u32) -> Option<&Slot> {
        let index = ino.checked_sub(1)?;
        self.groups.get((index / self.per_group) as usize)?.get()?.get((index % self.per_group) as usize)
    }

    /// Whether there is an inode of this number.
    pub(crate) fn exists(&self, ino: u32) -> bool {
        ino >= 1 && ino <= self.count
    }

    pub(crate) fn set(&self, ino: u32, known: Known) {
        if let Some(slot) = self.slot(ino) {
            slot.known.store(known.kind as u32 | u32::from(known.bits) << 8 | u32::from(known.links) << 16, Relaxed);
        }
    }

    pub(crate) fn get(&self, ino: u32) -> Known {
        let word = self.slot(ino).map_or(0, |slot| slot.known.load(Relaxed));
        Known { kind: Kind::from_u32(word & 0xff), bits: (word >> 8) as u8, links: (word >> 16) as u16 }
    }

    /// What is known of an inode, and counts a name that leads to it if it is in use.
    pub(crate) fn get_and_name(&self, ino: u32) -> Known {
        let Some(slot) = self.slot(ino) else { return Known::default() };
        let word = slot.known.load(Relaxed);
        let known = Known { kind: Kind::from_u32(word & 0xff), bits: (word >> 8) as u8, links: (word >> 16) as u16 };
        if known.kind != Kind::Free {
            slot.names.fetch_add(1, Relaxed);
        }
        known
    }

    /// Counts a name that leads to an inode, if that is in use as what the name says and there is nothing else to know of it. Returns
    /// whether it was counted.
    pub(crate) fn name_plain(&self, ino: u32, file_type: u8) -> bool {
        let Some(slot) = self.slot(ino) else { return false };
        // Kinds and types have the same numbers. An empty file has nothing that matters here.
        let word = slot.known.load(Relaxed) & 0xffff & !(u32::from(bits::EMPTY) << 8);
        let plain = word == u32::from(file_type) && file_type != Kind::Free as u8 && file_type < Kind::Bad as u8;
        if plain {
            slot.names.fetch_add(1, Relaxed);
        }
        plain
    }

    /// Takes a name back.
    pub(crate) fn unname(&self, ino: u32) {
        if let Some(slot) = self.slot(ino) {
            let _ = slot.names.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        }
    }

    /// Counts a name that leads to an inode.
    pub(crate) fn name(&self, ino: u32) {
        if let Some(slot) = self.slot(ino) {
            slot.names.fetch_add(1, Relaxed);
        }
    }

    /// The inodes that are known, of a group: number, what is known, names.
    pub(crate) fn of_group(&self, group: u32) -> impl Iterator<Item = (u32, Known, u32)> + '_ {
        let first = group * self.per_group + 1;
        let slots = self.groups.get(group as usize).and_then(OnceLock::get).map_or(&[][..], |slots| slots);
        slots.iter().enumerate().map(move |(index, slot)| {
            let word = slot.known.load(Relaxed);
            let known =
                Known { kind: Kind::from_u32(word & 0xff), bits: (word >> 8) as u8, links: (word >> 16) as u16 };
            (first + index as u32, known, slot.names.load(Relaxed))
        })
    }

    pub(crate) fn groups(&self) -> u32 {
        self.groups.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_found_and_cleared() {
        let map = BlockMap::new(200_000);
        assert!(!map.mark(60, 10));
        assert!(map.mark(69, 1));
        assert!(!map.mark(70, 130_000));
        assert!(map.get(130_069) && !map.get(130_070));
        assert!(map.any(59, 2) && !map.any(0, 60));
        assert!(map.is_untouched(170_000, 20_000) && !map.is_untouched(0, 200_000));
        assert_eq!(map.load(60) & 0xff, 0xff);
        assert_eq!(map.load(0) >> 60, 0xf);
        assert!(!map.mark(199_999, 100));
    }

    #[test]
    fn inodes_are_known_where_there_is_room() {
        let inodes = Inodes::new(3, 16);
        inodes.open(1, 8);
        let known = Known { kind: Kind::Dir, links: 65_000, bits: bits::DAX };
        inodes.set(17, known);
        assert_eq!((inodes.get(17).kind, inodes.get(17).links, inodes.get(17).bits), (Kind::Dir, 65_000, bits::DAX));
        assert_eq!(inodes.get(25).kind, Kind::Free);
        inodes.name(17);
        inodes.name(17);
        assert_eq!(inodes.of_group(1).next().map(|(ino, _, names)| (ino, names)), Some((17, 2)));
        assert!(inodes.exists(48) && !inodes.exists(49) && !inodes.exists(0));
        assert_eq!(inodes.of_group(1).count(), 8);
    }
}
