//! The inodes and blocks that belong to the file system itself: journal, resize inode, orphan file, quota files, multiple mount
//! protection.

use super::error::PlanError;
use super::map::{BlockMap, Run};
use super::place::{MapRules, take, take_map_blocks};
use crate::geometry::Geometry;
use crate::params::{Journal, Params};
use crate::quota_file::{self, Usage};
use crate::source::Tree;
use crate::space::FreeSpace;
use daxkit_format::ext4::features::{Compat, Incompat, RoCompat};
use daxkit_format::ext4::quota::QuotaKind;
use std::collections::BTreeMap;
use std::ops::Range;

/// Fewest blocks of a journal (`JBD2_MIN_JOURNAL_BLOCKS`).
pub const MIN_JOURNAL_BLOCKS: u32 = 1024;
/// Most blocks mke2fs allows a journal.
pub const MAX_JOURNAL_BLOCKS: u32 = 10_240_000;

/// A journal inside the image.
#[derive(Debug)]
pub struct JournalPlan {
    /// Where it lies.
    pub map: BlockMap,
    /// Blocks in all.
    pub blocks: u32,
    /// Of these, the fast-commit area at the end.
    pub fast_commit_blocks: u32,
}

/// A quota file.
#[derive(Debug)]
pub struct QuotaPlan {
    /// What it counts.
    pub kind: QuotaKind,
    /// Its inode.
    pub ino: u32,
    /// Where it lies.
    pub map: BlockMap,
    /// Its size in bytes.
    pub size: u64,
}

/// Everything the file system keeps for itself.
#[derive(Debug, Default)]
pub struct Special {
    /// The journal, where it is inside.
    pub journal: Option<JournalPlan>,
    /// The double-indirect block of the resize inode.
    pub resize_dind: Option<u64>,
    /// The block of multiple mount protection.
    pub mmp: Option<u64>,
    /// Blocks of the orphan file.
    pub orphan: Option<BlockMap>,
    /// Quota files.
    pub quota: Vec<QuotaPlan>,
}

/// The journal's size for a file system of so many blocks when nobody says (as mke2fs 1.47 has it); `None` below 2,048.
#[must_use]
pub fn default_journal_blocks(blocks: u64) -> Option<u32> {
    const STEPS: [(u64, u32); 9] = [
        (32_768, 1024),
        (256 << 10, 4096),
        (512 << 10, 8192),
        (4096 << 10, 16_384),
        (8192 << 10, 32_768),
        (16_384 << 10, 65_536),
        (32_768 << 10, 131_072),
        (u64::MAX, 262_144),
        (u64::MAX, 262_144),
    ];
    if blocks < 2048 {
        return None;
    }
    STEPS.iter().find(|(below, _)| blocks < *below).map(|(_, size)| *size)
}

impl Special {
    /// Places all of it, at the front of what is free.
    ///
    /// # Errors
    /// No space, or a journal that cannot be.
    pub fn place(
        params: &Params,
        g: &Geometry,
        tree: &Tree,
        project_quota: Option<u32>,
        space: &mut FreeSpace,
    ) -> Result<Self, PlanError> {
        let mut special = Self::default();
        if let Some(Journal::Internal { blocks, fast_commit_blocks, location }) = &params.journal {
            special.journal = Some(place_journal(params, g, *blocks, *fast_commit_blocks, *location, space)?);
        }
        let one = |space: &mut FreeSpace, what: &'static str| -> Result<u64, PlanError> {
            Ok(take(space, g.block_size, 1, || what.to_owned())?.first().map_or(0, |r| r.start))
        };
        if g.features.compat.contains(Compat::RESIZE_INODE) {
            special.resize_dind = Some(one(space, "the resize inode")?);
        }
        if g.features.incompat.contains(Incompat::MMP) {
            special.mmp = Some(one(space, "the MMP block")?);
        }
        if g.features.compat.contains(Compat::ORPHAN_FILE) {
            let size = params.orphan_file_size.unwrap_or_else(|| default_orphan_size(g));
            let blocks = size.div_ceil(u64::from(g.block_size)).max(2);
            special.orphan = Some(file(params, space, blocks, "the orphan file")?);
        }
        if g.features.ro_compat.contains(RoCompat::QUOTA) {
            let kinds = [
                (QuotaKind::User, params.quota.user.then_some(3)),
                (QuotaKind::Group, params.quota.group.then_some(4)),
                (QuotaKind::Project, project_quota),
            ];
            for (kind, ino) in kinds {
                let Some(ino) = ino else { continue };
                let size = quota_file::build(kind, &ids(kind, params, tree)).len() as u64;
                let map = file(params, space, size.div_ceil(u64::from(g.block_size)), "a quota file")?;
                special.quota.push(QuotaPlan { kind, ino, map, size });
            }
        }
        Ok(special)
    }
}

/// Every id that will have usage, with none yet: enough to know the size of the file.
fn ids(kind: QuotaKind, params: &Params, tree: &Tree) -> BTreeMap<u32, Usage> {
    let mut ids = BTreeMap::new();
    // lost+found and the file system's own files belong to the superuser.
    ids.insert(0, Usage::default());
    for id in tree.ids() {
        match kind {
            QuotaKind::User => ids.insert(tree.uid(id), Usage::default()),
            QuotaKind::Group => ids.insert(tree.gid(id), Usage::default()),
            QuotaKind::Project => None,
        };
    }
    match kind {
        QuotaKind::User => ids.insert(params.root_owner.0, Usage::default()),
        QuotaKind::Group => ids.insert(params.root_owner.1, Usage::default()),
        QuotaKind::Project => None,
    };
    ids
}

/// As many bytes as e2fsprogs gives: a 4096th of the clusters' number in KiB terms, from 32 KiB to 2 MiB.
fn default_orphan_size(g: &Geometry) -> u64 {
    let bs = u64::from(g.block_size);
    let blocks = (g.blocks_count / u64::from(g.cluster_ratio) / 4096).clamp(32, 512);
    // The limits count blocks; on small blocks the file is as small.
    blocks * bs
}

fn rules(params: &Params) -> MapRules {
    MapRules::new(params, params.features.incompat.contains(Incompat::EXTENTS))
}

fn file(params: &Params, space: &mut FreeSpace, blocks: u64, what: &'static str) -> Result<BlockMap, PlanError> {
    let mut map = BlockMap::default();
    add_runs(&mut map, take(space, params.block_size, blocks, || what.to_owned())?);
    take_map_blocks(space, rules(params), &mut map, &|| what.as_bytes().to_vec(), 0)?;
    Ok(map)
}

/// Appends runs that follow each other in the file.
pub fn add_runs(map: &mut BlockMap, runs: Vec<Range<u64>>) {
    let mut logical = map.runs.last().map_or(0, |r| r.logical + r.len);
    for r in runs {
        let len = r.end - r.start;
        map.push(Run { logical, physical: r.start, len, written: true });
        logical += len;
    }
}

fn place_journal(
    params: &Params,
    g: &Geometry,
    asked: Option<u32>,
    fast_commit_blocks: u32,
    location: Option<u64>,
    space: &mut FreeSpace,
) -> Result<JournalPlan, PlanError> {
    let error = |blocks: u32, reason| PlanError::Journal { blocks: u64::from(blocks), reason };
    let blocks = match asked {
        Some(n) => n,
        None => default_journal_blocks(g.blocks_count)
            .ok_or_else(|| error(0, "the file system is too small for one"))?
            .saturating_add(fast_commit_blocks),
    };
    if blocks.saturating_sub(fast_commit_blocks) < MIN_JOURNAL_BLOCKS {
        return Err(error(blocks, "fewer than 1024 blocks"));
    }
    if blocks > MAX_JOURNAL_BLOCKS {
        return Err(error(blocks, "more than 10240000 blocks"));
    }
    // mke2fs sets this limit to a size asked for, not to its own choice.
    if asked.is_some() && u64::from(blocks) > space.free() / 2 {
        return Err(error(blocks, "more than half of the free space"));
    }
    let mut map = BlockMap::default();
    match location {
        Some(at) => {
            if !space.take_exact(at..at + u64::from(blocks)) {
                return Err(error(blocks, "the blocks at that location are not free"));
            }
            map.push(Run { logical: 0, physical: at, len: u64::from(blocks), written: true });
        }
        None => add_runs(&mut map, take(space, params.block_size, u64::from(blocks), || "the journal".to_owned())?),
    }
    take_map_blocks(space, rules(params), &mut map, &|| b"the journal".to_vec(), 0)?;
    Ok(JournalPlan { map, blocks, fast_commit_blocks })
}
