//! What counts as an error, and what is not said.

use anyhow::{Context, Result, bail};
use daxkit_check::{At, Code, Finding, Severity};
use daxkit_volume::{InodeNr, Volume};
use globset::{GlobBuilder, GlobMatcher};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::args::{Args, DaxPolicy};
use crate::status::Usage;

/// The policy of one run.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    strict: bool,
    denied: HashSet<Code>,
    allowed: Vec<(Code, Option<GlobMatcher>)>,
}

fn code(name: &str) -> Result<Code> {
    match Code::by_id(name) {
        Some(code) => Ok(code),
        None => bail!(Usage(format!("{name}: no such code (--list-codes lists them)"))),
    }
}

impl Policy {
    /// Reads `--dax-policy`, `--deny` and `--allow`.
    pub(crate) fn read(args: &Args) -> Result<Self> {
        let denied = args.deny.iter().map(|name| code(name)).collect::<Result<_>>()?;
        let mut allowed = Vec::new();
        for word in &args.allow {
            let (name, glob) = word.split_once('=').map_or((word.as_str(), None), |(name, glob)| (name, Some(glob)));
            let glob = glob
                .map(|glob| GlobBuilder::new(glob).literal_separator(true).build().map(|g| g.compile_matcher()))
                .transpose()
                .map_err(|e| anyhow::Error::new(Usage(format!("--allow {word}: {e}"))))?;
            allowed.push((code(name)?, glob));
        }
        Ok(Self { strict: args.dax_policy == DaxPolicy::Strict, denied, allowed })
    }

    /// How much a finding weighs under it.
    pub(crate) fn severity(&self, finding: &Finding) -> Severity {
        let own = finding.code.severity();
        let dax = finding.code.id().starts_with("DAX");
        if own == Severity::Advice && (self.denied.contains(&finding.code) || (self.strict && dax)) {
            return Severity::Error;
        }
        own
    }

    /// Whether any rule needs to know paths.
    pub(crate) fn wants_paths(&self) -> bool {
        self.allowed.iter().any(|(_, glob)| glob.is_some())
    }

    /// Whether a finding is not said. Only advice can be kept quiet.
    pub(crate) fn is_quiet(&self, finding: &Finding, paths: &Paths) -> bool {
        finding.code.severity() == Severity::Advice
            && self.allowed.iter().any(|(code, glob)| {
                *code == finding.code
                    && glob.as_ref().is_none_or(|glob| {
                        inode_of(finding)
                            .and_then(|ino| paths.get(ino))
                            .is_some_and(|path| glob.is_match(Path::new(OsStr::from_bytes(path))))
                    })
            })
    }
}

/// The inode that a finding is about.
pub(crate) fn inode_of(finding: &Finding) -> Option<u32> {
    match finding.at {
        At::Inode(ino, _) | At::Logical(ino, _) | At::Entry(ino, ..) => Some(ino),
        _ => None,
    }
}

/// Paths of inodes, one of each.
#[derive(Debug, Default)]
pub(crate) struct Paths(HashMap<u32, Vec<u8>>);

impl Paths {
    /// Walks the tree as far as it can be walked.
    pub(crate) fn of(volume: &Volume) -> Result<Self> {
        let mut paths = HashMap::new();
        let root = volume.inode(InodeNr::ROOT).context("the root")?;
        for visit in volume.walk(root) {
            // What cannot be read has been found by the check.
            let Ok(visit) = visit else { continue };
            if let Ok(ino) = u32::try_from(visit.inode.nr().get()) {
                paths.entry(ino).or_insert([b"/", visit.path.as_slice()].concat());
            }
        }
        Ok(Self(paths))
    }

    pub(crate) fn get(&self, ino: u32) -> Option<&[u8]> {
        self.0.get(&ino).map(Vec::as_slice)
    }
}
