//! Plain data addressed by ids: a vector of slots with a list of free ones.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// Slots of `T`, addressed by `I`. A freed slot is used again, last freed first, so that a run that is repeated gives
/// the same ids. Cloning into a slab that has held as much allocates nothing.
#[derive(Debug)]
pub struct Slab<I, T> {
    slots: Vec<T>,
    free: Vec<u32>,
    ids: PhantomData<I>,
}

impl<I, T> Default for Slab<I, T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), ids: PhantomData }
    }
}

impl<I, T: Copy> Clone for Slab<I, T> {
    fn clone(&self) -> Self {
        Self { slots: self.slots.clone(), free: self.free.clone(), ids: PhantomData }
    }

    fn clone_from(&mut self, source: &Self) {
        self.slots.clone_from(&source.slots);
        self.free.clone_from(&source.free);
    }
}

impl<I: From<u32> + Into<u32> + Copy, T: Copy> Slab<I, T> {
    /// Puts `value` into a free slot.
    pub fn insert(&mut self, value: T) -> I {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = value;
            return I::from(slot);
        }
        self.slots.push(value);
        I::from((self.slots.len() - 1) as u32)
    }

    /// Frees a slot. What it holds stays until it is used again; nobody may look.
    pub fn remove(&mut self, id: I) {
        debug_assert!(!self.free.contains(&id.into()), "slot freed twice");
        self.free.push(id.into());
    }

    /// How many slots are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether no slot is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ids in use, ascending. For judges and reports: it allocates.
    #[must_use]
    pub fn ids(&self) -> Vec<I> {
        let mut used = vec![true; self.slots.len()];
        for &slot in &self.free {
            used[slot as usize] = false;
        }
        (0..self.slots.len() as u32).filter(|&slot| used[slot as usize]).map(I::from).collect()
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.free.clear();
    }
}

impl<I: Into<u32>, T> Index<I> for Slab<I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        &self.slots[id.into() as usize]
    }
}

impl<I: Into<u32>, T> IndexMut<I> for Slab<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.slots[id.into() as usize]
    }
}
