//! What the passes learn of blocks and inodes, in memory that grows with what is in use.

mod inodes;

pub(crate) use inodes::{Inodes, Named};

use daxkit_format::ext4::dir_entry::file_type;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use zerocopy::{FromZeros, KnownLayout};

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
        self.mark_by(first, len, |word, bits| word.fetch_or(bits, Relaxed))
    }

    /// As [`mark`](Self::mark), while no other thread sets bits: much cheaper.
    pub(crate) fn mark_alone(&self, first: u64, len: u64) -> bool {
        self.mark_by(first, len, |word, bits| {
            let before = word.load(Relaxed);
            word.store(before | bits, Relaxed);
            before
        })
    }

    /// Sets bits by what sets those of a word and returns what that was before.
    #[inline]
    fn mark_by(&self, first: u64, len: u64, set: impl Fn(&AtomicU64, u64) -> u64) -> bool {
        let (first, len) = self.cut(first, len);
        let mut twice = false;
        for (word, bits) in words(first, len) {
            let Some(chunk) = self.chunks.get(word as usize / WORDS) else { continue };
            let chunk = chunk.get_or_init(|| zeroed(WORDS));
            if let Some(word) = chunk.get(word as usize % WORDS) {
                twice |= set(word, bits) & bits != 0;
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

/// A table of zeroes. Pages of it that are never written take no memory.
fn zeroed<N: Default>(len: usize) -> Box<[N]>
where
    [N]: FromZeros + KnownLayout<PointerMetadata = usize>,
{
    // What has no room zeroed has none otherwise, and then the program ends as it does for any other memory.
    <[N]>::new_box_zeroed_with_elems(len).unwrap_or_else(|_| std::iter::repeat_with(N::default).take(len).collect())
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
        assert!(map.mark_alone(199_990, 100) && !map.mark_alone(150_000, 64) && map.mark(150_063, 1));
    }
}
