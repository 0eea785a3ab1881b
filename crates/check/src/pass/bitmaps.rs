//! Bitmaps and counts, held against what was found in use.

use daxkit_format::GroupNr;
use daxkit_format::ext4::group_desc::{GroupDesc, GroupFlags, bitmap_checksum};

use super::{Context, Local};
use crate::code::Code;
use crate::finding::{At, Datum, Finding};
use crate::repair::Fix;

/// Groups that one step of a thread takes.
const BATCH: usize = 32;
/// Ranges that a finding names.
const MOST_RANGES: usize = 8;

/// A bitmap of one group as it should be, bits behind its end set.
pub(crate) struct Expected {
    pub(crate) bytes: Vec<u8>,
    pub(crate) used: u32,
}

impl Context<'_> {
    /// Checks all bitmaps.
    pub(crate) fn bitmaps(&self, dirs_of: &[(u32, u32)]) -> Local {
        let dirs = |group: u32| {
            dirs_of.binary_search_by_key(&group, |(g, _)| *g).ok().and_then(|i| dirs_of.get(i)).map_or(0, |(_, n)| *n)
        };
        let groups: Vec<u32> = (0..self.image.geo.groups_count).collect();
        let batches: Vec<&[u32]> = groups.chunks(BATCH).collect();
        let found = self.parallel(5, &batches, |local, batch| {
            let mut sums = (0, 0);
            for group in *batch {
                let (blocks, inodes) = self.group_bitmaps(local, *group, dirs(*group));
                sums = (sums.0 + blocks, sums.1 + inodes);
            }
            local.free.0 += sums.0;
            local.free.1 += sums.1;
        });
        let mut found = found;
        let ratio = u64::from(self.image.geo.cluster_ratio);
        let (blocks, inodes) = (found.free.0 * ratio, found.free.1);
        let sb = &self.image.sb;
        if sb.free_blocks_count() != blocks {
            found.find(
                Finding::new(Code::SuperFreeBlocks, At::Super("s_free_blocks_count_lo"))
                    .stored(sb.free_blocks_count())
                    .observed(blocks)
                    .fix(Fix::Super(|sb, n| sb.set_free_blocks_count(n), blocks)),
            );
        }
        if u64::from(sb.s_free_inodes_count.get()) != inodes {
            found.find(
                Finding::new(Code::SuperFreeInodes, At::Super("s_free_inodes_count"))
                    .stored(sb.s_free_inodes_count.get())
                    .observed(inodes)
                    .fix(Fix::Super(|sb, n| sb.s_free_inodes_count = (n as u32).into(), inodes)),
            );
        }
        found
    }

    /// Checks one group. Returns its free clusters and inodes.
    fn group_bitmaps(&self, local: &mut Local, group: u32, dirs: u32) -> (u64, u64) {
        let Some(desc) = self.image.groups.get(group as usize) else { return (0, 0) };
        let free_blocks = self.block_bitmap(local, group, desc);
        let free_inodes = self.inode_bitmap(local, group, desc);
        let mut count = |code: Code, field: &'static str, stored: u32, observed: u32, set: fn(&mut GroupDesc, u64)| {
            if stored != observed {
                local.find(
                    Finding::new(code, At::Group(group, field)).stored(stored).observed(observed).fix(Fix::Group(
                        group,
                        set,
                        observed.into(),
                    )),
                );
            }
        };
        count(Code::GroupFreeBlocks, "bg_free_blocks_count_lo", desc.free_blocks_count(), free_blocks, |d, n| {
            d.set_free_blocks_count(n as u32);
        });
        count(Code::GroupFreeInodes, "bg_free_inodes_count_lo", desc.free_inodes_count(), free_inodes, |d, n| {
            d.set_free_inodes_count(n as u32);
        });
        count(Code::GroupDirs, "bg_used_dirs_count_lo", desc.used_dirs_count(), dirs, |d, n| {
            d.set_used_dirs_count(n as u32);
        });
        (free_blocks.into(), free_inodes.into())
    }

    /// Clusters of a group: the first, and how many.
    fn group_clusters(&self, group: u32) -> (u64, u32) {
        let geo = &self.image.geo;
        let blocks = geo.group_blocks(GroupNr(group));
        (u64::from(group) * u64::from(geo.clusters_per_group), blocks.div_ceil(geo.cluster_ratio))
    }

    /// The block bitmap of a group as it should be.
    pub(crate) fn expected_blocks(&self, group: u32) -> Expected {
        let (first, count) = self.group_clusters(group);
        let mut bytes = Vec::with_capacity(self.image.block_size());
        let mut used = 0;
        for at in (0..count).step_by(64) {
            let mut word = self.blocks.load(first + u64::from(at));
            let left = count - at;
            if left < 64 {
                word &= (1 << left) - 1;
            }
            used += word.count_ones();
            bytes.extend(word.to_le_bytes());
        }
        bytes.resize(self.image.block_size(), 0);
        pad(&mut bytes, count);
        Expected { bytes, used }
    }

    /// The inode bitmap of a group as it should be.
    pub(crate) fn expected_inodes(&self, group: u32) -> Expected {
        let geo = &self.image.geo;
        let mut bytes: Vec<u8> = self.inodes.used(group).flat_map(u64::to_le_bytes).collect();
        bytes.resize(self.image.block_size(), 0);
        let first = group * geo.inodes_per_group + 1;
        for index in 0..geo.first_ino.saturating_sub(first).min(geo.inodes_per_group) {
            if let Some(byte) = bytes.get_mut(index as usize / 8) {
                *byte |= 1 << (index % 8);
            }
        }
        let used = bytes.iter().map(|byte| byte.count_ones()).sum();
        pad(&mut bytes, geo.inodes_per_group);
        Expected { bytes, used }
    }

    /// Returns the free clusters.
    fn block_bitmap(&self, local: &mut Local, group: u32, desc: &GroupDesc) -> u32 {
        let (first, count) = self.group_clusters(group);
        if desc.flags().contains(GroupFlags::BLOCK_UNINIT) && self.trusts(group) {
            if self.blocks.is_untouched(first, count.into()) {
                return count;
            }
            let expected = self.expected_blocks(group);
            let own = self.image.volume.initial_block_bitmap(GroupNr(group), desc);
            if own.as_bytes() != expected.bytes {
                local.find(
                    Finding::new(Code::GroupBlockUninitUsed, At::Group(group, "bg_flags")).fix(Fix::BlockBitmap(group)),
                );
            }
            return count - expected.used;
        }
        let expected = self.expected_blocks(group);
        let place = desc.block_bitmap();
        let codes = (Code::BlockBitmap, Code::BlockPadding, Code::BlockBitmapChecksum);
        let base = self.image.geo.group_first_block(GroupNr(group)).get();
        let sum = (desc.block_bitmap_csum(), self.image.geo.clusters_per_group);
        let unit = u64::from(self.image.geo.cluster_ratio);
        self.compare(local, group, place, &expected, count, codes, (base, unit), sum, Fix::BlockBitmap(group));
        count - expected.used
    }

    /// Returns the free inodes.
    fn inode_bitmap(&self, local: &mut Local, group: u32, desc: &GroupDesc) -> u32 {
        let count = self.image.geo.inodes_per_group;
        let uninit = desc.flags().contains(GroupFlags::INODE_UNINIT) && self.trusts(group);
        if uninit && self.inodes.used(group).next().is_none() && group * count + 1 >= self.image.geo.first_ino {
            return count;
        }
        let expected = self.expected_inodes(group);
        if uninit {
            if expected.used > 0 {
                local.find(
                    Finding::new(Code::GroupInodeUninitUsed, At::Group(group, "bg_flags")).fix(Fix::InodeBitmap(group)),
                );
            }
            return count - expected.used;
        }
        let codes = (Code::InodeBitmap, Code::InodePadding, Code::InodeBitmapChecksum);
        let base = u64::from(group) * u64::from(count) + 1;
        let sum = (desc.inode_bitmap_csum(), count);
        self.compare(
            local,
            group,
            desc.inode_bitmap(),
            &expected,
            count,
            codes,
            (base, 1),
            sum,
            Fix::InodeBitmap(group),
        );
        count - expected.used
    }

    #[expect(clippy::too_many_arguments, reason = "two kinds of bitmaps differ in all of this and nothing else")]
    fn compare(
        &self,
        local: &mut Local,
        group: u32,
        place: u64,
        expected: &Expected,
        count: u32,
        (differs, padding, checksum): (Code, Code, Code),
        (base, unit): (u64, u64),
        (stored, sum_bits): (u32, u32),
        fix: Fix,
    ) {
        if !self.image.is_block(place, 1) {
            return;
        }
        let Ok(bytes) = self.image.block(place) else {
            return local.find(Finding::new(Code::BitmapUnreadable, At::Group(group, "")).stored(place).fix(fix));
        };
        let before = local.findings.len();
        if bytes != expected.bytes {
            let (missing, extra, padded) = differences(&bytes, &expected.bytes, count, base, unit);
            if !missing.is_empty() || !extra.is_empty() {
                let (stored, observed) = (Datum::Text(named("set", &extra)), Datum::Text(named("set", &missing)));
                let mut finding = Finding::new(differs, At::Group(group, "")).fix(fix.clone());
                finding.stored = (!extra.is_empty()).then_some(stored);
                finding.observed = (!missing.is_empty()).then_some(observed);
                local.find(finding);
            }
            if padded {
                local.find(Finding::new(padding, At::Group(group, "")).fix(fix.clone()));
            }
        }
        if let Some(seed) = self.image.seed
            && local.findings.len() == before
        {
            let mask = if self.image.geo.desc_size >= 64 { u32::MAX } else { 0xffff };
            let sum = bitmap_checksum(seed, &bytes, sum_bits) & mask;
            if sum != stored & mask {
                local.find(Finding::new(checksum, At::Group(group, "")).stored(stored).observed(sum).fix(fix));
            }
        }
    }
}

fn named(what: &str, ranges: &[(u64, u64)]) -> String {
    let shown = Datum::Ranges(ranges.iter().copied().take(MOST_RANGES).collect());
    let more = if ranges.len() > MOST_RANGES { ",..." } else { "" };
    format!("{what} {shown}{more}")
}

/// Sets the bits behind the end.
fn pad(bytes: &mut [u8], count: u32) {
    let Some(tail) = bytes.get_mut(count as usize / 8..) else { return };
    if let Some((first, behind)) = tail.split_first_mut() {
        *first |= 0xff << (count % 8);
        behind.fill(0xff);
    }
}

type Ranges = Vec<(u64, u64)>;

/// Where two bitmaps differ: what should be set and is not, what should not be and is, and whether bits behind the end differ.
fn differences(found: &[u8], expected: &[u8], count: u32, base: u64, unit: u64) -> (Ranges, Ranges, bool) {
    let (mut missing, mut extra, mut padded) = (Ranges::new(), Ranges::new(), false);
    let add = |ranges: &mut Ranges, at: u64| match ranges.last_mut() {
        Some((_, last)) if *last + 1 == at => *last = at + unit - 1,
        _ => ranges.push((at, at + unit - 1)),
    };
    for (index, (f, e)) in found.iter().zip(expected).enumerate() {
        let differ = f ^ e;
        for bit in (0..8).filter(|bit| differ >> bit & 1 == 1) {
            let at = index as u32 * 8 + bit;
            if at >= count {
                padded = true;
            } else {
                let place = base + u64::from(at) * unit;
                add(if e >> bit & 1 == 1 { &mut missing } else { &mut extra }, place);
            }
        }
    }
    (missing, extra, padded)
}
