//! Who claims which blocks: the scan claims as it goes, a second look lists who claims what was claimed twice.

use super::{Context, Local};

/// Where the blocks of an inode go.
pub(crate) trait Claims {
    /// Blocks that hold what the inode is read by: nodes of maps, attributes.
    fn own(&mut self, ino: u32, first: u64, len: u64);

    /// Blocks of content, and where in the file they are.
    fn content(&mut self, ino: u32, logical: u64, first: u64, len: u64);
}

/// Marks them in the map.
pub(crate) struct Mark<'c, 'l> {
    pub(crate) cx: &'c Context<'c>,
    pub(crate) local: &'l mut Local,
    /// The cluster that was marked last for this inode, under bigalloc: the blocks that follow in it are no second claim.
    pub(crate) last: Option<u64>,
}

impl Mark<'_, '_> {
    fn mark(&mut self, first: u64, len: u64) {
        let (mut from, mut count) = self.cx.image.clusters(first, len);
        if self.cx.image.geo.cluster_ratio > 1 {
            if self.last == Some(from) && count > 0 {
                (from, count) = (from + 1, count - 1);
            }
            if count > 0 {
                self.last = Some(from + count - 1);
            }
        }
        if count > 0 && self.cx.blocks.mark(from, count) {
            self.local.twice.push((from, count));
        }
    }
}

impl Claims for Mark<'_, '_> {
    fn own(&mut self, _: u32, first: u64, len: u64) {
        self.last = None;
        self.mark(first, len);
        self.last = None;
    }

    fn content(&mut self, _: u32, _: u64, first: u64, len: u64) {
        self.mark(first, len);
    }
}
