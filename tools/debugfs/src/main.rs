//! `dax-debugfs`: looks inside an ext4 image and edits it, for people who know debugfs.
//!
//! The binary opens the image, reads commands (from `-R`, a script, a pipe or a terminal) and prints what they find. The
//! commands stand in one table ([`commands`]); what they need to know of ext4 they ask `daxkit-volume`.
//!
//! Exit status: 0, or 1 when the image cannot be opened, a command failed (each failure is one line on standard error) or a
//! signal came. The first failed command ends the run unless `--keep-going` is given or the commands are typed at a terminal.
//!
//! Edits (`-w`) are all or nothing: a script is one change, written when its last command succeeded; a command typed at a
//! terminal is one change, and so is each of a script with `--each`. Until a change is written the image is as it was, whatever ends
//! the program ([`change`], [`signals`]).

#![forbid(unsafe_code)]

mod change;
mod commands;
mod dry_run;
mod files;
mod opening;
mod output;
mod parallel;
mod position;
mod session;
mod shell;
mod signals;
mod tar;
mod words;

use clap::{CommandFactory, Parser};
use daxkit_cli::color::When;
use daxkit_cli::docs::{self, Document};
use daxkit_cli::message::{Messages, with_causes};
use daxkit_cli::{status, usage};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

/// The name in messages.
const TOOL: &str = "dax-debugfs";

/// What the help says behind the options.
const NOTES: &str = "\
Edits (-w): a script, from -f, -R or standard input, is one change. It is written, through the image's journal or in place under a \
rollback file, when its last command has succeeded; until then the image is as it was, whatever ends the program. With --each a command \
is a change of its own, as one typed at a terminal is; begin and commit, or abort, stand around a change of several. A change of which a \
command failed is not written. close_filesys writes what was changed. Files written on the host (by dump, rdump and the like) are not \
taken back.

A rollback file (IMAGE.daxkit-rollback) is there while an image is changed in place. When one is left behind, the next daxkit tool that \
opens the image rolls it back, in memory if it may not write. The Linux kernel and e2fsprogs do not know that file.

At a terminal lines are edited, with history and completion, and long output goes through a pager. DAX_DEBUGFS_PAGER, else PAGER, names \
the pager (less; empty: none); DAX_DEBUGFS_HISTORY the file of the history (dax-debugfs/history in XDG_STATE_HOME, else in ~/.local/state; \
empty: none); NO_COLOR is respected. Ctrl-C stops a command, not the program.

-z FILE makes a new file with the first change; e2undo FILE IMAGE gives the image back as it was opened.

Exit status: 0; 1 when the image cannot be opened or written, a command failed, diff found a difference, or SIGINT, SIGTERM or SIGHUP \
came. Each failure is one line on standard error. A signal leaves out what was not written yet; a change that is being written is \
finished first. At a terminal a command that fails does not count.";

/// Looks inside an ext4 image and edits it.
#[derive(Debug, Parser)]
#[command(name = TOOL, version, about, disable_version_flag = true, after_long_help = NOTES)]
struct Args {
    /// Open the image for writing: commands may edit it
    #[arg(short = 'w')]
    write: bool,
    /// Keep what is overwritten in FILE, which must be new, for e2undo
    #[arg(short = 'z', value_name = "FILE")]
    undo: Option<PathBuf>,
    /// Take metadata whose checksum does not match; what is edited gets a right one
    #[arg(short = 'n')]
    ignore_checksums: bool,
    /// Read and write past the host's page cache (direct I/O)
    #[arg(short = 'D')]
    direct_io: bool,
    /// A command to run instead of reading commands from standard input; may be given again
    #[arg(short = 'R', value_name = "COMMAND")]
    request: Vec<String>,
    /// Read commands from FILE, one a line (`-` is standard input)
    #[arg(short = 'f', value_name = "FILE", conflicts_with = "request")]
    script: Option<PathBuf>,
    /// Go on after a command failed; the exit status is 1 all the same, and nothing is written unless --each is given
    #[arg(long)]
    keep_going: bool,
    /// Make each command a change of its own, written before the next
    #[arg(long)]
    each: bool,
    /// With -w: show what would be changed in the image, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Open a badly damaged image: trust neither checksums nor bitmaps, leave the journal alone, take a copy of the superblock where it is gone
    #[arg(short = 'c')]
    catastrophic: bool,
    /// Take the superblock from this block (with -b)
    #[arg(short = 's', value_name = "BLOCK")]
    superblock: Option<u64>,
    /// Block size in bytes, with which -s counts
    #[arg(short = 'b', value_name = "BYTES")]
    block_size: Option<u32>,
    /// Show the image as it lies, without the changes that wait in its journal
    #[arg(long)]
    no_replay: bool,
    /// Byte of IMAGE at which the file system begins
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = size)]
    offset: u64,
    /// Print one JSON document for each command
    #[arg(long)]
    json: bool,
    /// Colour names and messages
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: When,
    /// Show long output as it comes, without a pager
    #[arg(long)]
    no_pager: bool,
    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// Print the manual page or shell completions
    #[arg(long, value_enum, hide = true, value_name = "DOCUMENT")]
    document: Option<Document>,
    /// The image, or a block device
    #[arg(value_name = "IMAGE")]
    image: Option<PathBuf>,
}

/// A number of bytes, with or without K, M, G or T.
fn size(text: &str) -> Result<u64, String> {
    daxkit_cli::size::parse(text, 1).ok_or_else(|| format!("{text:?} is not a size"))
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return ExitCode::from(usage::answer(TOOL, &error)),
    };
    args.color.apply();
    let messages = Messages::new(TOOL, false);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let done = match args.document {
        Some(document) => {
            let done = docs::write(document, Args::command(), &mut std::io::stdout().lock());
            done.map(|()| true).map_err(anyhow::Error::from)
        }
        None => signals::watch(messages).and_then(|()| shell::run(&args, now, &messages)),
    };
    match done {
        Ok(true) => ExitCode::from(status::OK),
        Ok(false) => ExitCode::from(status::FAILED),
        Err(error) => {
            messages.error(with_causes(error.as_ref()));
            ExitCode::from(status::FAILED)
        }
    }
}
