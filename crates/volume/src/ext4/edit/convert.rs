//! From extents to an indirect map and back: data stays where it is, only what maps it is made anew.

use daxkit_format::dax::Errno;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::super::inode::Inode;
use super::super::map::Mapping;
use super::map::Gone;
use super::{EditError, Editor};

impl Editor<'_> {
    /// Changes how a file is mapped: by extents, or by indirect blocks. The data stays where it is.
    ///
    /// # Errors
    /// The other kind of map cannot hold it; no space for blocks of the map; the map is damaged.
    pub fn convert_map(&mut self, inode: &mut Inode, to_extents: bool) -> Result<(), EditError> {
        if inode.flags().contains(InodeFlags::EXTENTS) == to_extents {
            return Ok(());
        }
        let nr = inode.nr();
        let refuse = |what| Err(EditError::refused(nr, Errno::EOPNOTSUPP, what));
        if to_extents && !self.has_incompat(Incompat::EXTENTS) {
            return refuse("the file system has no feature extent");
        }
        if !to_extents && self.geometry().cluster_ratio > 1 {
            return refuse("with bigalloc every file is mapped by extents");
        }
        if !self.has_map(inode) {
            return refuse("it has no map");
        }
        let runs: Vec<Mapping> = self.extents(inode).collect::<Result<_, _>>()?;
        if !to_extents {
            if runs.iter().any(|r| !r.written) {
                return refuse("blocks that read as zero need extents");
            }
            if runs.iter().any(|r| r.physical.get().saturating_add(r.len) > 1 << 32) {
                return refuse("blocks that far back need extents");
            }
        }
        self.map_remove(inode, 0..u64::MAX, Gone::Kept)?;
        self.modify(inode, |disk| {
            let mut flags = disk.flags();
            flags.set(InodeFlags::EXTENTS, to_extents);
            disk.set_flags(flags);
        });
        self.new_map(inode);
        self.map_insert_all(inode, runs)?;
        self.store_inode(inode)
    }
}
