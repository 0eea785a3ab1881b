//! Which checksums protect a block that is named by its number alone.
//!
//! First what lies at fixed places, then bitmaps and inode tables, which every descriptor is asked for, at last the blocks
//! of inodes, for which every inode in use is. Holes of the device are skipped. The work is bounded by what is really
//! there: an inode table that overlaps another and a node of a map that was met before are not looked at again.

use std::collections::HashSet;

use daxkit_device::RangeSet;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::group_desc::{GroupDesc, GroupFlags};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::super_block::SUPER_BLOCK_OFFSET;
use daxkit_format::ext4::xattr::{self, XattrHeader};
use daxkit_format::field::{Object, Structure};
use daxkit_format::{BlockNr, InodeNr, OnDisk};

use super::super::map::MapItem;
use super::super::seal::{Block, Kind, Seal, WhichBitmap};
use super::finder::Finder;
use super::inode::Found;
use super::{LocateError, Spot};

/// Most groups that are asked: 2 PiB in blocks of 4 KiB. A bound against superblocks that lie.
const MAX_GROUPS: u32 = 1 << 24;

/// A group's descriptor and the byte of the device at which it lies.
struct Group {
    group: u32,
    at: u64,
    desc: GroupDesc,
}

impl Finder<'_> {
    pub(super) fn image_block(&self, nr: u64) -> Result<Spot, LocateError> {
        let block = self.block(nr)?;
        let seals = self.protecting(block)?;
        let spot = Spot::plain(block.range(), seals);
        // A block of attributes is the one kind that has fields of its own and no other name.
        let head = self.read(&Object::Block(nr), block.at..block.at.saturating_add(size_of::<XattrHeader>() as u64))?;
        let magic = XattrHeader::peek(&head).is_some_and(|h| h.h_magic.get() == xattr::MAGIC);
        let owned = spot.seals.iter().any(|seal| matches!(seal.0, Kind::Xattrs { .. }));
        Ok(if magic || owned { spot.with(Structure::XattrHeader, 0) } else { spot })
    }

    fn protecting(&self, block: Block) -> Result<Vec<Seal>, LocateError> {
        let fixed = self.fixed_seals(block)?;
        if !fixed.is_empty() {
            return Ok(fixed);
        }
        let object = Object::Block(block.nr);
        // The journal may have checksums where nothing else has.
        if let Ok(journal) = self.inode_by_number(self.volume.super_block().s_journal_inum.get().into())
            && self.is_journal(journal.ino())
            && let Some(seals) = self.owned(&object, &journal, block, &mut HashSet::new())?
        {
            return Ok(seals);
        }
        if self.seed.is_none() {
            return Ok(Vec::new());
        }
        for group in self.written_groups() {
            if let Some(seals) = self.group_metadata_seals(block, &group) {
                return Ok(seals);
            }
        }
        let (mut tables, mut nodes) = (RangeSet::new(), HashSet::new());
        for group in self.written_groups() {
            for found in self.inodes_in_use(&group, &mut tables) {
                if let Some(seals) = self.owned(&object, &found, block, &mut nodes)? {
                    return Ok(seals);
                }
            }
        }
        Ok(Vec::new())
    }

    /// Superblocks, descriptors, multiple mount protection.
    fn fixed_seals(&self, block: Block) -> Result<Vec<Seal>, LocateError> {
        let v = self.volume;
        let g = v.geometry();
        let mut seals = Vec::new();
        if SUPER_BLOCK_OFFSET >> g.block_shift() == block.nr {
            let at = self.device_byte(SUPER_BLOCK_OFFSET);
            seals.push(self.super_seal(at, (v.super_block_offset() != SUPER_BLOCK_OFFSET).then_some(0)));
        }
        if v.has_incompat(Incompat::MMP) && v.super_block().s_mmp_block.get() == block.nr {
            seals.extend(self.mmp_seal(block.at));
        }
        let Some(group) = g.group_of_block(BlockNr(block.nr)) else { return Ok(seals) };
        let copy = group.get();
        if copy != 0 && v.group_has_super(group) && g.group_first_block(group).get() == block.nr {
            let own = block.nr << g.block_shift() == v.super_block_offset();
            seals.push(self.super_seal(block.at, (!own).then_some(copy)));
        }
        let Some(index) = self.desc_index(block.nr, copy) else { return Ok(seals) };
        let own = v.descriptor_block(index).get() == block.nr;
        let first = index.saturating_mul(g.desc_per_block);
        for (i, group) in (first..g.groups_count).take(g.desc_per_block as usize).enumerate() {
            let at = block.at.saturating_add(i as u64 * u64::from(g.desc_size));
            seals.extend(self.desc_seals(group, (!own).then_some(copy), at));
        }
        Ok(seals)
    }

    /// Which block of the descriptor table a block of group `copy` is.
    fn desc_index(&self, nr: u64, copy: u32) -> Option<u32> {
        let v = self.volume;
        let g = v.geometry();
        let in_table = v.desc_copy_block(0, copy).filter(|_| g.first_meta_bg != 0);
        let old =
            in_table.and_then(|first| u32::try_from(nr.checked_sub(first)?).ok()).filter(|i| *i < g.first_meta_bg);
        let meta = copy / g.desc_per_block;
        let new = (meta >= g.first_meta_bg && v.desc_copy_block(meta, copy) == Some(nr)).then_some(meta);
        old.or(new)
    }

    /// The groups whose descriptors are there. Blocks of descriptors that are holes or cannot be read are left out.
    fn written_groups(&self) -> impl Iterator<Item = Group> + use<'_> {
        let g = *self.volume.geometry();
        let groups = g.groups_count.min(MAX_GROUPS);
        let written = move |index: u32| {
            let block = self.block(self.volume.descriptor_block(index).get()).ok()?;
            let hole = self.volume.device().known_zero(block.at, block.len.into());
            let bytes = if hole { None } else { self.read(&Object::Block(block.nr), block.range()).ok() };
            Some((index, block.at, bytes?))
        };
        (0..groups.div_ceil(g.desc_per_block)).filter_map(written).flat_map(move |(index, at, bytes)| {
            let first = index.saturating_mul(g.desc_per_block);
            let size = usize::from(g.desc_size);
            let descs: Vec<Group> = (first..groups)
                .zip(bytes.chunks_exact(size).enumerate())
                .filter_map(|(group, (i, raw))| {
                    Some(Group { group, at: at.saturating_add((i * size) as u64), desc: GroupDesc::from_disk(raw)? })
                })
                .collect();
            descs
        })
    }

    /// The checksums over the block when it is one of a group's bitmaps or a block of its inode table.
    fn group_metadata_seals(&self, block: Block, group: &Group) -> Option<Vec<Seal>> {
        let (g, desc) = (self.volume.geometry(), &group.desc);
        for (which, nr) in [(WhichBitmap::Blocks, desc.block_bitmap()), (WhichBitmap::Inodes, desc.inode_bitmap())] {
            if nr == block.nr {
                return Some(self.bitmap_seals(which, group.group, group.at));
            }
        }
        let inside = block.nr.checked_sub(desc.inode_table()).filter(|_| desc.inode_table() != 0)?;
        if inside >= g.inode_table_blocks.into() {
            return None;
        }
        let per_block = u64::from(g.block_size / u32::from(g.inode_size));
        let first = inside * per_block;
        let indexes = first..(first + per_block).min(g.inodes_per_group.into());
        let inodes = indexes.map(|index| self.inode_by_number(self.first_inode(group.group) + index));
        Some(inodes.filter_map(Result::ok).filter_map(|found| self.inode_seal(&found)).collect())
    }

    fn first_inode(&self, group: u32) -> u64 {
        u64::from(group) * u64::from(self.volume.geometry().inodes_per_group) + 1
    }

    /// The inodes of a group that say that they are in use. Those that cannot be read are left out, and so is a table that
    /// overlaps one of `tables`, to which it is added.
    fn inodes_in_use(&self, group: &Group, tables: &mut RangeSet) -> impl Iterator<Item = Found> + use<'_> {
        let (g, desc) = (*self.volume.geometry(), &group.desc);
        let blocks = desc.inode_table()..desc.inode_table().saturating_add(g.inode_table_blocks.into());
        let uninit = desc.flags().contains(GroupFlags::INODE_UNINIT) || tables.overlaps(blocks.clone());
        tables.insert(blocks);
        let unused = if uninit { u32::MAX } else { desc.itable_unused() };
        let used = u64::from(g.inodes_per_group.saturating_sub(unused));
        let first = self.first_inode(group.group);
        let table = self.device_byte(desc.inode_table().saturating_mul(g.block_size.into()));
        let size = u64::from(g.inode_size);
        (0..used)
            .filter(move |index| !self.volume.device().known_zero(table.saturating_add(index * size), size))
            .filter_map(move |index| self.inode_by_number(first + index).ok())
            .filter(|found| !found.inode.is_free())
    }

    /// The checksums over the block when it belongs to this inode; `None` when it does not. `nodes` are those of all maps so far;
    /// what leads to one of them again is followed no further.
    fn owned(
        &self,
        object: &Object,
        found: &Found,
        block: Block,
        nodes: &mut HashSet<u64>,
    ) -> Result<Option<Vec<Seal>>, LocateError> {
        if found.inode.file_acl() == block.nr {
            return Ok(Some(self.xattrs_seal(block).into_iter().collect()));
        }
        let extents = found.inode.flags().contains(InodeFlags::EXTENTS);
        // What is damaged owns what can be read of it.
        for item in self.lenient()?.map_walk(&found.inode).map_while(Result::ok) {
            match item {
                MapItem::Node { block: nr, .. } if nr.get() == block.nr => {
                    let seal = if extents { self.extents_seal(found, block) } else { None };
                    return Ok(Some(seal.into_iter().collect()));
                }
                MapItem::Run(run) => {
                    let inside = block.nr.checked_sub(run.physical.get()).filter(|i| *i < run.len);
                    if let Some(inside) = inside {
                        let logical = run.logical.saturating_add(inside);
                        return self.content_seals(object, found, block, logical).map(Some);
                    }
                }
                MapItem::Node { block: nr, .. } if !nodes.insert(nr.get()) => break,
                MapItem::Node { .. } => {}
            }
        }
        Ok(None)
    }

    /// The inodes whose checksums are among these.
    pub(super) fn inodes_of(&self, seals: &[Seal]) -> Result<Vec<Found>, LocateError> {
        let numbers = seals.iter().filter_map(|seal| match seal.0 {
            Kind::Inode { ino, .. } => Some(InodeNr(ino.into())),
            _ => None,
        });
        numbers.map(|nr| self.inode_by_number(nr.get())).collect()
    }
}
