//! The same change to many inodes: tables are read and written in long pieces, not inode by inode.

use daxkit_format::InodeNr;
use daxkit_format::ext4::inode;

use super::super::at_once::in_order;
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
        let mut bytes = Vec::new();
        self.pieces(inodes).into_iter().try_for_each(|piece| self.change_piece(piece, &mut bytes, &mut change))
    }

    /// As [`Editor::change_inodes`], on all processors, so in any order; but what lies in one piece with the first inode comes before
    /// everything else.
    ///
    /// # Errors
    /// As [`Editor::change_inodes`].
    pub fn change_inodes_alike<E: From<EditError> + Send>(
        &mut self,
        inodes: &[InodeNr],
        change: impl Fn(InodeNr, &mut [u8]) -> Result<bool, E> + Sync,
    ) -> Result<(), E> {
        let pieces = self.pieces(inodes);
        let Some((first, rest)) = pieces.split_first() else { return Ok(()) };
        self.change_piece(first, &mut Vec::new(), &mut &change)?;
        let editor = &*self;
        in_order(rest, |piece, bytes| editor.change_piece(piece, bytes, &mut &change)).map(drop)
    }

    /// Changes inodes that lie in one piece of a table.
    fn change_piece<E: From<EditError>>(
        &self,
        inodes: &[InodeNr],
        bytes: &mut Vec<u8>,
        change: &mut impl FnMut(InodeNr, &mut [u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        let (Some(first), Some(last)) = (inodes.first(), inodes.last()) else { return Ok(()) };
        let size = u64::from(self.geometry().inode_size);
        let (seal, verify) = (self.seal_seed(), self.verify_seed());
        let (block, at) = self.inode_location(*first).map_err(EditError::from)?;
        let start = (block.get() << self.geometry().block_shift()).saturating_add(at as u64);
        let len = (last.get().saturating_sub(first.get()) + 1).saturating_mul(size);
        bytes.resize(usize::try_from(len).unwrap_or(0), 0);
        let place = Place::Inode(*first);
        self.read_bytes(place, start, bytes).map_err(EditError::from)?;
        let mut changed = false;
        for nr in inodes {
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
            self.put_bytes(place, start, bytes)?;
        }
        Ok(())
    }

    /// Inodes, cut where a piece of a table ends.
    fn pieces<'i>(&self, inodes: &'i [InodeNr]) -> Vec<&'i [InodeNr]> {
        let (mut pieces, mut rest) = (Vec::new(), inodes);
        while let Some(first) = rest.first() {
            let (here, behind) = rest.split_at_checked(self.piece(rest, *first)).unwrap_or((rest, &[]));
            pieces.push(here);
            rest = behind;
        }
        pieces
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
