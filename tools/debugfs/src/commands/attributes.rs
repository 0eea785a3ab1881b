//! One extended attribute.

use super::Command;
use super::stat::xattr_document;
use crate::output::{self, shown};
use crate::session::Session;
use anyhow::{Context, Result, bail};
use daxkit_volume::Xattr;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["ea_set"],
        args: "[-f HOST_FILE] [-c] [-r] FILE NAME [VALUE]",
        summary: "Set an attribute; -f: its value from a file, -c: VALUE is a C string, -r: an ACL is given as it is stored",
        example: "ea_set /file user.text hello",
        run: ea_set,
    },
    Command {
        names: &["ea_rm"],
        args: "FILE NAME...",
        summary: "Remove attributes",
        example: "ea_rm /file user.text",
        run: ea_rm,
    },
    Command {
        names: &["ea_get"],
        args: "[-f HOST_FILE] [-x] [-V] [-C] [-r] FILE NAME",
        summary: "Show an attribute; -f: its value into a file, -x: in hex, -V: the value alone, -C: as a C string",
        example: "ea_get hello user.text",
        run: ea_get,
    },
];

fn ea_set(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "f:cr", &[], (2, 3))?;
    session.check_writable()?;
    let value = match (options.value("f"), options.rest.get(2)) {
        (Some(file), None) => std::fs::read(OsStr::from_bytes(file)).with_context(|| shown(file))?,
        (None, Some(text)) if options.has('c') => c_string(text).context("VALUE: not a C string")?,
        (None, Some(text)) => text.clone(),
        _ => bail!("{}", command.usage()),
    };
    let [spec, name, ..] = options.rest else { return Ok(()) };
    let nr = session.inode(spec)?.nr();
    // The editor takes ACLs as setxattr does.
    let as_stored = options.has('r') && name.starts_with(b"system.posix_acl_");
    let value = if as_stored { daxkit_format::ext4::acl::from_disk(&value)? } else { value };
    session
        .edit(|editor| {
            let mut inode = editor.inode(nr)?;
            Ok(editor.set_xattr(&mut inode, name, &value)?)
        })
        .with_context(|| shown(spec))
}

fn ea_rm(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (2, usize::MAX))?;
    session.check_writable()?;
    let Some((spec, names)) = options.rest.split_first() else { return Ok(()) };
    let nr = session.inode(spec)?.nr();
    session
        .edit(|editor| {
            let mut inode = editor.inode(nr)?;
            names.iter().try_for_each(|name| Ok(editor.remove_xattr(&mut inode, name)?))
        })
        .with_context(|| shown(spec))
}

/// The bytes that a C string stands for.
fn c_string(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.iter().copied().peekable();
    while let Some(b) = bytes.next() {
        if b != b'\\' {
            out.push(b);
            continue;
        }
        let (radix, most) = match bytes.peek()? {
            b'x' => {
                bytes.next();
                (16, 2)
            }
            b'0'..=b'7' => (8, 3),
            _ => {
                out.push(match bytes.next()? {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'a' => 7,
                    b'b' => 8,
                    b'f' => 12,
                    b'v' => 11,
                    other => other,
                });
                continue;
            }
        };
        let mut value = None;
        for _ in 0..most {
            let Some(digit) = bytes.peek().and_then(|b| char::from(*b).to_digit(radix)) else { break };
            value = Some(value.unwrap_or(0) * radix + digit);
            bytes.next();
        }
        out.push(u8::try_from(value?).ok()?);
    }
    Some(out)
}

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
