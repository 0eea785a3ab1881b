//! The same value for the same field of many inodes: scripts name hundreds of thousands of files one by one, and tables are
//! written in long pieces.
//!
//! Only where the first failure is the end of everything. What was put off is done before anything else is looked at, so nobody can
//! see the difference; when it fails, that failure is the one to be told, because it came first.

mod ahead;
mod set;

use super::{Wanted, change_field};
use crate::commands::Command;
use crate::session::Session;
use anyhow::{Context, Result};
use daxkit_format::InodeNr;
use set::InodeSet;

/// Most inodes put off.
const MOST: usize = 1 << 17;

/// Edits that were put off.
pub(crate) struct Together {
    command: &'static Command,
    wanted: Wanted,
    field: Vec<u8>,
    value: Vec<u8>,
    inodes: InodeSet,
    /// What stood around the path in a line that was put off.
    around: Option<(Vec<u8>, Vec<u8>)>,
}

impl Together {
    /// The path in the first line of a text, if that says of another file what was put off already; and what follows the line.
    fn path_in<'l>(&self, text: &'l [u8]) -> Option<(&'l [u8], &'l [u8])> {
        let (before, behind) = self.around.as_ref()?;
        let rest = text.strip_prefix(before.as_slice())?;
        let end = rest.iter().position(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b'"'))?;
        let (path, rest) = rest.split_at_checked(end)?;
        let rest = rest.strip_prefix(behind.as_slice())?;
        (path.first() == Some(&b'/')).then_some((path, rest))
    }

    /// Keeps what stands around the path in a line that was put off, and is these words. Words with quotes are cut as they are every time.
    fn keep_around(&mut self, line: &[u8], words: &[Vec<u8>]) {
        let [name, path, field, value] = words else { return };
        let same =
            self.command.names.iter().any(|n| n.as_bytes() == name) && *field == self.field && *value == self.value;
        if self.around.is_some() || !same || line.contains(&b'"') || line.last() != Some(&b'\n') {
            return;
        }
        let rest = line.trim_ascii_start().strip_prefix(name.as_slice()).map(<[u8]>::trim_ascii_start);
        let Some(rest) = rest.filter(|rest| rest.starts_with(path)) else { return };
        let before = line.get(..line.len() - rest.len()).unwrap_or_default();
        self.around = Some((before.to_vec(), rest.get(path.len()..).unwrap_or_default().to_vec()));
    }

    /// The command that makes them.
    pub(crate) fn command(&self) -> &'static Command {
        self.command
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
        let Some(nr) = self.can_wait(spec) else {
            self.settle()?;
            return Ok(false);
        };
        let together = self.together.get_or_insert_with(|| Together {
            command,
            wanted: *wanted,
            field: field.to_vec(),
            value: value.to_vec(),
            inodes: InodeSet::default(),
            around: None,
        });
        together.inodes.insert(nr);
        if together.inodes.len() >= MOST {
            self.settle()?;
        }
        Ok(true)
    }

    /// As [`Session::put_off`], of a line that is the one before but for the path; `false` where it has to be cut into words and run.
    pub(crate) fn put_off_line(&mut self, line: &[u8]) -> Result<bool> {
        let Some((path, [])) = self.together.as_ref().and_then(|together| together.path_in(line)) else {
            return Ok(false);
        };
        let found = self.can_wait(path);
        let Some((nr, together)) = found.zip(self.together.as_mut().filter(|t| t.inodes.len() + 1 < MOST)) else {
            self.settle()?;
            return Ok(false);
        };
        together.inodes.insert(nr);
        Ok(true)
    }

    /// Says of a line that was run what words it is: the next ones may be the same but for the path.
    pub(crate) fn was_run(&mut self, line: &[u8], words: &[Vec<u8>]) {
        if let Some(together) = &mut self.together {
            together.keep_around(line, words);
        }
    }

    /// Whether there are edits that may be made later.
    fn paths_can_wait(&self) -> bool {
        self.root == InodeNr::ROOT && self.changes.once
    }

    /// The inode of a file that may be changed later.
    fn can_wait(&self, spec: &[u8]) -> Option<InodeNr> {
        if !self.paths_can_wait() || spec.first() != Some(&b'/') {
            return None;
        }
        self.volume.remembered_number(spec).or_else(|| self.beside_what_waits(spec))
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
        let Some(Together { command, wanted, field, value, inodes, .. }) = self.together.take() else { return Ok(()) };
        change_field(self, &inodes.to_vec(), &field, &wanted, &value).with_context(|| command.name())
    }
}
