//! Inode tables: all inodes in use, in order of number, and zeroes behind them.

use super::{WriteError, Writer};
use crate::plan::inodes::LOST_FOUND_INO;
use crate::plan::map::BlockMap;
use crate::pool;
use crate::quota_file::Usage;
use crate::source::{Kind, NodeId, Reader};
use daxkit_format::ext4::inode::{self, Inode, Timestamp};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::{resize_inode, xattr};
use std::collections::BTreeMap;

/// Inodes that are built at a time, in a buffer of their own.
const CHUNK: u32 = 4096;

/// What the tables tell of themselves once they are written.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Directories in each group that has any.
    pub(super) dirs: BTreeMap<u32, u32>,
    /// Usage by owner and by group.
    pub(super) users: BTreeMap<u32, Usage>,
    pub(super) groups: BTreeMap<u32, Usage>,
    /// Usage of project 0, to which everything belongs.
    pub(super) all: Usage,
}

impl Totals {
    fn count(&mut self, owner: (u32, u32), inodes: u64, sectors: u64) {
        let usage = |u: &mut Usage| {
            u.inodes += inodes;
            u.space_bytes += sectors * 512;
        };
        usage(self.users.entry(owner.0).or_default());
        usage(self.groups.entry(owner.1).or_default());
        usage(&mut self.all);
    }

    fn join(&mut self, other: Self) {
        for (g, n) in other.dirs {
            *self.dirs.entry(g).or_default() += n;
        }
        for (mine, theirs) in [(&mut self.users, other.users), (&mut self.groups, other.groups)] {
            for (id, u) in theirs {
                let m = mine.entry(id).or_default();
                m.inodes += u.inodes;
                m.space_bytes += u.space_bytes;
            }
        }
        self.all.inodes += other.all.inodes;
        self.all.space_bytes += other.all.space_bytes;
    }
}

impl<'w> Writer<'w> {
    /// Writes the tables of all groups that have inodes in use.
    pub(super) fn write_tables(&self) -> Result<Totals, WriteError> {
        let plan = self.plan;
        let last = plan.needs.inodes.last;
        let mut node_of = vec![u32::MAX; last as usize + 1];
        for id in self.tree.ids().filter(|id| self.tree.primary(*id) == *id) {
            if let Some(slot) = node_of.get_mut(plan.needs.inodes.ino(id) as usize) {
                *slot = id.0;
            }
        }
        let ipg = plan.geometry.inodes_per_group;
        let mut chunks = Vec::new();
        let mut first = 1;
        while first <= last {
            let group = (first - 1) / ipg;
            let end = (first + CHUNK).min((group + 1) * ipg + 1).min(last + 1);
            chunks.push((group, first, end));
            first = end;
        }
        self.progress.stage("writing inodes", u64::from(last));
        let init = || Ok((Totals::default(), Reader::new(self.source)?, Vec::new()));
        let done = pool::run(plan.params.threads, chunks.len(), self.progress, init, |(totals, reader, buffer), i| {
            let Some((group, first, end)) = chunks.get(i).copied() else { return Ok(()) };
            let isize = usize::from(plan.params.inode_size);
            buffer.clear();
            buffer.resize((end - first) as usize * isize, 0);
            for (ino, raw) in (first..end).zip(buffer.chunks_exact_mut(isize)) {
                let node = node_of.get(ino as usize).copied().filter(|n| *n != u32::MAX).map(NodeId);
                let is_dir = self.one_inode(ino, node, raw, reader, totals)?;
                if is_dir {
                    *totals.dirs.entry(group).or_default() += 1;
                }
            }
            let table = plan.metadata.inode_tables.get(group) * self.block_bytes();
            let at = table + u64::from((first - 1) % ipg) * isize as u64;
            self.device.write_at(at, buffer)?;
            self.progress.advance(u64::from(end - first));
            Ok(())
        })?;
        let mut totals = Totals::default();
        done.into_iter().for_each(|(t, ..)| totals.join(t));
        Ok(totals)
    }

    /// Builds one inode; true for a directory.
    fn one_inode(
        &'w self,
        ino: u32,
        node: Option<NodeId>,
        raw: &mut [u8],
        reader: &mut Reader<'w>,
        totals: &mut Totals,
    ) -> Result<bool, WriteError> {
        if let Some(id) = node {
            let sectors = self.node_inode(id, raw, reader)?;
            let set = self.plan.needs.xattrs.set_of(self.tree, id);
            let inodes = 1 + self.plan.needs.xattrs.large_values(set).count() as u64;
            totals.count((self.tree.uid(id), self.tree.gid(id)), inodes, sectors);
            return Ok(self.tree.kind(id) == Kind::Dir);
        }
        let plan = self.plan;
        if ino == LOST_FOUND_INO {
            let sectors = self.lost_found_inode(raw)?;
            totals.count((0, 0), 1, sectors);
            return Ok(true);
        }
        if ino >= plan.needs.inodes.first_large {
            self.large_inode(ino, raw)?;
            return Ok(false);
        }
        if let Some(orphan) = &plan.special.orphan
            && plan.needs.inodes.orphan_file == Some(ino)
        {
            let size = orphan.blocks() * self.block_bytes();
            // Not counted by quotas: e2fsck leaves it out.
            let d = self.plain(ino, orphan, size)?;
            self.fill(&d, raw);
            return Ok(false);
        }
        if let Some(q) = plan.special.quota.iter().find(|q| q.ino == ino) {
            let d = self.plain(ino, &q.map, q.size)?;
            self.fill(&d, raw);
            return Ok(false);
        }
        match ino {
            7 if plan.special.resize_dind.is_some() => self.resize_inode(raw)?,
            8 => {
                if let Some(j) = &plan.special.journal {
                    let d = self.plain(ino, &j.map, u64::from(j.blocks) * self.block_bytes())?;
                    self.fill(&d, raw);
                } else if let Some(seed) = self.fs_seed {
                    inode::seal(seed, ino, raw);
                }
            }
            _ => {
                if let Some(seed) = self.fs_seed {
                    inode::seal(seed, ino, raw);
                }
            }
        }
        Ok(false)
    }

    fn resize_inode(&self, raw: &mut [u8]) -> Result<(), WriteError> {
        let g = &self.plan.geometry;
        let backups = g.super_groups().count() as u64;
        let blocks = 1 + u64::from(g.reserved_gdt) * backups;
        let mut d = self.plain(7, &BlockMap::default(), resize_inode::size(g.block_size))?;
        d.flags = InodeFlags::empty();
        d.i_block = [0; 60];
        if let (Some(w), Some(dind)) = (d.i_block.get_mut(52..56), self.plan.special.resize_dind) {
            w.copy_from_slice(&(dind as u32).to_le_bytes());
        }
        d.sectors = blocks * u64::from(g.cluster_ratio) * u64::from(g.block_size / 512);
        self.fill(&d, raw);
        Ok(())
    }

    /// The inode of a large attribute value. Hash and reference count lie where other inodes have times
    /// (`ext4_xattr_inode_set_hash`, `ext4_xattr_inode_set_ref`, Linux 6.12).
    fn large_inode(&self, ino: u32, raw: &mut [u8]) -> Result<(), WriteError> {
        let n = (ino - self.plan.needs.inodes.first_large) as usize;
        let (Some(large), Some(map)) = (self.plan.needs.xattrs.large.get(n), self.plan.large.get(n)) else {
            return Ok(());
        };
        let mut d = self.plain(ino, map, large.value.len() as u64)?;
        d.flags |= InodeFlags::EA_INODE;
        let zero = Timestamp::default();
        d.times.access = zero;
        d.times.change = zero;
        d.times.modify = zero;
        self.fill(&d, raw);
        let Some(mut i) = Inode::from_disk(raw) else { return Ok(()) };
        i.i_atime.set(xattr::ea_inode_hash(self.value_seed, &large.value));
        i.i_ctime.set((large.references >> 32) as u32);
        i.l_i_version.set(large.references as u32);
        self.store(&i, &d, raw);
        Ok(())
    }
}
