//! What new children of a directory would get, which children have something else, and giving it to the whole tree below.

use super::Command;
use crate::output::{self, shown, text};
use crate::session::Session;
use anyhow::{Result, bail};
use daxkit_format::InodeNr;
use daxkit_format::dax::FileKind;
use daxkit_format::dax::ext4::{Creation, INHERITED, create, inherited};
use daxkit_format::ext4::features::{Incompat, RoCompat};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::field::BitSet;
use daxkit_volume::{EditError, Inode};
use serde_json::json;
use std::collections::BTreeMap;

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["inherit"],
    args: "[-a] [-f] DIRECTORY",
    summary: "Say which flags new children of a directory would get, and which children have others; -a: give them to everything \
below, as if it were made anew, -f: leave out what is refused",
    example: "inherit /",
    run: inherit,
}];

fn flag_names(flags: InodeFlags) -> String {
    if flags.is_empty() { "none".to_owned() } else { BitSet::Inode.format(flags.bits().into()) }
}

fn inherit(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "af", &[], (1, 1))?;
    let spec = options.rest.first().map(Vec::as_slice).unwrap_or_default();
    let dir = session.inode(spec)?;
    if !dir.is_dir() {
        bail!("{}: not a directory", shown(spec));
    }
    if options.has('a') {
        return apply(session, command, dir, options.has('f'));
    }
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for (name, kind) in [
        ("file", FileKind::Regular),
        ("directory", FileKind::Directory),
        ("link", FileKind::Symlink),
        ("other", FileKind::Special),
    ] {
        let made = create(&Creation {
            kind,
            parent: dir.flags(),
            encrypt: dir.is_encrypted(),
            extents: session.volume.has_incompat(Incompat::EXTENTS),
            inline_data: session.volume.has_incompat(Incompat::INLINE_DATA),
        });
        match made {
            Ok(made) => {
                let flags = flag_names(made.flags);
                lines.push(format!("new {name}: {flags}"));
                rows.push(json!({
                    "kind": name, "i_flags": BitSet::Inode.format(made.flags.bits().into()),
                    "dax_flag": made.flags.contains(InodeFlags::DAX), "may_inline": made.may_inline,
                }));
            }
            Err(errno) => {
                lines.push(format!("new {name}: cannot be made: {errno}"));
                rows.push(json!({ "kind": name, "errno": errno.to_string() }));
            }
        }
    }
    let mut children = Vec::new();
    let mut entries = Vec::new();
    crate::files::directory(session, &dir, false, &mut |_, row| {
        if !matches!(row.name.as_slice(), b"." | b"..") {
            entries.push((row.name, InodeNr(row.inode.into())));
        }
        Ok(())
    })?;
    for (name, nr) in entries {
        let child = match session.volume.inode(nr) {
            Ok(child) => child,
            Err(e) => {
                session.complain(&e);
                continue;
            }
        };
        let Some(kind) = FileKind::from_mode(child.i_mode.get()) else { continue };
        let (has, gets) = (child.flags() & INHERITED, inherited(kind, dir.flags()));
        let (missing, extra) = (gets - has, has - gets);
        if missing.is_empty() && extra.is_empty() {
            continue;
        }
        lines.push(format!(
            "differs: {} ({nr}): lacks {}, has besides {}",
            shown(&name),
            flag_names(missing),
            flag_names(extra)
        ));
        children.push(json!({
            "name": text(&name), "inode": nr.get(), "lacks": BitSet::Inode.format(missing.bits().into()),
            "has_besides": BitSet::Inode.format(extra.bits().into()),
        }));
    }
    if session.json {
        let document = json!({
            "directory": text(spec), "inode": dir.nr().get(), "dax_flag": dir.flags().contains(InodeFlags::DAX),
            "new": rows, "differ": children,
        });
        return output::document(&mut session.out, command.name(), document);
    }
    for line in lines {
        writeln!(session.out, "{line}")?;
    }
    Ok(())
}

/// What an inode of the tree is to become.
struct Wanted {
    flags: InodeFlags,
    project: Option<u32>,
}

/// Gives everything below a directory the flags, and the project, that it would get if it were made there now. An inode with several names
/// is made under the first.
fn apply(session: &mut Session<'_>, command: &'static Command, top: Inode, force: bool) -> Result<()> {
    session.check_writable()?;
    let has_projects = session.volume.has_ro_compat(RoCompat::PROJECT);
    // Directories come before what they hold, so what a directory will have is known.
    let mut dirs = BTreeMap::from([(top.nr(), (top.flags(), top.project()))]);
    let mut wanted: BTreeMap<InodeNr, Wanted> = BTreeMap::new();
    let mut damaged = Vec::new();
    for visit in session.volume.walk(top) {
        let visit = match visit {
            Ok(visit) => visit,
            Err(e) => {
                damaged.push(format!("{}: {}", shown(&e.path), e.error));
                continue;
            }
        };
        let (Some(_), true) = (&visit.entry, visit.first) else { continue };
        let Some((parent, project)) = dirs.get(&visit.parent).copied() else { continue };
        let Some(kind) = FileKind::from_mode(visit.inode.i_mode.get()) else { continue };
        let flags = (visit.inode.flags() - INHERITED) | inherited(kind, parent);
        let hands_on = has_projects && parent.contains(InodeFlags::PROJINHERIT);
        let project = project.filter(|p| hands_on && visit.inode.project() != Some(*p));
        if visit.inode.is_dir() {
            dirs.insert(visit.inode.nr(), (flags, project.or(visit.inode.project())));
        }
        if flags != visit.inode.flags() || project.is_some() {
            wanted.insert(visit.inode.nr(), Wanted { flags, project });
        }
    }
    let numbers: Vec<InodeNr> = wanted.keys().copied().collect();
    let mut refused = Vec::new();
    let changed = session.edit(|editor| {
        let mut refuse = |error: EditError| -> Result<()> {
            // What cannot be read is no refusal.
            if !force || matches!(error, EditError::Volume(_)) {
                return Err(error.into());
            }
            refused.push(error.to_string());
            Ok(())
        };
        let flags = |nr: InodeNr| wanted.get(&nr).map(|w| w.flags);
        let changed = editor.change_flags(&numbers, |nr, _| Ok(flags(nr)), &mut refuse)?;
        for (nr, project) in wanted.iter().filter_map(|(nr, w)| Some((*nr, w.project?))) {
            let done = editor.attempt(|editor| {
                let mut inode = editor.inode(nr).map_err(EditError::from)?;
                editor.set_project(&mut inode, project)
            });
            done.or_else(&mut refuse)?;
        }
        Ok(changed)
    })?;
    for line in damaged {
        session.complain(line);
    }
    if session.json {
        return output::document(&mut session.out, command.name(), json!({ "changed": changed, "left_out": refused }));
    }
    writeln!(session.out, "{changed} inodes changed")?;
    for line in refused {
        writeln!(session.out, "left out: {line}")?;
    }
    Ok(())
}
