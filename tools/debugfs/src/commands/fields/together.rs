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

/// Most inodes put off.
const MOST: usize = 1 << 16;

/// Edits that were put off.
pub(crate) struct Together {
    command: &'static Command,
    wanted: Wanted,
    field: Vec<u8>,
    value: Vec<u8>,
    inodes: Vec<InodeNr>,
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
        let from_root = self.root == InodeNr::ROOT && spec.first() == Some(&b'/');
        let nr = match self.volume.remembered_number(self.here, spec) {
            Some(nr) if from_root && self.changes.once => nr,
            _ => {
                self.settle()?;
                return Ok(false);
            }
        };
        let together = self.together.get_or_insert_with(|| Together {
            command,
            wanted: *wanted,
            field: field.to_vec(),
            value: value.to_vec(),
            inodes: Vec::new(),
        });
        together.inodes.push(nr);
        if together.inodes.len() >= MOST {
            self.settle()?;
        }
        Ok(true)
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
        let Some(Together { command, wanted, field, value, mut inodes }) = self.together.take() else { return Ok(()) };
        inodes.sort_unstable();
        inodes.dedup();
        change_field(self, &inodes, &field, &wanted, &value).with_context(|| command.name())
    }
}
