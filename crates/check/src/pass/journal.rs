//! The journal and the orphans, as far as they can be judged without replaying anything.

use daxkit_format::OnDisk;
use daxkit_format::ext4::features::{Compat, Incompat};
use daxkit_format::ext4::inode::Inode as DiskInode;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::orphan;
use daxkit_format::ext4::super_block::SuperBlock;
use daxkit_format::jbd2::JournalSuperBlock;
use daxkit_format::{InodeNr, jbd2};
use daxkit_volume::Segment;

use super::inode_blocks::inode_seed;
use super::{Context, Local};
use crate::code::Code;
use crate::finding::{At, Finding};
use crate::image::Image;
use crate::repair::Fix;

/// Fewest blocks of a journal (`JBD2_MIN_JOURNAL_BLOCKS`).
const MIN_BLOCKS: u64 = 1024;

/// Bytes of a journal's superblock of version 1.
const V1_LEN: usize = 0x24;

/// Blocks of a file, as far as its map leads to written ones.
pub(crate) fn file_blocks(image: &Image, ino: u32, count: u64) -> Option<Vec<u64>> {
    let raw = image.raw_inode(ino)?;
    let inode = image.volume.decode_inode(InodeNr(ino.into()), raw);
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < count {
        match image.volume.map_block(&inode, at).ok()? {
            Segment::Mapped(run) => {
                let run = run.from(at)?;
                if !image.is_block(run.physical.get(), run.len.max(1)) {
                    return None;
                }
                let len = run.len.min(count - at).max(1);
                blocks.extend(run.physical.get()..run.physical.get() + len);
                at += len;
            }
            _ => return None,
        }
    }
    Some(blocks)
}

impl Context<'_> {
    /// Checks the journal's inode and superblock.
    pub(crate) fn journal(&self, local: &mut Local) {
        let (image, sb) = (self.image, &self.image.sb);
        let inum = sb.s_journal_inum.get();
        let clear = |sb: &mut SuperBlock, bits: u64| {
            sb.s_feature_incompat.set(sb.s_feature_incompat.get() & !(bits as u32));
        };
        if !image.has.journal {
            if sb.incompat().contains(Incompat::RECOVER) {
                let fix = Fix::Super(clear, Incompat::RECOVER.bits().into());
                local.find(Finding::new(Code::JournalRecoverAlone, At::Super("s_feature_incompat")).fix(fix));
            }
            if inum != 0 {
                let fix = |sb: &mut SuperBlock, _| sb.s_journal_inum = 0.into();
                local.find(
                    Finding::new(Code::JournalNoFeature, At::Super("s_journal_inum"))
                        .stored(inum)
                        .fix(Fix::Super(fix, 0)),
                );
            }
            return;
        }
        if inum == 0 && sb.s_journal_uuid == [0; 16] {
            let finding = Finding::new(Code::JournalInode, At::Super("s_journal_inum")).stored(inum);
            return local.find(finding.fix(Fix::NewJournal));
        }
        if inum == 0 {
            if sb.incompat().contains(Incompat::RECOVER) {
                local.find(Finding::new(Code::JournalExternal, At::Journal));
            }
            return;
        }
        match self.journal_state(inum) {
            Ok(Some(fix)) => local.find(Finding::new(Code::JournalSuper, At::Journal).stored("several users").fix(fix)),
            Ok(None) => {}
            Err((code, why)) => local.find(Finding::new(code, At::Journal).stored(why).fix(Fix::NewJournal)),
        }
    }

    fn journal_state(&self, inum: u32) -> Result<Option<Fix>, (Code, String)> {
        let image = self.image;
        let bad = |why: &str| (Code::JournalInode, why.to_owned());
        let inode = self.has_inode(inum).ok_or_else(|| bad("there is no such inode"))?;
        let count = inode.size() / image.block_size() as u64;
        if !inode.is_file() || inode.i_links_count.get() == 0 {
            return Err(bad("it is not a regular file in use"));
        }
        if count < MIN_BLOCKS {
            return Err(bad("it is too short"));
        }
        if count > u64::from(u32::MAX) {
            return Err(bad("it is too long"));
        }
        let blocks = file_blocks(image, inum, count).ok_or_else(|| bad("its map has holes"))?;
        let first = blocks.first().copied().ok_or_else(|| bad("it is empty"))?;
        let super_bad = |why: String| (Code::JournalSuper, why);
        let bytes = image.block(first).map_err(|e| super_bad(e.to_string()))?;
        let jsb = JournalSuperBlock::peek(&bytes).ok_or_else(|| super_bad("it is too short".to_owned()))?;
        if jsb.s_nr_users.get() > 1 {
            // Fields of version 2 that version 1 left behind.
            let at = first * image.block_size() as u64 + V1_LEN as u64;
            return Ok(Some(Fix::Bytes(at, vec![0; 1024 - V1_LEN])));
        }
        jsb.check(image.geo.block_size, count).map(|_| None).map_err(|error| match error {
            jbd2::JournalError::UnknownIncompat(_) | jbd2::JournalError::UnknownRoCompat(_) => {
                (Code::JournalUnsupported, error.to_string())
            }
            _ => super_bad(error.to_string()),
        })
    }

    /// Checks the list of orphans, and their file.
    pub(crate) fn orphans(&self, local: &mut Local) {
        let (image, sb) = (self.image, &self.image.sb);
        let head = sb.s_last_orphan.get();
        if head != 0 {
            local.find(Finding::new(Code::OrphanList, At::Super("s_last_orphan")).stored(head).fix(Fix::Orphans));
        }
        let present = sb.ro_compat().contains(daxkit_format::ext4::features::RoCompat::ORPHAN_PRESENT);
        let inum = sb.s_orphan_file_inum.get();
        if !image.has.orphan_file {
            if present {
                local.find(Finding::new(Code::OrphanDirty, At::Super("s_feature_ro_compat")).fix(Fix::NoOrphans));
            }
            return;
        }
        if !image.has.journal {
            local.find(Finding::new(Code::OrphanNoJournal, At::Super("s_feature_compat")).fix(Fix::NoOrphanFile));
            return;
        }
        match self.orphan_file(inum) {
            Some((entries, false)) if entries.is_empty() => {
                local.find(Finding::new(Code::OrphanFile, At::Inode(inum, "")).fix(Fix::NewOrphanFile));
            }
            Some((entries, true)) if entries.is_empty() => {
                if present {
                    local.find(Finding::new(Code::OrphanDirty, At::Super("s_feature_ro_compat")).fix(Fix::NoOrphans));
                }
            }
            Some((entries, _)) => {
                local.find(
                    Finding::new(Code::OrphanDirty, At::Inode(inum, "")).stored(entries.len() as u64).fix(Fix::Orphans),
                );
            }
            None => {
                local.find(Finding::new(Code::OrphanFile, At::Inode(inum, "")).fix(Fix::NewOrphanFile));
            }
        }
    }

    /// The orphans in the file, and whether nothing but them is in it; `None` when it cannot be used.
    fn orphan_file(&self, inum: u32) -> Option<(Vec<u32>, bool)> {
        let (entries, blocks) = orphan_file(self.image, inum)?;
        let seed = self.has_inode(inum).and_then(|i| inode_seed(self.image, inum, i.i_generation.get()));
        let clean = |block: u64| {
            let mut empty = vec![0; self.image.block_size()];
            orphan::seal_block(seed, block, &mut empty);
            self.image.block(block).is_ok_and(|bytes| bytes == empty)
        };
        let clean = !entries.is_empty() || blocks.into_iter().all(clean);
        Some((entries, clean))
    }
}

/// The orphans in the orphan file, and its blocks.
pub(crate) fn orphan_file(image: &Image, inum: u32) -> Option<(Vec<u32>, Vec<u64>)> {
    let inode = DiskInode::from_disk(&image.raw_inode(inum)?)?;
    let block = image.block_size() as u64;
    if !inode.is_file()
        || inode.i_links_count.get() == 0
        || inode.size() == 0
        || !inode.size().is_multiple_of(block)
        || inode.flags().contains(InodeFlags::INLINE_DATA)
        || inode.size() / block > 1 << 16
    {
        return None;
    }
    let blocks = file_blocks(image, inum, inode.size() / block)?;
    let seed = inode_seed(image, inum, inode.i_generation.get());
    let mut entries = Vec::new();
    for block in &blocks {
        let bytes = image.block(*block).ok()?;
        let tail = orphan::tail(&bytes)?;
        if tail.ob_magic.get() != orphan::MAGIC {
            return None;
        }
        if seed.is_some_and(|seed| !orphan::verify_block(seed, *block, &bytes)) {
            return None;
        }
        let count = orphan::entries_per_block(image.geo.block_size) as usize;
        let words = bytes.as_chunks::<4>().0.iter().take(count).map(|b| u32::from_le_bytes(*b));
        entries.extend(words.filter(|ino| *ino != 0));
    }
    Some((entries, blocks))
}

/// Sets what says that orphans wait.
pub(crate) fn clear_orphan_present(sb: &mut SuperBlock) {
    let bit = daxkit_format::ext4::features::RoCompat::ORPHAN_PRESENT.bits();
    sb.s_feature_ro_compat.set(sb.s_feature_ro_compat.get() & !bit);
}

/// Takes the orphan file's feature away.
pub(crate) fn clear_orphan_file(sb: &mut SuperBlock) {
    sb.s_feature_compat.set(sb.s_feature_compat.get() & !Compat::ORPHAN_FILE.bits());
    sb.s_orphan_file_inum = 0.into();
    clear_orphan_present(sb);
}
