//! The blocks of directories.

use super::inode::ROOT;
use super::{WriteError, Writer};
use crate::plan::inodes::LOST_FOUND_INO;
use crate::plan::map::{NodeMap, Run};
use crate::pool;
use crate::source::NodeId;
use daxkit_format::ext4::dir_tree::{DirFormat, Item};

/// Directories built by a thread at a time.
const BATCH: usize = 64;

/// A buffer of blocks that follow each other on the device.
#[derive(Default)]
struct Gather {
    at: u64,
    bytes: Vec<u8>,
}

impl Writer<'_> {
    /// Builds and writes all directories.
    pub(super) fn write_dirs(&self) -> Result<(), WriteError> {
        let dirs: Vec<NodeId> = self.tree.dirs().filter(|d| !self.plan.needs.inodes.is_inline(*d)).collect();
        self.progress.stage("writing directories", dirs.len() as u64);
        if self.plan.needs.inodes.lost_found.is_none() {
            let mut out = Vec::new();
            self.build_dir(
                &self.plan.needs.dir_format,
                &[],
                (LOST_FOUND_INO, 2),
                self.plan.needs.lost_found_blocks(),
                &mut out,
            );
            self.put_runs(&self.plan.lost_found.runs, &out)?;
        }
        let count = dirs.len().div_ceil(BATCH);
        pool::run(
            self.plan.params.threads,
            count,
            self.progress,
            || Ok(Gather::default()),
            |g, i| {
                let batch = dirs.get(i * BATCH..dirs.len().min((i + 1) * BATCH)).unwrap_or_default();
                for id in batch {
                    self.gather(*id, g)?;
                }
                self.flush(g)?;
                self.progress.advance(batch.len() as u64);
                Ok(())
            },
        )?;
        Ok(())
    }

    fn gather(&self, id: NodeId, g: &mut Gather) -> Result<(), WriteError> {
        let items = self.plan.needs.items(self.tree, id);
        let format = self.plan.needs.format_of_dir(&self.plan.params, self.tree, id);
        let ino = self.plan.needs.inodes.ino(id);
        let parent = if id == ROOT { 2 } else { self.parent_ino(id) };
        let blocks = self.plan.needs.dir_blocks(id);
        if let NodeMap::Simple(start) = self.plan.maps.get(id.0) {
            let at = start * self.block_bytes();
            if g.at + g.bytes.len() as u64 != at {
                self.flush(g)?;
                g.at = at;
            }
            self.build_dir(&format, &items, (ino, parent), blocks, &mut g.bytes);
            return Ok(());
        }
        let mut out = Vec::new();
        self.build_dir(&format, &items, (ino, parent), blocks, &mut out);
        let runs: Vec<Run> = self.plan.maps.runs(id.0, u64::from(blocks)).collect();
        self.put_runs(&runs, &out)
    }

    /// Appends the directory's blocks, filled up with empty ones.
    fn build_dir(
        &self,
        format: &DirFormat,
        items: &[Item<'_>],
        (ino, parent): (u32, u32),
        blocks: u32,
        out: &mut Vec<u8>,
    ) {
        let bs = self.plan.params.block_size as usize;
        let end = out.len() + bs * blocks as usize;
        let seed = self.inode_seed(ino);
        format.build(items, ino, parent, seed, out);
        while out.len() < end {
            format.push_empty(seed, out);
        }
    }

    fn flush(&self, g: &mut Gather) -> Result<(), WriteError> {
        if !g.bytes.is_empty() {
            self.device.write_at(g.at, &g.bytes)?;
            g.bytes.clear();
        }
        Ok(())
    }

    /// Writes bytes over runs of blocks; the rest of the last block becomes zero.
    pub(super) fn put_runs(&self, runs: &[Run], bytes: &[u8]) -> Result<(), WriteError> {
        let bs = self.block_bytes();
        for r in runs {
            let from = (r.logical * bs).min(bytes.len() as u64);
            let to = ((r.logical + r.len) * bs).min(bytes.len() as u64);
            let part = bytes.get(from as usize..to as usize).unwrap_or_default();
            self.device.write_at(r.physical * bs, part)?;
            let rest = r.len * bs - part.len() as u64;
            if rest > 0 {
                self.device.write_zeroes(r.physical * bs + part.len() as u64, rest)?;
            }
        }
        Ok(())
    }
}
