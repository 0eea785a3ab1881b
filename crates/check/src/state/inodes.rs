//! The inodes: which are in use as what, and how many names each has.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::{Kind, Known, bits, zeroed};

/// A bit for each inode that there is room for.
#[derive(Debug, Default)]
struct Bits(Box<[AtomicU64]>);

impl Bits {
    fn new(len: usize) -> Self {
        Self(zeroed(len.div_ceil(64)))
    }

    fn word(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |word| word.load(Relaxed))
    }

    fn get(&self, at: usize) -> bool {
        self.word(at / 64) >> (at % 64) & 1 == 1
    }

    fn set(&self, at: usize) {
        if let Some(word) = self.0.get(at / 64) {
            word.fetch_or(1 << (at % 64), Relaxed);
        }
    }

    /// As [`set`](Self::set) for each of `bits` from `at` on, in one word, where no other thread sets bits
    /// of the same word: much cheaper.
    #[inline]
    fn set_alone(&self, at: usize, bits: u64) {
        if let Some(word) = self.0.get(at / 64) {
            word.store(word.load(Relaxed) | bits << (at % 64), Relaxed);
        }
    }
}

/// Inodes that one thread found a name of. Most inodes have one name, so that a bit for each says nearly all there is to say, and what
/// threads write often does not lie where others read.
#[derive(Debug, Default)]
pub(crate) struct Named(Vec<u64>);

/// The inodes of the groups' used parts. Plain files with one link are a bit, all others a word.
#[derive(Debug)]
pub(crate) struct Inodes {
    /// For each group: where in the tables its inodes begin, a multiple of 64, and how many of them there are.
    groups: Vec<(usize, u32)>,
    per_group: u32,
    /// `2^64 - 1` divided by `per_group`.
    reciprocal: u64,
    count: u32,
    /// Files with one link, of which there is nothing else to know.
    plain: Bits,
    /// Those of them that have neither size nor blocks.
    empty: Bits,
    /// All other inodes of which something is known.
    others: Bits,
    /// Of those: kind, bits, links.
    known: Box<[AtomicU32]>,
    /// Inodes with a name that was counted here and not in `names`.
    named: Bits,
    /// Inodes with names that were counted in `names`.
    counted: Bits,
    /// Names.
    names: Box<[AtomicU32]>,
}

impl Inodes {
    pub(crate) fn new(groups: u32, per_group: u32) -> Self {
        Self {
            groups: vec![(0, 0); groups as usize],
            per_group: per_group.max(1),
            reciprocal: u64::MAX / u64::from(per_group.max(1)),
            count: groups.saturating_mul(per_group),
            plain: Bits::default(),
            empty: Bits::default(),
            others: Bits::default(),
            known: Box::default(),
            named: Bits::default(),
            counted: Bits::default(),
            names: Box::default(),
        }
    }

    /// Makes room for the first inodes of each group; so many.
    pub(crate) fn open(&mut self, used: impl Iterator<Item = u32>) {
        let mut all = 0;
        for (group, used) in self.groups.iter_mut().zip(used) {
            let used = used.min(self.per_group);
            *group = (all, used);
            all += (used as usize).next_multiple_of(64);
        }
        for bits in [&mut self.plain, &mut self.empty, &mut self.others, &mut self.named, &mut self.counted] {
            *bits = Bits::new(all);
        }
        self.known = zeroed(all);
        self.names = zeroed(all);
    }

    /// Where an inode is in the tables.
    #[inline]
    fn place(&self, ino: u32) -> Option<usize> {
        let index = ino.checked_sub(1)?;
        // Quicker than to divide. What comes out is right or too small by one.
        let mut group = ((u128::from(index) * u128::from(self.reciprocal)) >> 64) as u32;
        let mut inside = index - group * self.per_group;
        if inside >= self.per_group {
            (group, inside) = (group + 1, inside - self.per_group);
        }
        let (first, used) = self.groups.get(group as usize)?;
        (inside < *used).then_some(first + inside as usize)
    }

    /// Whether there is an inode of this number.
    pub(crate) fn exists(&self, ino: u32) -> bool {
        ino >= 1 && ino <= self.count
    }

    /// Remembers an inode. Only one thread may do so for a group at a time, or for 64 inodes from a multiple of 64 in it on.
    pub(crate) fn set(&self, ino: u32, known: Known) {
        let Some(at) = self.place(ino) else { return };
        if known.kind == Kind::File && known.links == 1 && known.bits & !bits::EMPTY == 0 {
            self.set_plain(ino, 1, u64::from(known.bits & bits::EMPTY != 0));
        } else if let Some(word) = self.known.get(at) {
            word.store(known.kind as u32 | u32::from(known.bits) << 8 | u32::from(known.links) << 16, Relaxed);
            self.others.set_alone(at, 1);
        }
    }

    /// Remembers as many plain files with one link as `plain` has bits, from this inode on, and which of them are empty. All of them lie
    /// between two multiples of 64 of the group. Otherwise as [`set`](Self::set).
    #[inline]
    pub(crate) fn set_plain(&self, first: u32, plain: u64, empty: u64) {
        let Some(at) = self.place(first) else { return };
        self.plain.set_alone(at, plain);
        self.empty.set_alone(at, empty);
    }

    fn at(&self, at: usize) -> Known {
        if self.plain.get(at) {
            let bits = if self.empty.get(at) { bits::EMPTY } else { 0 };
            return Known { kind: Kind::File, links: 1, bits };
        }
        if !self.others.get(at) {
            return Known::default();
        }
        let word = self.known.get(at).map_or(0, |known| known.load(Relaxed));
        Known { kind: Kind::from_u32(word & 0xff), bits: (word >> 8) as u8, links: (word >> 16) as u16 }
    }

    pub(crate) fn get(&self, ino: u32) -> Known {
        self.place(ino).map_or(Known::default(), |at| self.at(at))
    }

    fn count(&self, at: usize) {
        if let Some(names) = self.names.get(at) {
            names.fetch_add(1, Relaxed);
            self.counted.set(at);
        }
    }

    /// What is known of an inode, and counts a name that leads to it if it is in use.
    pub(crate) fn get_and_name(&self, ino: u32) -> Known {
        let Some(at) = self.place(ino) else { return Known::default() };
        let known = self.at(at);
        if known.kind != Kind::Free {
            self.count(at);
        }
        known
    }

    /// Counts a name that leads to an inode, if that is in use as what the name says and there is nothing else to know of it: in
    /// `named`, which a thread has for itself until it is [merged](Self::merge). Returns whether it was counted.
    #[inline]
    pub(crate) fn name_plain(&self, named: &mut Named, ino: u32, file_type: u8) -> bool {
        let Some(at) = self.place(ino) else { return false };
        let bit = 1 << (at % 64);
        if file_type == Kind::File as u8
            && self.plain.word(at / 64) & bit != 0
            && let Some(word) = named.0.get_mut(at / 64).filter(|word| **word & bit == 0)
        {
            *word |= bit;
            return true;
        }
        self.name_plain_again(named, at, file_type)
    }

    /// As [`name_plain`](Self::name_plain), where it is not the first name of a file with one link.
    #[cold]
    fn name_plain_again(&self, named: &mut Named, at: usize, file_type: u8) -> bool {
        let known = self.at(at);
        // Kinds and types have the same numbers. An empty file has nothing that matters here.
        let is_plain = known.kind as u8 == file_type && known.bits & !bits::EMPTY == 0;
        if !is_plain || matches!(known.kind, Kind::Free | Kind::Bad) {
            return false;
        }
        if named.0.is_empty() {
            named.0 = vec![0; self.named.0.len()];
        }
        if let Some(word) = named.0.get_mut(at / 64) {
            if *word >> (at % 64) & 1 == 1 {
                self.count(at);
            }
            *word |= 1 << (at % 64);
        }
        true
    }

    /// Takes over the names that one thread found. Only one thread may do so at a time.
    pub(crate) fn merge(&self, named: &Named) {
        for (index, (word, more)) in self.named.0.iter().zip(&named.0).enumerate() {
            let before = word.load(Relaxed);
            word.store(before | more, Relaxed);
            ones(before & more).for_each(|bit| self.count(index * 64 + bit));
        }
    }

    /// Takes a name back that was not counted as that of a plain inode.
    pub(crate) fn unname(&self, ino: u32) {
        if let Some(names) = self.place(ino).and_then(|at| self.names.get(at)) {
            let _ = names.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        }
    }

    /// Counts a name that leads to an inode.
    pub(crate) fn name(&self, ino: u32) {
        if let Some(at) = self.place(ino) {
            self.count(at);
        }
    }

    /// Names of an inode.
    fn names(&self, at: usize) -> u32 {
        let counted = self.counted.get(at).then(|| self.names.get(at)).flatten();
        u32::from(self.named.get(at)) + counted.map_or(0, |names| names.load(Relaxed))
    }

    /// The words of the tables of bits that a group has, and the number of the first inode of each.
    fn words(&self, group: u32) -> impl Iterator<Item = (usize, u32)> + use<> {
        let (first, used) = self.groups.get(group as usize).copied().unwrap_or_default();
        let ino = group * self.per_group + 1;
        (0..used.div_ceil(64)).map(move |word| (first / 64 + word as usize, ino + word * 64))
    }

    /// Those inodes of some words, of which `which` gives the bits: number, what is known, names.
    fn of_words(&self, group: u32, which: impl Fn(usize) -> u64) -> impl Iterator<Item = (u32, Known, u32)> {
        self.words(group).flat_map(move |(word, ino)| {
            ones(which(word)).map(move |bit| {
                let at = word * 64 + bit;
                (ino + bit as u32, self.at(at), self.names(at))
            })
        })
    }

    /// The inodes that are known, of a group: number, what is known, names.
    pub(crate) fn of_group(&self, group: u32) -> impl Iterator<Item = (u32, Known, u32)> + '_ {
        self.of_words(group, |word| self.plain.word(word) | self.others.word(word))
    }

    /// Those of [`of_group`](Self::of_group) that are not simply a plain file with one link and one name.
    pub(crate) fn odd_of_group(&self, group: u32) -> impl Iterator<Item = (u32, Known, u32)> + '_ {
        self.of_words(group, |word| {
            let sound = self.plain.word(word) & self.named.word(word) & !self.counted.word(word);
            (self.plain.word(word) | self.others.word(word)) & !sound
        })
    }

    /// A group's inodes in use as bits, 64 at once; none where there is no room for any.
    pub(crate) fn used(&self, group: u32) -> impl Iterator<Item = u64> + '_ {
        self.words(group).map(|(word, _)| {
            let others = ones(self.others.word(word)).filter(|bit| self.at(word * 64 + bit).kind != Kind::Free);
            others.fold(self.plain.word(word), |all, bit| all | 1 << bit)
        })
    }

    pub(crate) fn groups(&self) -> u32 {
        self.groups.len() as u32
    }
}

/// The numbers of the bits that are set.
fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inodes_are_known_where_there_is_room() {
        let mut inodes = Inodes::new(3, 16);
        inodes.open([0, 8].into_iter());
        let known = Known { kind: Kind::Dir, links: 65_000, bits: bits::DAX };
        inodes.set(17, known);
        assert_eq!((inodes.get(17).kind, inodes.get(17).links, inodes.get(17).bits), (Kind::Dir, 65_000, bits::DAX));
        inodes.set(25, known);
        assert_eq!(inodes.get(25).kind, Kind::Free);
        inodes.name(17);
        inodes.name(17);
        assert_eq!(inodes.of_group(1).next().map(|(ino, _, names)| (ino, names)), Some((17, 2)));
        inodes.unname(17);
        assert_eq!(inodes.of_group(1).next().map(|(ino, _, names)| (ino, names)), Some((17, 1)));
        assert!(inodes.exists(48) && !inodes.exists(49) && !inodes.exists(0));
        assert_eq!(inodes.of_group(1).count(), 1);
        assert_eq!(inodes.used(1).collect::<Vec<_>>(), [1]);
        assert_eq!((inodes.used(0).count(), inodes.used(2).count()), (0, 0));
    }

    #[test]
    fn every_inode_has_a_place_of_its_own() {
        for per_group in [1, 2, 3, 7, 8, 100, 8608, 65_528] {
            let mut inodes = Inodes::new(5, per_group);
            inodes.open([per_group; 5].into_iter());
            for group in 0..5 {
                let first = group * per_group + 1;
                let places: Vec<_> = (first..first + per_group).map(|ino| inodes.place(ino)).collect();
                let begin = (per_group as usize).next_multiple_of(64) * group as usize;
                assert!(places.into_iter().eq((begin..begin + per_group as usize).map(Some)), "{per_group}");
            }
            assert_eq!((inodes.place(0), inodes.place(5 * per_group + 1), inodes.place(u32::MAX)), (None, None, None));
        }
    }

    #[test]
    fn each_name_counts_whoever_finds_it() {
        let mut inodes = Inodes::new(2, 100);
        inodes.open([100, 70].into_iter());
        let file = |links, bits| Known { kind: Kind::File, links, bits };
        for ino in 101..=170 {
            inodes.set(ino, file(1, 0));
        }
        inodes.set(1, file(2, 0));
        inodes.set(2, file(1, bits::EMPTY));
        inodes.set(3, file(1, bits::EA_INODE));
        let (mut one, mut other) = (Named::default(), Named::default());
        for ino in 101..=170 {
            assert!(inodes.name_plain(&mut one, ino, 1));
        }
        for ino in [1, 2, 105] {
            assert!(inodes.name_plain(&mut other, ino, 1));
        }
        // Once more, by the same thread; a wrong type; something special; nothing.
        assert!(inodes.name_plain(&mut one, 170, 1) && inodes.name_plain(&mut one, 1, 1));
        assert!(!inodes.name_plain(&mut one, 101, 7) && !inodes.name_plain(&mut one, 1, 2));
        assert!(!inodes.name_plain(&mut one, 3, 1) && !inodes.name_plain(&mut one, 4, 0));
        inodes.merge(&one);
        inodes.merge(&other);
        let odd = |group| inodes.odd_of_group(group).map(|(ino, _, names)| (ino, names)).collect::<Vec<_>>();
        assert_eq!(odd(0), [(1, 2), (3, 0)]);
        assert_eq!(odd(1), [(105, 2), (170, 2)]);
        assert_eq!(inodes.of_group(1).map(|(.., names)| names).sum::<u32>(), 72);
        assert_eq!((inodes.get(2).bits, inodes.get(3).bits), (bits::EMPTY, bits::EA_INODE));
        assert_eq!(inodes.used(0).collect::<Vec<_>>(), [7, 0]);
    }
}
