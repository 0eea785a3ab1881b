//! The floor of an edit of many inodes that counts as a whole: their tables read, written into the journal and made durable, then written in place
//! and made durable. No program that survives a power cut at any moment with all of the change or nothing of it, and goes through the image's
//! journal, writes less. No line of a script is read here, no path walked, no checksum made.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// Bytes of a block.
const BLOCK: u64 = 4096;
/// Bytes of an inode.
const INODE: u64 = 256;

/// Where the tables of the first inodes lie, and the journal; in bytes.
#[derive(Debug)]
pub(super) struct Places {
    tables: Vec<(u64, usize)>,
    journal: u64,
}

impl Places {
    /// Asks `debugfs`, which is daxkit's, where the first `inodes` of an image are.
    pub(super) fn of(debugfs: &Path, image: &Path, inodes: u64) -> Result<Self> {
        let ask = |request: &str| -> Result<Value> {
            let out = process::output(process::command(debugfs).args(["--json", "-R", request]).arg(image))?;
            let answer: Value = serde_json::from_slice(&out).context("an answer in JSON")?;
            Ok(answer.get("result").cloned().unwrap_or_default())
        };
        let number = |value: &Value, key: &str| {
            value.get(key).and_then(Value::as_u64).with_context(|| format!("no {key} in the answer {value}"))
        };
        let each = number(&ask("show_super_stats -h")?, "s_inodes_per_group")?;
        let mut tables = Vec::new();
        let mut first = 1;
        while first <= inodes {
            let block = number(&ask(&format!("imap <{first}>"))?, "block")?;
            let here = each.min(inodes - first + 1);
            tables.push((block * BLOCK, usize::try_from((here * INODE).next_multiple_of(BLOCK))?));
            first += each;
        }
        let journal = ask("bmap <8> 1")?;
        let journal = journal.get("physical").and_then(Value::as_u64);
        Ok(Self { tables, journal: journal.context("no place of the journal")? * BLOCK })
    }

    /// Writes the tables of `target` twice.
    pub(super) fn write_twice(&self, target: &Path) -> Result<()> {
        let file: File = OpenOptions::new().read(true).write(true).open(target)?;
        let mut tables = vec![0; self.tables.iter().map(|(_, len)| len).sum()];
        let mut rest = tables.as_mut_slice();
        for (at, len) in &self.tables {
            let (here, behind) = rest.split_at_mut(*len);
            file.read_exact_at(here, *at)?;
            rest = behind;
        }
        file.write_all_at(&tables, self.journal)?;
        file.sync_data()?;
        let mut rest = tables.as_slice();
        for (at, len) in &self.tables {
            let (here, behind) = rest.split_at(*len);
            file.write_all_at(here, *at)?;
            rest = behind;
        }
        Ok(file.sync_data()?)
    }
}
