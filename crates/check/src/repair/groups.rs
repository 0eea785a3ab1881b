//! Parts of groups: moved to where they can be, bitmaps written as they should be; the resize inode, the MMP block.

use daxkit_format::ext4::group_desc::{GroupDesc, GroupFlags, bitmap_checksum};
use daxkit_format::ext4::inode::mode;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::mmp::MmpStruct;
use daxkit_format::ext4::quota::QuotaKind;
use daxkit_format::ext4::resize_inode;
use daxkit_format::{GroupNr, OnDisk};
use zerocopy::IntoBytes;

use super::fixer::{Done, Fixer, words};
use super::{Part, edit_inode};
use crate::pass::groups::clear_flags;
use crate::pass::special::{RESIZE, backups, copies, first_reserved, resize_block, resize_sectors};

impl Fixer<'_, '_> {
    pub(crate) fn move_part(&self, group: u32, part: Part) -> Done {
        let near = self.image.geo.group_first_block(GroupNr(group)).get();
        let desc = self.group(group)?;
        match part {
            Part::BlockBitmap => {
                let to = self.take(near, 1)?;
                self.change_group(group, |desc| desc.set_block_bitmap(to))
            }
            Part::InodeBitmap => {
                let to = self.take(near, 1)?;
                self.change_group(group, |desc| desc.set_inode_bitmap(to))
            }
            Part::InodeTable => {
                let len = u64::from(self.image.geo.inode_table_blocks);
                let to = self.take(near, len)?;
                let from = desc.inode_table();
                for index in 0..len {
                    let bytes = match self.image.is_block(from, len) {
                        true => self.block(from + index)?,
                        false => vec![0; self.image.block_size()],
                    };
                    self.write_block(to + index, &bytes)?;
                }
                self.change_group(group, |desc| desc.set_inode_table(to))
            }
        }
    }

    fn sum(&self, bytes: &[u8], bits: u32) -> u32 {
        self.image.seed.map_or(0, |seed| bitmap_checksum(seed, bytes, bits))
    }

    pub(crate) fn write_block_bitmap(&self, group: u32) -> Done {
        let expected = self.state.cx.expected_blocks(group);
        let desc = self.group(group)?;
        self.write_block(desc.block_bitmap(), &expected.bytes)?;
        let sum = self.sum(&expected.bytes, self.image.geo.clusters_per_group);
        let size = self.image.geo.desc_size;
        self.change_group(group, |desc| {
            clear_flags(desc, GroupFlags::BLOCK_UNINIT);
            desc.set_block_bitmap_csum(sum, size);
        })
    }

    pub(crate) fn write_inode_bitmap(&self, group: u32) -> Done {
        let expected = self.state.cx.expected_inodes(group);
        let desc = self.group(group)?;
        self.write_block(desc.inode_bitmap(), &expected.bytes)?;
        let per_group = self.image.geo.inodes_per_group;
        let sum = self.sum(&expected.bytes, per_group);
        let size = self.image.geo.desc_size;
        let last = (0..per_group)
            .rev()
            .find(|i| expected.bytes.get(*i as usize / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1));
        let unused = per_group - last.map_or(0, |last| last + 1);
        self.change_group(group, |desc: &mut GroupDesc| {
            if desc.flags().contains(GroupFlags::INODE_UNINIT) {
                clear_flags(desc, GroupFlags::INODE_UNINIT);
                desc.set_itable_unused(0);
            } else if desc.itable_unused() > unused {
                desc.set_itable_unused(unused);
            }
            desc.set_inode_bitmap_csum(sum, size);
        })
    }

    /// Makes the resize inode anew, from the layout alone.
    pub(crate) fn make_resize_inode(&self) -> Done {
        let image = self.image;
        let groups: Vec<u32> = backups(image).collect();
        for index in 0..u32::from(image.geo.reserved_gdt_blocks) {
            self.write_block(first_reserved(image) + u64::from(index), &copies(image, &groups, index))?;
        }
        let block = self.take(image.geo.first_data_block, 1)?;
        let dind = u32::try_from(block).map_err(|_| "no space is left where the resize inode can name it")?;
        self.write_block(block, &resize_block(image))?;
        let sectors = resize_sectors(image);
        let now = self.options.now as u32;
        self.change_inode(RESIZE, |raw| {
            let old = raw.get(0x80..0x82).map(<[u8]>::to_vec);
            raw.fill(0);
            if let (Some(old), Some(place)) = (old, raw.get_mut(0x80..0x82)) {
                place.copy_from_slice(&old);
            }
            edit_inode(raw, |inode| {
                inode.i_mode = (mode::IFREG | 0o600).into();
                inode.i_links_count = 1.into();
                inode.set_size(resize_inode::size(image.geo.block_size));
                inode.set_blocks_stored(sectors);
                (inode.i_atime, inode.i_mtime, inode.i_ctime) = (now.into(), now.into(), now.into());
                if let Some(place) = inode.i_block.get_mut(52..56) {
                    place.copy_from_slice(&dind.to_le_bytes());
                }
            });
        })
    }

    pub(crate) fn clean_mmp(&self) -> Done {
        let place = self.image.sb.s_mmp_block.get();
        let mut bytes = self.block(place)?;
        let mut mmp = MmpStruct::clean(self.image.sb.s_mmp_update_interval.get(), self.options.now);
        if let Some(seed) = self.image.seed {
            mmp.seal(seed);
        }
        let head = MmpStruct::peek_mut(&mut bytes).ok_or("the block is too short")?;
        *head = mmp;
        self.write_block(place, &bytes).map_err(words)?;
        debug_assert_eq!(mmp.as_bytes().len(), size_of::<MmpStruct>());
        Ok(())
    }

    /// Writes what owners use into their quota file.
    pub(crate) fn set_quota(&self, kind: QuotaKind, anew: bool, usage: &[(u32, u64, u64)]) -> Done {
        let inum = self.image.volume.quota_inode(kind).map(|nr| nr.get() as u32).ok_or("there is no quota file")?;
        let inode = self.disk_inode(inum)?;
        if !inode.is_file() || inode.i_links_count.get() == 0 {
            self.new_quota_inode(inum)?;
        }
        let write = |anew: bool| {
            self.edit(|editor| {
                if anew {
                    editor.reset_quota_file(kind)?;
                }
                for (id, bytes, inodes) in usage {
                    editor.set_quota_usage(kind, *id, *bytes, *inodes)?;
                }
                Ok(())
            })
        };
        // A file that can be read and not be written to is damaged all the same.
        if anew { write(true) } else { write(false).or_else(|_| write(true)) }
    }

    fn new_quota_inode(&self, inum: u32) -> Done {
        let (extents, now) = (self.image.has.extents, self.options.now as u32);
        let extra = self.image.sb.s_want_extra_isize.get().min(self.image.geo.inode_size.saturating_sub(128));
        self.change_inode(inum, |raw| {
            raw.fill(0);
            if let Some(place) = raw.get_mut(0x80..0x82) {
                place.copy_from_slice(&extra.to_le_bytes());
            }
            edit_inode(raw, |inode| {
                inode.i_mode = (mode::IFREG | 0o600).into();
                inode.i_links_count = 1.into();
                (inode.i_atime, inode.i_mtime, inode.i_ctime) = (now.into(), now.into(), now.into());
                if extents {
                    inode.set_flags(InodeFlags::EXTENTS);
                    crate::pass::extents::empty_root(&mut inode.i_block);
                }
            });
        })
    }
}
