//! Group descriptors, their copies, and the bitmaps.

use super::DumpError;
use super::cover::Cover;
use super::image::{Geometry, Image};
use daxkit_format::ext4::features::{Incompat, RoCompat};
use daxkit_format::ext4::group_desc::{self, GroupDesc, GroupFlags};
use daxkit_format::ext4::super_block::SuperBlock;
use daxkit_format::field::{Access, Structure};
use std::fmt::Write as _;
use std::ops::Range;

/// The values of a descriptor, in the order they are printed; the first three are locations.
const NAMES: [&str; 13] = [
    "bg_block_bitmap",
    "bg_inode_bitmap",
    "bg_inode_table",
    "bg_free_blocks_count",
    "bg_free_inodes_count",
    "bg_used_dirs_count",
    "bg_flags",
    "bg_exclude_bitmap",
    "bg_block_bitmap_csum",
    "bg_inode_bitmap_csum",
    "bg_itable_unused",
    "bg_checksum",
    "bg_reserved",
];

/// What a descriptor says, ready to be compared with its neighbour's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Described {
    locations: [u64; 3],
    /// All other lines.
    rest: String,
}

/// A run of descriptors that continue the one before.
struct Run {
    first: u32,
    last: u32,
    steps: [i64; 3],
}

/// Gets each descriptor's group and bytes.
type EachDescriptor<'f, 'i> = &'f mut dyn FnMut(&mut Image<'i>, u32, &[u8]) -> Result<(), DumpError>;

/// Blocks of a copy that are the same as the primary ones.
struct Same {
    first: u32,
    last: u32,
    copy: u32,
    block: u64,
    blocks: u64,
}

impl<'a> Image<'a> {
    fn descriptor_block(&self, geo: &Geometry, index: u32) -> u64 {
        descriptor_block(&self.sb, geo, index)
    }

    fn behind_super(&self, geo: &Geometry, group: u32) -> u64 {
        behind_super(&self.sb, geo, group)
    }

    fn table_blocks(geo: &Geometry) -> u32 {
        geo.groups.div_ceil(geo.descs_per_block())
    }

    /// The bytes of every descriptor that is not zero, in order. `each` gets the group and its bytes.
    fn each_descriptor(&mut self, geo: &Geometry, each: EachDescriptor<'_, 'a>) -> Result<(), DumpError> {
        for index in 0..Self::table_blocks(geo) {
            let block = self.descriptor_block(geo, index);
            let Some(range) = self.block_range(geo, block, 1) else { continue };
            if self.is_hole(range)? {
                continue;
            }
            let Some(bytes) = self.read_block(geo, block)? else { continue };
            for (i, desc) in (0..).zip(bytes.chunks_exact(geo.desc_size as usize)) {
                let group = index * geo.descs_per_block() + i;
                if group < geo.groups && desc.iter().any(|b| *b != 0) {
                    each(self, group, desc)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn descriptors(&mut self, geo: &Geometry) -> Result<(), DumpError> {
        // The table is claimed as far as descriptors reach; what is left of its last block belongs to nobody.
        for index in 0..Self::table_blocks(geo) {
            let block = self.descriptor_block(geo, index);
            let count = (geo.groups - index * geo.descs_per_block()).min(geo.descs_per_block());
            if let Some(range) = self.block_range(geo, block, 1) {
                self.claim(range.start..range.start + u64::from(count * geo.desc_size));
            }
        }
        let mut before: Option<(u32, Described)> = None;
        let mut run: Option<Run> = None;
        self.each_descriptor(geo, &mut |image, group, bytes| {
            let now = image.describe(geo, group, bytes)?;
            let steps = before.as_ref().filter(|(g, d)| g + 1 == group && d.rest == now.rest).map(|(_, d)| {
                let step = |i: usize| match (now.locations.get(i), d.locations.get(i)) {
                    (Some(a), Some(b)) => a.wrapping_sub(*b).cast_signed(),
                    _ => 0,
                };
                [step(0), step(1), step(2)]
            });
            match (&mut run, steps) {
                (Some(r), Some(s)) if r.steps == s => r.last = group,
                (_, Some(steps)) => {
                    image.finish_groups(&mut run)?;
                    run = Some(Run { first: group, last: group, steps });
                }
                (_, None) => {
                    image.finish_groups(&mut run)?;
                    writeln!(image.out, "group.{group}")?;
                    for (name, at) in NAMES.iter().zip(now.locations).filter(|(_, at)| *at != 0) {
                        writeln!(image.out, "  .{name} {at}")?;
                    }
                    write!(image.out, "{}", now.rest)?;
                }
            }
            before = Some((group, now));
            Ok(())
        })?;
        self.finish_groups(&mut run)
    }

    fn finish_groups(&mut self, run: &mut Option<Run>) -> Result<(), DumpError> {
        if let Some(Run { first, last, steps: [a, b, c] }) = run.take() {
            writeln!(self.out, "groups {first}-{last} block_bitmap {a:+} inode_bitmap {b:+} inode_table {c:+}")?;
        }
        Ok(())
    }

    fn describe(&mut self, geo: &Geometry, group: u32, bytes: &[u8]) -> Result<Described, DumpError> {
        let desc = GroupDesc::from_disk(bytes).unwrap_or(daxkit_format::OnDisk::zeroed());
        let mut rest = String::new();
        let mut cover = Cover::new(bytes);
        for name in NAMES.iter().skip(3) {
            let Some(access) = Access::find(Structure::GroupDesc, name) else { continue };
            let Some(value) = access.get(bytes) else { continue };
            let fits = match *name {
                "bg_checksum" => {
                    let summed = geo.seed.is_some() || self.has_ro_compat(RoCompat::GDT_CSUM);
                    summed.then(|| u64::from(group_desc::checksum(&self.sb, group, bytes)))
                }
                "bg_block_bitmap_csum" => self.bitmap_sum(geo, desc.block_bitmap(), geo.clusters_per_group, bytes)?,
                "bg_inode_bitmap_csum" => self.bitmap_sum(geo, desc.inode_bitmap(), geo.inodes_per_group, bytes)?,
                _ => None,
            };
            // Writing to a string does not fail.
            if fits.is_some() && value == daxkit_format::FieldValue::Int(fits.unwrap_or_default()) {
                let _ = writeln!(rest, "  .{name} ok");
            } else if fits.is_some() || !super::fields::is_zero(&value) {
                let _ = writeln!(rest, "  .{name} {}", access.format().format(access.kind(), &value));
            }
        }
        // The fields fill the first 64 bytes (or 32) without gaps.
        cover.mark(0..bytes.len().min(64));
        let mut leftover = Vec::new();
        cover.rest(&mut leftover, "  ", "", 0)?;
        rest.push_str(&String::from_utf8_lossy(&leftover));
        Ok(Described { locations: [desc.block_bitmap(), desc.inode_bitmap(), desc.inode_table()], rest })
    }

    /// The checksum a bitmap's descriptor should have.
    fn bitmap_sum(&mut self, geo: &Geometry, block: u64, bits: u32, desc: &[u8]) -> Result<Option<u64>, DumpError> {
        let Some(seed) = geo.seed else { return Ok(None) };
        let Some(bitmap) = self.read_block(geo, block)? else { return Ok(None) };
        Ok(Some(bitmap_checksum(seed, &bitmap, bits, desc.len())))
    }

    /// The copies of the descriptor table: only what differs from the primary one.
    pub(super) fn descriptor_copies(&mut self, geo: &Geometry) -> Result<(), DumpError> {
        let meta_bg = self.has_incompat(Incompat::META_BG);
        let first_meta_bg = if meta_bg { self.sb.s_first_meta_bg.get() } else { u32::MAX };
        let old_blocks = Self::table_blocks(geo).min(first_meta_bg);
        let mut same = None;
        // A table that does not fit in a group has no copies, and a superblock that lies shall not make the walk long.
        let fits = u64::from(old_blocks) < geo.blocks_per_group;
        for group in (1..geo.groups).filter(|_| fits) {
            if self.sb.group_has_super(group) {
                for index in 0..old_blocks {
                    let block = self.behind_super(geo, group).saturating_add(u64::from(index));
                    self.descriptor_copy(geo, group, index, block, &mut same)?;
                }
            }
        }
        for index in old_blocks..Self::table_blocks(geo) {
            let first = index * geo.descs_per_block();
            for group in [first.saturating_add(1), first.saturating_add(geo.descs_per_block() - 1)] {
                if group < geo.groups && group != first {
                    self.descriptor_copy(geo, group, index, self.behind_super(geo, group), &mut same)?;
                }
            }
        }
        self.finish_copies(&mut same)
    }

    /// One block of a copy. Blocks that are wholly the same join `same`, a run not yet printed.
    fn descriptor_copy(
        &mut self,
        geo: &Geometry,
        copy: u32,
        index: u32,
        block: u64,
        same: &mut Option<Same>,
    ) -> Result<(), DumpError> {
        let first = index * geo.descs_per_block();
        let count = (geo.groups - first).min(geo.descs_per_block());
        let used = (count * geo.desc_size) as usize;
        let Some(range) = self.block_range(geo, block, 1) else { return Ok(()) };
        if self.is_hole(range.clone())? {
            return Ok(());
        }
        let primary = self.descriptor_block(geo, index);
        let (Some(ours), Some(theirs)) = (self.read_block(geo, primary)?, self.read_block(geo, block)?) else {
            return Ok(());
        };
        let (ours, theirs) = (ours.get(..used).unwrap_or_default(), theirs.get(..used).unwrap_or_default());
        // A copy that was never written is no copy.
        if theirs.iter().all(|b| *b == 0) || !self.claim(range.start..range.start + used as u64) {
            return Ok(());
        }
        let last = first + count - 1;
        if ours == theirs {
            match same {
                Some(s) if s.last + 1 == first && s.block + s.blocks == block && s.copy == copy => {
                    s.last = last;
                    s.blocks += 1;
                }
                _ => {
                    self.finish_copies(same)?;
                    *same = Some(Same { first, last, copy, block, blocks: 1 });
                }
            }
            return Ok(());
        }
        self.finish_copies(same)?;
        writeln!(self.out, "groups {first}-{last}:{copy} @{block}")?;
        let size = geo.desc_size as usize;
        for (group, (a, b)) in (first..).zip(ours.chunks_exact(size).zip(theirs.chunks_exact(size))) {
            if a == b {
                continue;
            }
            writeln!(self.out, "group.{group}:{copy}")?;
            let mut cover = Cover::new(b);
            for name in NAMES {
                let Some(access) = Access::find(Structure::GroupDesc, name) else { continue };
                if access.get(a) != access.get(b)
                    && let Some(text) = access.get_text(b)
                {
                    writeln!(self.out, "  .{name} {text}")?;
                }
            }
            cover.mark(0..b.len().min(64));
            cover.rest(self.out, "  ", "", 0)?;
        }
        Ok(())
    }

    fn finish_copies(&mut self, same: &mut Option<Same>) -> Result<(), DumpError> {
        if let Some(s) = same.take() {
            writeln!(self.out, "groups {}-{}:{} @{} same", s.first, s.last, s.copy, s.block)?;
        }
        Ok(())
    }

    pub(super) fn bitmaps(&mut self, geo: &Geometry) -> Result<(), DumpError> {
        self.each_descriptor(geo, &mut |image, group, bytes| {
            let Some(desc) = GroupDesc::from_disk(bytes) else { return Ok(()) };
            let valid = valid_clusters(geo, group);
            let start = geo.group_start(group);
            image.bitmap(geo, desc.block_bitmap(), "block", group, valid, &|bit| {
                (start + u64::from(bit) * geo.cluster_ratio, geo.cluster_ratio)
            })?;
            let first = u64::from(group) * u64::from(geo.inodes_per_group) + 1;
            image.bitmap(geo, desc.inode_bitmap(), "inode", group, geo.inodes_per_group, &|bit| {
                (first + u64::from(bit), 1)
            })
        })
    }

    /// Prints the set bits as ranges of the numbers they stand for: `number` gives the first and how many.
    fn bitmap(
        &mut self,
        geo: &Geometry,
        block: u64,
        what: &str,
        group: u32,
        valid: u32,
        number: &dyn Fn(u32) -> (u64, u64),
    ) -> Result<(), DumpError> {
        let Some(range) = self.block_range(geo, block, 1) else { return Ok(()) };
        if block == 0 || self.is_hole(range.clone())? {
            return Ok(());
        }
        let bytes = self.read(range.start, geo.block_size as usize)?;
        if bytes.iter().all(|b| *b == 0) || !self.claim(range) {
            return Ok(());
        }
        writeln!(self.out, "group.{group}/{what}_bitmap @{block}")?;
        for bits in runs(&bytes, 0, valid) {
            let (from, (last, n)) = (number(bits.start).0, number(bits.end - 1));
            let to = last + n - 1;
            if from == to {
                writeln!(self.out, "  {from}")?;
            } else {
                writeln!(self.out, "  {from}-{to}")?;
            }
        }
        let all = geo.block_size * 8;
        let padding = runs(&bytes, valid, all);
        if valid < all && !matches!(padding.as_slice(), [one] if *one == (valid..all)) {
            if padding.is_empty() {
                writeln!(self.out, "  padding none")?;
            }
            // One a line, so that no line is long.
            for bits in padding {
                writeln!(self.out, "  padding {}-{}", bits.start, bits.end - 1)?;
            }
        }
        Ok(())
    }

    /// Inode tables are claimed before any inode is followed, so that no map can take one away.
    pub(super) fn claim_inode_tables(&mut self, geo: &Geometry) -> Result<(), DumpError> {
        self.each_descriptor(geo, &mut |image, _, bytes| {
            if let Some(desc) = GroupDesc::from_disk(bytes)
                && desc.inode_table() != 0
                && let Some(range) = image.table_range(geo, desc.inode_table())
                && image.claim(range.clone())
            {
                image.tables.insert(range);
            }
            Ok(())
        })
    }

    /// Inodes, group by group.
    pub(super) fn inodes(&mut self, geo: &Geometry) -> Result<(), DumpError> {
        self.each_descriptor(geo, &mut |image, group, bytes| {
            let Some(desc) = GroupDesc::from_disk(bytes) else { return Ok(()) };
            let uninit = desc.flags().contains(GroupFlags::INODE_UNINIT);
            let bitmap = if uninit { None } else { image.read_block(geo, desc.inode_bitmap())? };
            image.inode_table(geo, group, desc.inode_table(), &bitmap.unwrap_or_default())
        })
    }
}

/// Where block `index` of the primary descriptor table lies.
pub(crate) fn descriptor_block(sb: &SuperBlock, geo: &Geometry, index: u32) -> u64 {
    if sb.incompat().contains(Incompat::META_BG) && index >= sb.s_first_meta_bg.get() {
        return behind_super(sb, geo, index.saturating_mul(geo.descs_per_block()));
    }
    behind_super(sb, geo, 0).saturating_add(u64::from(index))
}

/// The block behind a group's superblock, if it has one; else its first.
fn behind_super(sb: &SuperBlock, geo: &Geometry, group: u32) -> u64 {
    let start = geo.group_start(group);
    // With blocks of 1 KiB the superblock is in block 1 even where groups begin at block 0 (bigalloc).
    let odd = u64::from(group == 0 && geo.block_size == 1024 && geo.first_data_block == 0);
    start.saturating_add(odd + u64::from(sb.group_has_super(group)))
}

/// How many clusters of a group the file system has.
pub(crate) fn valid_clusters(geo: &Geometry, group: u32) -> u32 {
    let blocks = geo.blocks.saturating_sub(geo.group_start(group)).min(geo.blocks_per_group);
    u32::try_from(blocks.div_ceil(geo.cluster_ratio)).unwrap_or(u32::MAX).min(geo.clusters_per_group)
}

/// The checksum of a bitmap, as far as a descriptor of `desc_size` bytes has room for it.
pub(crate) fn bitmap_checksum(seed: u32, bitmap: &[u8], bits: u32, desc_size: usize) -> u64 {
    let sum = u64::from(group_desc::bitmap_checksum(seed, bitmap, bits));
    if desc_size >= 64 { sum } else { sum & 0xffff }
}

/// The runs of set bits in `from..to`, lowest first.
fn runs(bytes: &[u8], from: u32, to: u32) -> Vec<Range<u32>> {
    let set = |bit: u32| bytes.get((bit / 8) as usize).is_some_and(|b| b >> (bit % 8) & 1 == 1);
    let mut out = Vec::new();
    let mut at = from;
    while at < to {
        // Whole bytes of one kind are the common case.
        let byte = bytes.get((at / 8) as usize).copied().unwrap_or(0);
        if byte == 0 && at.is_multiple_of(8) {
            at += 8;
            continue;
        }
        if !set(at) {
            at += 1;
            continue;
        }
        let start = at;
        while at < to && set(at) {
            let whole = at.is_multiple_of(8) && at + 8 <= to && bytes.get((at / 8) as usize) == Some(&0xff);
            at += if whole { 8 } else { 1 };
        }
        out.push(start..at);
    }
    out
}
