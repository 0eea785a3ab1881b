//! Bitmaps and group descriptors, with the copies of the descriptors and of the superblock.

use super::tables::Totals;
use super::{WriteError, Writer, Written};
use crate::pool;
use daxkit_format::OnDisk;
use daxkit_format::ext4::group_desc::{self, GroupDesc, GroupFlags};
use std::ops::Range;
use zerocopy::IntoBytes;

/// Groups whose bitmaps one thread makes at a time; their bitmaps mostly follow each other on the device.
const BATCH: u32 = 256;

/// What one thread found out of its groups: descriptors by number of the first group.
struct Part {
    first: u32,
    descs: Vec<u8>,
    free_clusters: u64,
    zeroed: u32,
}

impl Writer<'_> {
    /// Writes the bitmaps of all groups, zeroes the unused inodes where that is wanted, then the descriptor table and its copies.
    pub(super) fn write_groups(&self, totals: &Totals) -> Result<Written, WriteError> {
        let g = &self.plan.geometry;
        let free: Vec<Range<u64>> = self.plan.free.runs().collect();
        let count = g.groups.div_ceil(BATCH);
        self.progress.stage("writing groups", u64::from(g.groups));
        let states = pool::run(
            self.plan.params.threads,
            count as usize,
            self.progress,
            || Ok(Vec::new()),
            |parts, i| {
                let first = i as u32 * BATCH;
                parts.push(self.write_batch(first..(first + BATCH).min(g.groups), &free, totals)?);
                Ok(())
            },
        )?;
        let mut parts: Vec<Part> = states.into_iter().flatten().collect();
        parts.sort_by_key(|p| p.first);
        let mut table = Vec::with_capacity(g.desc_blocks as usize * g.block_size as usize);
        let (mut free_clusters, mut zeroed_groups) = (0, 0);
        for p in &parts {
            table.extend_from_slice(&p.descs);
            free_clusters += p.free_clusters;
            zeroed_groups += p.zeroed;
        }
        drop(parts);
        table.resize(g.desc_blocks as usize * g.block_size as usize, 0);
        let written = Written {
            uuid: self.uuid,
            hash_seed: self.plan.needs.hash_seed,
            free_blocks: free_clusters * u64::from(g.cluster_ratio),
            free_inodes: g.inodes_count() - self.plan.needs.inodes.last,
            zeroed_groups,
        };
        self.write_descriptors(&table, &written)?;
        Ok(written)
    }

    fn write_batch(&self, groups: Range<u32>, free: &[Range<u64>], totals: &Totals) -> Result<Part, WriteError> {
        let g = &self.plan.geometry;
        let mut part = Part { first: groups.start, descs: Vec::new(), free_clusters: 0, zeroed: 0 };
        let mut blocks = Strip::default();
        let mut inodes = Strip::default();
        let mut at = free.partition_point(|r| r.end <= g.group_first(groups.start));
        let count = groups.end - groups.start;
        for group in groups {
            let range = g.group_range(group);
            while free.get(at).is_some_and(|r| r.end <= range.start) {
                at += 1;
            }
            let here = free.get(at..).unwrap_or_default().iter().take_while(|r| r.start < range.end);
            let here: Vec<Range<u64>> = here.map(|r| r.start.max(range.start)..r.end.min(range.end)).collect();
            let (desc, zeroed) = self.one_group(group, &range, &here, totals, &mut blocks, &mut inodes)?;
            part.free_clusters += u64::from(desc.free_blocks_count());
            part.zeroed += u32::from(zeroed);
            let size = usize::from(g.desc_size);
            let start = part.descs.len();
            part.descs.extend_from_slice(desc.as_bytes().get(..size.min(64)).unwrap_or_default());
            part.descs.resize(start + size, 0);
        }
        blocks.flush(self)?;
        inodes.flush(self)?;
        self.progress.advance(u64::from(count));
        Ok(part)
    }

    fn one_group(
        &self,
        group: u32,
        range: &Range<u64>,
        free: &[Range<u64>],
        totals: &Totals,
        block_bitmaps: &mut Strip,
        inode_bitmaps: &mut Strip,
    ) -> Result<(GroupDesc, bool), WriteError> {
        let plan = self.plan;
        let g = &plan.geometry;
        let bs = g.block_size as usize;
        let ratio = u64::from(g.cluster_ratio);
        let mut d = GroupDesc::zeroed();
        let places = (
            plan.metadata.block_bitmaps.get(group),
            plan.metadata.inode_bitmaps.get(group),
            plan.metadata.inode_tables.get(group),
        );
        d.set_block_bitmap(places.0);
        d.set_inode_bitmap(places.1);
        d.set_inode_table(places.2);
        let free_blocks: u64 = free.iter().map(|r| r.end - r.start).sum();
        d.set_free_blocks_count((free_blocks / ratio) as u32);
        let used_inodes = plan.needs.inodes.last.saturating_sub(group * g.inodes_per_group).min(g.inodes_per_group);
        d.set_free_inodes_count(g.inodes_per_group - used_inodes);
        d.set_used_dirs_count(totals.dirs.get(&group).copied().unwrap_or(0));
        let mut flags = GroupFlags::empty();
        let with_flags = self.has_group_flags();
        if with_flags {
            d.set_itable_unused(g.inodes_per_group - used_inodes);
            flags.set(GroupFlags::INODE_UNINIT, used_inodes == 0);
            // The kernel makes a bitmap that was never written from the group's own metadata alone.
            let own = own_metadata(range, g, &places);
            let plain = range.end - range.start - free_blocks == own && ratio == 1;
            flags.set(GroupFlags::BLOCK_UNINIT, plain && group + 1 != g.groups);
        }
        let zeroed = self.zero_unused_inodes(places.2, used_inodes)?;
        flags.set(GroupFlags::INODE_ZEROED, with_flags && zeroed);
        if !flags.contains(GroupFlags::BLOCK_UNINIT) {
            let bitmap = block_bitmaps.next(self, places.0, bs)?;
            bitmap.fill(0xff);
            for r in free {
                clear_bits(bitmap, (r.start - range.start) / ratio, (r.end - range.start) / ratio);
            }
            if let Some(seed) = self.fs_seed {
                let sum = group_desc::bitmap_checksum(seed, bitmap, g.clusters_per_group());
                d.set_block_bitmap_csum(sum, g.desc_size);
            }
        }
        if !flags.contains(GroupFlags::INODE_UNINIT) {
            let bitmap = inode_bitmaps.next(self, places.1, bs)?;
            bitmap.fill(0xff);
            clear_bits(bitmap, u64::from(used_inodes), u64::from(g.inodes_per_group));
            if let Some(seed) = self.fs_seed {
                let sum = group_desc::bitmap_checksum(seed, bitmap, g.inodes_per_group);
                d.set_inode_bitmap_csum(sum, g.desc_size);
            }
        }
        d.bg_flags.set(flags.bits());
        if with_flags {
            let template = self.super_block();
            let size = usize::from(g.desc_size).min(64);
            let sum = match self.fs_seed {
                Some(seed) => group_desc::checksum_with_seed(seed, group, d.as_bytes().get(..size).unwrap_or_default()),
                None => group_desc::checksum(&template, group, d.as_bytes().get(..size).unwrap_or_default()),
            };
            d.bg_checksum.set(sum);
        }
        Ok((d, zeroed))
    }

    /// Makes the unused end of an inode table zero unless that may be left to the kernel; true when it is zero.
    fn zero_unused_inodes(&self, table: u64, used: u32) -> Result<bool, WriteError> {
        let g = &self.plan.geometry;
        let at = table * self.block_bytes() + u64::from(used) * u64::from(g.inode_size);
        let end = (table + u64::from(g.itable_blocks)) * self.block_bytes();
        if self.device.known_zero(at, end - at) {
            return Ok(true);
        }
        if self.plan.params.lazy_itable_init && self.has_group_flags() {
            // Blocks that hold used inodes must be whole; the kernel zeroes from the next block on.
            let next = at.next_multiple_of(self.block_bytes()).min(end);
            self.device.write_zeroes(at, next - at)?;
            return Ok(next == end);
        }
        self.device.write_zeroes(at, end - at)?;
        Ok(true)
    }

    /// Writes the descriptor table and the copies of table and superblock; not the primary superblock.
    fn write_descriptors(&self, table: &[u8], written: &Written) -> Result<(), WriteError> {
        let g = &self.plan.geometry;
        let bs = g.block_size as usize;
        let supers: Vec<u32> = g.super_groups().collect();
        self.progress.stage("writing descriptors", supers.len() as u64);
        if g.meta_bg() {
            for (i, block) in table.chunks(bs).enumerate() {
                for place in g.desc_block_places(i as u32) {
                    self.device.write_at(place * self.block_bytes(), block)?;
                }
            }
        }
        pool::run(
            self.plan.params.threads,
            supers.len(),
            self.progress,
            || Ok(()),
            |(), i| {
                let Some(group) = supers.get(i).copied() else { return Ok(()) };
                let place = g.super_block_nr(group);
                if !g.meta_bg() {
                    self.device.write_at((place + 1) * self.block_bytes(), table)?;
                    self.device.start_writeback((place + 1) * self.block_bytes(), table.len() as u64);
                }
                if group != 0 {
                    let mut block = self.final_super_block(written, group).as_bytes().to_vec();
                    block.resize(bs, 0);
                    self.device.write_at(place * self.block_bytes(), &block)?;
                }
                self.progress.advance(1);
                Ok(())
            },
        )?;
        Ok(())
    }
}

/// Blocks of a group that only its own metadata takes: copies of superblock and descriptors, and those of its bitmaps and
/// table that lie in it.
fn own_metadata(range: &Range<u64>, g: &crate::geometry::Geometry, places: &(u64, u64, u64)) -> u64 {
    let group = g.group_of(range.start);
    let base = g.base_range(group);
    let inside = |b: Range<u64>| b.end.min(range.end).saturating_sub(b.start.max(range.start));
    inside(base)
        + inside(places.0..places.0 + 1)
        + inside(places.1..places.1 + 1)
        + inside(places.2..places.2 + u64::from(g.itable_blocks))
}

/// Clears bits `from..to`, byte by byte in the middle.
fn clear_bits(bitmap: &mut [u8], from: u64, to: u64) {
    let (mut at, to) = (from, to.min(bitmap.len() as u64 * 8));
    while at < to && !at.is_multiple_of(8) {
        clear_bit(bitmap, at);
        at += 1;
    }
    if at < to {
        let (a, b) = ((at / 8) as usize, (to / 8) as usize);
        if a < b {
            bitmap.get_mut(a..b).unwrap_or_default().fill(0);
            at = to / 8 * 8;
        }
    }
    while at < to {
        clear_bit(bitmap, at);
        at += 1;
    }
}

fn clear_bit(bitmap: &mut [u8], bit: u64) {
    if let Some(byte) = bitmap.get_mut((bit / 8) as usize) {
        *byte &= !(1 << (bit % 8));
    }
}

/// Bitmaps that follow each other, gathered for one write.
#[derive(Default)]
struct Strip {
    first: u64,
    bytes: Vec<u8>,
}

impl Strip {
    /// Room for the bitmap at block `block`.
    fn next(&mut self, w: &Writer<'_>, block: u64, bs: usize) -> Result<&mut [u8], WriteError> {
        if self.first + (self.bytes.len() / bs) as u64 != block || self.bytes.len() >= 1 << 20 {
            self.flush(w)?;
            self.first = block;
        }
        let start = self.bytes.len();
        self.bytes.resize(start + bs, 0);
        Ok(self.bytes.get_mut(start..).unwrap_or_default())
    }

    fn flush(&mut self, w: &Writer<'_>) -> Result<(), WriteError> {
        if !self.bytes.is_empty() {
            w.device.write_at(self.first * w.block_bytes(), &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::clear_bits;

    #[test]
    fn ranges_of_bits_are_cleared_exactly() {
        for from in 0..40 {
            for to in from..=40 {
                let mut bytes = [0xffu8; 5];
                clear_bits(&mut bytes, from, to);
                for bit in 0..40 {
                    let set = bytes[bit / 8] & 1 << (bit % 8) != 0;
                    assert_eq!(set, (bit as u64) < from || bit as u64 >= to, "{from}..{to} at {bit}");
                }
            }
        }
    }
}
