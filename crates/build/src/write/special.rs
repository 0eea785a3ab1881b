//! Blocks of attributes, and what the file system keeps for itself: journal, resize inode, orphan file, quota files, MMP.

use super::tables::Totals;
use super::{WriteError, Writer};
use crate::quota_file::{self, Usage};
use daxkit_format::ext4::mmp::MmpStruct;
use daxkit_format::ext4::quota::QuotaKind;
use daxkit_format::ext4::xattr::{self, Packer};
use daxkit_format::ext4::{orphan, resize_inode};
use daxkit_format::jbd2::{JournalCompat, JournalIncompat, JournalSuperBlock, NewJournal};
use std::collections::BTreeMap;
use zerocopy::IntoBytes;

impl Writer<'_> {
    /// Writes all blocks of attributes and all large values.
    pub(super) fn write_xattrs(&self) -> Result<(), WriteError> {
        let plan = self.plan;
        for b in &plan.xattr_blocks {
            let Some(layout) = plan.needs.xattrs.sets.get(b.set as usize) else { continue };
            let mut block = vec![0; plan.params.block_size as usize];
            let mut p = Packer::block(&mut block);
            for a in &layout.block {
                let (inum, hash) = match self.large_of(a) {
                    Some((ino, h)) => (ino, xattr::entry_hash(&a.name, [h].into_iter())),
                    None => (0, xattr::entry_hash(&a.name, xattr::value_words(&a.value))),
                };
                p.push(a.index, &a.name, &a.value, inum, hash);
            }
            p.finish_block(b.references);
            if let Some(seed) = self.fs_seed {
                xattr::seal_block(seed, b.block, &mut block);
            }
            self.device.write_at(b.block * self.block_bytes(), &block)?;
        }
        for (large, map) in plan.needs.xattrs.large.iter().zip(&plan.large) {
            self.put_runs(&map.runs, &large.value)?;
        }
        Ok(())
    }

    /// Writes the file system's own files.
    pub(super) fn write_special(&self, totals: &Totals) -> Result<(), WriteError> {
        self.write_journal()?;
        self.write_resize()?;
        if let Some(block) = self.plan.special.mmp {
            let mut m = MmpStruct::clean(self.plan.params.mmp_interval, self.plan.params.time.seconds.max(0) as u64);
            if let Some(seed) = self.fs_seed {
                m.seal(seed);
            }
            let mut bytes = m.as_bytes().to_vec();
            bytes.resize(self.plan.params.block_size as usize, 0);
            self.device.write_at(block * self.block_bytes(), &bytes)?;
        }
        self.write_orphan_file()?;
        for q in &self.plan.special.quota {
            let all: BTreeMap<u32, Usage> = std::iter::once((0, totals.all)).collect();
            let usage = match q.kind {
                QuotaKind::User => &totals.users,
                QuotaKind::Group => &totals.groups,
                QuotaKind::Project => &all,
            };
            self.put_runs(&q.map.runs, &quota_file::build(q.kind, usage))?;
        }
        Ok(())
    }

    fn write_journal(&self) -> Result<(), WriteError> {
        let Some(j) = &self.plan.special.journal else { return Ok(()) };
        let bs = self.plan.params.block_size;
        let sb = JournalSuperBlock::new(&NewJournal {
            block_size: bs,
            blocks: j.blocks - j.fast_commit_blocks,
            num_fc_blks: j.fast_commit_blocks,
            uuid: self.uuid,
            external: false,
            compat: JournalCompat::empty(),
            incompat: JournalIncompat::empty(),
        });
        for (n, r) in j.map.runs.iter().enumerate() {
            let mut at = r.physical * self.block_bytes();
            let mut len = r.len * self.block_bytes();
            if n == 0 {
                let mut block = sb.as_bytes().to_vec();
                block.resize(bs as usize, 0);
                self.device.write_at(at, &block)?;
                at += u64::from(bs);
                len -= u64::from(bs);
            }
            // Old blocks of another journal could be taken for this one's.
            if !self.plan.params.lazy_journal_init {
                self.device.write_zeroes(at, len)?;
            }
        }
        Ok(())
    }

    fn write_resize(&self) -> Result<(), WriteError> {
        let Some(dind) = self.plan.special.resize_dind else { return Ok(()) };
        let g = &self.plan.geometry;
        let bs = g.block_size as usize;
        let put = |block: &mut [u8], index: usize, value: u64| {
            if let Some(w) = block.get_mut(index * 4..index * 4 + 4) {
                w.copy_from_slice(&(value as u32).to_le_bytes());
            }
        };
        let first = g.super_block_nr(0) + 1 + u64::from(g.desc_blocks);
        let backups: Vec<u64> = g.super_groups().skip(1).map(|group| g.group_first(group) - g.group_first(0)).collect();
        let mut map = vec![0; bs];
        for k in 0..g.reserved_gdt {
            put(&mut map, resize_inode::dind_index(g.desc_blocks + k, g.block_size) as usize, first + u64::from(k));
            let mut block = vec![0; bs];
            for (i, distance) in backups.iter().enumerate() {
                put(&mut block, i, first + u64::from(k) + distance);
            }
            self.device.write_at((first + u64::from(k)) * self.block_bytes(), &block)?;
        }
        self.device.write_at(dind * self.block_bytes(), &map)?;
        // The copies of the reserved blocks belong to the resize inode; nothing else may be in them.
        for distance in backups {
            let at = (first + distance) * self.block_bytes();
            self.device.write_zeroes(at, u64::from(g.reserved_gdt) * self.block_bytes())?;
        }
        Ok(())
    }

    fn write_orphan_file(&self) -> Result<(), WriteError> {
        let (Some(map), Some(ino)) = (&self.plan.special.orphan, self.plan.needs.inodes.orphan_file) else {
            return Ok(());
        };
        let seed = self.inode_seed(ino);
        for block in map.runs.iter().flat_map(|r| r.physical..r.physical + r.len) {
            let mut bytes = vec![0; self.plan.params.block_size as usize];
            orphan::seal_block(seed, block, &mut bytes);
            self.device.write_at(block * self.block_bytes(), &bytes)?;
        }
        Ok(())
    }
}
