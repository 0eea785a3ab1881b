//! Trees of the image copied out: into a directory of the host, or into one archive.

mod data;
mod host;
mod records;
mod tar;
mod target;

use super::Command;
use crate::session::Session;
use anyhow::{Result, bail};
use daxkit_format::InodeNr;
use daxkit_volume::Inode;

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["rdump"],
    args: "[-v] SOURCE... HOST_DIRECTORY | [-v] --tar HOST_FILE SOURCE...",
    summary: "Copy files and trees to the host, with owners, modes, times, attributes, links and holes, into a directory or \
with --tar into an archive (- is standard output), for which nobody need be root; -v: say each name. An archive is durable when the command \
ends, and there whole or not at all; it has no sockets, and of inode flags those that SCHILY.fflags has names for, the DAX flag not among them",
    example: "rdump /lost+found /tmp",
    run: rdump,
}];

/// What is copied, and the name it gets; empty for the root, whose content goes straight to the top.
struct Tree {
    name: Vec<u8>,
    inode: Inode,
}

fn rdump(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "v", &["tar"], (1, usize::MAX))?;
    let (sources, directory) = match (options.value("tar"), options.rest.split_last()) {
        (None, Some((directory, sources))) if !sources.is_empty() => (sources, Some(directory)),
        (None, _) => bail!("{}", command.usage()),
        (Some(_), _) => (options.rest, None),
    };
    let mut trees = Vec::new();
    for spec in sources {
        let inode = session.inode(spec)?;
        trees.push(Tree { name: last_name(session, spec, &inode), inode });
    }
    let verbose = options.has('v');
    match (options.value("tar"), directory) {
        (Some(archive), _) => tar::copy(session, command.name(), &trees, archive, verbose),
        (None, Some(directory)) => host::copy(session, command.name(), trees, directory, verbose),
        (None, None) => Ok(()),
    }
}

/// The last name of a source.
fn last_name(session: &Session<'_>, spec: &[u8], inode: &Inode) -> Vec<u8> {
    if inode.nr() == InodeNr::ROOT {
        return Vec::new();
    }
    let name = spec.split(|b| *b == b'/').rfind(|n| !n.is_empty()).unwrap_or_default();
    if matches!(name, b"." | b"..") || name.starts_with(b"<") || name.starts_with(b"inode") {
        // A number has no name of its own; that of a directory can be found.
        let path = if inode.is_dir() { session.volume.path_of_dir(inode).ok() } else { None };
        let found = path.as_deref().and_then(|p| p.rsplit(|b| *b == b'/').next()).map(<[u8]>::to_vec);
        return found.unwrap_or_else(|| format!("inode-{}", inode.nr()).into_bytes());
    }
    name.to_vec()
}

fn joined(base: &[u8], path: &[u8]) -> Vec<u8> {
    match (base.is_empty(), path.is_empty()) {
        (true, _) => path.to_vec(),
        (_, true) => base.to_vec(),
        _ => [base, b"/", path].concat(),
    }
}
