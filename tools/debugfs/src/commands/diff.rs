//! What differs between the open image and another.

use super::Command;
use crate::dry_run;
use crate::opening::{self, Opening};
use crate::output::{self, shown, text};
use crate::session::Session;
use anyhow::{Context, Result, bail};
use daxkit_build::diff::{DiffOptions, Difference, diff};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["diff"],
    args: "[-l] [-t] [-b] IMAGE [DIRECTORY]",
    summary: "Show what differs in another image: names, fields, attributes, content; -l: where it lies, too, -t: all times, \
-b: the bytes by their places. The exit status is 1 when anything differs",
    example: "diff other.img /etc",
    run: compare,
}];

fn compare(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "ltb", &[], (1, 2))?;
    let Some(image) = options.rest.first() else { return Ok(()) };
    let opening = Opening {
        image: Some(PathBuf::from(OsStr::from_bytes(image))),
        replay: session.opening.replay,
        catastrophic: session.opening.catastrophic,
        ignore_checksums: session.opening.ignore_checksums,
        ..Opening::default()
    };
    let other = opening::open(&opening, &session.messages)?.volume;
    if options.has('b') {
        return bytes(session, command, &other);
    }
    let path = options.rest.get(1).map_or(&b"/"[..], Vec::as_slice);
    let a = session.inode(path)?;
    let b = other.resolve(path, false).with_context(|| format!("{}: {}", shown(image), shown(path)))?;
    if !a.is_dir() || !b.is_dir() {
        bail!("{}: not a directory", shown(path));
    }
    let how = DiffOptions { all_times: options.has('t'), layout: options.has('l') };
    let (mut rows, mut count) = (Vec::new(), 0u64);
    let Session { volume, out, json, .. } = session;
    diff(volume, &other, (&a, &b), how, &mut |difference| -> Result<()> {
        count += 1;
        if *json {
            rows.push(document(&difference));
        } else {
            writeln!(out, "{}", line(&difference))?;
        }
        Ok(())
    })?;
    if session.json {
        output::document(&mut session.out, command.name(), Value::from(rows))?;
    }
    // As diff(1): not a failure that anything is said about.
    session.differs |= count > 0;
    Ok(())
}

/// Differences of bytes, each at its place; for images of one shape.
fn bytes(session: &mut Session<'_>, command: &'static Command, other: &daxkit_volume::Volume) -> Result<()> {
    if session.volume.geometry() != other.geometry() {
        bail!("the images have different shapes; their bytes have no places in common");
    }
    let rows = dry_run::differences(&session.volume, other)?;
    session.differs |= !rows.is_empty();
    rows.show(session, command.name(), "differ")
}

fn line(difference: &Difference) -> String {
    match difference {
        Difference::Super { field, a, b } => format!("super.{field}: {a} -> {b}"),
        Difference::Only { second: false, path } => format!("- {}", shown(path)),
        Difference::Only { second: true, path } => format!("+ {}", shown(path)),
        Difference::Changed { path, what, a, b } => format!("{} {what}: {a} -> {b}", shown(path)),
        Difference::Damaged { second, path, why } => {
            let which = if *second { "second" } else { "first" };
            format!("{}: damaged in the {which}: {why}", shown(path))
        }
    }
}

fn document(difference: &Difference) -> Value {
    match difference {
        Difference::Super { field, a, b } => json!({ "kind": "super", "field": field, "a": a, "b": b }),
        Difference::Only { second, path } => {
            json!({ "kind": "only", "in": if *second { "b" } else { "a" }, "path": text(path) })
        }
        Difference::Changed { path, what, a, b } => {
            json!({ "kind": "changed", "path": text(path), "what": what, "a": a, "b": b })
        }
        Difference::Damaged { second, path, why } => {
            json!({ "kind": "damaged", "in": if *second { "b" } else { "a" }, "path": text(path), "why": why })
        }
    }
}
