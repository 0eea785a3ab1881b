//! Names of a directory, of which only one question is asked: whether one may come twice.

/// Slots that even a directory of one block has: hardly any name finds its own taken, and to clear them costs less than that would.
const FEWEST: usize = 1024;

/// The names of a directory by a hash of 32 bits: whether one may come twice.
#[derive(Debug, Default)]
pub(crate) struct Names {
    slots: Vec<u32>,
    used: usize,
    /// They are those of one leaf of an index, not of the whole directory.
    pub(super) by_leaf: bool,
    pub(crate) may_repeat: bool,
}

impl Names {
    pub(crate) fn new(blocks: u32, block_size: usize) -> Self {
        let mut names = Self::default();
        names.begin(blocks, block_size);
        names
    }

    /// Begins with another directory, in the memory that there is.
    pub(crate) fn begin(&mut self, blocks: u32, block_size: usize) {
        let expected = (blocks as usize).min(1 << 16) * (block_size / 32);
        self.slots.clear();
        self.slots.resize((expected * 2).next_power_of_two().clamp(FEWEST, 1 << 22), 0);
        (self.used, self.by_leaf, self.may_repeat) = (0, false, false);
    }

    /// For one leaf of an index after the other.
    pub(crate) fn of_leaf(block_size: usize) -> Self {
        Self { slots: vec![0; (block_size / 6).next_power_of_two()], used: 0, by_leaf: true, may_repeat: false }
    }

    /// Forgets all names; what may repeat may still.
    pub(crate) fn forget(&mut self) {
        self.slots.fill(0);
        self.used = 0;
    }

    /// Adds a name of which this is the quick hash.
    #[inline]
    pub(super) fn add(&mut self, hash: u32) {
        if self.used * 2 > self.slots.len() {
            self.grow();
        }
        // Zero is for slots without a name.
        self.put(hash | 1 << 31);
        self.used += 1;
    }

    #[cold]
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        self.slots = vec![0; old.len() * 2];
        old.into_iter().filter(|hash| *hash != 0).for_each(|hash| self.put(hash));
    }

    #[inline]
    fn put(&mut self, hash: u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(slot) = self.slots.get_mut(at) {
            if *slot == 0 {
                *slot = hash;
                return;
            }
            if *slot == hash {
                self.may_repeat = true;
                return;
            }
            at = (at + 1) & mask;
        }
    }
}

/// What a glance at the bytes of a name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glance {
    /// There is a zero or a slash among them.
    pub(super) has_separator: bool,
    /// A quick hash. Names that share one are compared by themselves.
    pub(super) hash: u32,
}

impl Glance {
    #[inline]
    pub(super) fn at(name: &[u8]) -> Self {
        const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
        const ONES: u64 = u64::MAX / 0xff;
        let zeroes = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
        let (mut hash, mut separators) = (name.len() as u64, 0);
        let mut take = |word: u64| {
            separators |= zeroes(word) | zeroes(word ^ (ONES * 0x2f));
            hash = (hash ^ word).wrapping_mul(MIX).rotate_left(29);
        };
        let (words, rest) = name.as_chunks::<8>();
        words.iter().for_each(|word| take(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            take(last_word(name));
        }
        Self { has_separator: separators != 0, hash: (hash.wrapping_mul(MIX) >> 32) as u32 }
    }
}

/// The last bytes of a name that has some, as a word: bytes before them may come again, and there is no zero or slash but theirs.
#[inline]
fn last_word(name: &[u8]) -> u64 {
    if let Some(last) = name.last_chunk() {
        return u64::from_le_bytes(*last);
    }
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
    }
    name.iter().fold(u64::MAX, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_is_found_wherever_it_lies() {
        for len in 0..40 {
            let mut name: Vec<u8> = (0..len).map(|n| 0x30 + n as u8 * 5).collect();
            let whole = Glance::at(&name);
            assert!(!whole.has_separator, "{name:?}");
            for at in 0..len {
                let before = std::mem::replace(&mut name[at], if at % 2 == 0 { 0 } else { b'/' });
                let glance = Glance::at(&name);
                assert!(glance.has_separator, "{name:?}");
                assert_ne!(glance.hash, whole.hash, "{name:?}");
                name[at] = before;
            }
        }
    }

    #[test]
    fn a_name_that_comes_again_is_noticed() {
        let mut names = Names::of_leaf(1024);
        let hash = |nr: u32| Glance::at(format!("name-{nr}").as_bytes()).hash;
        for nr in 0..100 {
            names.add(hash(nr));
        }
        assert!(!names.may_repeat);
        names.add(hash(7));
        assert!(names.may_repeat);
        names.begin(1, 1024);
        names.add(hash(7));
        assert!(!names.may_repeat);
    }
}
