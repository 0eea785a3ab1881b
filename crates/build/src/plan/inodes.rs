//! Which node gets which inode number, and which nodes have the DAX flag.
//!
//! Numbers follow the order of the tree: what lies together in a directory lies together in the inode table. Reserved inodes
//! first, then `lost+found`, then the files that features ask for, then the content, then large attribute values.

use super::error::{ImagePath, PlanError};
use crate::params::Params;
use crate::source::{Kind, NodeId, Tree};
use daxkit_format::dax::FileKind;
use daxkit_format::dax::ext4::inherited;
use daxkit_format::ext4::features::{Compat, Incompat, RoCompat};
use daxkit_format::ext4::inode_flags::InodeFlags;
use std::collections::BTreeMap;

/// The inode of `lost+found`, the first that is not reserved.
pub const LOST_FOUND_INO: u32 = 11;

/// Node flags of the plan.
const DAX: u8 = 1;
const INLINE: u8 = 2;
/// The DAX flag comes from a path that was named.
const DAX_NAMED: u8 = 4;
/// The DAX flag was decided for this inode, whatever its directory hands on.
const DAX_DECIDED: u8 = 8;

/// Where an inode's DAX flag comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaxFrom {
    /// Nothing sets it.
    Nowhere,
    /// The directory it was created in.
    Parent,
    /// A path that was named (`--dax`).
    Named,
    /// A recipe says so for this inode: set, or kept from being inherited.
    Decided,
}

/// Inode numbers and flags.
#[derive(Debug)]
pub struct InodePlan {
    ino: Vec<u32>,
    state: Vec<u8>,
    /// Nodes that somebody put in order, primaries only.
    listed: Vec<NodeId>,
    /// Place in `listed`, by node.
    positions: BTreeMap<u32, u32>,
    /// The node that is `lost+found`, where the source has one.
    pub lost_found: Option<NodeId>,
    /// The orphan file.
    pub orphan_file: Option<u32>,
    /// The project quota file.
    pub project_quota: Option<u32>,
    /// First inode of large attribute values.
    pub first_large: u32,
    /// The highest inode in use.
    pub last: u32,
    /// First inode of the nodes that are neither root nor `lost+found`.
    pub first_node: u32,
}

impl InodePlan {
    /// Numbers all nodes; `large` values get inodes behind them.
    ///
    /// # Errors
    /// A DAX path that cannot have the flag, or more inodes than 32 bits number.
    pub fn new(params: &Params, tree: &Tree, large: usize) -> Result<Self, PlanError> {
        let lost_found = tree.child(Tree::ROOT, b"lost+found");
        if lost_found.is_some_and(|id| tree.kind(id) != Kind::Dir) {
            return Err(PlanError::LostFound);
        }
        let mut next = LOST_FOUND_INO + 1;
        let mut take = |wanted: bool| {
            wanted.then(|| {
                next += 1;
                next - 1
            })
        };
        let orphan_file = take(params.features.compat.contains(Compat::ORPHAN_FILE));
        let quota = params.features.ro_compat.contains(RoCompat::QUOTA) && params.quota.project;
        let project_quota = take(quota);
        let first_node = next;
        let mut ino = vec![0u32; tree.len()];
        let too_many = PlanError::NoInodes { needed: u64::from(u32::MAX) + 1, have: u64::from(u32::MAX) };
        let listed = listed(params, tree);
        let positions: BTreeMap<u32, u32> = listed.iter().zip(0..).map(|(id, at)| (id.0, at)).collect();
        let mut number = |id: NodeId| {
            let number = if id == Tree::ROOT {
                2
            } else if Some(id) == lost_found {
                LOST_FOUND_INO
            } else {
                let n = next;
                next = next.checked_add(1).ok_or(too_many.clone())?;
                n
            };
            if let Some(slot) = ino.get_mut(id.0 as usize) {
                *slot = number;
            }
            Ok::<(), PlanError>(())
        };
        for id in &listed {
            number(*id)?;
        }
        for id in tree.ids().filter(|id| tree.primary(*id) == *id && !positions.contains_key(&id.0)) {
            number(id)?;
        }
        for id in tree.ids() {
            let of_primary = ino.get(tree.primary(id).0 as usize).copied().unwrap_or(0);
            if let Some(slot) = ino.get_mut(id.0 as usize) {
                *slot = of_primary;
            }
        }
        let first_large = next;
        let last = u32::try_from(large).ok().and_then(|n| next.checked_add(n)).ok_or(too_many)? - 1;
        let mut plan = Self {
            ino,
            state: vec![0; tree.len()],
            listed,
            positions,
            lost_found,
            orphan_file,
            project_quota,
            first_large,
            last,
            first_node,
        };
        plan.set_dax(params, tree)?;
        Ok(plan)
    }

    fn set_dax(&mut self, params: &Params, tree: &Tree) -> Result<(), PlanError> {
        let wished = |id| tree.extra(id).and_then(|e| e.dax.or(e.flags.contains(InodeFlags::DAX).then_some(true)));
        if params.dax_paths.is_empty() && tree.extras().all(|(id, _)| wished(id).is_none()) {
            return Ok(());
        }
        let mut named = Vec::with_capacity(params.dax_paths.len());
        for path in &params.dax_paths {
            let error = |reason| PlanError::DaxPath { path: ImagePath(path.clone()), reason };
            if path.first() != Some(&b'/') {
                return Err(error("must be an absolute path inside the image"));
            }
            let clean: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|c| !c.is_empty()).collect();
            if clean == [b"lost+found"] {
                return Err(error("lost+found never gets the flag"));
            }
            let id = tree.lookup(path).ok_or_else(|| error("no such file or directory in the image"))?;
            match tree.kind(id) {
                Kind::File | Kind::Dir => named.push(tree.primary(id)),
                Kind::Symlink => return Err(error("a symbolic link cannot have the flag")),
                _ => return Err(error("only regular files and directories can have the flag")),
            }
        }
        // Directories first: a file may have been created in one that comes behind its first name.
        let is_dir = |id: &NodeId| tree.kind(*id) == Kind::Dir;
        let files = tree.ids().filter(|id| !is_dir(id));
        for id in tree.ids().filter(is_dir).chain(files) {
            if tree.primary(id) != id || Some(id) == self.lost_found {
                continue;
            }
            // As the kernel creates things: a child gets what its directory hands on, an explicit flag is set before any
            // child of its own exists.
            let inherits = id != Tree::ROOT && {
                let parent = if self.is_dax(tree.birthplace(id)) { InodeFlags::DAX } else { InodeFlags::empty() };
                inherited(child_kind(tree.kind(id)), parent).contains(InodeFlags::DAX)
            };
            let can_have = matches!(tree.kind(id), Kind::File | Kind::Dir);
            let own = wished(id).filter(|_| can_have);
            if own.is_some() {
                self.set(id, DAX_DECIDED);
            } else if named.contains(&id) {
                self.set(id, DAX_NAMED);
            }
            if own.unwrap_or_else(|| inherits || named.contains(&id)) {
                self.set(id, DAX);
            }
        }
        Ok(())
    }

    fn set(&mut self, id: NodeId, bit: u8) {
        if let Some(s) = self.state.get_mut(id.0 as usize) {
            *s |= bit;
        }
    }

    /// Nodes that somebody put in order, in that order.
    #[must_use]
    pub fn listed(&self) -> &[NodeId] {
        &self.listed
    }

    /// The place of a node in [`InodePlan::listed`].
    #[must_use]
    pub fn position(&self, id: NodeId) -> Option<u32> {
        self.positions.get(&id.0).copied()
    }

    /// Inode number of a node; hard links share one.
    #[must_use]
    pub fn ino(&self, id: NodeId) -> u32 {
        self.ino.get(id.0 as usize).copied().unwrap_or(0)
    }

    /// True when the node's inode has the DAX flag. Ask for the primary of hard links.
    #[must_use]
    pub fn is_dax(&self, id: NodeId) -> bool {
        self.state.get(id.0 as usize).is_some_and(|s| s & DAX != 0)
    }

    /// Where the node's DAX flag, or its absence, comes from. Ask for the primary of hard links.
    #[must_use]
    pub fn dax_from(&self, id: NodeId) -> DaxFrom {
        match self.state.get(id.0 as usize) {
            Some(s) if s & DAX_DECIDED != 0 => DaxFrom::Decided,
            Some(s) if s & DAX_NAMED != 0 => DaxFrom::Named,
            Some(s) if s & DAX != 0 => DaxFrom::Parent,
            _ => DaxFrom::Nowhere,
        }
    }

    /// True when the node's data lies in its inode.
    #[must_use]
    pub fn is_inline(&self, id: NodeId) -> bool {
        self.state.get(id.0 as usize).is_some_and(|s| s & INLINE != 0)
    }

    /// Decides that the node's data lies in its inode.
    pub fn set_inline(&mut self, id: NodeId) {
        self.set(id, INLINE);
    }

    /// Inodes that are not reserved: what a geometry must have room for.
    #[must_use]
    pub fn needed(&self) -> u64 {
        u64::from(self.last) + 1 - 11
    }

    /// True when nodes may be inline at all.
    #[must_use]
    pub fn inline_possible(params: &Params) -> bool {
        params.features.incompat.contains(Incompat::INLINE_DATA)
    }
}

/// The nodes that the order names, each once; paths that are not there do not count, so that one list serves many versions.
fn listed(params: &Params, tree: &Tree) -> Vec<NodeId> {
    let mut seen = std::collections::BTreeSet::new();
    let named = params.order.iter().filter_map(|path| tree.lookup(path)).map(|id| tree.primary(id));
    named.filter(|id| seen.insert(id.0)).collect()
}

fn child_kind(kind: Kind) -> FileKind {
    match kind {
        Kind::Dir => FileKind::Directory,
        Kind::File => FileKind::Regular,
        Kind::Symlink => FileKind::Symlink,
        _ => FileKind::Special,
    }
}
