//! The words of `-E`, and options that e2fsck has and dax-fsck has not.

use crate::args::Args;
use crate::status::Usage;
use anyhow::{Result, bail};

/// What extended options ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extended {
    /// Replay the journal and nothing else.
    pub(crate) journal_only: bool,
}

/// Words that change nothing here: how e2fsck saves memory or reads ahead, and what dax-fsck never does.
const NOTHING: &[&str] = &[
    "nodiscard",
    "no_optimize_extents",
    "inode_count_fullmap",
    "no_inode_count_fullmap",
    "readahead_kb",
    "fixes_only",
    "clear_mmp",
    "ea_ver",
];

/// Words whose meaning is not there.
const MISSING: &[&str] =
    &["discard", "fragcheck", "optimize_extents", "bmap2extent", "unshare_blocks", "check_encoding"];

/// Reads the words; refuses what there is not.
pub(crate) fn read(args: &Args) -> Result<Extended> {
    for (given, letter, what) in [
        (args.optimise, "-D", "directories are not optimised"),
        (args.keep_bad, "-k", "lists of bad blocks are not made"),
        (args.add_bad.is_some(), "-l", "lists of bad blocks are not made"),
        (args.set_bad.is_some(), "-L", "lists of bad blocks are not made"),
    ] {
        if given {
            bail!(Usage(format!("{letter} is not supported: {what}")));
        }
    }
    let mut extended = Extended::default();
    for word in args.extended.iter().flat_map(|words| words.split(',')).filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        match name {
            "journal_only" if value.is_none() => extended.journal_only = true,
            "ea_ver" if !matches!(value, Some("1" | "2")) => bail!(Usage(format!("-E {word}: the version is 1 or 2"))),
            "readahead_kb" if value.is_none_or(|n| n.parse::<u64>().is_err()) => {
                bail!(Usage(format!("-E {word}: a number is wanted")));
            }
            _ if NOTHING.contains(&name) => {}
            _ if MISSING.contains(&name) => bail!(Usage(format!("-E {name} is not supported"))),
            _ => bail!(Usage(format!("-E {name}: no such word"))),
        }
    }
    Ok(extended)
}
