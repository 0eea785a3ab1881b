//! The text form of the whole image, and the image that a text stands for.

use super::Command;
use crate::opening::is_same_file;
use crate::output;
use crate::session::Session;
use anyhow::{Context, Result, anyhow, bail};
use daxkit_build::dump::{Data, DumpOptions, dump, dump_to_string};
use daxkit_build::restore::restore;
use daxkit_device::{BlockDevice, Existing, NewFile};
use serde_json::json;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["dump_image"],
        args: "[-d] [--data] [HOST_FILE]",
        summary: "Print every byte of the image as text; -d, --data: file data in full, not as hashes",
        example: "dump_image",
        run: dump_image,
    },
    Command {
        names: &["restore_image"],
        args: "[-f] [--force] HOST_FILE HOST_FILE",
        summary: "Build the image that a text of dump_image --data stands for (- is standard input), edited or not, into a new file; -f, --force: in \
place of one that is there",
        example: "restore_image -f /tmp/image.txt /tmp/new.img",
        run: restore_image,
    },
];

fn restore_image(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "f", &["force!"], (2, 2))?;
    let [text, image] = options.rest else { bail!("{}", command.usage()) };
    let target = Path::new(OsStr::from_bytes(image));
    if !session.closed && is_same_file(target, session.opening.path()) {
        bail!("{}: the image is open", output::shown(image));
    }
    let mut reader: Box<dyn BufRead> = match text.as_slice() {
        b"-" => Box::new(BufReader::new(io::stdin())),
        name => Box::new(BufReader::with_capacity(
            1 << 16,
            File::open(OsStr::from_bytes(name)).with_context(|| output::shown(name))?,
        )),
    };
    let force = options.has('f') || options.value("force").is_some();
    let existing = if force { Existing::Replace } else { Existing::Refuse };
    let file = NewFile::create(target, existing)?;
    let mut make = |len| {
        let device: Arc<dyn BlockDevice> = Arc::new(file.device(len).map_err(io::Error::other)?);
        Ok(device)
    };
    let device = restore(&mut reader, &mut make).map_err(|e| anyhow!("{}: {e}", output::shown(text)))?;
    let len = device.len();
    file.set_len(len)?;
    drop(device);
    file.publish()?;
    if session.json {
        return output::document(&mut session.out, command.name(), json!({ "bytes": len }));
    }
    Ok(())
}

fn dump_image(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "d", &["data!"], (0, 1))?;
    let full = options.has('d') || options.value("data").is_some();
    let how = DumpOptions { data: if full { Data::Full } else { Data::Hash } };
    if let Some(name) = options.rest.first() {
        let file = File::create(OsStr::from_bytes(name)).with_context(|| output::shown(name))?;
        let mut file = BufWriter::new(file);
        dump(&session.device, &how, &mut file).with_context(|| output::shown(name))?;
        file.flush().with_context(|| output::shown(name))?;
        return Ok(());
    }
    if session.json {
        let text = dump_to_string(&session.device, &how)?;
        return output::document(&mut session.out, command.name(), json!({ "text": text }));
    }
    Ok(dump(&session.device, &how, &mut session.out)?)
}
