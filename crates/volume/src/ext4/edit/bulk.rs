//! The same change to many inodes: tables are read and written in long pieces, not inode by inode.

use daxkit_format::InodeNr;
use daxkit_format::ext4::inode;

use super::super::error::{Corruption, Place, VolumeError};
use super::{EditError, Editor};

/// Bytes of a table changed at once.
const CHUNK: u64 = 256 << 10;

impl Editor<'_> {
    /// Gives `change` the bytes of each of these inodes, which come in ascending order; where it says that it changed them, they
    /// are sealed and written.
    ///
    /// # Errors
    /// A number of no inode, an inode whose checksum does not match, a damaged descriptor; or what `change` says.
    pub fn change_inodes<E: From<EditError>>(
        &mut self,
        inodes: &[InodeNr],
        mut change: impl FnMut(InodeNr, &mut [u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        let size = u64::from(self.geometry().inode_size);
        let shift = self.geometry().block_shift();
        let (seal, verify) = (self.seal_seed(), self.verify_seed());
        let mut bytes = Vec::new();
        let mut rest = inodes;
        while let Some(first) = rest.first() {
            let (block, at) = self.inode_location(*first).map_err(EditError::from)?;
            let start = (block.get() << shift).saturating_add(at as u64);
            let piece = self.piece(rest, *first);
            let (here, behind) = rest.split_at_checked(piece).unwrap_or((rest, &[]));
            rest = behind;
            let last = here.last().unwrap_or(first);
            let len = (last.get().saturating_sub(first.get()) + 1).saturating_mul(size);
            bytes.resize(usize::try_from(len).unwrap_or(0), 0);
            let place = Place::Inode(*first);
            self.read_bytes(place, start, &mut bytes).map_err(EditError::from)?;
            let mut changed = false;
            for nr in here {
                let from = usize::try_from((nr.get().saturating_sub(first.get())).saturating_mul(size)).unwrap_or(0);
                let Some(raw) = bytes.get_mut(from..from.saturating_add(size as usize)) else { continue };
                let number = u32::try_from(nr.get()).unwrap_or(0);
                if verify.is_some_and(|seed| !inode::verify(seed, number, raw) && raw.iter().any(|b| *b != 0)) {
                    return Err(EditError::from(VolumeError::bad_inode(*nr, Corruption::Checksum)).into());
                }
                if change(*nr, raw)? {
                    changed = true;
                    if let Some(seed) = seal {
                        inode::seal(seed, number, raw);
                    }
                }
            }
            if changed {
                self.write_bytes(place, start, &bytes)?;
            }
        }
        Ok(())
    }

    /// How many of the inodes lie in one piece of a table that begins with the first.
    fn piece(&self, inodes: &[InodeNr], first: InodeNr) -> usize {
        let g = self.geometry();
        let most = (CHUNK / u64::from(g.inode_size)).max(1);
        let group_end = first.get().saturating_sub(1) / u64::from(g.inodes_per_group) * u64::from(g.inodes_per_group)
            + u64::from(g.inodes_per_group);
        let end = first.get().saturating_add(most).min(group_end.saturating_add(1));
        inodes.partition_point(|nr| nr.get() < end).max(1)
    }
}
