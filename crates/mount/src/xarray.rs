//! `i_pages`: the kernel's XArray as plain data. Nodes of 64 slots in a slab, two tags, entries of order 0 and 9.
//!
//! An entry of order 9 (a PMD entry) stands in the first of eight neighbouring slots one level up; the other seven say
//! "see the first" (the kernel's sibling entries).

use crate::ids::{PMD_ORDER, PTRS_PER_PMD};
use crate::slab::Slab;

const SHIFT: u32 = 6;
const SLOTS: usize = 1 << SHIFT;
const SIBLING: u64 = u64::MAX;
/// Slots that a PMD entry takes in its node.
const PMD_SLOTS: usize = 1 << (PMD_ORDER - SHIFT);

/// A node's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeId(u32);

impl From<u32> for NodeId {
    fn from(n: u32) -> Self {
        Self(n)
    }
}

impl From<NodeId> for u32 {
    fn from(id: NodeId) -> u32 {
        id.0
    }
}

/// `PAGECACHE_TAG_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// `PAGECACHE_TAG_DIRTY`.
    Dirty = 0,
    /// `PAGECACHE_TAG_TOWRITE`.
    ToWrite = 1,
}

/// A node: at level 0 its slots are entries, above they are node numbers plus one or entries of order 9.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    slots: [u64; SLOTS],
    /// Which slots hold an entry rather than a node.
    entries: u64,
    tags: [u64; 2],
    used: u8,
}

const EMPTY: Node = Node { slots: [0; SLOTS], entries: 0, tags: [0; 2], used: 0 };

/// All nodes of a world.
pub type Nodes = Slab<NodeId, Node>;

/// One array: its root.
#[derive(Debug, Clone, Copy, Default)]
pub struct XArray {
    /// Number of the root node plus one, 0 for none.
    root: u32,
    /// Levels below the root.
    level: u8,
}

/// An entry as found: never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its first index.
    pub index: u64,
    /// log2 of the indices it stands for: 0 or 9.
    pub order: u32,
    /// Its value.
    pub value: u64,
}

const fn slot_of(index: u64, level: u8) -> usize {
    (index >> (SHIFT * level as u32)) as usize & (SLOTS - 1)
}

impl XArray {
    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.root == 0
    }

    const fn reaches(&self, index: u64) -> bool {
        let bits = SHIFT * (self.level as u32 + 1);
        bits >= 64 || index >> bits == 0
    }

    /// The entry at `index`.
    #[must_use]
    pub fn load(&self, nodes: &Nodes, index: u64) -> Option<Found> {
        if self.root == 0 || !self.reaches(index) {
            return None;
        }
        let (mut at, mut level) = (self.root, self.level);
        loop {
            let node = &nodes[NodeId(at - 1)];
            let slot = slot_of(index, level);
            if level == 0 {
                let value = node.slots[slot];
                return (value != 0).then_some(Found { index, order: 0, value });
            }
            if node.entries >> slot & 1 == 1 {
                let first = slot & !(PMD_SLOTS - 1);
                return Some(Found { index: index & !(PTRS_PER_PMD - 1), order: PMD_ORDER, value: node.slots[first] });
            }
            at = node.slots[slot] as u32;
            if at == 0 {
                return None;
            }
            level -= 1;
        }
    }

    /// Puts an entry of `order` (0 or 9) at `index`, in place of whatever stands for the same indices. The caller has
    /// made sure that it does not split an entry of order 9, nor cover entries of order 0 (see
    /// [`first_in`](Self::first_in)). Tags of a replaced entry of the same order stay.
    pub fn store(&mut self, nodes: &mut Nodes, index: u64, order: u32, value: u64) {
        debug_assert!(value != 0 && value != SIBLING && (order == 0 || order == PMD_ORDER));
        let lowest: u8 = u8::from(order == PMD_ORDER);
        if self.root == 0 {
            let id: u32 = nodes.insert(EMPTY).into();
            (self.root, self.level) = (id + 1, lowest);
            // The first node is made as high as it must be: an empty one below would be taken for entries.
            while !self.reaches(index) {
                self.level += 1;
            }
        }
        while !self.reaches(index) || self.level < lowest {
            let old = nodes[NodeId(self.root - 1)];
            let mut up = EMPTY;
            up.slots[0] = u64::from(self.root);
            up.used = 1;
            for (tag, bits) in old.tags.iter().enumerate() {
                up.tags[tag] = u64::from(*bits != 0);
            }
            let id: u32 = nodes.insert(up).into();
            (self.root, self.level) = (id + 1, self.level + 1);
        }
        let (mut at, mut level) = (self.root, self.level);
        while level > lowest {
            let slot = slot_of(index, level);
            let node = &nodes[NodeId(at - 1)];
            debug_assert!(node.entries >> slot & 1 == 0, "an entry is split");
            let mut child = node.slots[slot] as u32;
            if child == 0 {
                let id: u32 = nodes.insert(EMPTY).into();
                child = id + 1;
                let node = &mut nodes[NodeId(at - 1)];
                node.slots[slot] = u64::from(child);
                node.used += 1;
            }
            at = child;
            level -= 1;
        }
        let node = &mut nodes[NodeId(at - 1)];
        if order == 0 {
            let slot = slot_of(index, 0);
            node.used += u8::from(node.slots[slot] == 0);
            node.slots[slot] = value;
            node.entries |= 1 << slot;
        } else {
            let first = slot_of(index, 1) & !(PMD_SLOTS - 1);
            for slot in first..first + PMD_SLOTS {
                debug_assert!(node.slots[slot] == 0 || node.entries >> slot & 1 == 1, "an entry covers others");
                node.used += u8::from(node.slots[slot] == 0);
                node.slots[slot] = if slot == first { value } else { SIBLING };
                node.entries |= 1 << slot;
            }
        }
    }

    /// Takes out the entry that stands for `index`, with its tags.
    pub fn erase(&mut self, nodes: &mut Nodes, index: u64) -> Option<Found> {
        let found = self.load(nodes, index)?;
        self.set_tag(nodes, index, Tag::Dirty, false);
        self.set_tag(nodes, index, Tag::ToWrite, false);
        let lowest = u8::from(found.order == PMD_ORDER);
        let mut path = [0u32; 12];
        let mut at = self.root;
        let mut level = self.level;
        while level > lowest {
            path[usize::from(level)] = at;
            at = nodes[NodeId(at - 1)].slots[slot_of(index, level)] as u32;
            level -= 1;
        }
        path[usize::from(lowest)] = at;
        let node = &mut nodes[NodeId(at - 1)];
        let (first, count) = if lowest == 0 { (slot_of(index, 0), 1) } else { (slot_of(found.index, 1), PMD_SLOTS) };
        for slot in first..first + count {
            node.slots[slot] = 0;
            node.entries &= !(1 << slot);
        }
        node.used -= count as u8;
        for level in lowest..=self.level {
            let id = path[usize::from(level)];
            if nodes[NodeId(id - 1)].used != 0 {
                break;
            }
            nodes.remove(NodeId(id - 1));
            if level == self.level {
                *self = Self::default();
                break;
            }
            let parent = &mut nodes[NodeId(path[usize::from(level) + 1] - 1)];
            parent.slots[slot_of(index, level + 1)] = 0;
            parent.used -= 1;
        }
        Some(found)
    }

    /// Sets or clears a tag of the entry that stands for `index`, if there is one.
    pub fn set_tag(&mut self, nodes: &mut Nodes, index: u64, tag: Tag, set: bool) {
        let Some(found) = self.load(nodes, index) else { return };
        let lowest = u8::from(found.order == PMD_ORDER);
        let mut path = [0u32; 12];
        let (mut at, mut level) = (self.root, self.level);
        while level > lowest {
            path[usize::from(level)] = at;
            at = nodes[NodeId(at - 1)].slots[slot_of(index, level)] as u32;
            level -= 1;
        }
        path[usize::from(lowest)] = at;
        for level in lowest..=self.level {
            let of = if level == lowest { found.index } else { index };
            let bit = 1u64 << slot_of(of, level);
            let bits = &mut nodes[NodeId(path[usize::from(level)] - 1)].tags[tag as usize];
            if set {
                *bits |= bit;
            } else {
                *bits &= !bit;
                if *bits != 0 {
                    break;
                }
            }
        }
    }

    /// Whether the entry that stands for `index` has a tag.
    #[must_use]
    pub fn tag(&self, nodes: &Nodes, index: u64, tag: Tag) -> bool {
        let Some(found) = self.load(nodes, index) else { return false };
        self.next_tagged(nodes, found.index, found.index, Some(tag)).is_some()
    }

    /// The first entry that stands for an index in `from ..= to`.
    #[must_use]
    pub fn first_in(&self, nodes: &Nodes, from: u64, to: u64) -> Option<Found> {
        self.next_tagged(nodes, from, to, None)
    }

    /// The first entry with a tag (or any) that stands for an index in `from ..= to`.
    #[must_use]
    pub fn next_tagged(&self, nodes: &Nodes, from: u64, to: u64, tag: Option<Tag>) -> Option<Found> {
        if self.root == 0 || from > to || !self.reaches(from) {
            return None;
        }
        Self::walk(nodes, self.root, self.level, from, to, 0, tag)
    }

    fn walk(nodes: &Nodes, at: u32, level: u8, from: u64, to: u64, base: u64, tag: Option<Tag>) -> Option<Found> {
        let node = &nodes[NodeId(at - 1)];
        let span = SHIFT * u32::from(level);
        let mut slot = if from > base { ((from - base) >> span) as usize } else { 0 };
        // An entry of order 9 counts from any of its indices.
        if level == 1 && node.entries >> slot & 1 == 1 {
            slot &= !(PMD_SLOTS - 1);
        }
        while slot < SLOTS {
            let start = base + ((slot as u64) << span);
            if start > to {
                return None;
            }
            let value = node.slots[slot];
            let is_entry = node.entries >> slot & 1 == 1;
            let wanted = tag.is_none_or(|tag| node.tags[tag as usize] >> slot & 1 == 1);
            if value != 0 && value != SIBLING && wanted {
                if is_entry {
                    return Some(Found { index: start, order: if level == 0 { 0 } else { PMD_ORDER }, value });
                }
                let found = Self::walk(nodes, value as u32, level - 1, from, to, start, tag);
                if found.is_some() {
                    return found;
                }
            }
            slot += 1;
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_types, reason = "proptest shares its strategies")]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{Nodes, PMD_ORDER, PTRS_PER_PMD, Tag, XArray};

    #[derive(Debug, Clone)]
    enum Action {
        Store(u64, bool, u64),
        Erase(u64),
        Tag(u64, bool),
        Next(u64, u64, bool),
    }

    fn action() -> impl Strategy<Value = Action> {
        let index = prop_oneof![0u64..20, 500u64..530, 1020u64..1030, Just(1 << 20), Just(1 << 36), 0u64..4000];
        prop_oneof![
            (index.clone(), any::<bool>(), 1u64..1000).prop_map(|(i, huge, v)| Action::Store(i, huge, v)),
            index.clone().prop_map(Action::Erase),
            (index.clone(), any::<bool>()).prop_map(|(i, set)| Action::Tag(i, set)),
            (index.clone(), index, any::<bool>()).prop_map(|(a, b, tagged)| Action::Next(a.min(b), a.max(b), tagged)),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_tree_of_ranges(actions in proptest::collection::vec(action(), 0..200)) {
            let mut nodes = Nodes::default();
            let mut array = XArray::default();
            // index -> (order, value, dirty)
            let mut model: BTreeMap<u64, (u32, u64, bool)> = BTreeMap::new();
            let standing = |model: &BTreeMap<u64, (u32, u64, bool)>, index: u64| {
                model.range(..=index).next_back().map(|(k, v)| (*k, *v)).filter(|(k, v)| index < k + (1 << v.0))
            };
            for action in actions {
                match action {
                    Action::Store(index, huge, value) => {
                        let (index, order) = if huge { (index & !(PTRS_PER_PMD - 1), PMD_ORDER) } else { (index, 0) };
                        let here = standing(&model, index);
                        let clash = if huge {
                            model.range(index..index + PTRS_PER_PMD).any(|(_, v)| v.0 == 0)
                        } else {
                            here.is_some_and(|(_, v)| v.0 != 0)
                        };
                        if !clash {
                            array.store(&mut nodes, index, order, value);
                            let dirty = here.is_some_and(|(_, v)| v.2);
                            model.insert(index, (order, value, dirty));
                        }
                    }
                    Action::Erase(index) => {
                        let here = standing(&model, index);
                        let got = array.erase(&mut nodes, index);
                        prop_assert_eq!(got.map(|f| (f.index, f.order, f.value)), here.map(|(k, v)| (k, v.0, v.1)));
                        if let Some((k, _)) = here {
                            model.remove(&k);
                        }
                    }
                    Action::Tag(index, set) => {
                        array.set_tag(&mut nodes, index, Tag::Dirty, set);
                        if let Some((k, _)) = standing(&model, index) {
                            model.get_mut(&k).unwrap().2 = set;
                        }
                    }
                    Action::Next(from, to, tagged) => {
                        let got = array.next_tagged(&nodes, from, to, tagged.then_some(Tag::Dirty));
                        let want = model
                            .iter()
                            .find(|(k, v)| **k <= to && **k + (1 << v.0) > from && (!tagged || v.2))
                            .map(|(k, v)| (*k, v.0, v.1));
                        prop_assert_eq!(got.map(|f| (f.index, f.order, f.value)), want);
                    }
                }
            }
            for (k, v) in &model {
                prop_assert_eq!(array.tag(&nodes, *k, Tag::Dirty), v.2);
            }
            if model.is_empty() {
                prop_assert!(nodes.is_empty());
            }
        }
    }
}
