//! Where one stands, in the image and on the host.

use super::Command;
use crate::output::{self, shown, text};
use crate::session::Session;
use anyhow::{Context, Result, bail};
use daxkit_format::InodeNr;
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["cd", "change_working_directory"],
        args: "DIRECTORY",
        summary: "Go to a directory",
        example: "cd /",
        run: cd,
    },
    Command {
        names: &["chroot", "change_root_directory"],
        args: "DIRECTORY",
        summary: "Let paths with a slash at the front begin at a directory",
        example: "chroot /lost+found",
        run: chroot,
    },
    Command {
        names: &["pwd", "print_working_directory"],
        args: "",
        summary: "Say where one stands, and where paths begin",
        example: "pwd",
        run: pwd,
    },
    Command {
        names: &["lcd"],
        args: "HOST_DIRECTORY",
        summary: "Go to a directory of the host, where names of host files begin",
        example: "lcd /tmp",
        run: lcd,
    },
];

fn directory(session: &mut Session<'_>, command: &Command, words: &[Vec<u8>]) -> Result<InodeNr> {
    let options = command.options(words, "", &[], (1, 1))?;
    let spec = options.rest.first().map(Vec::as_slice).unwrap_or_default();
    let dir = session.inode(spec)?;
    if !dir.is_dir() {
        bail!("{}: not a directory", shown(spec));
    }
    Ok(dir.nr())
}

fn cd(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    session.here = directory(session, command, words)?;
    Ok(())
}

fn chroot(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    session.root = directory(session, command, words)?;
    Ok(())
}

fn pwd(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    let path_of = |nr: InodeNr| -> Result<Vec<u8>> {
        let dir = session.volume.inode(nr)?;
        Ok(session.volume.path_of_dir(&dir)?)
    };
    let (here, root) = (path_of(session.here)?, path_of(session.root)?);
    if session.json {
        let document = json!({
            "inode": session.here.get(), "path": text(&here),
            "root_inode": session.root.get(), "root_path": text(&root),
        });
        return output::document(&mut session.out, command.name(), document);
    }
    writeln!(session.out, "[pwd]   INODE: {:6}  PATH: {}", session.here, shown(&here))?;
    writeln!(session.out, "[root]  INODE: {:6}  PATH: {}", session.root, shown(&root))?;
    Ok(())
}

fn lcd(_: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 1))?;
    let dir = options.rest.first().map(Vec::as_slice).unwrap_or_default();
    std::env::set_current_dir(OsStr::from_bytes(dir)).with_context(|| shown(dir))
}
