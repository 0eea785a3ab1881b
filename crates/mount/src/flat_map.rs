//! A hash map in two flat vectors: open addressing, linear probing, no tombstones, no random seed.
//!
//! The standard map's seed would make the order of a walk, and so a run, differ from one to the next; and cloning it
//! allocates. This one is a plain copy.

/// Keys that no entry may have.
const EMPTY: u64 = u64::MAX;

/// A map from `u64` (never `u64::MAX`) to plain data.
#[derive(Debug)]
pub struct FlatMap<V> {
    keys: Vec<u64>,
    values: Vec<V>,
    len: usize,
    /// Where the table goes when it grows; kept, so that a run that is repeated allocates the first time only.
    spare: (Vec<u64>, Vec<V>),
}

impl<V> Default for FlatMap<V> {
    fn default() -> Self {
        Self { keys: Vec::new(), values: Vec::new(), len: 0, spare: (Vec::new(), Vec::new()) }
    }
}

impl<V: Copy> Clone for FlatMap<V> {
    fn clone(&self) -> Self {
        Self { keys: self.keys.clone(), values: self.values.clone(), len: self.len, spare: (Vec::new(), Vec::new()) }
    }

    fn clone_from(&mut self, source: &Self) {
        self.keys.clone_from(&source.keys);
        self.values.clone_from(&source.values);
        self.len = source.len;
    }
}

fn spread(key: u64) -> u64 {
    // Fibonacci hashing; the low bits of page numbers and ids carry the information, the high bits of the product do.
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl<V: Copy + Default> FlatMap<V> {
    fn place(&self, key: u64) -> usize {
        let bits = self.keys.len().trailing_zeros();
        (spread(key) >> (64 - bits)) as usize
    }

    fn find(&self, key: u64) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let mask = self.keys.len() - 1;
        let mut at = self.place(key);
        loop {
            let here = self.keys[at];
            if here == key {
                return Some(at);
            }
            if here == EMPTY {
                return None;
            }
            at = (at + 1) & mask;
        }
    }

    /// What `key` maps to.
    #[must_use]
    #[inline]
    pub fn get(&self, key: u64) -> Option<V> {
        self.find(key).map(|at| self.values[at])
    }

    /// What `key` maps to, to be changed.
    pub fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        self.find(key).map(|at| &mut self.values[at])
    }

    /// What `key` maps to, put there first if it is not.
    pub fn entry(&mut self, key: u64) -> &mut V {
        let at = match self.find(key) {
            Some(at) => at,
            None => self.add(key, V::default()),
        };
        &mut self.values[at]
    }

    /// Maps `key` to `value`; returns what it mapped to.
    pub fn insert(&mut self, key: u64, value: V) -> Option<V> {
        if let Some(at) = self.find(key) {
            return Some(std::mem::replace(&mut self.values[at], value));
        }
        self.add(key, value);
        None
    }

    fn add(&mut self, key: u64, value: V) -> usize {
        debug_assert_ne!(key, EMPTY);
        if (self.len + 1) * 4 > self.keys.len() * 3 {
            self.grow();
        }
        let mask = self.keys.len() - 1;
        let mut at = self.place(key);
        while self.keys[at] != EMPTY {
            at = (at + 1) & mask;
        }
        self.keys[at] = key;
        self.values[at] = value;
        self.len += 1;
        at
    }

    fn grow(&mut self) {
        let capacity = (self.keys.len() * 2).max(8);
        let (mut keys, mut values) = std::mem::take(&mut self.spare);
        keys.clear();
        keys.resize(capacity, EMPTY);
        values.clear();
        values.resize(capacity, V::default());
        std::mem::swap(&mut keys, &mut self.keys);
        std::mem::swap(&mut values, &mut self.values);
        self.len = 0;
        for (key, value) in keys.iter().zip(&values) {
            if *key != EMPTY {
                self.add(*key, *value);
            }
        }
        self.spare = (keys, values);
    }

    /// Takes `key` out; returns what it mapped to.
    pub fn remove(&mut self, key: u64) -> Option<V> {
        let mut hole = self.find(key)?;
        let value = self.values[hole];
        let mask = self.keys.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let here = self.keys[at];
            if here == EMPTY {
                break;
            }
            // What probes past the hole moves into it, so that no search ends early.
            let home = self.place(here);
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.keys[hole] = here;
                self.values[hole] = self.values[at];
                hole = at;
            }
        }
        self.keys[hole] = EMPTY;
        self.len -= 1;
        Some(value)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every key with its value, in the order of the table (the same for the same history).
    pub fn iter(&self) -> impl Iterator<Item = (u64, V)> + '_ {
        self.keys.iter().zip(&self.values).filter(|(key, _)| **key != EMPTY).map(|(key, value)| (*key, *value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::FlatMap;

    proptest! {
        #[test]
        fn behaves_like_a_tree_map(ops in proptest::collection::vec((0u8..3, 0u64..40, any::<u32>()), 0..400)) {
            let mut flat = FlatMap::default();
            let mut model = BTreeMap::new();
            for (op, key, value) in ops {
                match op {
                    0 => prop_assert_eq!(flat.insert(key << 9, value), model.insert(key << 9, value)),
                    1 => prop_assert_eq!(flat.remove(key << 9), model.remove(&(key << 9))),
                    _ => prop_assert_eq!(flat.get(key << 9), model.get(&(key << 9)).copied()),
                }
                prop_assert_eq!(flat.len(), model.len());
            }
            let mut all: Vec<_> = flat.iter().collect();
            all.sort_unstable();
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
