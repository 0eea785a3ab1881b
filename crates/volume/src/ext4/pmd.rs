//! What one page fault can map of a file: its map, as `daxkit_format::pmd` wants to see it.

use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::pmd::{FileExtent, PmdGeometry, PmdSummary, pieces, summary};

use super::{Inode, Volume, VolumeError};

impl Volume {
    /// The data of a file in order, in pieces of which a fault maps one at most: those of an indirect map end with its blocks.
    pub fn pmd_extents(&self, inode: &Inode) -> impl Iterator<Item = Result<FileExtent, VolumeError>> + use<'_> {
        let (by_extents, block_size) = (inode.flags().contains(InodeFlags::EXTENTS), self.block_size());
        self.extents(inode).flat_map(move |run| {
            let (run, error) = match run {
                Ok(run) => (Some(run), None),
                Err(error) => (None, Some(Err(error))),
            };
            let extents = run.map(|run| FileExtent {
                logical: run.logical,
                physical: run.physical.get(),
                len: run.len,
                written: run.written,
            });
            pieces(extents, by_extents, block_size).map(Ok).chain(error)
        })
    }

    /// How many of a file's 2 MiB windows one fault can map, when the file system lies `data_offset` bytes behind the start of the
    /// persistent memory. `None` when the map cannot be read.
    #[must_use]
    pub fn pmd_summary(&self, inode: &Inode, data_offset: u64) -> Option<PmdSummary> {
        let geometry = PmdGeometry::new(self.block_size(), data_offset)?;
        let extents: Vec<FileExtent> = self.pmd_extents(inode).collect::<Result<_, _>>().ok()?;
        Some(summary(geometry, inode.size(), extents))
    }
}
