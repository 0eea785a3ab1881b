//! The superblock's fields, once it is known that its numbers can be used.

use daxkit_format::OnDisk;
use daxkit_format::ext4::features::{Compat, Incompat, RoCompat};
use daxkit_format::ext4::mmp::MmpStruct;
use daxkit_format::ext4::super_block::{CHECKSUM_CRC32C, STATE_ERROR, SuperBlock};

use super::{Context, Local};
use crate::code::Code;
use crate::finding::{At, Finding};
use crate::repair::Fix;

/// What the known extra fields of an inode need.
const EXTRA: u16 = 32;
/// A clock may be wrong by a day.
const FUDGE: u64 = 86_400;
/// `s_creator_os` of the Hurd.
const HURD: u32 = 1;
/// A change of the superblock.
type Change = fn(&mut SuperBlock, u64);

/// `MMP` magic.
const MMP_MAGIC: u32 = daxkit_format::ext4::mmp::MAGIC;

fn set_ro(sb: &mut SuperBlock, bits: u64) {
    sb.s_feature_ro_compat.set(sb.s_feature_ro_compat.get() | bits as u32);
}

fn clear_ro(sb: &mut SuperBlock, bits: u64) {
    sb.s_feature_ro_compat.set(sb.s_feature_ro_compat.get() & !(bits as u32));
}

fn set_incompat(sb: &mut SuperBlock, bits: u64) {
    sb.s_feature_incompat.set(sb.s_feature_incompat.get() | bits as u32);
}

fn clear_incompat(sb: &mut SuperBlock, bits: u64) {
    sb.s_feature_incompat.set(sb.s_feature_incompat.get() & !(bits as u32));
}

impl Context<'_> {
    /// Says that nothing is shared any more, where the feature is set that lets files share blocks.
    pub(crate) fn nothing_shared(&self, local: &mut Local) {
        if self.image.has.shared_blocks {
            let fix = Fix::Super(clear_ro, RoCompat::SHARED_BLOCKS.bits().into());
            local.find(Finding::new(Code::SuperShared, At::Super("s_feature_ro_compat")).fix(fix));
        }
    }

    /// Checks the superblock.
    pub(crate) fn super_block(&self, local: &mut Local) {
        let sb = &self.image.sb;
        let mut find =
            |code: Code, field: &'static str, fix: Fix| local.find(Finding::new(code, At::Super(field)).fix(fix));
        let has = &self.image.has;
        if has.metadata_csum && sb.s_checksum_type != CHECKSUM_CRC32C {
            find(
                Code::SuperChecksumType,
                "s_checksum_type",
                Fix::Super(|sb, _| sb.s_checksum_type = CHECKSUM_CRC32C, 0),
            );
        } else if has.metadata_csum && !sb.verify() {
            find(Code::SuperChecksum, "s_checksum", Fix::Super(|_, _| {}, 0));
        }
        if sb.s_uuid == [0; 16] {
            find(Code::SuperUuid, "s_uuid", Fix::Uuid);
        }
        let features = sb.s_feature_compat.get() | sb.s_feature_incompat.get() | sb.s_feature_ro_compat.get();
        if sb.s_rev_level.get() == 0 && features != 0 {
            let fix = |sb: &mut SuperBlock, _| {
                sb.s_rev_level = 1.into();
                sb.s_first_ino = 11.into();
                sb.s_inode_size = 128.into();
            };
            find(Code::SuperRevision, "s_rev_level", Fix::Super(fix, 0));
        }
        if sb.s_creator_os.get() == HURD && has.filetype {
            find(
                Code::SuperHurdFiletype,
                "s_feature_incompat",
                Fix::Super(clear_incompat, Incompat::FILETYPE.bits().into()),
            );
        }
        if !has.resize_inode && sb.s_reserved_gdt_blocks.get() != 0 {
            find(
                Code::SuperReservedGdt,
                "s_reserved_gdt_blocks",
                Fix::Super(|sb, _| sb.s_reserved_gdt_blocks = 0.into(), 0),
            );
        }
        if has.resize_inode && has.meta_bg {
            let fix = |sb: &mut SuperBlock, bits: u64| {
                sb.s_feature_compat.set(sb.s_feature_compat.get() & !(bits as u32));
                sb.s_reserved_gdt_blocks = 0.into();
            };
            find(Code::SuperResizeMetaBg, "s_feature_compat", Fix::Super(fix, Compat::RESIZE_INODE.bits().into()));
        }
        if has.gdt_csum && has.metadata_csum {
            find(
                Code::SuperTwoChecksums,
                "s_feature_ro_compat",
                Fix::Super(clear_ro, RoCompat::GDT_CSUM.bits().into()),
            );
        }
        if sb.incompat().contains(Incompat::CSUM_SEED) && !has.metadata_csum {
            find(
                Code::SuperSeedAlone,
                "s_feature_incompat",
                Fix::Super(clear_incompat, Incompat::CSUM_SEED.bits().into()),
            );
        }
        if has.bit64 && !has.extents {
            find(
                Code::Super64BitAlone,
                "s_feature_incompat",
                Fix::Super(set_incompat, Incompat::EXTENTS.bits().into()),
            );
        }
        let inodes = u64::from(self.image.geo.groups_count) * u64::from(self.image.geo.inodes_per_group);
        if u64::from(sb.s_inodes_count.get()) != inodes {
            local.find(
                Finding::new(Code::SuperInodesCount, At::Super("s_inodes_count"))
                    .stored(sb.s_inodes_count.get())
                    .observed(inodes)
                    .fix(Fix::Super(|sb, n| sb.s_inodes_count = (n as u32).into(), inodes)),
            );
        }
        self.extra_sizes(local);
        self.times_of_super(local);
        self.state(local);
        self.quota_numbers(local);
        self.mmp(local);
    }

    fn extra_sizes(&self, local: &mut Local) {
        let sb = &self.image.sb;
        let Some(room) = self.image.geo.inode_size.checked_sub(128).filter(|room| *room > 0) else { return };
        let good = EXTRA.min(room);
        let bad = |size: u16| size != 0 && (size < 4 || size > room || size & 3 != 0);
        if bad(sb.s_min_extra_isize.get()) {
            local.find(
                Finding::new(Code::SuperMinExtraIsize, At::Super("s_min_extra_isize"))
                    .stored(sb.s_min_extra_isize.get())
                    .observed(good)
                    .fix(Fix::Super(|sb, n| sb.s_min_extra_isize = (n as u16).into(), good.into())),
            );
        }
        if bad(sb.s_want_extra_isize.get()) {
            local.find(
                Finding::new(Code::SuperWantExtraIsize, At::Super("s_want_extra_isize"))
                    .stored(sb.s_want_extra_isize.get())
                    .observed(good)
                    .fix(Fix::Super(|sb, n| sb.s_want_extra_isize = (n as u16).into(), good.into())),
            );
        }
    }

    fn times_of_super(&self, local: &mut Local) {
        let sb = &self.image.sb;
        let mounted = u64::from(sb.s_mtime.get()) | u64::from(sb.s_mtime_hi) << 32;
        let written = u64::from(sb.s_wtime.get()) | u64::from(sb.s_wtime_hi) << 32;
        if mounted > self.now + FUDGE {
            let fix = |sb: &mut SuperBlock, n: u64| (sb.s_mtime, sb.s_mtime_hi) = ((n as u32).into(), (n >> 32) as u8);
            local.find(
                Finding::new(Code::SuperFuture, At::Super("s_mtime"))
                    .stored(mounted)
                    .observed(self.now)
                    .fix(Fix::Super(fix, self.now)),
            );
        }
        if written > self.now + FUDGE {
            let fix = |sb: &mut SuperBlock, n: u64| (sb.s_wtime, sb.s_wtime_hi) = ((n as u32).into(), (n >> 32) as u8);
            local.find(
                Finding::new(Code::SuperFuture, At::Super("s_wtime"))
                    .stored(written)
                    .observed(self.now)
                    .fix(Fix::Super(fix, self.now)),
            );
        }
    }

    fn state(&self, local: &mut Local) {
        let sb = &self.image.sb;
        if sb.s_state.get() & STATE_ERROR != 0 {
            let fix = |sb: &mut SuperBlock, _| sb.s_state = ((sb.s_state.get() & !STATE_ERROR) | 1).into();
            local.find(
                Finding::new(Code::SuperErrorState, At::Super("s_state"))
                    .stored(sb.s_state.get())
                    .fix(Fix::Super(fix, 0)),
            );
        }
        let needed = self.image.geo.bytes();
        if needed > self.image.device.len() {
            local.find(
                Finding::new(Code::SuperSize, At::Super("s_blocks_count_lo"))
                    .stored(needed)
                    .observed(self.image.device.len()),
            );
        }
    }

    fn quota_numbers(&self, local: &mut Local) {
        let image = self.image;
        let fixes: [(&'static str, Change); 3] = [
            ("s_usr_quota_inum", |sb, _| sb.s_usr_quota_inum = 0.into()),
            ("s_grp_quota_inum", |sb, _| sb.s_grp_quota_inum = 0.into()),
            ("s_prj_quota_inum", |sb, _| sb.s_prj_quota_inum = 0.into()),
        ];
        for (ino, (field, fix)) in image.quota_inodes().into_iter().zip(fixes) {
            if ino == 0 {
                continue;
            }
            // A number that cannot be is wrong whether the feature is there or not.
            let reserved = ino < image.geo.first_ino && ino != 3 && ino != 4;
            if reserved || !self.inodes.exists(ino) {
                local.find(Finding::new(Code::SuperQuotaInode, At::Super(field)).stored(ino).fix(Fix::Super(fix, 0)));
                continue;
            }
            // Without the feature an ordinary inode would count as the file system's own; that of projects even when it is not in use.
            if !image.has.quota
                && ino >= image.geo.first_ino
                && (field == "s_prj_quota_inum" || self.has_inode(ino).is_some_and(|i| i.i_links_count.get() > 0))
            {
                local.find(Finding::new(Code::QuotaFeature, At::Super(field)).stored(ino).fix(Fix::Super(fix, 0)));
            }
        }
    }

    fn mmp(&self, local: &mut Local) {
        let image = self.image;
        if !image.has.mmp {
            return;
        }
        let place = image.sb.s_mmp_block.get();
        let clear = Fix::Super(clear_incompat, Incompat::MMP.bits().into());
        if !image.is_block(place, 1) {
            return local.find(Finding::new(Code::MmpBlock, At::Super("s_mmp_block")).stored(place).fix(clear));
        }
        let Ok(block) = image.block(place) else {
            return local.find(Finding::new(Code::MmpBlock, At::Super("s_mmp_block")).stored(place).fix(clear));
        };
        let Some(mmp) = MmpStruct::peek(&block) else { return };
        if mmp.mmp_magic.get() != MMP_MAGIC {
            local.find(Finding::new(Code::MmpMagic, At::Mmp).stored(mmp.mmp_magic.get()).fix(Fix::Mmp));
        } else if image.seed.is_some_and(|seed| !mmp.verify(seed)) {
            local.find(Finding::new(Code::MmpChecksum, At::Mmp).fix(Fix::Mmp));
        }
    }

    /// What only the scan knows of features.
    pub(crate) fn features_used(&self, local: &mut Local) {
        if local.usage.large > 0 && !self.image.has.large_file {
            let fix = Fix::Super(set_ro, RoCompat::LARGE_FILE.bits().into());
            local.find(Finding::new(Code::SuperLargeFile, At::Super("s_feature_ro_compat")).fix(fix));
        }
    }
}
