//! The content of one file as a file of the host.

use super::Command;
use crate::output::{self, shown};
use crate::session::Session;
use anyhow::{Context, Result};
use daxkit_format::ext4::inode::Timestamp;
use serde_json::json;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::{Duration, SystemTime};

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["dump_inode", "dump"],
    args: "[-p] FILE HOST_FILE",
    summary: "Copy the content of a file to the host, holes included; -p: owner, mode and times too",
    example: "dump <8> /tmp/journal",
    run: dump,
}];

/// Bytes copied at once.
const CHUNK: usize = 1 << 20;

fn dump(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "p", &[], (2, 2))?;
    let [spec, target] = options.rest else { return Ok(()) };
    let inode = session.inode(spec)?;
    // Devices and their like have no content; that is said before a file is made.
    if !inode.is_symlink() {
        session.volume.reader(&inode)?;
    }
    let file = File::create(OsStr::from_bytes(target)).with_context(|| shown(target))?;
    let mut copied = 0;
    if inode.is_symlink() {
        let link = session.volume.read_link(&inode)?;
        file.write_all_at(&link, 0).with_context(|| shown(target))?;
        copied = link.len() as u64;
    } else {
        let mut buf = Vec::new();
        for range in session.volume.data_ranges(&inode) {
            let range = range?;
            let mut from = range.start;
            while from < range.end {
                buf.resize((range.end - from).min(CHUNK as u64) as usize, 0);
                let n = session.volume.read_at(&inode, from, &mut buf)?;
                if n == 0 {
                    break;
                }
                file.write_all_at(buf.get(..n).unwrap_or_default(), from).with_context(|| shown(target))?;
                from += n as u64;
                copied += n as u64;
            }
        }
        file.set_len(inode.size()).with_context(|| shown(target))?;
    }
    if options.has('p') {
        // Owner first: changing it clears bits of the mode.
        let owner = std::os::unix::fs::fchown(&file, Some(inode.uid()), Some(inode.gid()));
        let mode = file.set_permissions(Permissions::from_mode(u32::from(inode.i_mode.get() & 0o7777)));
        let times = std::fs::FileTimes::new();
        let times = time(inode.atime()).into_iter().fold(times, std::fs::FileTimes::set_accessed);
        let times = time(inode.mtime()).into_iter().fold(times, std::fs::FileTimes::set_modified);
        for (what, done) in [("owner", owner), ("mode", mode), ("times", file.set_times(times))] {
            if let Err(e) = done {
                session.complain(format_args!("{}: {what} not set: {e}", shown(target)));
            }
        }
    }
    if session.json {
        let document = json!({ "inode": inode.nr().get(), "i_size": inode.size(), "copied": copied });
        return output::document(&mut session.out, command.name(), document);
    }
    Ok(())
}

/// A time as the host has it.
fn time(t: Timestamp) -> Option<SystemTime> {
    let (seconds, nanos) = (Duration::from_secs(t.seconds.unsigned_abs()), Duration::from_nanos(t.nanos.into()));
    let whole = if t.seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    whole?.checked_add(nanos)
}
