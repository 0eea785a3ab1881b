//! Where each group's bitmaps and inode table lie.
//!
//! Places are kept as runs, so that a hundred million groups cost what a few dozen interruptions by backups cost.

use super::{Geometry, GeometryError};
use crate::params::{MetadataPlace, Params};
use daxkit_format::ext4::features::Incompat;
use std::ops::Range;

/// For each group a unit of `unit` blocks; consecutive groups mostly follow each other.
#[derive(Debug, Clone, Default)]
pub struct Segments {
    unit: u64,
    runs: Vec<(u32, u64)>,
}

impl Segments {
    fn new(unit: u64) -> Self {
        Self { unit, runs: Vec::new() }
    }

    fn push(&mut self, group: u32, block: u64) {
        let continues = self.runs.last().is_some_and(|(g, b)| b + u64::from(group - g) * self.unit == block);
        if !continues {
            self.runs.push((group, block));
        }
    }

    /// First block of the unit of `group`.
    #[must_use]
    pub fn get(&self, group: u32) -> u64 {
        let at = self.runs.partition_point(|(g, _)| *g <= group);
        match self.runs.get(at.wrapping_sub(1)) {
            Some((g, b)) => b + u64::from(group - g) * self.unit,
            None => 0,
        }
    }

    /// The runs of blocks in order of group; `groups` is the number of groups.
    pub fn ranges(&self, groups: u32) -> impl Iterator<Item = Range<u64>> + '_ {
        self.runs.iter().enumerate().map(move |(i, (g, b))| {
            let next = self.runs.get(i + 1).map_or(groups, |(g, _)| *g);
            *b..b + u64::from(next - g) * self.unit
        })
    }
}

/// The places of all groups' own metadata.
#[derive(Debug, Clone)]
pub struct MetadataMap {
    /// Block bitmaps.
    pub block_bitmaps: Segments,
    /// Inode bitmaps.
    pub inode_bitmaps: Segments,
    /// Inode tables.
    pub inode_tables: Segments,
}

/// Hands out blocks one after the other and steps over superblock backups and descriptors.
struct Bump<'g> {
    g: &'g Geometry,
    next: u64,
    end: u64,
}

impl Bump<'_> {
    fn take(&mut self, len: u64) -> Option<u64> {
        'again: loop {
            let end = self.next.checked_add(len).filter(|e| *e <= self.end)?;
            for group in self.g.group_of(self.next)..=self.g.group_of(end - 1) {
                let base = self.g.base_range(group);
                if base.start < end && self.next < base.end {
                    self.next = base.end;
                    continue 'again;
                }
            }
            let start = self.next;
            self.next = end;
            return Some(start);
        }
    }
}

impl MetadataMap {
    /// Places the metadata of all groups.
    ///
    /// # Errors
    /// [`GeometryError::TooSmall`] when it does not fit.
    pub fn new(g: &Geometry, params: &Params) -> Result<Self, GeometryError> {
        let small = GeometryError::TooSmall { blocks: g.blocks_count, block_size: g.block_size };
        let flex = g.features.incompat.contains(Incompat::FLEX_BG);
        let step = match (flex, params.metadata) {
            (true, MetadataPlace::Packed) => g.groups,
            (true, MetadataPlace::PerFlexGroup) => params.flex_bg_size.max(1),
            (false, _) => 1,
        };
        let mut map = Self {
            block_bitmaps: Segments::new(1),
            inode_bitmaps: Segments::new(1),
            inode_tables: Segments::new(u64::from(g.itable_blocks)),
        };
        let mut first = 0;
        while first < g.groups {
            let last = first.saturating_add(step).min(g.groups);
            // Without flex_bg metadata may not leave its group; with it, only the device's end stops it.
            let end = if flex { g.blocks_count } else { g.group_range(first).end };
            let mut bump = Bump { g, next: g.group_first(first), end };
            for group in first..last {
                map.block_bitmaps.push(group, bump.take(1).ok_or(small.clone())?);
            }
            for group in first..last {
                map.inode_bitmaps.push(group, bump.take(1).ok_or(small.clone())?);
            }
            for group in first..last {
                map.inode_tables.push(group, bump.take(u64::from(g.itable_blocks)).ok_or(small.clone())?);
            }
            // A flex group whose tables reach into the next one would collide with that one's.
            if last < g.groups && bump.next > g.group_first(last) {
                return Err(GeometryError::Inodes {
                    inodes: u64::from(g.inodes_count()),
                    reason: "the inode tables of a flex group are larger than the group",
                });
            }
            first = last;
        }
        Ok(map)
    }

    /// All runs of metadata, unsorted.
    pub fn ranges(&self, groups: u32) -> impl Iterator<Item = Range<u64>> + '_ {
        self.block_bitmaps
            .ranges(groups)
            .chain(self.inode_bitmaps.ranges(groups))
            .chain(self.inode_tables.ranges(groups))
    }
}
