//! The names of one directory in three pieces of memory: scripts go through directories by the thousand, and a piece for each name would
//! cost more than reading it.

use std::hash::{BuildHasher, Hasher, RandomState};

use daxkit_format::InodeNr;

/// Names, and the inodes they lead to.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// All of them, one behind the other.
    text: Vec<u8>,
    entries: Vec<Entry>,
    /// Which entry is where its hash leads, counted from 1; 0 for none. A power of two of them, at least half of them 0, so that
    /// every search ends.
    slots: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    inode: u32,
    hash: u32,
    len: u8,
}

impl Names {
    /// Adds a name; it is found after [`Names::index`]. One that is longer than a name can be is left out, and so is what 4 GiB
    /// do not hold.
    pub(super) fn add(&mut self, name: &[u8], inode: u32) {
        if let (Ok(start), Ok(len)) = (u32::try_from(self.text.len()), u8::try_from(name.len())) {
            self.text.extend_from_slice(name);
            self.entries.push(Entry { start, inode, hash: 0, len });
        }
    }

    /// Makes the names findable. Of one that was added twice the first counts.
    pub(super) fn index(&mut self, key: Key) {
        self.text.shrink_to_fit();
        self.entries.shrink_to_fit();
        self.slots = vec![0; (self.entries.len() * 2).next_power_of_two()];
        let Self { text, entries, slots } = self;
        for at in 0..entries.len() {
            let Some(entry) = entries.get(at).copied() else { break };
            let name = name_of(text, entry);
            let hash = key.hash(name);
            if let Err(slot) = search(text, entries, slots, hash, name)
                && let (Some(slot), Some(entry), Ok(nr)) =
                    (slots.get_mut(slot), entries.get_mut(at), u32::try_from(at + 1))
            {
                entry.hash = hash;
                *slot = nr;
            }
        }
    }

    /// The inode that a name leads to.
    pub(super) fn get(&self, key: Key, name: &[u8]) -> Option<InodeNr> {
        let found = search(&self.text, &self.entries, &self.slots, key.hash(name), name).ok()?;
        Some(InodeNr(found.inode.into()))
    }

    /// How many names were added.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn name_of(text: &[u8], entry: Entry) -> &[u8] {
    let start = entry.start as usize;
    text.get(start..start + usize::from(entry.len)).unwrap_or_default()
}

/// The entry of a name, or the free slot for it.
fn search(text: &[u8], entries: &[Entry], slots: &[u32], hash: u32, name: &[u8]) -> Result<Entry, usize> {
    let mask = slots.len().wrapping_sub(1);
    let mut at = hash as usize & mask;
    loop {
        let entry = slots.get(at).and_then(|nr| entries.get((*nr as usize).wrapping_sub(1)));
        match entry {
            None => return Err(at),
            Some(entry) if entry.hash == hash && name_of(text, *entry) == name => return Ok(*entry),
            Some(_) => at = (at + 1) & mask,
        }
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
        names.index(key);
        for n in 0..5000 {
            assert_eq!(names.get(key, &name(n)), Some(InodeNr(n.into())));
        }
        assert!(
            names.get(key, b"").is_none() && names.get(key, b"x").is_none() && names.get(key, &name(5000)).is_none()
        );
    }

    #[test]
    fn nothing_is_found_among_no_names() {
        let key = Key::default();
        let mut names = Names::default();
        assert!(names.get(key, b"a").is_none());
        names.index(key);
        assert!(names.get(key, b"a").is_none() && names.len() == 0);
    }
}
