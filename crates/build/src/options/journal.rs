//! Journal options (`-j`, `-J`): size in MiB, place, external device, the area for fast commits in KiB.
//!
//! Sizes are those of `figure_journal_size` and `ext2fs_default_journal_size` (e2fsprogs 1.47).

use super::error::{Notice, OptionError};
use super::numbers::{bytes, number};
use super::request::Facts;
use crate::params::Journal;
use crate::plan::special::default_journal_blocks;
use daxkit_format::ext4::features::{Compat, Features};

/// Fewer blocks than these take no journal.
pub(super) const LEAST_BLOCKS_FOR_A_JOURNAL: u64 = 2048;
/// Smallest journal in blocks (`JBD2_MIN_JOURNAL_BLOCKS`).
pub(super) const LEAST_JOURNAL_BLOCKS: u64 = 1024;
/// Largest journal in blocks that mke2fs makes.
const MOST_JOURNAL_BLOCKS: u64 = 10_240_000;
/// The fast-commit area is this share of the journal when nobody says (`EXT2_JOURNAL_TO_FC_BLKS_RATIO`).
const FAST_COMMIT_SHARE: u64 = 64;

/// The words of all `-J` options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalWords {
    /// `size=`, in MiB.
    pub(super) size_mib: Option<u64>,
    /// `fast_commit_size=`, in KiB.
    pub(super) fast_commit_kib: Option<u64>,
    /// `location=`.
    pub(super) location: Option<String>,
    /// `device=`.
    pub device: Option<String>,
}

impl JournalWords {
    /// Reads the words.
    ///
    /// # Errors
    /// The word that cannot be read.
    pub fn parse(options: &[String]) -> Result<Self, OptionError> {
        let mut j = Self::default();
        for option in options {
            for token in option.strip_suffix(',').unwrap_or(option).split(',') {
                let (word, arg) = token.split_once('=').unwrap_or((token, ""));
                let amount = |option: &'static str| {
                    number(arg)
                        .filter(|n| *n <= u64::from(u32::MAX))
                        .ok_or_else(|| OptionError::value(option, arg, "wants a number"))
                };
                match word {
                    // 0 asks for the usual size, as in mke2fs.
                    "size" => j.size_mib = Some(amount("-J size=")?).filter(|n| *n != 0),
                    "fast_commit_size" => {
                        j.fast_commit_kib = Some(amount("-J fast_commit_size=")?).filter(|n| *n != 0);
                    }
                    "location" => j.location = Some(arg.to_owned()),
                    "device" if !arg.is_empty() => j.device = Some(arg.to_owned()),
                    "device" => return Err(OptionError::value("-J device=", "", "wants a path")),
                    _ => {
                        return Err(OptionError::Word {
                            option: "-J",
                            word: word.to_owned(),
                            known: "size, fast_commit_size, location, device".to_owned(),
                        });
                    }
                }
            }
        }
        if j.device.is_some() && (j.size_mib.is_some() || j.location.is_some() || j.fast_commit_kib.is_some()) {
            return Err(OptionError::conflict("-J device=", "an external journal has its own size and place"));
        }
        Ok(j)
    }

    /// Whether the words alone ask for a journal.
    pub(super) fn ask_for_one(&self) -> bool {
        self.size_mib.is_some() || self.device.is_some()
    }
}

/// The size when nobody says, without the area for fast commits; 0 where there is no journal.
fn default_blocks(fs_blocks: u64) -> u64 {
    default_journal_blocks(fs_blocks).map_or(0, u64::from)
}

/// Decides the journal. Takes the feature away where the file system is too small for one.
pub(super) fn resolve(
    words: &JournalWords,
    features: &mut Features,
    block_size: u32,
    blocks: u64,
    facts: &Facts,
    notices: &mut Vec<Notice>,
) -> Result<Option<Journal>, OptionError> {
    if !features.compat.contains(Compat::HAS_JOURNAL) {
        if words != &JournalWords::default() {
            notices.push(Notice::warning("-J: there is no journal, its options mean nothing"));
        }
        return Ok(None);
    }
    if let Some(path) = &words.device {
        let device = facts
            .journal_device
            .ok_or_else(|| OptionError::value("-J device=", path.clone(), "is not a journal device"))?;
        if device.block_size != block_size {
            return Err(OptionError::conflict(
                format!("-J device={path}"),
                format!("has blocks of {} bytes, the file system of {block_size}", device.block_size),
            ));
        }
        return Ok(Some(Journal::External { uuid: device.uuid, device_number: device.number }));
    }
    if blocks < LEAST_BLOCKS_FOR_A_JOURNAL {
        features.compat.remove(Compat::HAS_JOURNAL);
        notices.push(Notice::note(format!(
            "fewer than {LEAST_BLOCKS_FOR_A_JOURNAL} blocks: the file system gets no journal"
        )));
        return Ok(None);
    }
    let per_block = |size: u64| size / u64::from(block_size);
    let size = words.size_mib.map(|m| per_block(m << 20));
    let fast = if features.compat.contains(Compat::FAST_COMMIT) {
        let share = size.unwrap_or_else(|| default_blocks(blocks)) / FAST_COMMIT_SHARE;
        words.fast_commit_kib.map_or(share, |k| per_block(k << 10)).max(1)
    } else {
        if words.fast_commit_kib.is_some() {
            notices.push(Notice::warning("-J fast_commit_size=: means nothing without -O fast_commit"));
        }
        0
    };
    if size.is_some() || words.fast_commit_kib.is_some() {
        let total = size.unwrap_or_else(|| default_blocks(blocks)) + fast;
        if !(LEAST_JOURNAL_BLOCKS..=MOST_JOURNAL_BLOCKS).contains(&total) {
            return Err(OptionError::conflict(
                format!("-J size={}", words.size_mib.unwrap_or_default()),
                format!(
                    "makes {total} blocks; a journal has from {LEAST_JOURNAL_BLOCKS} to {MOST_JOURNAL_BLOCKS} of {block_size} bytes"
                ),
            ));
        }
        if total >= blocks / 2 {
            return Err(OptionError::conflict(
                format!("-J size={}", words.size_mib.unwrap_or_default()),
                format!("{total} blocks are half of the file system's {blocks} or more"),
            ));
        }
    }
    let location = match words.location.as_deref() {
        None | Some("") => None,
        Some(text) => Some(
            bytes(text, u64::from(block_size))
                .map(per_block)
                .filter(|block| *block < blocks)
                .ok_or_else(|| OptionError::value("-J location=", text, "wants a place inside the file system"))?,
        ),
    };
    Ok(Some(Journal::Internal { blocks: size.map(|s| (s + fast) as u32), fast_commit_blocks: fast as u32, location }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<JournalWords, OptionError> {
        JournalWords::parse(&[text.to_owned()])
    }

    #[test]
    fn words_are_read() {
        let j = parse("size=4,fast_commit_size=64,location=10M").unwrap();
        assert_eq!((j.size_mib, j.fast_commit_kib, j.location.as_deref()), (Some(4), Some(64), Some("10M")));
        assert!(!parse("size=0").unwrap().ask_for_one());
        assert_eq!(parse("device=/dev/x").unwrap().device.as_deref(), Some("/dev/x"));
        for bad in ["bogus", "size", "size=", "size=4x", "device", "device=", "v1_superblock", "device=/x,size=4"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn default_sizes_are_those_of_mke2fs() {
        for (fs, journal) in
            [(2047, 0), (2048, 1024), (32768, 4096), (262_144, 8192), (524_288, 16384), (1 << 30, 262_144)]
        {
            assert_eq!(default_blocks(fs), journal, "{fs}");
        }
    }
}
