//! The command line: e2fsck's letters with their meaning, and what only dax-fsck has.

use clap::{Parser, ValueEnum};
use daxkit_cli::color::When;
use daxkit_cli::docs::Document;
use std::path::PathBuf;

use crate::TOOL;

/// What the help says behind the options.
const NOTES: &str = "\
Without -n, -p or -y each finding is a question; without a terminal to ask at, nothing is done and the exit status is 8. The check is \
always a full one, whatever the superblock says of a clean unmount.

With -n nothing is ever written. A journal that waits is replayed in memory, that state is judged, and the journal that waits is itself a \
finding. A repair is made in memory, in rounds, until nothing is left; then it is written at once, the superblock last. -z keeps what is overwritten \
in a file that e2undo takes as well.

Besides what is wrong, a repair builds directories anew that lost their index or would gain from one, and with -y extent trees that are \
deeper or wider than they need to be; -E fixes_only leaves both alone. That alone does not change the exit status.

Words of -E: journal_only, fixes_only, bmap2extent, [no_]optimize_extents, unshare_blocks, check_encoding, fragcheck, [no]discard, \
ea_ver=1 (blocks of attributes are of version 1; those of version 2 are damaged then). ea_ver=2, readahead_kb=N and [no_]inode_count_fullmap are taken and change nothing.

The rules of the DAX flag (codes DAX...) are advice and leave the exit status alone, unless --dax-policy strict makes errors of them, or --deny of \
one. --allow CODE keeps a code quiet, --allow CODE=GLOB for the paths that match.

Exit status, summed up: 0 nothing is wrong; 1 errors were mended; 4 errors are left; 8 the tool could not do its work; 16 the \
command line is wrong or asks for what there is not; 32 stopped by a signal.";

/// What of the DAX rules counts as an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DaxPolicy {
    /// Nothing: it is advice.
    #[default]
    Advice,
    /// Everything.
    Strict,
}

/// Checks an ext4 image, repairs it, and verifies the rules of the DAX flag.
#[derive(Debug, Parser)]
#[command(name = TOOL, version, about, disable_version_flag = true, after_long_help = NOTES)]
pub(crate) struct Args {
    /// The image, or a block device
    #[arg(value_name = "IMAGE", required_unless_present_any = ["document", "schema", "list_codes", "explain"])]
    pub(crate) image: Option<PathBuf>,
    /// Check only: answer no to every question and write nothing
    #[arg(short = 'n', long = "check", conflicts_with_all = ["preen", "yes"])]
    pub(crate) check: bool,
    /// Mend what is safe to mend without a question
    #[arg(short = 'p', visible_short_alias = 'a', long, conflicts_with = "yes")]
    pub(crate) preen: bool,
    /// Repair: answer yes to every question
    #[arg(short = 'y', long = "repair")]
    pub(crate) yes: bool,
    /// Check even if the image seems clean; the check is always a full one
    #[arg(short = 'f', long)]
    pub(crate) force: bool,
    /// Take the superblock from this block (with -B)
    #[arg(short = 'b', value_name = "BLOCK")]
    pub(crate) super_block: Option<u64>,
    /// Block size in bytes, with which -b counts
    #[arg(short = 'B', value_name = "BYTES")]
    pub(crate) block_size: Option<u32>,
    /// The device with the journal
    #[arg(short = 'j', value_name = "DEVICE")]
    pub(crate) journal: Option<PathBuf>,
    /// Keep what is overwritten in FILE, which must be new, for --apply-undo and e2undo
    #[arg(short = 'z', long = "undo", value_name = "FILE")]
    pub(crate) undo: Option<PathBuf>,
    /// Give IMAGE back as it was before FILE was made
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "preen", "yes", "undo"])]
    pub(crate) apply_undo: Option<PathBuf>,
    /// Extended options, as e2fsck's: WORD[=VALUE][,...]
    #[arg(short = 'E', value_name = "WORDS")]
    pub(crate) extended: Vec<String>,
    /// Report progress to this file descriptor, as e2fsck does (0: a bar on the terminal)
    #[arg(short = 'C', value_name = "FD", allow_negative_numbers = true)]
    pub(crate) progress: Option<i32>,
    /// Print how long it took; twice: pass by pass
    #[arg(short = 't', action = clap::ArgAction::Count)]
    pub(crate) timing: u8,
    /// Say more: what is used
    #[arg(short = 'v', long)]
    pub(crate) verbose: bool,
    /// Optimise directories: build each anew, with an index where one helps
    #[arg(short = 'D', conflicts_with = "check")]
    pub(crate) optimise: bool,
    /// Read every block, and list those that cannot be read as bad; twice: write to each as well, and give it back what it held
    #[arg(short = 'c', action = clap::ArgAction::Count, conflicts_with = "check")]
    pub(crate) scan_bad: u8,
    /// With -c: keep the bad blocks that are listed already
    #[arg(short = 'k')]
    pub(crate) keep_bad: bool,
    /// Add the blocks whose numbers FILE holds to the list of bad blocks
    #[arg(short = 'l', value_name = "FILE", conflicts_with_all = ["check", "set_bad"])]
    pub(crate) add_bad: Option<PathBuf>,
    /// Let the list of bad blocks be the blocks whose numbers FILE holds
    #[arg(short = 'L', value_name = "FILE", conflicts_with = "check")]
    pub(crate) set_bad: Option<PathBuf>,
    /// Taken because e2fsck takes it, and does nothing
    #[arg(short = 'r', hide = true)]
    pub(crate) nothing: bool,
    /// Taken because e2fsck takes it: nothing is cached that would have to be flushed
    #[arg(short = 'F', hide = true)]
    pub(crate) flush: bool,
    /// Byte of IMAGE at which the file system begins
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = size)]
    pub(crate) offset: u64,
    /// Threads; 0: as many as there are processors
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
    /// What of the DAX rules counts as an error
    #[arg(long, value_enum, default_value_t, value_name = "POLICY")]
    pub(crate) dax_policy: DaxPolicy,
    /// Make an error of a code
    #[arg(long, value_name = "CODE")]
    pub(crate) deny: Vec<String>,
    /// Keep a code quiet, or only for paths that match
    #[arg(long, value_name = "CODE[=GLOB]")]
    pub(crate) allow: Vec<String>,
    /// Print a table of files and directories with the DAX flag
    #[arg(long)]
    pub(crate) dax_report: bool,
    /// Bytes from the start of the persistent memory to the file system, for 2 MiB windows [default: --offset]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) data_offset: Option<u64>,
    /// Bytes of a page of the machine that mounts it
    #[arg(long, value_name = "BYTES", default_value = "4096", value_parser = size)]
    pub(crate) page_size: u64,
    /// Run e2fsck -fn as well, and show where the two verdicts differ
    #[arg(long)]
    pub(crate) second_opinion: bool,
    /// Explain a code
    #[arg(long, value_name = "CODE")]
    pub(crate) explain: Option<String>,
    /// List all codes
    #[arg(long)]
    pub(crate) list_codes: bool,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Colour findings
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: When,
    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    pub(crate) version: Option<bool>,
    /// Print the JSON schema of what --json prints
    #[arg(long, hide = true)]
    pub(crate) schema: bool,
    /// Print the manual page or shell completions
    #[arg(long, value_enum, hide = true, value_name = "DOCUMENT")]
    pub(crate) document: Option<Document>,
}

/// A number of bytes, with or without K, M, G or T.
fn size(text: &str) -> Result<u64, String> {
    daxkit_cli::size::parse(text, 1).ok_or_else(|| format!("{text:?} is not a size"))
}
