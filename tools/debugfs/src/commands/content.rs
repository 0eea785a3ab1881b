//! The content of files, changed: copied in from the host, allocated ahead, punched.

use super::Command;
use super::names::made;
use crate::output::shown;
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::ext4::inode::mode;
use daxkit_volume::ext4::edit::{Fill, NewInode};
use rustix::fs::SeekFrom;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["write"],
        args: "HOST_FILE NAME",
        summary: "Copy a file of the host into a new file, with its permissions and holes; it belongs to the superuser",
        example: "write /etc/hostname /hostname",
        run: write,
    },
    Command {
        names: &["fallocate"],
        args: "FILE FIRST [LAST]",
        summary: "Give blocks to the holes of a file; they read as zero. Whole windows of 2 MiB lie in one piece and aligned",
        example: "fallocate /file 0 511",
        run: fallocate,
    },
    Command {
        names: &["punch", "truncate"],
        args: "FILE FIRST [LAST]",
        summary: "Take blocks of a file away, all behind FIRST without LAST. Its size stays",
        example: "punch /file 1",
        run: punch,
    },
];

/// Bytes copied at once.
const CHUNK: usize = 8 << 20;

fn write(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (2, 2))?;
    session.check_writable()?;
    let [source, spec] = options.rest else { return Ok(()) };
    let file = File::open(std::ffi::OsStr::from_bytes(source)).with_context(|| shown(source))?;
    let meta = file.metadata().with_context(|| shown(source))?;
    if meta.is_dir() {
        bail!("{}: is a directory (put copies trees)", shown(source));
    }
    let (dir, name) = session.parent_and_name(spec)?;
    let new = NewInode::of_root(mode::IFREG | (meta.mode() & 0o7777) as u16);
    let inode = session.edit(|editor| {
        let mut inode = editor.create(dir, &name, &new).with_context(|| shown(spec))?;
        copy_in(editor, &mut inode, &file, meta.len()).with_context(|| shown(source))?;
        Ok(inode)
    })?;
    made(session, command, inode.nr())
}

/// Copies the content of a file of the host, holes left out.
pub(super) fn copy_in(
    editor: &mut daxkit_volume::Editor<'_>,
    inode: &mut daxkit_volume::Inode,
    file: &File,
    len: u64,
) -> Result<()> {
    let mut buf = vec![0; CHUNK.min(usize::try_from(len).unwrap_or(CHUNK)).max(1)];
    let mut at = 0;
    while at < len {
        // A host that knows no holes says that all is data.
        let (start, end) = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => (start, rustix::fs::seek(file, SeekFrom::Hole(start)).unwrap_or(len)),
            Err(rustix::io::Errno::NXIO) => break,
            Err(_) => (at, len),
        };
        at = start;
        while at < end.min(len) {
            let want = buf.len().min(usize::try_from(end.min(len) - at).unwrap_or(usize::MAX));
            let Some(part) = buf.get_mut(..want) else { break };
            let n = file.read_at(part, at)?;
            if n == 0 {
                bail!("the file has become shorter while it was read");
            }
            let data = part.get(..n).unwrap_or_default();
            editor.write_content(inode, at, data)?;
            at += n as u64;
        }
    }
    if inode.size() < len {
        editor.truncate(inode, len)?;
    }
    Ok(())
}

/// The numbers behind the file: first and last block, or all from the first on.
fn blocks(words: &[Vec<u8>]) -> Result<std::ops::Range<u64>> {
    let first = number(words.first().map(Vec::as_slice).unwrap_or_default(), "a block")?;
    let last = words.get(1).map(|word| number(word, "a block")).transpose()?;
    let last = last.unwrap_or(u64::from(u32::MAX));
    if first > u64::from(u32::MAX) || last < first {
        bail!("no such range of blocks");
    }
    Ok(first..last.min(u64::from(u32::MAX)) + 1)
}

fn fallocate(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (2, 3))?;
    session.check_writable()?;
    let Some((spec, numbers)) = options.rest.split_first() else { return Ok(()) };
    let inode = session.inode(spec)?;
    let shift = session.volume.geometry().block_shift();
    let range = match numbers {
        // Without a last block, up to the end of the file.
        [_] => {
            let first = blocks(numbers)?.start;
            first..inode.size().div_ceil(1 << shift).max(first + 1)
        }
        _ => blocks(numbers)?,
    };
    session
        .edit(|editor| {
            let mut inode = editor.inode(inode.nr())?;
            if !inode.is_file() {
                bail!("not a regular file");
            }
            Ok(editor.fallocate(&mut inode, range.start << shift..range.end << shift, Fill::Unwritten, true)?)
        })
        .with_context(|| shown(spec))
}

fn punch(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (2, 3))?;
    session.check_writable()?;
    let Some((spec, numbers)) = options.rest.split_first() else { return Ok(()) };
    let inode = session.inode(spec)?;
    let range = blocks(numbers)?;
    session
        .edit(|editor| {
            let mut inode = editor.inode(inode.nr())?;
            Ok(editor.punch(&mut inode, range)?)
        })
        .with_context(|| shown(spec))
}
