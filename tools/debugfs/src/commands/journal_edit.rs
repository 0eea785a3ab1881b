//! The journal, written by hand: transactions that a mount, e2fsck or `journal_run` replays.

use super::Command;
use crate::opening::is_same_file;
use crate::output::{self, shown};
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_device::rollback::{honour, write_all_or_none};
use daxkit_device::{BlockDevice, FileDevice, FileOptions, Overlay};
use daxkit_volume::ext4::{HandJournal, LogChecksum, Transaction};
use serde_json::json;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["journal_open", "jo"],
        args: "[-c] [-v VERSION] [-f DEVICE]",
        summary: "Open the journal to be written by hand; -c: turn its checksums on, -v: of this version (2 or 3), -f: it lies on this device",
        example: "journal_open -c",
        run: open,
    },
    Command {
        names: &["journal_close", "jc"],
        args: "",
        summary: "Close the journal",
        example: "journal_close",
        run: close,
    },
    Command {
        names: &["journal_write", "jw"],
        args: "[-b BLOCKS] [-r BLOCKS] [-c] [HOST_FILE]",
        summary: "Write a transaction: -b: these blocks (10,12-14), whose content is in the file, one behind the other, -r: revoke these blocks, \
-c: leave the commit block out",
        example: "journal_write -b 700,702-703 -r 800 /tmp/blocks",
        run: write,
    },
    Command {
        names: &["journal_run", "jr"],
        args: "[-f DEVICE]",
        summary: "Replay the journal into the image and empty it; -f: it lies on this device",
        example: "journal_run",
        run: replay,
    },
];

/// Most blocks of one list: no journal holds more.
const MOST: u64 = 1 << 22;

/// The journal that is open.
pub(crate) struct OpenJournal {
    journal: HandJournal,
}

/// A device beside the image, and what is to be written to it with the next commit.
#[derive(Clone)]
pub(crate) struct External {
    path: PathBuf,
    device: Arc<dyn BlockDevice>,
    overlay: Arc<Overlay<Arc<dyn BlockDevice>>>,
}

impl External {
    /// The device at `path`, which may be open already: it is locked, and opened once.
    fn open(session: &mut Session<'_>, path: &[u8]) -> Result<Self> {
        let path = Path::new(OsStr::from_bytes(path));
        if let Some(open) = session.externals.iter().find(|open| is_same_file(&open.path, path)) {
            return Ok(open.clone());
        }
        let dry_run = session.opening.dry_run;
        let how = if dry_run { FileOptions::read_only() } else { FileOptions::read_write() };
        let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open(path, how)?);
        let (device, rolled_back) = honour(path, 0, device).with_context(|| path.display().to_string())?;
        if rolled_back {
            session.messages.note(format_args!("{}: a change that was cut short was rolled back", path.display()));
        }
        let external = Self { path: path.to_owned(), overlay: Arc::new(Overlay::new(Arc::clone(&device))), device };
        session.externals.push(external.clone());
        Ok(external)
    }

    /// What reads and writes go to.
    fn as_device(&self) -> Arc<dyn BlockDevice> {
        Arc::clone(&self.overlay) as Arc<dyn BlockDevice>
    }

    /// As the overlay's: what is written from here on can be taken back alone.
    pub(crate) fn set_savepoint(&self) {
        self.overlay.set_savepoint();
    }

    pub(crate) fn release_savepoint(&self) {
        self.overlay.release_savepoint();
    }

    pub(crate) fn roll_back(&self) {
        self.overlay.roll_back_to_savepoint();
    }

    /// Writes what was changed, durably, all of it or nothing.
    pub(crate) fn commit(&self) -> Result<()> {
        if !self.overlay.is_unchanged() {
            write_all_or_none(&self.path, 0, &*self.device, &self.overlay).with_context(|| {
                format!("the image was written, the journal's device {} was not", self.path.display())
            })?;
            self.overlay.forget();
        }
        Ok(())
    }
}

/// The device that `-f` names, for a file system whose journal lies on one; one inside the image is looked for nowhere else.
fn external(session: &mut Session<'_>, path: Option<&[u8]>) -> Result<Option<External>> {
    let Some(path) = path else { return Ok(None) };
    if session.volume.super_block().s_journal_inum.get() != 0 {
        session
            .messages
            .warning(format_args!("-f {}: the journal lies inside the image; this is not looked at", shown(path)));
        return Ok(None);
    }
    External::open(session, path).map(Some)
}

fn open(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "cv:f:", &[], (0, 0))?;
    session.check_writable()?;
    if session.journal.is_some() {
        bail!("the journal is open already");
    }
    let version = match options.value("v").map(|word| number(word, "a version")).transpose()? {
        None | Some(3) => LogChecksum::V3,
        Some(2) => LogChecksum::V2,
        Some(other) => bail!("checksums have version 2 or 3, not {other}"),
    };
    let device = external(session, options.value("f"))?.map(|external| external.as_device());
    let checksum = options.has('c').then_some(version);
    let journal = session.edit(|editor| Ok(editor.open_journal(device, checksum)?))?;
    session.journal = Some(OpenJournal { journal });
    Ok(())
}

fn close(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    session.check_writable()?;
    session.journal.take().context("the journal is not open (journal_open opens it)")?;
    Ok(())
}

fn write(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "b:r:c", &[], (0, 1))?;
    session.check_writable()?;
    let open = session.journal.as_ref().context("the journal is not open (journal_open opens it)")?;
    let journal = open.journal.clone();
    let list = |name| options.value(name).map(list).transpose().map(Option::unwrap_or_default);
    let (blocks, revoked) = (list("b")?, list("r")?);
    let blocks = match options.rest.first() {
        Some(name) if !blocks.is_empty() => contents(session, name, &blocks)?,
        None if !blocks.is_empty() => bail!("a file with the content of the blocks is wanted; {}", command.usage()),
        _ => Vec::new(),
    };
    let transaction = Transaction { blocks, revoked, uncommitted: options.has('c') };
    session.edit(|editor| Ok(editor.write_transaction(&journal, &transaction)?))
}

/// Reads the content of blocks, one behind the other.
fn contents(session: &Session<'_>, name: &[u8], blocks: &[u64]) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut file = File::open(OsStr::from_bytes(name)).with_context(|| shown(name))?;
    let size = session.volume.block_size() as usize;
    let mut all = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let mut bytes = Vec::new();
        (&mut file).take(size as u64).read_to_end(&mut bytes).with_context(|| shown(name))?;
        if bytes.len() < size {
            bail!("{}: it holds {index} blocks of {size} bytes, not {}", shown(name), blocks.len());
        }
        all.push((*block, bytes));
    }
    Ok(all)
}

/// `10,12-14`.
fn list(word: &[u8]) -> Result<Vec<u64>> {
    let mut blocks = Vec::new();
    for part in word.split(|b| *b == b',') {
        let (first, last) = match part.iter().position(|b| *b == b'-') {
            Some(at) => (part.get(..at).unwrap_or_default(), part.get(at + 1..).unwrap_or_default()),
            None => (part, part),
        };
        let (first, last) = (number(first, "a block number")?, number(last, "a block number")?);
        if last < first {
            bail!("{}: ends before it begins", shown(part));
        }
        if last - first >= MOST - blocks.len() as u64 {
            bail!("{}: more blocks than a journal holds", shown(word));
        }
        blocks.extend(first..=last);
    }
    Ok(blocks)
}

fn replay(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "f:", &[], (0, 0))?;
    session.check_writable()?;
    if session.journal.is_some() {
        bail!("the journal is open; close it first (journal_close)");
    }
    // Without a name it is the one that was open last, if it lies on a device of its own.
    let external = external(session, options.value("f"))?.or_else(|| session.externals.last().cloned());
    let device = external.map(|external| external.as_device());
    let report = session.edit(|editor| Ok(editor.run_journal(device)?))?;
    // An image is opened with its journal replayed; writing that is what is asked for then.
    let report = report.or_else(|| session.volume.replay_report().cloned());
    if let Some(bad) = report.as_ref().filter(|report| !report.is_complete()) {
        session.complain(format!(
            "the journal is damaged: {} blocks were left out{}",
            bad.bad_blocks,
            bad.failed_transaction.map_or_else(String::new, |t| format!(", and all from transaction {t} on"))
        ));
    }
    if session.json {
        let document = report.map(|r| {
            json!({
                "first_transaction": r.first_transaction, "end_transaction": r.end_transaction, "blocks": r.blocks,
                "revoked": r.revoked, "bad_blocks": r.bad_blocks, "failed_transaction": r.failed_transaction,
                "fast_commit_tags": r.fast_commit_tags,
            })
        });
        return output::document(&mut session.out, command.name(), json!(document));
    }
    Ok(())
}
