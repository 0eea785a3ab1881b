//! The names of one directory in three pieces of memory: scripts go through directories by the thousand, and a piece for each name would
//! cost more than reading it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

use daxkit_format::InodeNr;

/// Names, and the inodes they lead to.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// All of them, one behind the other.
    text: Vec<u8>,
    entries: Vec<Entry>,
    /// One of them comes before the one that it lies behind: there may be two that are the same.
    unsorted: bool,
    /// How they are found. Who asks for them in the order in which they lie needs none.
    index: OnceLock<Index>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    inode: u32,
    len: u8,
}

#[derive(Debug)]
struct Index {
    hashes: Vec<u32>,
    /// Which entry is where its hash leads, counted from 1; 0 for none. A power of two of them, at least half of them 0, so that
    /// every search ends.
    slots: Vec<u32>,
}

impl Names {
    /// None yet. So many bytes of a directory are going to be read.
    pub(super) fn with_bytes(bytes: usize) -> Self {
        // Names as short as most are take about twice as much there.
        let (text, entries) = (Vec::with_capacity(bytes / 2), Vec::with_capacity(bytes / 32));
        Self { text, entries, ..Self::default() }
    }

    /// Adds a name. One that is longer than a name can be is left out, and so is what 4 GiB do not hold.
    pub(super) fn add(&mut self, name: &[u8], inode: u32) {
        if let (Ok(start), Ok(len)) = (u32::try_from(self.text.len()), u8::try_from(name.len())) {
            let is_dot = |name: &[u8]| matches!(name, b"." | b"..");
            let before = self.entries.last().map_or(&b""[..], |entry| self.name(*entry));
            self.unsorted |= !is_dot(name) && !is_dot(before) && before >= name;
            self.text.extend_from_slice(name);
            self.entries.push(Entry { start, inode, len });
        }
    }

    /// Says that there are no more.
    pub(super) fn complete(&mut self) {
        self.text.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    /// The inode that a name leads to. Of one that was added twice the first counts.
    pub(super) fn get(&self, key: Key, name: &[u8]) -> Option<InodeNr> {
        self.entry(key, name).map(|(_, entry)| InodeNr(entry.inode.into()))
    }

    /// As [`Names::get`], of a name that is no dot; `next` is where it may well be, and then what lies behind it.
    pub(super) fn get_next(&self, key: Key, name: &[u8], next: &mut usize) -> Option<InodeNr> {
        let here = self.entries.get(*next).filter(|entry| !self.unsorted && self.name(**entry) == name);
        let (at, entry) = here.map(|entry| (*next, *entry)).or_else(|| self.entry(key, name))?;
        *next = at + 1;
        Some(InodeNr(entry.inode.into()))
    }

    fn entry(&self, key: Key, name: &[u8]) -> Option<(usize, Entry)> {
        let index = self.index.get_or_init(|| self.make_index(key));
        let at = self.search(index, key.hash(name), name).ok()?;
        Some((at, *self.entries.get(at)?))
    }

    fn make_index(&self, key: Key) -> Index {
        let slots = vec![0; (self.entries.len() * 2).next_power_of_two()];
        let mut index = Index { hashes: Vec::with_capacity(self.entries.len()), slots };
        for (entry, nr) in self.entries.iter().zip(1..) {
            let name = self.name(*entry);
            let hash = key.hash(name);
            index.hashes.push(hash);
            if let Err(slot) = self.search(&index, hash, name)
                && let Some(slot) = index.slots.get_mut(slot)
            {
                *slot = nr;
            }
        }
        index
    }

    /// Which entry has a name, or the free slot for it.
    fn search(&self, index: &Index, hash: u32, name: &[u8]) -> Result<usize, usize> {
        let mask = index.slots.len().wrapping_sub(1);
        let mut slot = hash as usize & mask;
        loop {
            let at = index.slots.get(slot).map_or(0, |nr| *nr as usize).wrapping_sub(1);
            match self.entries.get(at) {
                None => return Err(slot),
                Some(entry) if index.hashes.get(at) == Some(&hash) && self.name(*entry) == name => return Ok(at),
                Some(_) => slot = (slot + 1) & mask,
            }
        }
    }

    fn name(&self, entry: Entry) -> &[u8] {
        let start = entry.start as usize;
        self.text.get(start..start + usize::from(entry.len)).unwrap_or_default()
    }

    /// How many names were added.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// What hashes depend on: drawn anew by every process, so that no image can be made whose names all meet in one slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(u64);

impl Default for Key {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl Key {
    fn hash(self, bytes: &[u8]) -> u32 {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut hash = words.iter().fold(self.0, |hash, word| mix(hash ^ u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        hash = mix(hash ^ u64::from_le_bytes(last));
        (mix(hash ^ bytes.len() as u64 ^ self.0) >> 16) as u32
    }
}

/// Multiplies, and folds the high half of what comes out into the low one.
fn mix(n: u64) -> u64 {
    let product = u128::from(n) * 0x9E37_79B9_7F4A_7C15;
    (product >> 64) as u64 ^ product as u64
}

/// Tables from inodes' numbers.
impl BuildHasher for Key {
    type Hasher = NumberHasher;

    fn build_hasher(&self) -> NumberHasher {
        NumberHasher(self.0)
    }
}

/// See [`Key`].
#[derive(Debug)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.write_u64((*b).into()));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = mix(self.0 ^ n);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_the_first_of_two_counts() {
        let key = Key::default();
        let mut names = Names::default();
        let name = |n: u32| format!("{}{n}", "x".repeat(n as usize % 200)).into_bytes();
        for n in 0..5000 {
            names.add(&name(n), n);
        }
        names.add(&name(7), 9999);
        names.complete();
        for n in 0..5000 {
            assert_eq!(names.get(key, &name(n)), Some(InodeNr(n.into())));
        }
        assert!(
            names.get(key, b"").is_none() && names.get(key, b"x").is_none() && names.get(key, &name(5000)).is_none()
        );
    }

    #[test]
    fn names_in_a_row_are_found_without_an_index_where_none_is_there_twice() {
        let key = Key::default();
        for twice in [false, true] {
            let mut names = Names::default();
            [".", "..", "a", "b", "c", if twice { "b" } else { "d" }, "e"]
                .iter()
                .zip(1..)
                .for_each(|(name, nr)| names.add(name.as_bytes(), nr));
            names.complete();
            let mut next = 2;
            let found = ["a", "b", "c", "b", "e"].map(|name| names.get_next(key, name.as_bytes(), &mut next));
            assert_eq!(found, [3, 4, 5, 4, 7].map(|nr| Some(InodeNr(nr))));
            assert_eq!(names.get_next(key, b"x", &mut next), None);
        }
        let mut names = Names::default();
        (0..100u32).for_each(|n| names.add(format!("{n:02}").as_bytes(), n));
        let mut next = 0;
        assert!(
            (0..100u32)
                .all(|n| names.get_next(key, format!("{n:02}").as_bytes(), &mut next) == Some(InodeNr(n.into())))
        );
        assert!(names.index.get().is_none());
    }

    #[test]
    fn nothing_is_found_among_no_names() {
        let key = Key::default();
        let mut names = Names::default();
        assert!(names.get(key, b"a").is_none());
        names.complete();
        assert!(names.get(key, b"a").is_none() && names.len() == 0);
    }
}
