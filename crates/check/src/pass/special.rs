//! Inodes of the file system's own: bad blocks, quota files, the resize inode, the journal, the orphan file.

use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::resize_inode::dind_index;

use super::claims::{Claims, Mark};
use super::inode_blocks::Blocks;
use super::inodes::Checked;
use super::{Context, Local, indirect};
use crate::code::Code;
use crate::finding::{At, Finding};
use crate::image::Image;
use crate::repair::{Fix, Part};
use crate::state::Kind;

/// Bad blocks.
const BAD: u32 = 1;
/// Growing.
pub(crate) const RESIZE: u32 = 7;
/// The boot loader's.
const BOOT_LOADER: u32 = 5;

/// Flags that an inode without content cannot have as it likes.
const ODD_FLAGS: InodeFlags =
    InodeFlags::CASEFOLD.union(InodeFlags::INLINE_DATA).union(InodeFlags::EXTENTS).union(InodeFlags::ENCRYPT);

/// The word of `i_block` for double indirect blocks.
pub(crate) const DIND: usize = 13;

impl Image {
    /// Whether a number of the superblock names this inode as one of the file system's own.
    pub(crate) fn is_own_inode(&self, ino: u32) -> bool {
        ino != 0
            && (self.sb.s_journal_inum.get() == ino
                || self.quota_inodes().contains(&ino)
                || (self.has.orphan_file && self.sb.s_orphan_file_inum.get() == ino))
    }

    /// The last of the inodes of which [`is_own_inode`](Self::is_own_inode) is true.
    pub(crate) fn last_own_inode(&self) -> u32 {
        let [users, groups, projects] = self.quota_inodes();
        let orphans = if self.has.orphan_file { self.sb.s_orphan_file_inum.get() } else { 0 };
        [self.sb.s_journal_inum.get(), users, groups, projects, orphans].into_iter().max().unwrap_or(0)
    }

    /// The inodes of the quota files: users', groups', projects'; 0 where there is none.
    pub(crate) fn quota_inodes(&self) -> [u32; 3] {
        [self.sb.s_usr_quota_inum.get(), self.sb.s_grp_quota_inum.get(), self.sb.s_prj_quota_inum.get()]
    }
}

impl Context<'_> {
    /// Checks one of the inodes before the first of users, but the root. Returns bits to remember.
    pub(crate) fn special_inode(&self, local: &mut Local, checked: &mut Checked<'_>) -> u8 {
        let (ino, image) = (checked.ino, self.image);
        let clear = |code: Code| Finding::new(code, At::Inode(ino, "")).fix(Fix::Clear(ino));
        let used = checked.disk.i_links_count.get() != 0
            || checked.disk.i_blocks_lo.get() != 0
            || word(&checked.disk.i_block, 0) != 0;
        if checked.flags.intersects(ODD_FLAGS)
            && ino != BAD
            && let Some(finding) = self.inode_flags(checked)
            // A map that is not there harms nobody.
            && (used || finding.code != Code::InodeExtentFeature)
        {
            local.find(finding);
            return 0;
        }
        // A block of attributes that cannot be is nobody's here.
        if ino != BAD && !image.is_block(checked.disk.file_acl(), 1) {
            checked.disk.set_file_acl(0);
        }
        match ino {
            BAD => self.bad_blocks(local, checked),
            RESIZE if image.has.resize_inode => self.resize_inode(local, checked),
            _ if image.is_own_inode(ino) => {
                let quota = image.has.quota && image.quota_inodes().contains(&ino);
                let named = image.quota_inodes().contains(&ino) || image.sb.s_journal_inum.get() == ino;
                if (quota && checked.kind != Kind::File && used)
                    || (named && !quota && !image.has.journal && used && ino != 8)
                {
                    local.find(clear(Code::InodeNotClear));
                } else if checked.kind == Kind::File {
                    self.claim_content(local, checked);
                }
            }
            RESIZE if used => {
                local.find(Finding::new(Code::ResizeInode, At::Inode(RESIZE, "")).fix(Fix::Clear(RESIZE)));
                if image.sb.s_reserved_gdt_blocks.get() == 0 && checked.kind == Kind::File {
                    self.claim_content(local, checked);
                    return 0;
                }
                // Its blocks are those that are reserved still, but for the list of them.
                let dind = u64::from(word(&checked.disk.i_block, DIND));
                if image.is_block(dind, 1) && !self.meta.get(image.cluster(dind)) {
                    Mark { cx: self, local, last: None }.own(RESIZE, dind, 1);
                }
            }
            BOOT_LOADER if checked.kind == Kind::File => self.claim_content(local, checked),
            3 | 4 | 8 if used => {
                local.find(clear(Code::InodeNotClear));
            }
            3 | 4 | 8 => {}
            _ => self.empty_inode(local, checked),
        }
        0
    }

    /// A reserved inode that has nothing to hold.
    fn empty_inode(&self, local: &mut Local, checked: &mut Checked<'_>) {
        let ino = checked.ino;
        let before = local.findings.len();
        let bad_mode = if ino == BOOT_LOADER { checked.kind == Kind::Dir } else { checked.disk.i_mode.get() != 0 };
        if bad_mode {
            let fix = Fix::Inode(ino, |raw, _| crate::repair::edit_inode(raw, |i| i.i_mode = 0.into()), 0);
            let mode = checked.disk.i_mode.get();
            local.find(Finding::new(Code::InodeReservedMode, checked.at("i_mode")).stored(mode).fix(fix));
        }
        if local.findings.len() == before {
            Blocks::new(self, local, checked).finish();
        }
    }

    /// Blocks of the list of bad blocks, as far as there is one.
    pub(crate) fn bad_list(&self) -> Vec<u64> {
        let Some(inode) = self.has_inode(BAD).filter(|inode| inode.i_block.iter().any(|b| *b != 0)) else {
            return Vec::new();
        };
        let mut seen = BadList { cx: self, wrong: false, runs: Vec::new() };
        let rules = indirect::Rules { image: self.image, meta: None, limit: u64::from(u32::MAX) };
        indirect::walk(rules, &inode.i_block, &mut seen);
        if seen.wrong { Vec::new() } else { seen.runs }
    }

    /// Parts of groups that lie on bad blocks.
    pub(crate) fn bad_parts(&self, local: &mut Local) {
        if self.bad.is_empty() {
            return;
        }
        for (group, desc) in self.image.groups.iter().enumerate() {
            let group = group as u32;
            for (part, code, block, field) in [
                (Part::BlockBitmap, Code::GroupBlockBitmap, desc.block_bitmap(), "bg_block_bitmap_lo"),
                (Part::InodeBitmap, Code::GroupInodeBitmap, desc.inode_bitmap(), "bg_inode_bitmap_lo"),
            ] {
                if self.bad.contains(&block) {
                    local.find(
                        Finding::new(code, At::Group(group, field)).stored(block).fix(Fix::MovePart(group, part)),
                    );
                }
            }
        }
    }

    /// Whether an inode lies in a bad block.
    pub(crate) fn is_in_bad_block(&self, ino: u32) -> bool {
        !self.bad.is_empty()
            && self.image.inode_at(ino).is_some_and(|at| self.bad.contains(&(at / self.image.block_size() as u64)))
    }

    fn bad_blocks(&self, local: &mut Local, checked: &Checked<'_>) {
        let disk = &checked.disk;
        let odd = disk.i_mode.get() != 0
            || disk.i_uid.get() != 0
            || disk.i_gid.get() != 0
            || disk.i_links_count.get() != 0
            || disk.flags().contains(InodeFlags::INLINE_DATA)
            || disk.i_file_acl_lo.get() != 0;
        let clear = Finding::new(Code::BadBlocks, checked.at("")).fix(Fix::Clear(BAD));
        if odd {
            return local.find(clear);
        }
        let mut seen = BadList { cx: self, wrong: false, runs: Vec::new() };
        indirect::walk(super::inode_blocks::map_rules(self.image, checked, Some(&self.meta)), &disk.i_block, &mut seen);
        let BadList { wrong, runs, .. } = seen;
        // The superblock and the descriptors; what is reserved for more of them does not count.
        let first = first_reserved(self.image) - 1 - u64::from(self.image.geo.desc_blocks);
        let len = 1 + u64::from(self.image.geo.desc_blocks);
        if wrong || runs.iter().any(|block| (first..first + len).contains(block)) {
            return local.find(clear);
        }
        let mut mark = Mark { cx: self, local, last: None };
        // Several blocks of a cluster are one claim, wherever in the list they are.
        let mut clusters = std::collections::HashSet::new();
        for block in runs {
            let cluster = self.image.cluster(block);
            // What is bad under the file system's own parts is bad all the same, and no second claim.
            if !self.meta.get(cluster) && clusters.insert(cluster) {
                mark.own(BAD, block, 1);
            }
        }
    }

    /// The resize inode lists, for each reserved descriptor block, its copies in the groups with backups.
    fn resize_inode(&self, local: &mut Local, checked: &Checked<'_>) {
        let image = self.image;
        let dind = word(&checked.disk.i_block, DIND);
        let groups: Vec<u32> = backups(image).collect();
        let others = (0..15).any(|index| index != DIND && word(&checked.disk.i_block, index) != 0);
        let fits = checked.kind == Kind::File
            && !others
            && image.is_block(dind.into(), 1)
            && checked.size <= most_bytes(image)
            && checked.disk.i_file_acl_lo.get() == 0
            && !checked.flags.intersects(ODD_FLAGS.union(InodeFlags::INDEX))
            && image.block(dind.into()).is_ok_and(|bytes| bytes == resize_block(image))
            && (0..u32::from(image.geo.reserved_gdt_blocks)).all(|index| {
                let block = first_reserved(image) + u64::from(index);
                image.block(block).is_ok_and(|bytes| bytes == copies(image, &groups, index))
            });
        if !fits {
            // The block is its own all the same, as far as it can be.
            if image.is_block(dind.into(), 1) && !self.meta.get(image.cluster(dind.into())) {
                Mark { cx: self, local: &mut *local, last: None }.own(RESIZE, dind.into(), 1);
            }
            return local.find(Finding::new(Code::ResizeInode, checked.at("")).fix(Fix::ResizeInode));
        }
        let mut mark = Mark { cx: self, local, last: None };
        mark.own(RESIZE, dind.into(), 1);
        let observed = resize_sectors(image);
        local.usage.large += u64::from(checked.size > 0x7fff_ffff);
        let high = if image.has.huge_file { u64::from(checked.disk.l_i_blocks_high.get()) << 32 } else { 0 };
        let stored = u64::from(checked.disk.i_blocks_lo.get()) | high;
        if stored != observed {
            local.find(
                Finding::new(Code::InodeBlocks, checked.at("i_blocks_lo"))
                    .stored(stored)
                    .observed(observed)
                    .fix(Fix::ResizeInode),
            );
        }
    }
}

/// The largest size that a map of indirect blocks can have.
fn most_bytes(image: &Image) -> u64 {
    daxkit_format::ext4::indirect::limit(image.geo.block_size / 4).saturating_mul(image.geo.block_size.into())
}

struct BadList<'c> {
    cx: &'c Context<'c>,
    wrong: bool,
    runs: Vec<u64>,
}

impl indirect::Seen for BadList<'_> {
    fn node(&mut self, block: u64) {
        self.wrong |= self.cx.meta.get(self.cx.image.cluster(block));
        self.runs.push(block);
    }

    fn block(&mut self, _: u64, physical: u64) {
        // A list that names its own blocks is none.
        self.wrong |= self.runs.contains(&physical) && self.runs.len() < 4096;
        self.runs.push(physical);
    }

    fn wrong(&mut self, _: Code, _: u64, _: u64) {
        self.wrong = true;
    }
}

pub(crate) fn word(block: &[u8], index: usize) -> u32 {
    block.get(index * 4..index * 4 + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// The first block that is reserved for descriptors, of the primary ones.
pub(crate) fn first_reserved(image: &Image) -> u64 {
    image.geo.first_data_block
        + u64::from(image.geo.block_size == 1024 && image.geo.first_data_block == 0)
        + 1
        + u64::from(image.geo.desc_blocks)
}

/// What the resize inode counts as its own, in sectors: each of its blocks, and under bigalloc a cluster for each.
pub(crate) fn resize_sectors(image: &Image) -> u64 {
    let blocks = 1 + u64::from(image.geo.reserved_gdt_blocks) * (1 + backups(image).count() as u64);
    blocks * u64::from(image.geo.cluster_ratio) * u64::from(image.geo.block_size / 512)
}

/// The copy of a reserved descriptor block in a group with a backup: as far from the first one as the groups are. Where block 0 is
/// left to a boot loader that is one block behind where the group has it, and still what kernel and e2fsprogs want to find.
fn copy_of(image: &Image, index: u32, group: u32) -> u64 {
    first_reserved(image) + u64::from(index) + u64::from(group) * u64::from(image.geo.blocks_per_group)
}

/// Groups with backups.
pub(crate) fn backups(image: &Image) -> impl Iterator<Item = u32> + '_ {
    (1..image.geo.groups_count).filter(|group| image.sb.group_has_super(*group))
}

/// What the double indirect block of the resize inode holds.
pub(crate) fn resize_block(image: &Image) -> Vec<u8> {
    let mut bytes = vec![0; image.block_size()];
    for index in 0..u32::from(image.geo.reserved_gdt_blocks) {
        let at = dind_index(image.geo.desc_blocks + index, image.geo.block_size) as usize * 4;
        let block = (first_reserved(image) + u64::from(index)) as u32;
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&block.to_le_bytes());
        }
    }
    bytes
}

/// What a reserved descriptor block holds: the blocks that are its copies in these groups with backups.
pub(crate) fn copies(image: &Image, groups: &[u32], index: u32) -> Vec<u8> {
    let mut bytes = vec![0; image.block_size()];
    for (slot, group) in groups.iter().enumerate() {
        let block = copy_of(image, index, *group) as u32;
        if let Some(place) = bytes.get_mut(slot * 4..slot * 4 + 4) {
            place.copy_from_slice(&block.to_le_bytes());
        }
    }
    bytes
}

impl Context<'_> {
    /// An inode's fields, if there is such an inode.
    pub(crate) fn has_inode(&self, ino: u32) -> Option<daxkit_format::ext4::inode::Inode> {
        daxkit_format::ext4::inode::Inode::from_disk(&self.image.raw_inode(ino)?)
    }
}
