//! The words of `-E`, and the letters that ask for more than mending.

use crate::args::Args;
use crate::status::Usage;
use anyhow::{Context, Result, bail};
use daxkit_check::{BadBlocks, Directories, Scan, Wishes};
use std::path::Path;

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extended {
    /// Replay the journal and nothing else.
    pub(crate) journal_only: bool,
    /// Say where files are in pieces.
    pub(crate) fragcheck: bool,
    /// Give free blocks back to the host.
    pub(crate) discard: bool,
    /// What is done besides mending.
    pub(crate) wishes: Wishes,
}

/// Words that change nothing here: how e2fsck saves memory.
const NOTHING: &[&str] = &["inode_count_fullmap", "no_inode_count_fullmap", "clear_mmp"];

fn usage<T>(text: String) -> Result<T> {
    bail!(Usage(text))
}

/// Reads the words; refuses what there is not.
pub(crate) fn read(args: &Args) -> Result<Extended> {
    let mut extended = Extended::default();
    let mut fixes_only = false;
    for word in args.extended.iter().flat_map(|words| words.split(',')).filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let wishes = &mut extended.wishes;
        match (name, value) {
            ("ea_ver", Some(version @ ("1" | "2"))) => wishes.old_attributes = version == "1",
            ("ea_ver", _) => return usage(format!("-E {word}: the version is 1 or 2")),
            ("readahead_kb", value) if value.is_some_and(|n| n.parse::<u64>().is_ok()) => {}
            ("readahead_kb", _) => return usage(format!("-E {word}: a number is wanted")),
            ("journal_only", None) => extended.journal_only = true,
            ("fragcheck", None) => extended.fragcheck = true,
            ("discard", None) => extended.discard = true,
            ("nodiscard", None) => extended.discard = false,
            ("optimize_extents", None) => wishes.narrow_trees = true,
            ("no_optimize_extents", None) => wishes.narrow_trees = false,
            ("bmap2extent", None) => wishes.convert_maps = true,
            ("unshare_blocks", None) => wishes.unshare = true,
            ("check_encoding", None) => wishes.check_encoding = true,
            ("fixes_only", None) => fixes_only = true,
            (name, None) if NOTHING.contains(&name) => {}
            _ => return usage(format!("-E {word}: no such word")),
        }
    }
    if fixes_only {
        for (given, what) in [(args.optimise, "-D"), (extended.wishes.convert_maps, "-E bmap2extent")] {
            if given {
                return usage(format!("-E fixes_only cannot be used with {what}"));
            }
        }
        extended.wishes.directories = Directories::None;
        extended.wishes.narrow_trees = false;
    }
    if extended.journal_only {
        let old_attributes = extended.wishes.old_attributes;
        let wishes = Wishes { old_attributes, ..Wishes::default() };
        extended.wishes = Wishes { directories: Directories::None, narrow_trees: false, ..wishes };
        return Ok(extended);
    }
    if args.optimise {
        extended.wishes.directories = Directories::All;
    }
    extended.wishes.bad_blocks = bad_blocks(args)?;
    Ok(extended)
}

/// The bad blocks that the letters name.
fn bad_blocks(args: &Args) -> Result<Option<BadBlocks>> {
    let scan = match args.scan_bad {
        0 => Scan::None,
        1 => Scan::Read,
        _ => Scan::Write,
    };
    if args.keep_bad && scan == Scan::None {
        return usage("-k is for -c".to_owned());
    }
    let blocks = match args.add_bad.as_deref().or(args.set_bad.as_deref()) {
        Some(file) => numbers(file)?,
        None if scan != Scan::None => Vec::new(),
        None => return Ok(None),
    };
    Ok(Some(BadBlocks { blocks, keep: args.keep_bad || args.add_bad.is_some(), scan }))
}

/// Numbers of blocks, one a line, as badblocks writes them.
fn numbers(file: &Path) -> Result<Vec<u64>> {
    let context = || file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(context)?;
    let number = |(index, word): (usize, &str)| {
        word.parse()
            .map_err(|_| Usage(format!("{}: number {}: {word:?} is no block", file.display(), index + 1)).into())
    };
    text.split_whitespace().enumerate().map(number).collect()
}
