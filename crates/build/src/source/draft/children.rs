//! The names of a finished draft, directory by directory.

use super::{Draft, Name, NameId, PENDING};

impl Draft {
    /// For each name its living, visible children in the order of their names' bytes.
    pub(crate) fn children(&self) -> Children {
        let mut count = vec![0u32; self.names.len() + 1];
        let living = |n: &Name| !n.dead && n.inode != PENDING;
        for n in self.names.iter().skip(1).filter(|n| living(n)) {
            if let Some(c) = count.get_mut(n.parent.0 as usize + 1) {
                *c += 1;
            }
        }
        let mut total = 0;
        for c in &mut count {
            total += *c;
            *c = total;
        }
        let mut next = count.clone();
        let mut list = vec![0u32; total as usize];
        for (i, n) in self.names.iter().enumerate().skip(1).filter(|(_, n)| living(n)) {
            if let Some(at) = next.get_mut(n.parent.0 as usize) {
                if let Some(slot) = list.get_mut(*at as usize) {
                    *slot = i as u32;
                }
                *at += 1;
            }
        }
        let mut children = Children { starts: count, list };
        for id in 0..self.names.len() {
            if let Some(group) = children.group_mut(id) {
                let bytes = |i: &u32| self.names.get(*i as usize).map_or(&[][..], |n| self.bytes(n));
                group.sort_unstable_by(|a, b| bytes(a).cmp(bytes(b)));
            }
        }
        children
    }

    /// Whether a name shows in a directory beneath which layers below `opaque` are hidden; and what is hidden beneath it.
    pub(crate) fn shows(&self, name: &Name, opaque: u16) -> Option<u16> {
        (name.layer >= opaque).then(|| opaque.max(name.opaque))
    }
}

/// The children of all names.
pub(crate) struct Children {
    starts: Vec<u32>,
    list: Vec<u32>,
}

impl Children {
    fn range(&self, id: usize) -> Option<std::ops::Range<usize>> {
        Some(*self.starts.get(id)? as usize..*self.starts.get(id + 1)? as usize)
    }

    fn group_mut(&mut self, id: usize) -> Option<&mut [u32]> {
        let range = self.range(id)?;
        self.list.get_mut(range)
    }

    pub(crate) fn of(&self, id: NameId) -> &[u32] {
        self.range(id.0 as usize).and_then(|r| self.list.get(r)).unwrap_or_default()
    }
}
