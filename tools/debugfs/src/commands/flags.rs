//! Inode flags, as lsattr(1) shows them.

use super::Command;
use crate::files;
use crate::output::{self, shown, text};
use crate::session::Session;
use anyhow::Result;
use daxkit_cli::color::{self, Paint};
use daxkit_format::InodeNr;
use daxkit_format::ext4::dir_entry::file_type;
use daxkit_format::field::BitSet;
use daxkit_volume::Inode;
use serde_json::{Value, json};

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["lsattr"],
    args: "[-d] [-l] [-p] [-R] [-v] [FILE...]",
    summary: "Show flags; -d: of directories themselves, -l: names, -p: project, -R: all below, -v: generation",
    example: "lsattr -R /",
    run: lsattr,
}];

fn lsattr(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "dlpRv", &[], (0, usize::MAX))?;
    let mut show = Show {
        long: options.has('l'),
        project: options.has('p'),
        version: options.has('v'),
        paint: session.paint,
        rows: Vec::new(),
    };
    let root = [b".".to_vec()];
    let specs = if options.rest.is_empty() { &root[..] } else { options.rest };
    for spec in specs {
        let inode = session.inode(spec)?;
        if !inode.is_dir() || options.has('d') {
            show.row(session, spec, &inode)?;
        } else if options.has('R') {
            below(session, &mut show, spec, inode)?;
        } else {
            files::directory(session, &inode, false, &mut |session, row| {
                if !matches!(row.name.as_slice(), b"." | b"..") {
                    match session.volume.inode(InodeNr(row.inode.into())) {
                        Ok(child) => show.row(session, &joined(spec, &row.name), &child)?,
                        Err(e) => session.complain(&e),
                    }
                }
                Ok(())
            })?;
        }
    }
    if session.json {
        output::document(&mut session.out, command.name(), Value::from(show.rows))?;
    }
    Ok(())
}

/// Everything below a directory; what cannot be read is complained about and left out.
fn below(session: &mut Session<'_>, show: &mut Show, spec: &[u8], inode: Inode) -> Result<()> {
    let mut failed = Vec::new();
    // The walk borrows the volume; rows are printed as they come.
    let Session { volume, out, json, .. } = session;
    for visit in volume.walk(inode) {
        match visit {
            Ok(v) if v.entry.is_some() => show.print(&mut **out, *json, &joined(spec, &v.path), &v.inode)?,
            Ok(_) => {}
            Err(e) => failed.push(format!("{}: {}", shown(&joined(spec, &e.path)), e.error)),
        }
    }
    for line in failed {
        session.complain(line);
    }
    Ok(())
}

fn joined(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = dir.to_vec();
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

struct Show {
    long: bool,
    project: bool,
    version: bool,
    paint: Paint,
    rows: Vec<Value>,
}

impl Show {
    fn row(&mut self, session: &mut Session<'_>, path: &[u8], inode: &Inode) -> Result<()> {
        self.print(&mut *session.out, session.json, path, inode)
    }

    fn print(&mut self, out: &mut dyn std::io::Write, json: bool, path: &[u8], inode: &Inode) -> Result<()> {
        let flags = inode.flags();
        if json {
            self.rows.push(json!({
                "path": text(path),
                "inode": inode.nr().get(),
                "i_flags": BitSet::Inode.format(flags.bits().into()),
                "i_generation": inode.i_generation.get(),
                "i_projid": inode.project(),
            }));
            return Ok(());
        }
        if self.version {
            write!(out, "{:10} ", inode.i_generation)?;
        }
        if self.project {
            write!(out, "{:5} ", inode.project().unwrap_or(0))?;
        }
        let name = self.paint.paint(output::style(file_type::of_mode(inode.i_mode.get())), shown(path));
        if self.long {
            let names = BitSet::Inode.format(flags.bits().into());
            writeln!(out, "{name:<28} {}", if flags.is_empty() { "---" } else { &names })?;
        } else {
            // The letter of the DAX flag is what one looks for.
            let letters = flags.lsattr().replace('x', &self.paint.paint(color::DAX, 'x').to_string());
            writeln!(out, "{letters} {name}")?;
        }
        Ok(())
    }
}
