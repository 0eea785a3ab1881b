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

/// The inode of `lost+found`, the first that is not reserved.
pub const LOST_FOUND_INO: u32 = 11;

/// Node flags of the plan.
const DAX: u8 = 1;
const INLINE: u8 = 2;

/// Inode numbers and flags.
#[derive(Debug)]
pub struct InodePlan {
    ino: Vec<u32>,
    state: Vec<u8>,
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
        for id in tree.ids() {
            let primary = tree.primary(id);
            let number = if id == Tree::ROOT {
                2
            } else if Some(id) == lost_found {
                LOST_FOUND_INO
            } else if primary != id {
                ino.get(primary.0 as usize).copied().unwrap_or(0)
            } else {
                let n = next;
                next = next.checked_add(1).ok_or(too_many.clone())?;
                n
            };
            if let Some(slot) = ino.get_mut(id.0 as usize) {
                *slot = number;
            }
        }
        let first_large = next;
        let last = u32::try_from(large).ok().and_then(|n| next.checked_add(n)).ok_or(too_many)? - 1;
        let mut plan = Self {
            ino,
            state: vec![0; tree.len()],
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
        if params.dax_paths.is_empty() {
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
        for id in tree.ids() {
            if tree.primary(id) != id || Some(id) == self.lost_found {
                continue;
            }
            // As the kernel creates things: a child gets what its directory hands on, an explicit flag is set before any
            // child of its own exists.
            let inherits = id != Tree::ROOT && {
                let parent = if self.is_dax(tree.parent(id)) { InodeFlags::DAX } else { InodeFlags::empty() };
                inherited(child_kind(tree.kind(id)), parent).contains(InodeFlags::DAX)
            };
            if inherits || named.contains(&id) {
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

fn child_kind(kind: Kind) -> FileKind {
    match kind {
        Kind::Dir => FileKind::Directory,
        Kind::File => FileKind::Regular,
        Kind::Symlink => FileKind::Symlink,
        _ => FileKind::Special,
    }
}
