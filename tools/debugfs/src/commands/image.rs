//! The image as a whole: which one is open, what its superblock allows, who has it mounted.

use super::Command;
use crate::files::long_time;
use crate::output::{self, shown, text};
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::ext4::features::Feature;
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::mmp::{self, MmpStruct};
use daxkit_format::field::Structure;
use daxkit_format::jbd2::JournalIncompat;
use daxkit_format::{BlockNr, OnDisk};
use daxkit_volume::ext4::readable_features;
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["show_debugfs_params", "params"],
        args: "",
        summary: "Say which image is open, and how",
        example: "params",
        run: params,
    },
    Command {
        names: &["open_filesys", "open"],
        args: "[-w] [-c] [-n] [-D] [-b BYTES] [-s BLOCK] [-z UNDO] IMAGE",
        summary: "Open an image, after the present one was closed; the options are those of the program",
        example: "open disk.img",
        run: open,
    },
    Command {
        names: &["close_filesys", "close"],
        args: "[-a]",
        summary: "Write what was changed, and close the image; -a: all copies of superblock and descriptors, too",
        example: "close",
        run: close,
    },
    Command {
        names: &["supported_features"],
        args: "[FEATURE]",
        summary: "Show the features this program can read, or whether it can read one",
        example: "supported_features metadata_csum",
        run: supported,
    },
    Command {
        names: &["dump_mmp"],
        args: "[BLOCK]",
        summary: "Show the block of multiple mount protection",
        example: "dump_mmp",
        run: dump_mmp,
    },
];

fn params(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    let image = session.opening.path().as_os_str().as_bytes().to_vec();
    if session.json {
        let image = if session.closed { Value::Null } else { text(&image) };
        let document = json!({
            "image": image,
            "mode": if session.opening.writable { "read-write" } else { "read-only" },
            "catastrophic": session.opening.catastrophic,
            "offset": session.opening.offset,
            "replayed": session.volume.replay_overlay().is_some(),
        });
        return output::document(&mut session.out, command.name(), document);
    }
    if session.closed {
        writeln!(session.out, "No filesystem is open")?;
        return Ok(());
    }
    let mode = if session.opening.writable { "read-write" } else { "read-only" };
    let how = if session.opening.catastrophic { " (catastrophic)" } else { "" };
    writeln!(session.out, "Open mode: {mode}{how}\nFilesystem in use: {}", shown(&image))?;
    if session.volume.replay_overlay().is_some() {
        writeln!(session.out, "Journal: replayed in memory")?;
    }
    Ok(())
}

fn open(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    // -e and -f of debugfs change nothing: who writes is alone with the image, and no force is needed.
    let options = command.options(words, "wcefiDnb:s:z:", &[], (1, 1))?;
    if options.has('i') {
        bail!("-i: files of e2image are not read");
    }
    if !session.closed {
        bail!("{} is still open; close it first", shown(session.opening.path().as_os_str().as_bytes()));
    }
    let Some(image) = options.rest.first() else { return Ok(()) };
    let mut opening = session.opening.clone();
    let path = |word: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(word));
    opening.image = Some(path(image));
    opening.offset = 0;
    opening.writable = options.has('w');
    opening.catastrophic = options.has('c');
    opening.ignore_checksums = options.has('n');
    opening.direct = options.has('D');
    opening.undo = options.value("z").map(path);
    opening.superblock = options.value("s").map(|v| number(v, "a block number")).transpose()?;
    let size = options.value("b").map(|v| number(v, "a block size")).transpose()?;
    opening.block_size = size.map(u32::try_from).transpose().context("-b: not a block size")?;
    session.reopen(opening)
}

fn close(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "a", &[], (0, 0))?;
    if session.closed {
        bail!("no image is open");
    }
    if options.has('a') && session.opening.writable {
        session.edit(|editor| Ok(editor.write_backups()?))?;
    }
    session.close()
}

fn supported(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (0, 1))?;
    let names: Vec<String> = readable_features().iter().map(Feature::name).collect();
    let journal = JournalIncompat::KNOWN.names();
    if let Some(wanted) = options.rest.first() {
        let wanted = shown(wanted);
        let found = Feature::by_name(&wanted).filter(|f| readable_features().has(*f)).map(Feature::name);
        let name = found
            .or_else(|| journal.iter().find(|n| **n == wanted).cloned())
            .with_context(|| format!("Unknown feature: {wanted}"))?;
        if session.json {
            return output::document(&mut session.out, command.name(), Value::from(vec![name]));
        }
        writeln!(session.out, "Supported feature: {name}")?;
        return Ok(());
    }
    if session.json {
        return output::document(&mut session.out, command.name(), json!({ "file_system": names, "journal": journal }));
    }
    writeln!(session.out, "Supported features: {}\n {}", names.join(" "), journal.join(" "))?;
    Ok(())
}

fn dump_mmp(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (0, 1))?;
    let sb = session.volume.super_block();
    let (own, interval) = (sb.s_mmp_block.get(), sb.s_mmp_update_interval.get());
    let block = match options.rest.first() {
        Some(word) => number(word, "a block number")?,
        None => {
            if !session.volume.has_incompat(daxkit_format::ext4::features::Incompat::MMP) {
                bail!("multiple mount protection (feature mmp) is not on");
            }
            own
        }
    };
    let bytes = session.volume.read_block(BlockNr(block))?;
    let found = MmpStruct::peek(&bytes).copied().context("a block is too short")?;
    if found.mmp_magic.get() != mmp::MAGIC {
        bail!("block:{block}: has magic number {:#x}, not {:#x}", found.mmp_magic, mmp::MAGIC);
    }
    if session.volume.verify_seed().is_some_and(|seed| !found.verify(seed)) {
        session.complain(format_args!("block:{block}: checksum does not match"));
    }
    if session.json {
        let mut map = output::fields(Structure::MmpStruct, &bytes, size_of::<MmpStruct>());
        map.insert("block".to_owned(), Value::from(block));
        map.insert("s_mmp_update_interval".to_owned(), Value::from(interval));
        return output::document(&mut session.out, command.name(), Value::from(map));
    }
    let name = |bytes: &[u8]| shown(bytes.split(|b| *b == 0).next().unwrap_or_default());
    let time = found.mmp_time.get();
    let date = long_time(Timestamp { seconds: i64::try_from(time).unwrap_or(i64::MAX), nanos: 0 });
    let out = &mut session.out;
    writeln!(out, "block_number: {block}")?;
    writeln!(out, "update_interval: {interval}")?;
    writeln!(out, "check_interval: {}", found.mmp_check_interval)?;
    writeln!(out, "sequence: {:08x}", found.mmp_seq)?;
    writeln!(out, "time: {time} -- {date}")?;
    writeln!(out, "node_name: {}", name(&found.mmp_nodename))?;
    writeln!(out, "device_name: {}", name(&found.mmp_bdevname))?;
    writeln!(out, "magic: {:#x}", found.mmp_magic)?;
    writeln!(out, "checksum: 0x{:08x}", found.mmp_checksum)?;
    Ok(())
}
