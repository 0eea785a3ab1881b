//! What blocks are: what lies at a fixed place, what the descriptors name, what inodes use.

use crate::parallel;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::super_block::SUPER_BLOCK_OFFSET;
use daxkit_format::field::{InodeRef, Object, Structure};
use daxkit_format::{BlockNr, GroupNr, InodeNr};
use daxkit_volume::Volume;
use daxkit_volume::ext4::{BlockOwner, BlockSet, BlockUse, OwnerScan};
use std::collections::HashMap;
use std::ops::Range;

/// A part of a block that has a name.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Bytes of the block.
    pub(super) bytes: Range<usize>,
    pub(super) object: Object,
    pub(super) structure: Option<Structure>,
}

/// What one block is.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// Objects, one behind the other. What lies between them is a place of the block.
    Parts(Vec<Part>),
    /// Content of a file, whose blocks are not told apart.
    Content { inode: InodeNr, logical: u64 },
    /// Used for something that has no name of its own.
    Used { structure: Option<Structure>, what: &'static str, inode: InodeNr },
    /// Nothing uses it, as far as can be found out.
    Unknown,
}

/// What each of these blocks is (they ascend), in the same order.
pub(super) fn name(before: &Volume, after: &Volume, changed: &[u64]) -> Vec<What> {
    let mut known: HashMap<u64, What> = HashMap::new();
    fixed(after, changed, &mut known);
    groups(after, changed, &mut known);
    // What was freed is named by who had it.
    for volume in [after, before] {
        let rest: Vec<BlockNr> = changed.iter().filter(|b| !known.contains_key(b)).map(|b| BlockNr(*b)).collect();
        if !rest.is_empty() {
            owned(volume, &rest.into_iter().collect(), &mut known);
        }
    }
    changed.iter().map(|block| known.remove(block).unwrap_or(What::Unknown)).collect()
}

fn has(changed: &[u64], block: u64) -> bool {
    changed.binary_search(&block).is_ok()
}

fn whole(volume: &Volume, object: Object, structure: Option<Structure>) -> What {
    What::Parts(vec![Part { bytes: 0..volume.block_size() as usize, object, structure }])
}

/// The superblock, the descriptors, multiple mount protection; and copies of superblocks.
fn fixed(volume: &Volume, changed: &[u64], known: &mut HashMap<u64, What>) {
    let g = volume.geometry();
    let bs = u64::from(g.block_size);
    let super_part = |start: u64, copy| Part {
        bytes: start as usize..start as usize + Structure::SuperBlock.size(),
        object: Object::Super { copy },
        structure: Some(Structure::SuperBlock),
    };
    for block in changed {
        let Some(group) = g.group_of_block(BlockNr(*block)) else { continue };
        if group.get() > 0 && g.group_first_block(group).get() == *block && volume.group_has_super(group) {
            known.insert(*block, What::Parts(vec![super_part(0, Some(group.get()))]));
        }
    }
    if has(changed, SUPER_BLOCK_OFFSET / bs) {
        known.insert(SUPER_BLOCK_OFFSET / bs, What::Parts(vec![super_part(SUPER_BLOCK_OFFSET % bs, None)]));
    }
    let mmp = volume.super_block().s_mmp_block.get();
    if volume.has_incompat(Incompat::MMP) && has(changed, mmp) {
        known.insert(mmp, whole(volume, Object::Mmp, Some(Structure::MmpStruct)));
    }
}

/// Descriptors, and what they name: bitmaps and inode tables.
fn groups(volume: &Volume, changed: &[u64], known: &mut HashMap<u64, What>) {
    let g = volume.geometry();
    let size = usize::from(g.desc_size);
    let structure = if size < 64 { Structure::GroupDesc32 } else { Structure::GroupDesc };
    // A superblock that lies may claim thousands of millions of groups, most of which lie behind the device's end.
    let on_device = volume.device().len() / u64::from(g.block_size) / u64::from(g.blocks_per_group.max(1));
    let groups = g.groups_count.min(u32::try_from(on_device.saturating_add(1)).unwrap_or(u32::MAX));
    for index in 0..groups.div_ceil(g.desc_per_block.max(1)) {
        let block = volume.descriptor_block(index).get();
        let first = index.saturating_mul(g.desc_per_block);
        if has(changed, block) {
            let parts = (first..groups).take(g.desc_per_block as usize).enumerate().map(|(i, group)| Part {
                bytes: i * size..(i + 1) * size,
                object: Object::Group { group, copy: None },
                structure: Some(structure),
            });
            known.insert(block, What::Parts(parts.collect()));
        }
    }
    for group in 0..groups {
        let Ok(desc) = volume.group_desc(GroupNr(group)) else { continue };
        for (block, object) in
            [(desc.block_bitmap(), Object::BlockBitmap(group)), (desc.inode_bitmap(), Object::InodeBitmap(group))]
        {
            if has(changed, block) {
                known.insert(block, whole(volume, object, None));
            }
        }
        let table = desc.inode_table()..desc.inode_table().saturating_add(g.inode_table_blocks.into());
        let from = changed.partition_point(|b| *b < table.start);
        for block in changed.iter().skip(from).take_while(|b| **b < table.end) {
            known.insert(*block, inodes(volume, group, block - table.start));
        }
    }
}

/// The inodes of a block of an inode table.
fn inodes(volume: &Volume, group: u32, inside: u64) -> What {
    let g = volume.geometry();
    let size = usize::from(g.inode_size);
    let per_block = u64::from(g.block_size / u32::from(g.inode_size).max(1));
    let first = u64::from(group) * u64::from(g.inodes_per_group) + inside * per_block + 1;
    let parts = (0..per_block).map(|i| Part {
        bytes: i as usize * size..(i as usize + 1) * size,
        object: Object::Inode(InodeRef::Number(first + i)),
        structure: Some(Structure::Inode),
    });
    What::Parts(parts.collect())
}

/// What inodes use.
fn owned(volume: &Volume, wanted: &BlockSet, known: &mut HashMap<u64, What>) {
    let mut scan = OwnerScan::default();
    // What is damaged has no name; the change is shown all the same.
    let (tables, _) = volume.inode_tables();
    parallel::in_order(&tables, |table| volume.block_owners(table, wanted), |found| scan.append(found));
    for (block, owners) in scan.blocks {
        let Some(owner) = owners.named.first() else { continue };
        known.insert(block.get(), use_of(volume, *owner));
    }
}

fn use_of(volume: &Volume, owner: BlockOwner) -> What {
    let inode = owner.inode;
    let found = volume.inode_unverified(inode).ok();
    match owner.used_for {
        BlockUse::Data { logical } if found.as_ref().is_some_and(|i| i.is_dir()) => {
            whole(volume, Object::DirBlock(InodeRef::Number(inode.get()), logical), None)
        }
        BlockUse::Data { logical } => What::Content { inode, logical },
        BlockUse::Map => {
            let extents = found.is_some_and(|i| i.flags().contains(InodeFlags::EXTENTS));
            What::Used { structure: extents.then_some(Structure::ExtentHeader), what: "map", inode }
        }
        BlockUse::Attributes => What::Used { structure: Some(Structure::XattrHeader), what: "attributes", inode },
    }
}
