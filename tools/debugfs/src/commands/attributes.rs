//! One extended attribute.

use super::Command;
use super::stat::xattr_document;
use crate::output::{self, shown};
use crate::session::Session;
use anyhow::{Context, Result, bail};
use daxkit_volume::Xattr;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["ea_get"],
    args: "[-f HOST_FILE] [-x] [-V] [-C] [-r] FILE NAME",
    summary: "Show an attribute; -f: its value into a file, -x: in hex, -V: the value alone, -C: as a C string",
    example: "ea_get hello user.text",
    run: ea_get,
}];

fn ea_get(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    // `-r` asks for the value as it is stored, which is what is shown in any case.
    let options = command.options(words, "f:xVCr", &[], (2, 2))?;
    let [spec, name] = options.rest else { return Ok(()) };
    if options.value("f").is_some() && (options.has('x') || options.has('V') || options.has('C')) {
        bail!("{}", command.usage());
    }
    let inode = session.inode(spec)?;
    let found = session.volume.xattr_by_name(&inode, name)?;
    let x: Xattr = found.with_context(|| format!("{}: no attribute {}", shown(spec), shown(name)))?;
    if let Some(file) = options.value("f") {
        std::fs::write(OsStr::from_bytes(file), &x.value).with_context(|| shown(file))?;
        return Ok(());
    }
    if session.json {
        return output::document(&mut session.out, command.name(), xattr_document(&x));
    }
    let printable = x.value.iter().all(|b| (0x20..0x7f).contains(b));
    let value = match (options.has('x'), options.has('C') || printable) {
        (false, true) => {
            let mut text = String::new();
            for b in &x.value {
                match b {
                    b'"' | b'\\' => text.extend(['\\', char::from(*b)]),
                    0x20..0x7f => text.push(char::from(*b)),
                    b => text.push_str(&format!("\\x{b:02x}")),
                }
            }
            format!("\"{text}\"")
        }
        _ => x.value.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" "),
    };
    if options.has('V') {
        if options.has('x') || options.has('C') {
            writeln!(session.out, "{value}")?;
        } else {
            session.out.write_all(&x.value)?;
            writeln!(session.out)?;
        }
        return Ok(());
    }
    writeln!(session.out, "{} ({}) = {value}", shown(&x.full_name()), x.value.len())?;
    Ok(())
}
