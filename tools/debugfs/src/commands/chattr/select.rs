//! Which inodes a `chattr` line means.

use super::mode::Request;
use crate::output::shown;
use crate::session::Session;
use anyhow::{Context, Result};
use daxkit_format::InodeNr;
use daxkit_volume::ext4::ScanErrors;
use globset::{GlobBuilder, GlobSetBuilder};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

/// Most bytes of a list of names.
const MAX_LIST: u64 = 1 << 30;

/// The inodes, ascending and each once, and what could not be read while they were looked for.
#[derive(Default)]
pub(super) struct Targets {
    pub(super) inodes: Vec<InodeNr>,
    pub(super) errors: Vec<String>,
}

impl Targets {
    fn complain(&mut self, errors: ScanErrors) {
        self.errors.extend(errors.first.iter().map(ToString::to_string));
    }
}

pub(super) fn targets(session: &mut Session<'_>, request: &Request) -> Result<Targets> {
    let mut targets = Targets::default();
    for spec in &request.files {
        name(session, request, &mut targets, spec)?;
    }
    if let Some(file) = &request.from {
        let list = read_list(file)?;
        let end = if request.zero { 0 } else { b'\n' };
        for spec in list.split(|b| *b == end).filter(|spec| !spec.is_empty()) {
            name(session, request, &mut targets, spec)?;
        }
    }
    for (first, last) in &request.inodes {
        in_range(session, &mut targets, *first, *last)?;
    }
    if !request.globs.is_empty() {
        matching(session, request, &mut targets)?;
    }
    targets.inodes.sort_unstable();
    targets.inodes.dedup();
    Ok(targets)
}

fn name(session: &mut Session<'_>, request: &Request, targets: &mut Targets, spec: &[u8]) -> Result<()> {
    let inode = session.inode(spec)?;
    if request.recursive && inode.is_dir() {
        let tree = session.volume.subtree(&inode);
        targets.inodes.extend(tree.inodes);
        targets.complain(tree.errors);
    } else {
        targets.inodes.push(inode.nr());
    }
    Ok(())
}

fn read_list(file: &[u8]) -> Result<Vec<u8>> {
    let mut list = Vec::new();
    if file == b"-" {
        std::io::stdin().lock().take(MAX_LIST).read_to_end(&mut list).context("cannot read the list")?;
    } else {
        let open = std::fs::File::open(OsStr::from_bytes(file));
        open.and_then(|f| f.take(MAX_LIST).read_to_end(&mut list)).with_context(|| shown(file))?;
    }
    Ok(list)
}

/// The inodes of a range that are in use.
fn in_range(session: &mut Session<'_>, targets: &mut Targets, first: u64, last: u64) -> Result<()> {
    let g = *session.volume.geometry();
    let last = last.min(g.inodes_count.into());
    let mut nr = first;
    while nr <= last {
        let Some((group, index)) = g.group_of_inode(InodeNr(nr)) else { break };
        let map = session.volume.inode_bitmap(group)?;
        let end = nr.saturating_add(u64::from(g.inodes_per_group - index)).min(last.saturating_add(1));
        for (nr, index) in (nr..end).zip(index..) {
            if map.get(index) {
                targets.inodes.push(InodeNr(nr));
            }
        }
        nr = end;
    }
    Ok(())
}

/// What a pattern matches: whole paths, `*` not across slashes.
fn matching(session: &mut Session<'_>, request: &Request, targets: &mut Targets) -> Result<()> {
    let mut set = GlobSetBuilder::new();
    for glob in &request.globs {
        set.add(GlobBuilder::new(glob).literal_separator(true).build().with_context(|| glob.clone())?);
    }
    let set = set.build()?;
    let root = session.volume.inode(session.root)?;
    for visit in session.volume.walk(root) {
        match visit {
            Ok(visit) => {
                let mut path = b"/".to_vec();
                path.extend_from_slice(&visit.path);
                if !set.is_match(OsStr::from_bytes(&path)) {
                    continue;
                }
                if request.recursive && visit.inode.is_dir() {
                    let tree = session.volume.subtree(&visit.inode);
                    targets.inodes.extend(tree.inodes);
                    targets.complain(tree.errors);
                } else {
                    targets.inodes.push(visit.inode.nr());
                }
            }
            Err(e) => targets.errors.push(format!("{}: {}", shown(&e.path), e.error)),
        }
    }
    Ok(())
}
