//! The text form of the whole image.

use super::Command;
use crate::output;
use crate::session::Session;
use anyhow::{Context, Result};
use daxkit_build::dump::{Data, DumpOptions, dump, dump_to_string};
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["dump_image"],
    args: "[-d] [HOST_FILE]",
    summary: "Print every byte of the image as text; -d: file data in full, not as hashes",
    example: "dump_image",
    run: dump_image,
}];

fn dump_image(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "d", &[], (0, 1))?;
    let how = DumpOptions { data: if options.has('d') { Data::Full } else { Data::Hash } };
    if let Some(name) = options.rest.first() {
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name));
        let file = File::create(path).with_context(|| output::shown(name))?;
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
