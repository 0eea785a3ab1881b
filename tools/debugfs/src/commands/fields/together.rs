//! The same value for the same field of many inodes: scripts name hundreds of thousands of files one by one, and tables are
//! written in long pieces.
//!
//! Only where the first failure is the end of everything. What was put off is done before anything else is looked at, so nobody can
//! see the difference; when it fails, that failure is the one to be told, because it came first.

use super::{Wanted, change_field};
use crate::commands::Command;
use crate::session::Session;
use anyhow::{Context, Result};
use daxkit_format::InodeNr;
use std::collections::BTreeMap;

/// Most inodes put off.
const MOST: usize = 1 << 17;

/// Edits that were put off.
pub(crate) struct Together {
    command: &'static Command,
    wanted: Wanted,
    field: Vec<u8>,
    value: Vec<u8>,
    inodes: InodeSet,
}

impl Together {
    /// The command that makes them.
    pub(crate) fn command(&self) -> &'static Command {
        self.command
    }
}

/// A set of inodes, which mostly come in rows: a bit for each, 512 in a piece.
#[derive(Debug, Default)]
struct InodeSet {
    pieces: BTreeMap<u64, [u64; 8]>,
    len: usize,
}

impl InodeSet {
    /// Piece, word and bit.
    fn place(nr: InodeNr) -> (u64, usize, u64) {
        (nr.get() >> 9, (nr.get() >> 6 & 7) as usize, 1 << (nr.get() & 63))
    }

    fn insert(&mut self, nr: InodeNr) {
        let (piece, word, bit) = Self::place(nr);
        if let Some(word) = self.pieces.entry(piece).or_default().get_mut(word) {
            self.len += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }

    fn contains(&self, nr: InodeNr) -> bool {
        let (piece, word, bit) = Self::place(nr);
        self.pieces.get(&piece).and_then(|words| words.get(word)).is_some_and(|word| word & bit != 0)
    }

    /// All of them, ascending.
    fn to_vec(&self) -> Vec<InodeNr> {
        let mut all = Vec::with_capacity(self.len);
        for (piece, words) in &self.pieces {
            for (word, bits) in (piece << 3..).zip(words) {
                let mut left = *bits;
                while left != 0 {
                    all.push(InodeNr(word << 6 | u64::from(left.trailing_zeros())));
                    left &= left - 1;
                }
            }
        }
        all
    }
}

impl Session<'_> {
    /// Sets a field of a file later, together with others, where that makes no difference; `false` where it has to be set now.
    pub(super) fn put_off(
        &mut self,
        command: &'static Command,
        spec: &[u8],
        field: &[u8],
        wanted: &Wanted,
        value: &[u8],
    ) -> Result<bool> {
        let alike = self.together.as_ref().is_some_and(|t| t.field == field && t.value == value);
        if !alike {
            self.settle()?;
        }
        let from_root = self.root == InodeNr::ROOT && spec.first() == Some(&b'/') && self.changes.once;
        let nr =
            if from_root { self.volume.remembered_number(spec).or_else(|| self.beside_what_waits(spec)) } else { None };
        let Some(nr) = nr else {
            self.settle()?;
            return Ok(false);
        };
        let together = self.together.get_or_insert_with(|| Together {
            command,
            wanted: *wanted,
            field: field.to_vec(),
            value: value.to_vec(),
            inodes: InodeSet::default(),
        });
        together.inodes.insert(nr);
        if together.inodes.len >= MOST {
            self.settle()?;
        }
        Ok(true)
    }

    /// The inode at the end of a path from the root, when nothing that was put off is on the way to it, and no path that is remembered goes
    /// through it. When anything is wrong with the way it is looked at again after what was put off, which came first.
    fn beside_what_waits(&self, spec: &[u8]) -> Option<InodeNr> {
        let waits = self.together.as_ref().map(|together| &together.inodes);
        let mut beside = true;
        let root = self.volume.root().ok()?;
        let found = self.volume.resolve_along(&root, spec, false, &mut |nr| {
            beside &= !waits.is_some_and(|inodes| inodes.contains(nr));
        });
        let nr = found.ok()?.nr();
        (beside && !self.volume.remembers(nr)).then_some(nr)
    }

    /// Does what was put off, unless this command may put off more of it.
    pub(crate) fn settle_before(&mut self, command: &Command) -> Result<()> {
        match &self.together {
            Some(together) if !std::ptr::eq(together.command, command) => self.settle(),
            _ => Ok(()),
        }
    }

    /// Does what was put off.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let Some(Together { command, wanted, field, value, inodes }) = self.together.take() else { return Ok(()) };
        change_field(self, &inodes.to_vec(), &field, &wanted, &value).with_context(|| command.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_back_what_was_put_in_ascending_and_once() {
        let mut set = InodeSet::default();
        let numbers = [700, 1, 64, 63, 512, 511, 1 << 32, 64, 1];
        numbers.iter().for_each(|nr| set.insert(InodeNr(*nr)));
        assert_eq!(set.to_vec().iter().map(|nr| nr.get()).collect::<Vec<_>>(), [1, 63, 64, 511, 512, 700, 1 << 32]);
        assert_eq!(set.len, 7);
        assert!(numbers.iter().all(|nr| set.contains(InodeNr(*nr))) && !set.contains(InodeNr(2)));
    }
}
