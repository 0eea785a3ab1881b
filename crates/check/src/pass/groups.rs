//! Group descriptors, and the blocks that the file system itself takes.

use daxkit_device::RangeSet;
use daxkit_format::GroupNr;
use daxkit_format::ext4::group_desc::{GroupDesc, GroupFlags, checksum_with_seed, checksum_with_uuid};

use super::{Context, Local};
use crate::code::Code;
use crate::finding::{At, Finding};
use crate::image::Image;
use crate::repair::{Fix, Part};

/// What of a group has to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupScan {
    /// Inodes from the start of its table on that were written once.
    pub(crate) inodes: u32,
    /// Its descriptor can be trusted in what it says was never written.
    pub(crate) trusted: bool,
}

impl Image {
    /// The checksum that a group's descriptor should have; `None` where there are none.
    pub(crate) fn group_checksum(&self, group: u32, desc: &[u8]) -> Option<u16> {
        if self.has.metadata_csum {
            return Some(checksum_with_seed(self.sb.checksum_seed(), group, desc));
        }
        self.has.gdt_csum.then(|| checksum_with_uuid(&self.sb.s_uuid, self.has.bit64, group, desc))
    }

    /// The bytes of a descriptor as they lie on disk.
    pub(crate) fn desc_bytes(&self, desc: &GroupDesc) -> Vec<u8> {
        use zerocopy::IntoBytes;
        let size = usize::from(self.geo.desc_size);
        let mut bytes = desc.as_bytes().to_vec();
        bytes.resize(size.max(bytes.len()), 0);
        bytes.truncate(size);
        bytes
    }

    fn checksum_fits(&self, group: u32, desc: &GroupDesc, bytes: Option<&[u8]>) -> bool {
        bytes.is_some_and(|bytes| self.group_checksum(group, bytes).is_none_or(|sum| sum == desc.bg_checksum.get()))
    }

    /// Whether a part of a group may lie where it does.
    pub(crate) fn part_is_placed(&self, group: u32, first: u64, len: u64) -> bool {
        if !self.is_block(first, len) {
            return false;
        }
        if self.has.flex_bg {
            return true;
        }
        let start = self.geo.group_first_block(GroupNr(group)).get();
        let end = start + u64::from(self.geo.group_blocks(GroupNr(group)));
        first >= start && first + len <= end
    }

    /// Whether all parts of all groups lie where they may.
    pub(crate) fn groups_are_placed(&self) -> bool {
        self.groups.iter().enumerate().all(|(group, desc)| {
            let group = group as u32;
            self.part_is_placed(group, desc.block_bitmap(), 1)
                && self.part_is_placed(group, desc.inode_bitmap(), 1)
                && self.part_is_placed(group, desc.inode_table(), self.geo.inode_table_blocks.into())
        })
    }
}

/// Descriptors as they lie, a block of them at a time: there may be very many.
#[derive(Default)]
struct DescBlock {
    /// Which block it is, and its bytes if it could be read.
    held: Option<(u32, Option<Vec<u8>>)>,
}

impl DescBlock {
    /// The bytes of a descriptor.
    fn of(&mut self, image: &Image, group: u32) -> Option<&[u8]> {
        let (index, inside) = (group / image.geo.desc_per_block, group % image.geo.desc_per_block);
        if self.held.as_ref().is_none_or(|(held, _)| *held != index) {
            self.held = Some((index, image.block(image.volume.descriptor_block(index).get()).ok()));
        }
        let (_, bytes) = self.held.as_ref()?;
        let size = usize::from(image.geo.desc_size);
        bytes.as_ref()?.get(inside as usize * size..)?.get(..size)
    }
}

impl Context<'_> {
    /// Checks descriptors and claims what the file system takes for itself.
    pub(crate) fn groups(&self, local: &mut Local) -> Vec<GroupScan> {
        let image = self.image;
        for group in &image.unreadable {
            local.find(Finding::new(Code::Unreadable, At::Group(*group, "")));
        }
        let mut taken = RangeSet::default();
        self.heads(&mut taken);
        let last = image.geo.groups_count - 1;
        let mut blocks = DescBlock::default();
        let scans = image.groups.iter().enumerate().map(|(group, desc)| {
            let group = group as u32;
            let scan = self.descriptor(local, group, desc, &mut blocks, last);
            self.parts(local, &mut taken, group, desc);
            scan
        });
        scans.collect()
    }

    /// Claims superblocks, descriptors and what is reserved for more.
    fn heads(&self, taken: &mut RangeSet) {
        let image = self.image;
        for group in 0..image.geo.groups_count {
            let (first, len) = image.group_head(group);
            self.claim_meta(taken, first, len);
        }
        if image.has.mmp {
            let block = image.sb.s_mmp_block.get();
            if image.is_block(block, 1) {
                self.claim_meta(taken, block, 1);
            }
        }
    }

    /// Returns whether something else was there. Several parts may share a cluster, but no block.
    fn claim_meta(&self, taken: &mut RangeSet, first: u64, len: u64) -> bool {
        let (cluster, clusters) = self.image.clusters(first, len);
        // No other thread runs yet.
        self.meta.mark_alone(cluster, clusters);
        let twice = self.blocks.mark_alone(cluster, clusters);
        if self.image.geo.cluster_ratio == 1 {
            return twice;
        }
        let overlaps = taken.overlaps(first..first + len);
        taken.insert(first..first + len);
        overlaps
    }

    fn descriptor(
        &self,
        local: &mut Local,
        group: u32,
        desc: &GroupDesc,
        blocks: &mut DescBlock,
        last: u32,
    ) -> GroupScan {
        let image = self.image;
        let per_group = image.geo.inodes_per_group;
        let at = |field| At::Group(group, field);
        let flags = desc.flags();
        let never = GroupFlags::INODE_UNINIT | GroupFlags::BLOCK_UNINIT;
        let all = GroupScan { inodes: per_group, trusted: false };
        if !image.has.group_checksums() {
            let clear = |d: &mut GroupDesc, _| {
                clear_flags(d, GroupFlags::INODE_UNINIT | GroupFlags::BLOCK_UNINIT);
                d.set_itable_unused(0);
            };
            if flags.intersects(never) || desc.itable_unused() != 0 {
                local.find(
                    Finding::new(Code::GroupUninit, at("bg_flags"))
                        .stored(format!("{:#x}, {} inodes", flags.bits(), desc.itable_unused()))
                        .fix(Fix::Group(group, clear, 0)),
                );
            }
            return all;
        }
        if !image.checksum_fits(group, desc, blocks.of(image, group)) {
            let distrust = |d: &mut GroupDesc, _| {
                clear_flags(d, GroupFlags::INODE_UNINIT | GroupFlags::BLOCK_UNINIT);
                d.set_itable_unused(0);
            };
            local.find(
                Finding::new(Code::GroupChecksum, at("bg_checksum"))
                    .stored(desc.bg_checksum.get())
                    .fix(Fix::Group(group, distrust, 0)),
            );
            return all;
        }
        if group == last && flags.contains(GroupFlags::BLOCK_UNINIT) {
            local.find(Finding::new(Code::GroupUninitLast, at("bg_flags")).stored(flags.bits()).fix(Fix::Group(
                group,
                |d, _| clear_flags(d, GroupFlags::BLOCK_UNINIT),
                0,
            )));
        }
        if desc.itable_unused() > per_group {
            local.find(
                Finding::new(Code::GroupItableUnused, at("bg_itable_unused"))
                    .stored(desc.itable_unused())
                    .fix(Fix::Group(group, |d, _| d.set_itable_unused(0), 0)),
            );
        }
        let unused = if desc.itable_unused() > per_group { 0 } else { desc.itable_unused() };
        let inodes = if flags.contains(GroupFlags::INODE_UNINIT) { 0 } else { per_group - unused };
        GroupScan { inodes, trusted: true }
    }

    /// Bitmaps and the table of inodes of a group.
    fn parts(&self, local: &mut Local, taken: &mut RangeSet, group: u32, desc: &GroupDesc) {
        let parts = [
            (Part::BlockBitmap, Code::GroupBlockBitmap, desc.block_bitmap(), 1, "bg_block_bitmap_lo"),
            (Part::InodeBitmap, Code::GroupInodeBitmap, desc.inode_bitmap(), 1, "bg_inode_bitmap_lo"),
            (
                Part::InodeTable,
                Code::GroupInodeTable,
                desc.inode_table(),
                u64::from(self.image.geo.inode_table_blocks),
                "bg_inode_table_lo",
            ),
        ];
        for (part, code, first, len, field) in parts {
            let code = if !self.image.part_is_placed(group, first, len) {
                code
            } else if self.claim_meta(taken, first, len) {
                Code::GroupConflict
            } else {
                continue;
            };
            local.find(Finding::new(code, At::Group(group, field)).stored(first).fix(Fix::MovePart(group, part)));
        }
    }
}

/// Takes flags out.
pub(crate) fn clear_flags(desc: &mut GroupDesc, flags: GroupFlags) {
    desc.bg_flags = desc.flags().difference(flags).bits().into();
}
