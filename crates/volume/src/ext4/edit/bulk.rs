//! The same change to many inodes: tables are read and written in long pieces, not inode by inode.

use daxkit_format::InodeNr;
use daxkit_format::ext4::inode;

use super::super::at_once::in_order;
use super::super::error::{Corruption, Place, VolumeError};
use super::super::inode_sums::{self, LANES};
use super::{EditError, Editor};

/// Bytes of tables changed at once: a page of the large kind.
const PIECE: u64 = 2 << 20;

/// Bytes of a page in memory.
const PAGE: u64 = 4096;

/// Bytes between two inodes for which it is not worth to begin anew.
const GAP: u64 = 64 << 10;

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
        self.pieces(inodes).into_iter().try_for_each(|piece| self.change_piece(piece, &mut change))
    }

    /// As [`Editor::change_inodes`], on all processors, so in any order; but the first inode comes before everything else.
    ///
    /// # Errors
    /// As [`Editor::change_inodes`].
    pub fn change_inodes_alike<E: From<EditError> + Send>(
        &mut self,
        inodes: &[InodeNr],
        change: impl Fn(InodeNr, &mut [u8]) -> Result<bool, E> + Sync,
    ) -> Result<(), E> {
        let Some((first, rest)) = inodes.split_at_checked(1) else { return Ok(()) };
        self.change_piece(first, &mut &change)?;
        let editor = &*self;
        in_order(&self.pieces(rest), |piece, (): &mut ()| editor.change_piece(piece, &mut &change)).map(drop)
    }

    /// Changes inodes that lie in one piece of the tables.
    fn change_piece<E: From<EditError>>(
        &self,
        inodes: &[InodeNr],
        change: &mut impl FnMut(InodeNr, &mut [u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        let (Some(first), Some(last)) = (inodes.first(), inodes.last()) else { return Ok(()) };
        let size = u64::from(self.geometry().inode_size);
        let start = self.inode_byte(*first).map_err(EditError::from)?;
        let len = (last.get().saturating_sub(first.get()) + 1).saturating_mul(size);
        self.change_bytes(Place::Inode(*first), start..start.saturating_add(len), |bytes| {
            let mut changed = false;
            for row in rows(inodes) {
                let Some(head) = row.first() else { continue };
                let from = usize::try_from((head.get().saturating_sub(first.get())).saturating_mul(size)).unwrap_or(0);
                let Some(raws) = bytes.get_mut(from..from.saturating_add(row.len() * size as usize)) else { continue };
                changed |= self.change_row(row, raws, change)?;
            }
            Ok(changed)
        })
    }

    /// Changes inodes of which there are the bytes, at most [`LANES`]; says whether any was changed.
    fn change_row<E: From<EditError>>(
        &self,
        inodes: &[InodeNr],
        raws: &mut [u8],
        change: &mut impl FnMut(InodeNr, &mut [u8]) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let size = usize::from(self.geometry().inode_size);
        let number = |nr: &InodeNr| u32::try_from(nr.get()).unwrap_or(0);
        let first = inodes.first().map_or(0, number);
        let verify = self.verify_seed();
        let side_by_side = size == inode_sums::SIZE;
        let row = raws.as_chunks().0.try_into().ok().filter(|_| side_by_side);
        let fit = verify.zip(row).and_then(|(seed, row)| inode_sums::fit(seed, first, row));
        let verify = verify.filter(|_| fit != Some([true; LANES]));
        let mut changed = [false; LANES];
        for ((nr, raw), changed) in inodes.iter().zip(raws.chunks_exact_mut(size)).zip(&mut changed) {
            if verify.is_some_and(|seed| !inode::verify(seed, number(nr), raw) && raw.iter().any(|b| *b != 0)) {
                return Err(EditError::from(VolumeError::bad_inode(*nr, Corruption::Checksum)).into());
            }
            *changed = change(*nr, raw)?;
        }
        if let Some(seed) = self.seal_seed() {
            let row = raws.as_chunks_mut().0.try_into().ok();
            let row = row.filter(|_| side_by_side && changed == [true; LANES]);
            if !row.is_some_and(|row| inode_sums::seal(seed, first, row)) {
                let each = inodes.iter().zip(raws.chunks_exact_mut(size)).zip(changed);
                each.filter(|(_, changed)| *changed).for_each(|((nr, raw), _)| inode::seal(seed, number(nr), raw));
            }
        }
        Ok(changed.contains(&true))
    }

    /// Inodes, cut where a piece of the tables ends.
    fn pieces<'i>(&self, inodes: &'i [InodeNr]) -> Vec<&'i [InodeNr]> {
        let (mut pieces, mut rest) = (Vec::new(), inodes);
        while !rest.is_empty() {
            let (here, behind) = rest.split_at_checked(self.piece(rest)).unwrap_or((rest, &[]));
            pieces.push(here);
            rest = behind;
        }
        pieces
    }

    /// How many of the inodes lie in one piece that begins with the first of them. Tables of groups that follow each other mostly do so on
    /// the device.
    fn piece(&self, inodes: &[InodeNr]) -> usize {
        let size = u64::from(self.geometry().inode_size);
        let group = |nr: InodeNr| self.geometry().group_of_inode(nr).map(|(group, _)| group.get());
        let byte = |nr: InodeNr| self.inode_byte(nr).ok();
        let Some(((first, start), mut here)) = inodes.first().and_then(|nr| Some(((*nr, byte(*nr)?), group(*nr)?)))
        else {
            return 1;
        };
        // Where this ends no page is changed by two.
        let end = start / PAGE * PAGE + PIECE;
        let together = inodes.iter().zip(inodes.get(1..).unwrap_or_default()).take_while(|(before, next)| {
            let at = start.saturating_add(next.get().saturating_sub(first.get()).saturating_mul(size));
            if next.get().saturating_sub(before.get()).saturating_mul(size) > GAP || at >= end {
                return false;
            }
            if group(**next) == Some(here) {
                return true;
            }
            here += 1;
            group(**next) == Some(here) && byte(**next) == Some(at)
        });
        together.count() + 1
    }
}

/// Inodes, ascending, cut into rows of [`LANES`] that lie side by side, and single ones.
fn rows(inodes: &[InodeNr]) -> impl Iterator<Item = &[InodeNr]> {
    let mut rest = inodes;
    std::iter::from_fn(move || {
        let beside = |row: &&[InodeNr; LANES]| row.is_sorted_by(|a, b| a.get() + 1 == b.get());
        let row = rest.first_chunk().filter(beside);
        let (here, behind) = rest.split_at_checked(row.map_or(1, |row| row.len()))?;
        rest = behind;
        Some(here)
    })
}
