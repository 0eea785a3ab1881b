//! A set of inodes.

use daxkit_format::InodeNr;
use std::collections::BTreeMap;

/// Words of a piece.
const WORDS: usize = 64;

/// A set of inodes, which mostly come in rows: a bit for each, 4096 in a piece.
#[derive(Debug, Default)]
pub(super) struct InodeSet {
    pieces: BTreeMap<u64, [u64; WORDS]>,
    len: usize,
}

impl InodeSet {
    /// Piece, word and bit.
    fn place(nr: InodeNr) -> (u64, usize, u64) {
        (nr.get() >> 12, (nr.get() >> 6) as usize % WORDS, 1 << (nr.get() & 63))
    }

    pub(super) fn insert(&mut self, nr: InodeNr) {
        let (piece, word, bit) = Self::place(nr);
        if let Some(word) = self.pieces.entry(piece).or_insert([0; WORDS]).get_mut(word) {
            self.len += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }

    pub(super) fn contains(&self, nr: InodeNr) -> bool {
        let (piece, word, bit) = Self::place(nr);
        self.pieces.get(&piece).and_then(|words| words.get(word)).is_some_and(|word| word & bit != 0)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts in what is in another set.
    pub(super) fn add(&mut self, other: Self) {
        for (piece, words) in other.pieces {
            for (word, more) in self.pieces.entry(piece).or_insert([0; WORDS]).iter_mut().zip(words) {
                self.len += (more & !*word).count_ones() as usize;
                *word |= more;
            }
        }
    }

    /// All of them, ascending.
    pub(super) fn to_vec(&self) -> Vec<InodeNr> {
        let mut all = Vec::with_capacity(self.len);
        for (piece, words) in &self.pieces {
            for (word, bits) in (piece << 6..).zip(words) {
                let mut left = *bits;
                while left != 0 {
                    all.push(InodeNr(word << 6 | u64::from(left.trailing_zeros())));
                    left &= left - 1;
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_back_what_was_put_in_ascending_and_once() {
        let mut set = InodeSet::default();
        let numbers = [700, 1, 64, 63, 512, 511, 1 << 32, 64, 1];
        numbers.iter().for_each(|nr| set.insert(InodeNr(*nr)));
        assert_eq!(set.to_vec().iter().map(|nr| nr.get()).collect::<Vec<_>>(), [1, 63, 64, 511, 512, 700, 1 << 32]);
        assert_eq!(set.len, 7);
        let mut more = InodeSet::default();
        [3, 64, 5000].iter().for_each(|nr| more.insert(InodeNr(*nr)));
        set.add(more);
        assert_eq!((set.len(), set.to_vec().len()), (9, 9));
        assert!(set.contains(InodeNr(3)) && set.contains(InodeNr(5000)));
        assert!(numbers.iter().all(|nr| set.contains(InodeNr(*nr))) && !set.contains(InodeNr(2)));
    }
}
