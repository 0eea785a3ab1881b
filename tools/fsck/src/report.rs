//! What `--json` prints.

use daxkit_check::{Finding, Improved, Severity};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;

use crate::opinion::Opinion;

/// The version of the document.
pub(crate) const VERSION: u32 = 1;

/// What dax-fsck found and did.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "dax-fsck")]
pub(crate) struct Document {
    /// The version of this shape.
    pub(crate) version: u32,
    /// The image.
    pub(crate) image: String,
    /// `clean`, `mended` or `errors`.
    pub(crate) verdict: &'static str,
    /// The exit status.
    pub(crate) exit_status: u8,
    /// What was found, in order.
    pub(crate) findings: Vec<Found>,
    /// What a repair did besides mending.
    pub(crate) improved: Improvements,
    /// What is used; null when the superblock cannot be used.
    pub(crate) used: Option<Used>,
    /// Rounds of a repair; 0 for a check.
    pub(crate) rounds: usize,
    /// What e2fsck says, when it was asked.
    pub(crate) second_opinion: Option<Second>,
    /// Files and directories with the DAX flag, when they were asked for.
    pub(crate) dax: Option<Vec<crate::dax_report::Row>>,
    /// What new files can have, when it was asked for.
    pub(crate) free_space: Option<crate::dax_report::FreeSpace>,
}

/// What a repair did besides mending.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Improvements {
    /// Directories that were built anew.
    pub(crate) directories: Vec<u32>,
    /// Files whose block map became one of extents.
    pub(crate) converted: Vec<u32>,
    /// Blocks in the list of bad blocks, when it was made.
    pub(crate) bad_blocks: Option<u64>,
    /// What was to be done and was not, and why.
    pub(crate) left: Vec<String>,
}

impl Improvements {
    pub(crate) fn of(improved: &Improved) -> Self {
        let Improved { directories, converted, bad_blocks, left } = improved.clone();
        Self { directories, converted, bad_blocks, left }
    }
}

/// A finding.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Found {
    /// The code.
    pub(crate) code: &'static str,
    /// `advice`, `error` or `fatal`.
    pub(crate) severity: &'static str,
    /// Where.
    pub(crate) place: String,
    /// What is wrong.
    pub(crate) title: &'static str,
    /// What lies there.
    pub(crate) stored: Option<String>,
    /// What the rest of the file system says.
    pub(crate) observed: Option<String>,
    /// Whether it was mended.
    pub(crate) fixed: bool,
    /// Whether repair knows what to do about it.
    pub(crate) fixable: bool,
    /// The path, where one is known.
    pub(crate) path: Option<String>,
    /// Numbers of e2fsck's problems.
    pub(crate) e2fsck: Vec<u32>,
}

impl Found {
    pub(crate) fn new(finding: &Finding, severity: Severity, fixed: bool, path: Option<String>) -> Self {
        Self {
            code: finding.code.id(),
            severity: severity.name(),
            place: finding.at.to_string(),
            title: finding.code.title(),
            stored: finding.stored.as_ref().map(ToString::to_string),
            observed: finding.observed.as_ref().map(ToString::to_string),
            fixed,
            fixable: finding.is_fixable(),
            path,
            e2fsck: finding.code.e2fsck().to_vec(),
        }
    }
}

/// What is used.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Used {
    /// Inodes in use, and that there are.
    pub(crate) inodes: [u64; 2],
    /// Blocks in use, and that there are.
    pub(crate) blocks: [u64; 2],
    /// Regular files.
    pub(crate) files: u64,
    /// Directories.
    pub(crate) directories: u64,
    /// Symbolic links.
    pub(crate) links: u64,
    /// Devices, fifos and sockets.
    pub(crate) special: u64,
    /// Files in more than one piece.
    pub(crate) fragmented: u64,
    /// Inodes with the DAX flag.
    pub(crate) dax: u64,
}

/// e2fsck's verdict.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Second {
    /// Its exit status.
    pub(crate) exit_status: u8,
    /// Whether the two agree on clean or not.
    pub(crate) agrees: bool,
    /// What it said.
    pub(crate) problems: Vec<String>,
}

impl Second {
    pub(crate) fn of(opinion: &Opinion, clean: bool) -> Self {
        Self { exit_status: opinion.status, agrees: opinion.is_clean() == clean, problems: opinion.problems.clone() }
    }
}

/// The schema of the document.
pub(crate) fn schema() -> Schema {
    schema_for!(Document)
}
