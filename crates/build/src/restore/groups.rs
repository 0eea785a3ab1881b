//! Group descriptors, their copies, and the bitmaps.

use super::buffer::Buffer;
use super::error::Read;
use super::image::Restorer;
use super::supers::{named, set};
use super::words::{Words, range};
use crate::dump::groups::{bitmap_checksum, descriptor_block, valid_clusters};
use crate::dump::image::Geometry;
use daxkit_format::ext4::group_desc::{self, GroupDesc};
use daxkit_format::field::Structure;
use std::ops::Range;

/// The checksums that are to fit, one bit for each.
const SUMS: [(&str, u8); 3] = [("bg_block_bitmap_csum", 1), ("bg_inode_bitmap_csum", 2), ("bg_checksum", 4)];

/// Most lines of a descriptor: its fields, and a kilobyte of what is behind them.
const MOST_LINES: usize = 64;

/// Longest line of a descriptor.
const LONGEST_LINE: usize = 256;

/// What is to be done when everything else is written.
#[derive(Default)]
pub(super) struct Groups {
    /// Which checksums of each group are to fit ([`SUMS`]).
    sums: Vec<u8>,
    copies: Vec<Copy>,
    /// The last descriptor, and its checksums.
    last: Option<(u32, Vec<u8>, u8)>,
}

/// A copy of descriptors: blocks from `block` on hold those of groups from `first` on.
struct Copy {
    groups: Range<u32>,
    block: u64,
    /// Descriptors that differ, and their lines.
    different: Vec<(u32, Vec<String>)>,
}

/// A descriptor's fields.
pub(super) struct DescriptorSection {
    group: u32,
    buffer: Buffer,
}

/// A descriptor of the last copy, by its index among those that differ.
pub(super) struct CopySection(pub(super) usize);

impl DescriptorSection {
    pub(super) fn line(&mut self, line: &str) -> Read {
        named(&mut self.buffer, &[(Structure::GroupDesc, 0)], line)
    }
}

/// A bitmap: which numbers its bits stand for.
pub(super) struct BitmapSection {
    buffer: Buffer,
    /// The number of the first bit, and how many each stands for.
    first: u64,
    ratio: u64,
    /// Bits that stand for something.
    valid: u32,
    /// The bits behind them were said.
    padded: bool,
}

impl BitmapSection {
    pub(super) fn line(&mut self, line: &str) -> Read {
        let mut words = Words(line);
        if words.takes("padding") {
            self.padded = true;
            if words.takes("none") {
                return words.end();
            }
            while !words.peek().is_empty() {
                let (first, last) = range(words.word(), "a range of bits")?;
                self.set(first, last)?;
            }
            return Ok(());
        }
        let (from, to): (u64, u64) = range(words.word(), "a range of numbers")?;
        words.end()?;
        let bit = |n: u64| n.checked_sub(self.first).map(|n| n / self.ratio).filter(|bit| *bit < u64::from(self.valid));
        let bits = bit(from).zip(bit(to)).ok_or_else(|| format!("{line}: not numbers of this group"))?;
        self.set(bits.0 as u32, bits.1 as u32)
    }

    fn set(&mut self, first: u32, last: u32) -> Read {
        let mut bit = first;
        while bit <= last {
            let place = self.buffer.bytes.get_mut((bit / 8) as usize).ok_or("a bitmap has no such bit")?;
            if bit.is_multiple_of(8) && last - bit >= 7 {
                *place = 0xff;
                bit += 8;
            } else {
                *place |= 1 << (bit % 8);
                bit += 1;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Read<Buffer> {
        let all = u32::try_from(self.buffer.bytes.len().saturating_mul(8)).unwrap_or(u32::MAX);
        if !self.padded && self.valid < all {
            self.set(self.valid, all - 1)?;
        }
        Ok(self.buffer)
    }
}

impl Restorer {
    /// Byte of the image at which a primary descriptor lies.
    fn descriptor_at(&self, geo: &Geometry, group: u32) -> Read<u64> {
        if group >= geo.groups {
            return Err(format!("group {group}: there are {}", geo.groups).into());
        }
        let block = descriptor_block(&self.sb, geo, group / geo.descs_per_block());
        Ok(self.block_at(block)? + u64::from(group % geo.descs_per_block() * geo.desc_size))
    }

    pub(super) fn begin_descriptor(&mut self, group: u32) -> Read<DescriptorSection> {
        let geo = self.geo()?;
        Ok(DescriptorSection { group, buffer: Buffer::new(self.descriptor_at(&geo, group)?, geo.desc_size as usize) })
    }

    pub(super) fn finish_descriptor(&mut self, section: DescriptorSection) -> Read {
        let DescriptorSection { group, buffer } = section;
        buffer.only_fit(&SUMS.map(|(name, _)| name))?;
        let sums = SUMS.iter().filter(|(name, _)| buffer.fits(name)).fold(0, |sums, (_, bit)| sums | bit);
        self.write_buffer(&buffer)?;
        self.remember(group, sums);
        self.groups.last = Some((group, buffer.bytes, sums));
        Ok(())
    }

    fn remember(&mut self, group: u32, sums: u8) {
        let at = group as usize;
        if self.groups.sums.len() <= at {
            self.groups.sums.resize(at + 1, 0);
        }
        if let Some(place) = self.groups.sums.get_mut(at) {
            *place = sums;
        }
    }

    /// `groups A-B block_bitmap +N inode_bitmap +N inode_table +N`, `groups A-B:C @BLOCK [same]`.
    pub(super) fn group_run(&mut self, words: &mut Words<'_>) -> Read {
        let geo = self.geo()?;
        let which = words.word();
        let (which, copy) = which.split_once(':').map_or((which, None), |(which, copy)| (which, Some(copy)));
        let (first, last): (u32, u32) = range(which, "a range of groups")?;
        if last >= geo.groups {
            return Err(format!("group {last}: there are {}", geo.groups).into());
        }
        if copy.is_some() {
            let block = words.at()?;
            words.takes("same");
            self.block_at(block)?;
            if !first.is_multiple_of(geo.descs_per_block()) {
                return Err(format!("no block of descriptors begins with that of group {first}").into());
            }
            self.groups.copies.push(Copy { groups: first..last + 1, block, different: Vec::new() });
            return Ok(());
        }
        let mut steps = [0i64; 3];
        for (name, step) in ["block_bitmap", "inode_bitmap", "inode_table"].iter().zip(&mut steps) {
            words.expect(name)?;
            let word = words.word();
            *step = word.parse().map_err(|_| format!("{word}: not a step"))?;
        }
        let before = self.groups.last.take().filter(|(group, ..)| Some(*group) == first.checked_sub(1));
        let (_, mut bytes, sums) = before.ok_or("the descriptor before the first is not the one that came before")?;
        for group in first..=last {
            let desc = GroupDesc::from_disk(&bytes).ok_or("a descriptor is too short")?;
            let locations = [desc.block_bitmap(), desc.inode_bitmap(), desc.inode_table()];
            for ((name, at), step) in
                ["bg_block_bitmap", "bg_inode_bitmap", "bg_inode_table"].iter().zip(locations).zip(steps)
            {
                set(&mut bytes, Structure::GroupDesc, name, at.wrapping_add_signed(step))?;
            }
            self.write(self.descriptor_at(&geo, group)?, &bytes)?;
            self.remember(group, sums);
        }
        self.groups.last = Some((last, bytes, sums));
        Ok(())
    }

    /// A descriptor that differs from the primary one, in the copy that came last.
    pub(super) fn begin_copy(&mut self, group: u32) -> Read<usize> {
        let copy = self.groups.copies.last_mut().filter(|copy| copy.groups.contains(&group));
        let copy = copy.ok_or_else(|| format!("group {group} is not one of the copy that came before"))?;
        // In order, so that each comes once.
        if copy.different.last().is_some_and(|(last, _)| *last >= group) {
            return Err(format!("group {group}: descriptors of a copy come in ascending order").into());
        }
        copy.different.push((group, Vec::new()));
        Ok(copy.different.len() - 1)
    }

    pub(super) fn copy_line(&mut self, index: usize, line: &str) -> Read {
        let copy = self.groups.copies.last_mut().ok_or("no copy came before")?;
        // Each field once, with room to spare, and as long as fields are.
        let (_, lines) = copy.different.get_mut(index).ok_or("no copy came before")?;
        if lines.len() >= MOST_LINES || line.len() > LONGEST_LINE {
            return Err("a descriptor has not so much to say".into());
        }
        lines.push(line.to_owned());
        Ok(())
    }

    pub(super) fn begin_bitmap(&self, group: u32, what: &str, block: u64) -> Read<BitmapSection> {
        let geo = self.geo()?;
        let buffer = self.block_buffer(block)?;
        let (first, ratio, valid) = match what {
            "block_bitmap" => (geo.group_start(group), geo.cluster_ratio, valid_clusters(&geo, group)),
            "inode_bitmap" => (u64::from(group) * u64::from(geo.inodes_per_group) + 1, 1, geo.inodes_per_group),
            _ => return Err(format!("{what}: a group has a block_bitmap and an inode_bitmap").into()),
        };
        Ok(BitmapSection { buffer, first, ratio, valid, padded: false })
    }

    /// Makes the checksums of descriptors fit, then the copies.
    pub(super) fn finish_groups(&mut self, geo: &Geometry) -> Read {
        for (group, sums) in (0..).zip(std::mem::take(&mut self.groups.sums)) {
            if sums != 0 {
                let at = self.descriptor_at(geo, group)?;
                let mut bytes = self.read(at, geo.desc_size as usize)?;
                self.seal(geo, group, sums, &mut bytes)?;
                self.write(at, &bytes)?;
            }
        }
        for copy in std::mem::take(&mut self.groups.copies) {
            self.copy(geo, &copy)?;
        }
        Ok(())
    }

    fn seal(&self, geo: &Geometry, group: u32, sums: u8, bytes: &mut [u8]) -> Read {
        let desc = GroupDesc::from_disk(bytes).ok_or("a descriptor is too short")?;
        let bitmaps = [(desc.block_bitmap(), geo.clusters_per_group), (desc.inode_bitmap(), geo.inodes_per_group)];
        for ((name, bit), (block, bits)) in SUMS.iter().zip(bitmaps) {
            if sums & bit != 0 {
                let seed =
                    geo.seed.ok_or_else(|| format!("group.{group}.{name}: the file system has no such checksum"))?;
                let bitmap = self.read(self.block_at(block)?, geo.block_size as usize)?;
                set(bytes, Structure::GroupDesc, name, bitmap_checksum(seed, &bitmap, bits, bytes.len()))?;
            }
        }
        let [.., (name, bit)] = SUMS;
        if sums & bit != 0 {
            let sum = group_desc::checksum(&self.sb, group, bytes);
            set(bytes, Structure::GroupDesc, name, sum.into())?;
        }
        Ok(())
    }

    fn copy(&self, geo: &Geometry, copy: &Copy) -> Read {
        let (bs, size) = (u64::from(geo.block_size), geo.desc_size as usize);
        let mut different = copy.different.iter().peekable();
        for (index, group) in (0u64..).zip(copy.groups.clone()) {
            let mut bytes = self.read(self.descriptor_at(geo, group)?, size)?;
            if let Some((_, lines)) = different.next_if(|(g, _)| *g == group) {
                // What lies behind the fields is all in the lines.
                bytes.iter_mut().skip(size_of::<GroupDesc>()).for_each(|b| *b = 0);
                let mut buffer = Buffer::over(0, bytes);
                for line in lines {
                    named(&mut buffer, &[(Structure::GroupDesc, 0)], line)
                        .and_then(|()| buffer.only_fit(&[]))
                        .map_err(|_| format!("group.{group}, a copy: {line:?} cannot be understood"))?;
                }
                bytes = buffer.bytes;
            }
            let per_block = u64::from(geo.descs_per_block());
            let at = self.block_at(copy.block)? + index / per_block * bs + index % per_block * size as u64;
            self.write(at, &bytes)?;
        }
        match different.next() {
            Some((group, _)) => Err(format!("group.{group}, a copy: descriptors come in ascending order").into()),
            None => Ok(()),
        }
    }
}

impl From<std::num::TryFromIntError> for super::error::Fault {
    fn from(_: std::num::TryFromIntError) -> Self {
        "a number is too large".into()
    }
}

/// The group of an inode, its index in it, and where the group's table begins.
pub(super) fn inode_place(image: &Restorer, geo: &Geometry, ino: u32) -> Read<u64> {
    let index = u64::from(ino).checked_sub(1).ok_or("there is no inode 0")?;
    let group = u32::try_from(index / u64::from(geo.inodes_per_group))?;
    let bytes = image.read(image.descriptor_at(geo, group)?, geo.desc_size as usize)?;
    let table = GroupDesc::from_disk(&bytes).ok_or("a descriptor is too short")?.inode_table();
    let inside = index % u64::from(geo.inodes_per_group) * u64::from(geo.inode_size);
    let at = image.block_at(table)?.checked_add(inside);
    at.ok_or_else(|| format!("inode {ino} is not inside the image").into())
}
