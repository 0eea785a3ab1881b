//! Puts a [`Tree`] together, directory by directory in the order of their ids.

use super::error::ScanError;
use super::extra::Extra;
use super::tree::{
    Attributes, DataRanges, HOLES, Kind, LINKED, Link, NO_XATTRS, Node, NodeId, Tree, XattrSet, pack_children,
};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// A run of a directory's children, found by one thread, with places relative to itself.
#[derive(Default)]
pub(super) struct Chunk {
    /// `name_at` counts in `names`, `xattrs` in `sets`.
    pub(super) nodes: Vec<Node>,
    /// Names, each with its symlink target behind.
    pub(super) names: Vec<u8>,
    pub(super) sets: Vec<XattrSet>,
    /// Index, device and inode of what has more than one link.
    pub(super) links: Vec<(u32, u64, u64)>,
    /// Indices of those among them under whose name the inode was created, where that is known.
    pub(super) births: Vec<u32>,
    /// Index and data of files with holes.
    pub(super) holes: Vec<(u32, DataRanges)>,
    /// Index and extras of what has any.
    pub(super) extras: Vec<(u32, Extra)>,
}

/// Puts a tree together, directory by directory in order.
pub(super) struct Builder {
    tree: Tree,
    inodes: HashMap<(u64, u64), (u32, u32), BuildHasherDefault<DefaultHasher>>,
    linked: Vec<(u32, u32)>,
    /// First name of an inode, and the name it was created under.
    births: Vec<(u32, u32)>,
    set_ids: HashMap<u64, Vec<u32>, BuildHasherDefault<DefaultHasher>>,
}

impl Builder {
    pub(super) fn new(root: &Attributes, xattrs: XattrSet, extra: Option<Extra>) -> Self {
        let mut b = Self {
            tree: Tree::empty(root),
            inodes: HashMap::default(),
            linked: Vec::new(),
            births: Vec::new(),
            set_ids: HashMap::default(),
        };
        if let Some(root) = b.tree.nodes.first().copied() {
            let id = b.intern(xattrs);
            b.tree.nodes[0] = Node { xattrs: id, ..root };
        }
        b.tree.extras.extend(extra.map(|e| (0, e)));
        b
    }

    pub(super) const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Directories known so far: those with a lower index than what was appended have their children.
    pub(super) fn dir(&self, index: usize) -> Option<NodeId> {
        self.tree.dirs.get(index).map(|d| NodeId(*d))
    }

    fn intern(&mut self, set: XattrSet) -> u32 {
        if set.list.is_empty() {
            return NO_XATTRS;
        }
        let mut hasher = DefaultHasher::new();
        set.hash(&mut hasher);
        let same_hash = self.set_ids.entry(hasher.finish()).or_default();
        if let Some(id) = same_hash.iter().find(|id| self.tree.sets.get(**id as usize) == Some(&set)) {
            return *id;
        }
        let id = self.tree.sets.len() as u32;
        same_hash.push(id);
        self.tree.sets.push(set);
        id
    }

    /// Gives a directory its children. Directories must come in the order of their ids.
    pub(super) fn append(&mut self, dir: NodeId, chunks: Vec<Chunk>) -> Result<(), ScanError> {
        let start = self.tree.nodes.len();
        let count: usize = chunks.iter().map(|c| c.nodes.len()).sum();
        let bytes: usize = chunks.iter().map(|c| c.names.len()).sum();
        if start + count >= NO_XATTRS as usize {
            return Err(ScanError::TooLarge { what: "names", limit: u64::from(NO_XATTRS) - 1 });
        }
        if self.tree.names.len() + bytes > u32::MAX as usize {
            return Err(ScanError::TooLarge { what: "bytes of names and symlink targets", limit: u64::from(u32::MAX) });
        }
        for chunk in chunks {
            let first = self.tree.nodes.len() as u32;
            let names = self.tree.names.len() as u32;
            let sets: Vec<u32> = chunk.sets.into_iter().map(|s| self.intern(s)).collect();
            self.tree.names.extend_from_slice(&chunk.names);
            for (i, mut node) in chunk.nodes.into_iter().enumerate() {
                node.parent = dir.0;
                node.name_at += names;
                node.xattrs = sets.get(node.xattrs as usize).copied().unwrap_or(NO_XATTRS);
                if node.kind() == Kind::Dir {
                    self.tree.dirs.push(first + i as u32);
                }
                self.tree.nodes.push(node);
            }
            for (i, dev, ino) in chunk.links {
                let entry = self.inodes.entry((dev, ino)).or_insert((first + i, 0));
                entry.1 += 1;
                self.linked.push((first + i, entry.0));
                if chunk.births.binary_search(&i).is_ok() {
                    self.births.push((entry.0, first + i));
                }
            }
            for (i, ranges) in chunk.holes {
                if let Some(n) = self.tree.nodes.get_mut((first + i) as usize) {
                    n.kind_flags |= HOLES;
                    self.tree.holes.push((first + i, ranges));
                }
            }
            self.tree.extras.extend(chunk.extras.into_iter().map(|(i, extra)| (first + i, extra)));
        }
        if let Some(n) = self.tree.nodes.get_mut(dir.0 as usize) {
            n.value = pack_children(start as u32, count as u32);
        }
        Ok(())
    }

    /// The tree, with its hard links resolved.
    pub(super) fn finish(self) -> Tree {
        let Self { mut tree, inodes, linked, mut births, .. } = self;
        births.retain(|(primary, born)| primary != born);
        births.sort_unstable();
        tree.births = births;
        let mut counts: HashMap<u32, u32> = inodes.into_values().filter(|(_, n)| *n > 1).collect();
        for (id, primary) in linked {
            if let Some(count) = counts.get(&primary)
                && let Some(n) = tree.nodes.get_mut(id as usize)
            {
                n.kind_flags |= LINKED;
                tree.links.push(Link { id, primary, count: *count });
            }
        }
        counts.clear();
        tree.holes.retain(|(id, _)| {
            tree.links.binary_search_by_key(id, |l| l.id).is_ok_and(|i| tree.links[i].primary == *id)
                || tree.nodes[*id as usize].kind_flags & LINKED == 0
        });
        let links = std::mem::take(&mut tree.links);
        let is_primary = |id: u32| {
            links.binary_search_by_key(&id, |l| l.id).map_or(true, |i| links.get(i).is_some_and(|l| l.primary == id))
        };
        tree.extras.retain(|(id, _)| is_primary(*id));
        tree.links = links;
        tree.nodes.shrink_to_fit();
        tree.names.shrink_to_fit();
        tree.dirs.shrink_to_fit();
        tree.links.shrink_to_fit();
        tree
    }
}
