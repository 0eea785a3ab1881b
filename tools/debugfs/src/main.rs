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
//! the program ([`change`]).

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
use daxkit_cli::docs::{self, Document};
use daxkit_cli::message::{Messages, with_causes};
use daxkit_cli::{status, usage};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

/// The name in messages.
const TOOL: &str = "dax-debugfs";

/// Looks inside an ext4 image and edits it.
///
/// With -w a whole script is one change: it is written when every command succeeded, and nothing of it otherwise. Files that commands
/// write on the host (dump, rdump) are not taken back. Exit status: 0; 1 when the image cannot be opened, a command failed or a
/// signal came.
#[derive(Debug, Parser)]
#[command(name = TOOL, version, about, disable_version_flag = true)]
struct Args {
    /// Open the image for writing: commands may edit it
    #[arg(short = 'w')]
    write: bool,
    /// Keep what is overwritten in a new file, for e2undo
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
    /// Show what would be changed in the image, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Open a badly damaged image: trust neither checksums nor bitmaps, leave the journal alone
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
