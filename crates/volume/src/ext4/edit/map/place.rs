//! Where blocks that a file gets are put: behind those before them, in the clusters it has already, in windows that one fault can
//! map.

use daxkit_format::BlockNr;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::pmd::PMD_SIZE;

use super::super::super::error::VolumeError;
use super::super::super::inode::Inode;
use super::super::super::map::{Mapping, Segment};
use super::super::super::open::Volume;
use super::super::clusters::Run;
use super::super::{EditError, Editor};

/// Bytes of a page; with blocks of another size there is no DAX, and windows mean nothing.
const PAGE_SIZE: u32 = 4096;

/// Blocks that are worth beginning a window with: of a file that wants DAX, and of another. Large files are mostly written in
/// pieces, and where the first one lies decides about all.
const PIECES: (u64, u64) = (64, 256);

/// What lies at a block of a file, and before it.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Around {
    /// What lies at it. A hole may end before the next mapping does begin.
    pub(in super::super) here: Segment,
    /// Where the block would lie on disk, if it went on from the last mapping before it.
    pub(super) goal: Option<BlockNr>,
}

impl Volume {
    /// What lies at block `logical` of a file, and where it would best lie.
    pub(in super::super) fn around(&self, inode: &Inode, logical: u64) -> Result<Around, VolumeError> {
        if !inode.flags().contains(InodeFlags::EXTENTS) || !self.has_map(inode) {
            let here = self.map_block(inode, logical)?;
            let before = logical.checked_sub(1).map(|before| self.map_block(inode, before)).transpose()?;
            let goal = match before {
                Some(Segment::Mapped(m)) => Some(BlockNr(m.physical.get().saturating_add(1))),
                _ => None,
            };
            return Ok(Around { here, goal });
        }
        let path = self.tree_path(inode, logical)?;
        let (runs, end) = path.last().map_or((&[][..], logical), |leaf| (&*leaf.node.entries, leaf.range.end));
        let next = runs.partition_point(|r| r.end() <= logical);
        let here = match runs.get(next) {
            Some(run) if run.logical <= logical => run.from(logical).map(Segment::Mapped),
            Some(run) => Some(Segment::Hole { logical, len: run.logical - logical }),
            None => None,
        };
        let here = here.unwrap_or(Segment::Hole { logical, len: end.saturating_sub(logical).max(1) });
        let before = next.checked_sub(1).and_then(|before| runs.get(before));
        let goal = before.map(|b| BlockNr(b.physical.get().saturating_add(logical - b.logical)));
        Ok(Around { here, goal })
    }
}

impl Editor<'_> {
    /// Finds a place for up to `len` blocks of a hole, at least one, and takes it. They are counted, but not mapped.
    pub(in super::super) fn place_hole(
        &mut self,
        inode: &mut Inode,
        around: &Around,
        logical: u64,
        len: u64,
    ) -> Result<Mapping, EditError> {
        let ratio = u64::from(self.geometry().cluster_ratio);
        if ratio > 1 {
            return self.place_in_clusters(inode, around, logical, len);
        }
        let goal = around.goal.unwrap_or_else(|| self.home(inode));
        let run = self.take_for(inode, goal, logical, len)?;
        self.add_clusters(inode, i64::try_from(run.len).unwrap_or(i64::MAX))?;
        Ok(Mapping { logical, physical: run.first, len: run.len, written: true })
    }

    /// As [`Editor::place_hole`], where several blocks share a cluster.
    fn place_in_clusters(
        &mut self,
        inode: &mut Inode,
        around: &Around,
        logical: u64,
        len: u64,
    ) -> Result<Mapping, EditError> {
        let ratio = u64::from(self.geometry().cluster_ratio);
        let inside = logical % ratio;
        let own = logical - inside..(logical - inside).saturating_add(ratio);
        if let Some(neighbour) = self.first_mapped(inode, own.clone())? {
            self.check_place_in_cluster(inode, &neighbour)?;
            let first = neighbour.physical.get().saturating_sub(neighbour.logical - own.start);
            let physical = BlockNr(first.saturating_add(inside));
            return Ok(Mapping { logical, physical, len: len.min(own.end - logical), written: true });
        }
        // The last cluster may have a place already, by blocks behind the hole.
        let mut end = logical.saturating_add(len);
        let last = end - end % ratio;
        if last < end && last > logical && self.first_mapped(inode, last..last.saturating_add(ratio))?.is_some() {
            end = last;
        }
        let goal = around.goal.map(|goal| BlockNr(goal.get().saturating_sub(inside)));
        let goal = goal.unwrap_or_else(|| self.home(inode));
        let run = self.take_for(inode, goal, own.start, end - own.start)?;
        self.add_clusters(inode, i64::try_from(run.len.div_ceil(ratio)).unwrap_or(i64::MAX))?;
        let usable = run.len.min(end - own.start).saturating_sub(inside);
        if usable == 0 {
            // The last cluster of the file system, of which there is only a part.
            return Err(EditError::NoSpace { wanted: len, free: self.super_block().free_blocks_count() });
        }
        let physical = BlockNr(run.first.get().saturating_add(inside));
        Ok(Mapping { logical, physical, len: usable, written: true })
    }

    /// Takes up to `len` blocks for a file from block `logical` on: windows, or the beginning of one, where the blocks are worth it.
    fn take_for(&mut self, inode: &Inode, goal: BlockNr, logical: u64, len: u64) -> Result<Run, EditError> {
        let mut len = len.min(self.geometry().blocks_per_group.into());
        if let Some((window, phase)) = self.windows().filter(|_| inode.is_file()) {
            let before = logical.next_multiple_of(window) - logical;
            let worth = if inode.flags().contains(InodeFlags::DAX) { PIECES.0 } else { PIECES.1 };
            if before == 0 && len >= worth {
                if let Some(run) = self.take_part_of_window(goal, len.min(window), window, phase)? {
                    return Ok(run);
                }
            } else if before > 0 && len >= before.saturating_add(worth) {
                // What lies before the first whole window comes alone.
                len = before;
            }
        }
        let run = self.take_blocks(goal, len)?;
        // A cluster may hold more than was wanted; it is taken all the same.
        Ok(if self.geometry().cluster_ratio > 1 { run } else { Run { len: run.len.min(len), ..run } })
    }

    /// Takes the first `len` blocks of a window: the one at `goal` if one begins there and is free, or another that is free.
    fn take_part_of_window(
        &mut self,
        goal: BlockNr,
        len: u64,
        window: u64,
        phase: u64,
    ) -> Result<Option<Run>, EditError> {
        let g = *self.geometry();
        let len = len.next_multiple_of(g.cluster_ratio.into()).min(window);
        let end = BlockNr(goal.get().saturating_add(len - 1));
        let begins = goal.get().saturating_add(phase).is_multiple_of(window);
        if begins && g.group_of_block(goal).is_some() && g.group_of_block(goal) == g.group_of_block(end) {
            let next = Run { first: goal, len };
            match self.take_exactly(next) {
                Ok(()) => return Ok(Some(next)),
                Err(EditError::BlockState { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        if self.volume.hints_mut().no_window {
            return Ok(None);
        }
        let Some(whole) = self.find_window(goal, window, phase)? else {
            self.volume.hints_mut().no_window = true;
            return Ok(None);
        };
        let run = Run { len, ..whole };
        self.take_exactly(run)?;
        Ok(Some(run))
    }

    /// Blocks of a window that one fault can map, and how many blocks of the device lie before the file system.
    fn windows(&self) -> Option<(u64, u64)> {
        let size = self.block_size();
        let base = self.base();
        (size == PAGE_SIZE && base.is_multiple_of(size.into()))
            .then(|| (PMD_SIZE / u64::from(size), base / u64::from(size)))
    }
}
