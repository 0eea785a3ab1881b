//! Where extended attributes go: in the inode, in a block shared by all inodes with the same attributes, or (with `ea_inode`) a
//! large value in an inode of its own.
//!
//! Sets of attributes are interned by the source, so each set is laid out once.

use super::error::{ImagePath, PlanError};
use crate::params::Params;
use crate::source::{NodeId, Tree};
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inode::EXTRA_ISIZE;
use daxkit_format::ext4::{acl, inline_data, xattr};
use std::collections::HashMap;

/// One attribute in the form it has on disk.
#[derive(Debug, Clone)]
pub struct Attr {
    /// `e_name_index`.
    pub index: u8,
    /// The name behind the prefix.
    pub name: Vec<u8>,
    /// The value; of an ACL in ext4's form.
    pub value: Vec<u8>,
    /// Which of the large values it is.
    pub large: Option<u32>,
}

/// A set of attributes laid out.
#[derive(Debug, Clone, Default)]
pub struct SetLayout {
    /// Those in the inode.
    pub inode: Vec<Attr>,
    /// Those in a block, in the order of the format.
    pub block: Vec<Attr>,
}

/// A value in an inode of its own.
#[derive(Debug, Clone)]
pub struct LargeValue {
    /// The bytes.
    pub value: Vec<u8>,
    /// Entries that name it: one for each inode with the entry inside, one for each block.
    pub references: u64,
}

/// The layout of all attributes of an image.
#[derive(Debug, Default)]
pub struct XattrPlan {
    /// For each set of the source; the set of root and `lost+found` may follow.
    pub sets: Vec<SetLayout>,
    /// Values in inodes of their own.
    pub large: Vec<LargeValue>,
    /// Index of the set that `root_selinux` makes of the root's.
    pub root_set: Option<u32>,
    /// Index of the set of `lost+found`, where `root_selinux` gives it one.
    pub lost_found_set: Option<u32>,
    /// Bytes for attributes in an inode, the magic included.
    pub inode_area: usize,
}

impl XattrPlan {
    /// Lays out every set of `tree`.
    ///
    /// # Errors
    /// An attribute that cannot be stored, or a set that does not fit.
    pub fn new(params: &Params, tree: &Tree) -> Result<Self, PlanError> {
        let mut plan = Self { inode_area: inode_area(params.inode_size), ..Self::default() };
        let mut interned = HashMap::new();
        for (i, set) in tree.xattr_sets().iter().enumerate() {
            // The path is only wanted for an error; looking for it then is cheap enough.
            let owner = || owner_of(tree, i as u32);
            let attrs = set.list.iter().map(|(n, v)| convert(n, v, &owner)).collect::<Result<Vec<_>, _>>()?;
            let layout = plan.lay_out(params, attrs, &mut interned, &owner)?;
            plan.sets.push(layout);
        }
        if let Some(label) = &params.root_selinux {
            let mut value = label.clone();
            value.push(0);
            let selinux = (b"security.selinux".to_vec(), value);
            let mut root: Vec<_> = tree.xattrs(Tree::ROOT).map_or_else(Vec::new, |s| s.list.clone());
            root.retain(|(n, _)| *n != selinux.0);
            root.push(selinux.clone());
            for list in [root, vec![selinux]] {
                let owner = || ImagePath(b"/".to_vec());
                let attrs = list.iter().map(|(n, v)| convert(n, v, &owner)).collect::<Result<Vec<_>, _>>()?;
                let layout = plan.lay_out(params, attrs, &mut interned, &owner)?;
                plan.sets.push(layout);
            }
            let n = plan.sets.len() as u32;
            (plan.root_set, plan.lost_found_set) = (Some(n - 2), Some(n - 1));
        }
        Ok(plan)
    }

    fn lay_out(
        &mut self,
        params: &Params,
        mut attrs: Vec<Attr>,
        interned: &mut HashMap<Vec<u8>, u32>,
        owner: &dyn Fn() -> ImagePath,
    ) -> Result<SetLayout, PlanError> {
        let ea_inode = params.features.incompat.contains(Incompat::EA_INODE);
        attrs.sort_by(|a, b| xattr::sort_key(a.index, &a.name).cmp(&xattr::sort_key(b.index, &b.name)));
        let block_room = params.block_size as usize - 32 - 4;
        loop {
            if let Some(layout) = split(&attrs, self.inode_area.saturating_sub(8), block_room) {
                return Ok(layout);
            }
            // The largest value that is still here moves out.
            let largest =
                attrs.iter_mut().filter(|a| a.large.is_none() && !a.value.is_empty()).max_by_key(|a| a.value.len());
            match largest {
                Some(a) if ea_inode => {
                    let next = self.large.len() as u32;
                    let id = *interned.entry(a.value.clone()).or_insert(next);
                    if id == next {
                        self.large.push(LargeValue { value: a.value.clone(), references: 0 });
                    }
                    a.large = Some(id);
                }
                _ => {
                    let hint = if ea_inode { "" } else { " (-O ea_inode would give large values inodes of their own)" };
                    return Err(PlanError::Xattrs { path: owner(), hint });
                }
            }
        }
    }

    /// Index of the set that node `id` has.
    #[must_use]
    pub fn set_of(&self, tree: &Tree, id: NodeId) -> Option<u32> {
        if id == Tree::ROOT && self.root_set.is_some() { self.root_set } else { tree.xattr_set_id(id) }
    }

    /// The layout with index `set`.
    #[must_use]
    pub fn set(&self, set: Option<u32>) -> Option<&SetLayout> {
        self.sets.get(set? as usize)
    }

    /// Large values that the attributes of a set name, in the inode and in its block.
    pub fn large_values(&self, set: Option<u32>) -> impl Iterator<Item = &LargeValue> {
        let attrs = self.set(set).into_iter().flat_map(|l| l.inode.iter().chain(&l.block));
        attrs.filter_map(|a| self.large.get(a.large? as usize))
    }

    /// Bytes of inline data that fit beside the attributes of a set; `None` when those need a block or an inode of their own, for
    /// then nothing else should crowd the inode.
    #[must_use]
    pub fn inline_room(&self, set: Option<u32>) -> Option<usize> {
        let used = match self.set(set) {
            None => 0,
            Some(layout) if layout.block.is_empty() && layout.inode.iter().all(|a| a.large.is_none()) => {
                layout.inode.iter().map(stored_len).sum()
            }
            Some(_) => return None,
        };
        let entry = xattr::entry_len(inline_data::XATTR_NAME.len());
        let rest = self.inode_area.checked_sub(8 + entry + used)?;
        Some(inline_data::MIN_SIZE + rest / 4 * 4)
    }
}

/// Bytes behind an inode's extra fields.
fn inode_area(inode_size: u16) -> usize {
    if inode_size <= 128 { 0 } else { usize::from(inode_size) - 128 - usize::from(EXTRA_ISIZE) }
}

fn stored_len(a: &Attr) -> usize {
    xattr::entry_len(a.name.len()) + if a.large.is_some() { 0 } else { xattr::value_len(a.value.len()) }
}

/// Fills the inode first, in order, then the block.
fn split(attrs: &[Attr], inode_room: usize, block_room: usize) -> Option<SetLayout> {
    let mut layout = SetLayout::default();
    let (mut inode, mut block) = (inode_room, block_room);
    for a in attrs {
        let len = stored_len(a);
        if let Some(rest) = inode.checked_sub(len) {
            inode = rest;
            layout.inode.push(a.clone());
        } else {
            block = block.checked_sub(len)?;
            layout.block.push(a.clone());
        }
    }
    Some(layout)
}

fn convert(name: &[u8], value: &[u8], owner: &dyn Fn() -> ImagePath) -> Result<Attr, PlanError> {
    let error = |reason: String| PlanError::Xattr { path: owner(), name: ImagePath(name.to_vec()), reason };
    let (index, rest) = xattr::split_name(name).ok_or_else(|| error("ext4 cannot store this namespace".to_owned()))?;
    let value = match index {
        xattr::INDEX_POSIX_ACL_ACCESS | xattr::INDEX_POSIX_ACL_DEFAULT => {
            acl::to_disk(value).map_err(|e| error(e.to_string()))?
        }
        _ => value.to_vec(),
    };
    if value.len() > xattr::SIZE_MAX as usize {
        return Err(error(format!("{} bytes are more than an attribute can have", value.len())));
    }
    Ok(Attr { index, name: rest.to_vec(), value, large: None })
}

fn owner_of(tree: &Tree, set: u32) -> ImagePath {
    let node = tree.ids().find(|id| tree.xattr_set_id(*id) == Some(set));
    ImagePath(node.map_or_else(|| b"/".to_vec(), |id| tree.path(id)))
}
