//! What differs between the open image and another.

mod rows;

use super::Command;
use crate::dry_run;
use crate::opening::{self, Opening};
use crate::output::{self, shown};
use crate::session::Session;
use anyhow::{Context, Result, bail};
use daxkit_build::diff::{Begin, DiffOptions, diff};
use daxkit_format::InodeNr;
use daxkit_volume::Volume;
use serde_json::json;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["diff"],
    args: "[-q] [-t] [-l] [-b|--bytes] IMAGE [PATH]",
    summary: "Show what differs in another image, by meaning: the superblock, names, fields, flags, attributes, content; -t: all times \
and not mtime alone, -l: where things lie, too, -b: then every byte that differs, by its place, -q: only whether anything differs. The exit \
status is 0 when nothing differs and 1 when something does, as that of diff(1)",
    example: "diff other.img /etc",
    run: compare,
}];

/// Why a comparison ends early.
enum Stop {
    /// One difference was enough.
    Found,
    /// It could not be printed.
    Failed(anyhow::Error),
}

fn compare(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "qtlb", &["bytes!"], (1, 2))?;
    let Some(image) = options.rest.first() else { return Ok(()) };
    let path = options.rest.get(1);
    let by_bytes = options.has('b') || options.value("bytes").is_some();
    if by_bytes && path.is_some() {
        bail!("--bytes compares images, not what is in them");
    }
    let opening = Opening {
        image: Some(PathBuf::from(OsStr::from_bytes(image))),
        replay: session.opening.replay,
        catastrophic: session.opening.catastrophic,
        ignore_checksums: session.opening.ignore_checksums,
        ..Opening::default()
    };
    let other = opening::open(&opening, &session.messages)?.volume;
    if by_bytes && session.volume.geometry() != other.geometry() {
        bail!("the images have different shapes; their bytes have no places in common");
    }
    let full = absolute(session, path.map_or(&b"/"[..], Vec::as_slice))?;
    let find = |volume: &Volume, image: &[u8]| {
        volume.resolve(&full, false).with_context(|| format!("{}: {}", output::shown(image), shown(&full)))
    };
    let a = find(&session.volume, session.opening.path().as_os_str().as_bytes())?;
    let b = find(&other, image)?;
    let how = DiffOptions { super_block: path.is_none(), all_times: options.has('t'), layout: options.has('l') };
    let begin = Begin { path: &full, a: &a, b: &b };
    let quiet = options.has('q');
    let mut count = 0u64;
    if session.json && !quiet {
        // As output::document writes it, but row by row: there may be many.
        write!(session.out, r#"{{"command":"{}","result":{{"differences":["#, command.name())?;
    }
    let Session { volume, out, json, .. } = &mut *session;
    let done = diff(volume, &other, begin, how, &mut |difference| {
        count += 1;
        if quiet {
            return Err(Stop::Found);
        }
        let comma = if count > 1 { "," } else { "" };
        let printed = if *json {
            write!(out, "{comma}{}", rows::document(&difference))
        } else {
            writeln!(out, "{}", rows::line(&difference))
        };
        printed.map_err(|e| Stop::Failed(e.into()))
    });
    if let Err(Stop::Failed(error)) = done {
        return Err(error);
    }
    let rows = match by_bytes && !(quiet && count > 0) {
        true => Some(dry_run::differences(&session.volume, &other)?),
        false => None,
    };
    let differs = count > 0 || rows.as_ref().is_some_and(|rows| !rows.is_empty());
    // As with diff(1): not a failure that anything is said about.
    session.differs |= differs;
    match (session.json, rows) {
        (true, _) if quiet => output::document(&mut session.out, command.name(), json!({ "differ": differs })),
        (false, _) if quiet => {
            if differs {
                let name = session.opening.path().as_os_str().as_bytes().to_vec();
                writeln!(session.out, "{} and {} differ", shown(&name), shown(image))?;
            }
            Ok(())
        }
        (true, rows) => {
            let bytes = rows.map(|rows| rows.document());
            writeln!(session.out, r#"],"bytes":{}}}}}"#, json!(bytes))?;
            Ok(())
        }
        (false, Some(rows)) => rows.show(session, command.name(), "differ"),
        (false, None) => Ok(()),
    }
}

/// The path from the root of the image. A number means nothing in another image.
fn absolute(session: &Session<'_>, spec: &[u8]) -> Result<Vec<u8>> {
    if spec.starts_with(b"<") {
        bail!("{}: the numbers of two images have nothing in common; a path is wanted", shown(spec));
    }
    let base = if spec.starts_with(b"/") { session.root } else { session.here };
    if base == InodeNr::ROOT {
        return Ok(if spec.starts_with(b"/") { spec.to_vec() } else { [b"/", spec].concat() });
    }
    let base = session.volume.path_of_dir(&session.volume.inode(base)?)?;
    Ok([base.as_slice(), b"/", spec].concat())
}
