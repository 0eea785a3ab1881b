//! Giving back what a map no longer names: runs of data, in whole clusters, and blocks of the map itself.
//!
//! With bigalloc a cluster belongs to one cluster of one file, and each of its blocks has its own place in it; it is free when the file
//! maps none of them any more.

use std::ops::Range;

use daxkit_format::BlockNr;
use daxkit_format::dax::Errno;

use super::super::super::inode::Inode;
use super::super::super::map::Mapping;
use super::super::super::map_runs;
use super::super::clusters::Run;
use super::super::{EditError, Editor};
use super::Gone;

impl Editor<'_> {
    /// Takes a block for the map of a file, counted in its space.
    pub(super) fn take_map_block(&mut self, inode: &mut Inode, near: BlockNr) -> Result<BlockNr, EditError> {
        let run = self.take_blocks(near, 1)?;
        self.add_clusters(inode, 1)?;
        Ok(run.first)
    }

    /// Gives a block of the map back.
    pub(super) fn give_map_block(&mut self, inode: &mut Inode, block: BlockNr) -> Result<(), EditError> {
        self.give_blocks(Run { first: block, len: 1 })?;
        self.add_clusters(inode, -1)
    }

    /// Unmaps blocks of a file with extents.
    pub(super) fn tree_remove(&mut self, inode: &mut Inode, blocks: Range<u64>, gone: Gone) -> Result<(), EditError> {
        let shared = self.geometry().cluster_ratio > 1;
        let mut at = blocks.start;
        while at < blocks.end {
            let mut removed = Vec::new();
            let mut given = 0;
            let mut end = at;
            // One leaf at a time, so that no more is kept than it holds.
            self.edit_leaf(inode, at..blocks.end, |editor, runs, part| {
                removed = map_runs::remove(runs, part);
                end = part.end;
                if !shared && gone == Gone::Given {
                    // Given back first, for the tree may need a block to be cut.
                    given = editor.give_runs(&removed)?;
                }
                Ok(())
            })?;
            if shared && gone == Gone::Given {
                given = self.give_clusters(inode, &removed)?;
            }
            self.add_clusters(inode, -i64::try_from(given).unwrap_or(i64::MAX))?;
            at = end;
        }
        Ok(())
    }

    /// Gives back runs where a cluster is a block; how many blocks they were.
    pub(super) fn give_runs(&mut self, removed: &[Mapping]) -> Result<u64, EditError> {
        let mut all: Vec<Run> = removed.iter().map(|r| Run { first: r.physical, len: r.len }).collect();
        all.sort_unstable_by_key(|run| run.first);
        let mut given = 0u64;
        let mut pending: Option<Run> = None;
        for run in all {
            given = given.saturating_add(run.len);
            match &mut pending {
                Some(p) if p.first.get().saturating_add(p.len) == run.first.get() => p.len += run.len,
                p => {
                    if let Some(done) = p.replace(run) {
                        self.give_blocks(done)?;
                    }
                }
            }
        }
        pending.map_or(Ok(()), |done| self.give_blocks(done))?;
        Ok(given)
    }

    /// Gives back the clusters of runs that are unmapped already, but those of which the file still maps a block; how many.
    fn give_clusters(&mut self, inode: &Inode, removed: &[Mapping]) -> Result<u64, EditError> {
        let ratio = u64::from(self.geometry().cluster_ratio);
        let mut given = 0u64;
        // The cluster of the file before which everything was decided.
        let mut decided = 0;
        for run in removed {
            self.check_place_in_cluster(inode, run)?;
            let mut first = (run.logical / ratio).max(decided);
            let mut end = run.end().div_ceil(ratio);
            decided = end;
            if first < end && self.is_cluster_shared(inode, run, first)? {
                first += 1;
            }
            if first < end && self.is_cluster_shared(inode, run, end - 1)? {
                end -= 1;
            }
            if first < end {
                let base = run.physical.get().saturating_sub(run.logical % ratio);
                let skip = (first - run.logical / ratio).saturating_mul(ratio);
                let start = base.saturating_add(skip);
                let len = ((end - first).saturating_mul(ratio)).min(self.geometry().blocks_count.saturating_sub(start));
                self.give_blocks(Run { first: BlockNr(start), len })?;
                given = given.saturating_add(end - first);
            }
        }
        Ok(given)
    }

    /// Whether a file maps a block of its cluster number `cluster`, which `run` had blocks of.
    fn is_cluster_shared(&self, inode: &Inode, run: &Mapping, cluster: u64) -> Result<bool, EditError> {
        let ratio = u64::from(self.geometry().cluster_ratio);
        let blocks = cluster.saturating_mul(ratio)..cluster.saturating_add(1).saturating_mul(ratio);
        let had_all = run.within(&blocks).is_some_and(|part| part.len == ratio);
        Ok(!had_all && self.first_mapped(inode, blocks)?.is_some())
    }

    /// The first run that a file maps in `blocks`, as far as it lies there.
    pub(super) fn first_mapped(&self, inode: &Inode, blocks: Range<u64>) -> Result<Option<Mapping>, EditError> {
        let next = self.extents_from(inode, blocks.start).next().transpose()?;
        Ok(next.and_then(|run| run.within(&blocks)))
    }

    /// A block of a file lies in its cluster where it lies in the cluster of the file, or clusters could not be shared.
    pub(super) fn check_place_in_cluster(&self, inode: &Inode, run: &Mapping) -> Result<(), EditError> {
        let g = self.geometry();
        let ratio = u64::from(g.cluster_ratio);
        let inside = run.physical.get().saturating_sub(g.first_data_block);
        if inside % ratio == run.logical % ratio {
            return Ok(());
        }
        let what = "a block lies in its cluster where it does not lie in the cluster of the file";
        Err(EditError::refused(inode.nr(), Errno::EUCLEAN, what))
    }
}
