//! Names made, moved and taken away, as debugfs does it, with `mv` besides.

use super::Command;
use crate::output::{self, shown};
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::InodeNr;
use daxkit_format::ext4::dir_entry::file_type;
use daxkit_format::ext4::inode::mode;
use daxkit_volume::ext4::edit::{NewInode, Rename, RenameRule};
use serde_json::json;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["mkdir"],
        args: "DIRECTORY...",
        summary: "Make directories, of the superuser and with mode 755; they inherit what Linux hands down",
        example: "mkdir /new",
        run: mkdir,
    },
    Command {
        names: &["rmdir"],
        args: "DIRECTORY...",
        summary: "Remove empty directories",
        example: "rmdir /old",
        run: rmdir,
    },
    Command {
        names: &["rm"],
        args: "FILE...",
        summary: "Take a name away, and with its last name the file",
        example: "rm /file",
        run: rm,
    },
    Command {
        names: &["kill_file"],
        args: "FILE...",
        summary: "Free an inode and its blocks; names that lead to it stay and lead nowhere",
        example: "kill_file <12>",
        run: kill_file,
    },
    Command {
        names: &["link", "ln"],
        args: "FILE NAME",
        summary: "Make a name for a file; its count of links stays as it is",
        example: "link /file /name",
        run: link,
    },
    Command {
        names: &["unlink"],
        args: "NAME...",
        summary: "Take a name away; what it leads to stays as it is, its count of links, too",
        example: "unlink /name",
        run: unlink,
    },
    Command {
        names: &["symlink"],
        args: "NAME TARGET",
        summary: "Make a symbolic link",
        example: "symlink /name target",
        run: symlink,
    },
    Command {
        names: &["mknod"],
        args: "NAME p|s|[c|b MAJOR MINOR]",
        summary: "Make a named pipe, a socket or a device node",
        example: "mknod /null c 1 3",
        run: mknod,
    },
    Command {
        names: &["mv"],
        args: "[-n] [-x] FROM TO",
        summary: "Rename a file or directory; -n: not over another one, -x: exchange the two",
        example: "mv /a /b",
        run: mv,
    },
    Command {
        names: &["expand_dir", "expand"],
        args: "DIRECTORY",
        summary: "Give a directory one more block without entries",
        example: "expand_dir /lost+found",
        run: expand_dir,
    },
];

/// Says which inode was made.
pub(super) fn made(session: &mut Session<'_>, command: &'static Command, nr: InodeNr) -> Result<()> {
    if session.json {
        return output::document(&mut session.out, command.name(), json!({ "inode": nr.get() }));
    }
    writeln!(session.out, "Allocated inode: {nr}")?;
    Ok(())
}

fn mkdir(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, usize::MAX))?;
    session.check_writable()?;
    for spec in options.rest {
        let (dir, name) = session.parent_and_name(spec)?;
        let new = NewInode::of_root(mode::IFDIR | 0o755);
        let inode = session.edit(|editor| Ok(editor.mkdir(dir, &name, &new)?)).with_context(|| shown(spec))?;
        made(session, command, inode.nr())?;
    }
    Ok(())
}

fn rmdir(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    each_name(session, command, words, |editor, dir, name| Ok(editor.rmdir(dir, name)?))
}

fn rm(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    each_name(session, command, words, |editor, dir, name| Ok(editor.unlink(dir, name)?))
}

fn unlink(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    each_name(session, command, words, |editor, dir, name| Ok(editor.unlink_raw(dir, name).map(drop)?))
}

fn each_name(
    session: &mut Session<'_>,
    command: &'static Command,
    words: &[Vec<u8>],
    edit: impl Fn(&mut daxkit_volume::Editor<'_>, InodeNr, &[u8]) -> Result<()>,
) -> Result<()> {
    let options = command.options(words, "", &[], (1, usize::MAX))?;
    session.check_writable()?;
    for spec in options.rest {
        let (dir, name) = session.parent_and_name(spec)?;
        session.edit(|editor| edit(editor, dir, &name)).with_context(|| shown(spec))?;
    }
    Ok(())
}

fn kill_file(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, usize::MAX))?;
    session.check_writable()?;
    for spec in options.rest {
        let nr = session.inode(spec)?.nr();
        session.edit(|editor| Ok(editor.kill(nr)?)).with_context(|| shown(spec))?;
    }
    Ok(())
}

fn link(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (2, 2))?;
    session.check_writable()?;
    let [from, to] = options.rest else { return Ok(()) };
    let inode = session.inode(from)?;
    // Into a directory a link gets the name that the file has.
    let (dir, name) = match session.inode(to) {
        Ok(dir) if dir.is_dir() => (dir.nr(), session.parent_and_name(from)?.1),
        _ => session.parent_and_name(to)?,
    };
    let kind = file_type::of_mode(inode.i_mode.get());
    session.edit(|editor| Ok(editor.link_raw(dir, &name, inode.nr(), kind)?)).with_context(|| shown(to))
}

fn symlink(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (2, 2))?;
    session.check_writable()?;
    let [spec, target] = options.rest else { return Ok(()) };
    let (dir, name) = session.parent_and_name(spec)?;
    let new = NewInode::of_root(mode::IFLNK | 0o777);
    let inode = session.edit(|editor| Ok(editor.symlink(dir, &name, target, &new)?)).with_context(|| shown(spec))?;
    made(session, command, inode.nr())
}

fn mknod(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (2, 4))?;
    session.check_writable()?;
    let small = |word: &Vec<u8>| -> Result<u32> {
        u32::try_from(number(word, "a number")?).with_context(|| format!("{}: too large", shown(word)))
    };
    let (spec, kind, device) = match options.rest {
        [spec, kind] => (spec, kind, None),
        [spec, kind, major, minor] => (spec, kind, Some((small(major)?, small(minor)?))),
        _ => bail!("{}", command.usage()),
    };
    let (kind, device) = match (kind.as_slice(), device) {
        (b"p", None) => (mode::IFIFO, (0, 0)),
        (b"s", None) => (mode::IFSOCK, (0, 0)),
        (b"c", Some(device)) => (mode::IFCHR, device),
        (b"b", Some(device)) => (mode::IFBLK, device),
        _ => bail!("{}", command.usage()),
    };
    let (dir, name) = session.parent_and_name(spec)?;
    // Without permissions, as debugfs makes them.
    let new = NewInode::of_root(kind);
    let inode = session.edit(|editor| Ok(editor.mknod(dir, &name, &new, device)?)).with_context(|| shown(spec))?;
    made(session, command, inode.nr())
}

fn mv(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "nx", &[], (2, 2))?;
    session.check_writable()?;
    let [from, to] = options.rest else { return Ok(()) };
    let (old_dir, name) = session.parent_and_name(from)?;
    let (new_dir, new_name) = match session.inode(to) {
        Ok(dir) if dir.is_dir() && !options.has('x') => (dir.nr(), name.clone()),
        _ => session.parent_and_name(to)?,
    };
    let rule = match (options.has('n'), options.has('x')) {
        (false, false) => RenameRule::Replace,
        (true, false) => RenameRule::Keep,
        (false, true) => RenameRule::Exchange,
        (true, true) => bail!("{}", command.usage()),
    };
    let rename = Rename { from: old_dir, name: &name, to: new_dir, new_name: &new_name, rule, keep_replaced: false };
    session.edit(|editor| Ok(editor.rename(&rename).map(drop)?)).with_context(|| shown(from))
}

fn expand_dir(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 1))?;
    session.check_writable()?;
    let Some(spec) = options.rest.first() else { return Ok(()) };
    let nr = session.inode(spec)?.nr();
    session
        .edit(|editor| {
            let mut dir = editor.inode(nr)?;
            Ok(editor.expand_dir(&mut dir)?)
        })
        .with_context(|| shown(spec))
}
