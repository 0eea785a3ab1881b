//! chattr(1) on an image: by path, by number, by pattern, from a list; a whole tree at once.

mod kernel;
mod mode;
mod select;

use super::Command;
use crate::output;
use crate::session::Session;
use anyhow::Result;
use daxkit_format::InodeNr;
use daxkit_format::ext4::inode::Inode as DiskInode;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::field::BitSet;
use daxkit_volume::EditError;
use mode::Request;
use serde_json::json;

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["chattr"],
    args: "[-RVf] [-v VERSION] [-p PROJECT] [--as-kernel[=MODE]] [--inodes FIRST-LAST] [--glob PATTERN] [--from HOST_FILE] [-0] MODE [FILE...]",
    summary: "Change flags by the letters of chattr(1), +-=aAcCdDeFijmPsStTux; data that lies otherwise is moved. -R: all files and \
directories below, -f: leave out what is refused, -V: say what changes, --as-kernel: refuse what the ioctl refuses",
    example: "chattr -R +x /",
    run: chattr,
}];

fn chattr(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let request = Request::parse(words, &command.usage())?;
    let targets = select::targets(session, &request)?;
    let kernel = match request.as_kernel {
        Some(mode) => Some(kernel::Mount::of(session, mode)),
        None => None,
    };
    let mut told = Told { quiet: request.force, verbose: request.verbose, lines: Vec::new(), refused: Vec::new() };
    let change = request.change;
    let changed = session.edit(|editor| {
        let mut changed = 0;
        if let Some(mount) = &kernel {
            for nr in &targets.inodes {
                let done = editor.attempt(|editor| mount.set(editor, *nr, &change, request.project));
                match done {
                    Ok(flags) => {
                        changed += u64::from(flags.is_some());
                        told.set(*nr, flags);
                    }
                    // The errno is the answer.
                    Err(e) if told.quiet => told.refused(e)?,
                    Err(e) => return Err(anyhow::anyhow!("{}: {e}", e.errno())),
                }
            }
            return Ok(changed);
        }
        if request.has_change() {
            let Told { quiet, verbose, lines, refused } = &mut told;
            changed = editor.change_flags(
                &targets.inodes,
                |nr, disk: &DiskInode| {
                    let (old, mut new) = (disk.flags(), change.of(disk.flags()));
                    // As chattr(1): what only directories can have is left out for others.
                    if !disk.is_dir() {
                        new -= InodeFlags::DIRSYNC - old;
                    }
                    if *verbose && old != new {
                        lines.push((nr, new));
                    }
                    Ok(Some(new))
                },
                |error| refuse(*quiet, refused, error),
            )?;
        }
        for nr in &targets.inodes {
            let Some(_) = request.project.or(request.version) else { break };
            let done = editor.attempt(|editor| {
                let mut inode = editor.inode(*nr).map_err(EditError::from)?;
                if let Some(project) = request.project {
                    editor.set_project(&mut inode, project)?;
                }
                if let Some(version) = request.version {
                    editor.set_generation(&mut inode, version)?;
                }
                Ok::<(), EditError>(())
            });
            match done {
                Ok(()) => changed += u64::from(!request.has_change()),
                Err(e) => told.refused(e)?,
            }
        }
        Ok(changed)
    })?;
    for error in targets.errors {
        session.complain(error);
    }
    told.report(session, command.name(), changed)
}

fn refuse(quiet: bool, refused: &mut Vec<String>, error: EditError) -> Result<()> {
    // What cannot be read is no refusal.
    if matches!(error, EditError::Volume(_)) || !quiet {
        return Err(error.into());
    }
    refused.push(error.to_string());
    Ok(())
}

/// What there is to say in the end.
struct Told {
    quiet: bool,
    verbose: bool,
    lines: Vec<(InodeNr, InodeFlags)>,
    refused: Vec<String>,
}

impl Told {
    fn set(&mut self, nr: InodeNr, flags: Option<InodeFlags>) {
        if let Some(flags) = flags.filter(|_| self.verbose) {
            self.lines.push((nr, flags));
        }
    }

    fn refused(&mut self, error: EditError) -> Result<()> {
        refuse(self.quiet, &mut self.refused, error)
    }

    fn report(self, session: &mut Session<'_>, name: &str, changed: u64) -> Result<()> {
        if session.json {
            let lines: Vec<_> = self
                .lines
                .iter()
                .map(|(nr, flags)| json!({ "inode": nr.get(), "i_flags": BitSet::Inode.format(flags.bits().into()) }))
                .collect();
            let document = json!({ "changed": changed, "flags": lines, "left_out": self.refused });
            return output::document(&mut session.out, name, document);
        }
        for (nr, flags) in self.lines {
            writeln!(session.out, "Flags of <{nr}> set as {}", flags.lsattr())?;
        }
        if self.verbose {
            for line in self.refused {
                writeln!(session.out, "left out: {line}")?;
            }
        }
        Ok(())
    }
}
