//! Rows of dax-fsck: a check of a sound image, against `e2fsck -fn`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Bench;
use super::edits::{WHOLE, image};
use super::measure::Side;
use super::report::{Bound, Row, Target};
use super::source::warm;
use crate::process;

/// One directory with so many entries.
const ENTRIES: u64 = 200_000;

/// Extents of one file.
const PIECES: u64 = 5_000_000;

/// An image that is longer is nearly all holes; reading them all would take longer than the bench.
const WARMED: u64 = 32 << 30;

/// Half a million files.
pub(super) fn files(bench: &Bench) -> Result<Row> {
    let image = image(bench, WHOLE)?;
    row(bench, "check-500k", format!("check of {} files, 8 GiB", WHOLE.count), &image, 12.0)
}

/// An empty file system of 15 TiB.
pub(super) fn empty(bench: &Bench) -> Result<Row> {
    let image = made(bench, "empty-15T.img", |mkfs, target| {
        mkfs.args(["-q", "-F", "-b", "4096"]).arg(target).arg("15T");
    })?;
    row(bench, "check-empty-15t", "check of an empty image of 15 TiB".to_owned(), &image, 60.0)
}

/// One directory of many entries.
pub(super) fn directory(bench: &Bench) -> Result<Row> {
    let tree = bench.dir.join("one-directory");
    if !tree.is_dir() {
        let half = bench.dir.join("one-directory.half");
        let inside = half.join("wide");
        fs::create_dir_all(&inside).context("cannot make a directory")?;
        for nr in 0..ENTRIES {
            fs::write(inside.join(format!("an-entry-{nr:07}")), b"").context("cannot make a file")?;
        }
        fs::rename(&half, &tree)?;
    }
    let image = made(bench, "one-directory.img", |mkfs, target| {
        mkfs.args(["-q", "-F", "-b", "4096", "-N", "210000", "-d"]).arg(&tree).arg(target).arg("1G");
    })?;
    row(bench, "check-dir-200k", format!("check of one directory of {ENTRIES} entries"), &image, 12.0)
}

/// One file in many pieces. Its blocks were never written, so the image takes little room.
pub(super) fn extents(bench: &Bench) -> Result<Row> {
    let recipe = bench.dir.join("extents.toml");
    let text = format!(
        "[[file]]\npath = \"/pieces\"\nsize = \"{0}K\"\nunwritten = [\"0..{0}K\"]\nfragments = {PIECES}\n",
        PIECES * 4
    );
    fs::write(&recipe, text).context("cannot write the recipe")?;
    let image = made(bench, "extents-5M.img", |mkfs, target| {
        mkfs.args(["-q", "-F", "-b", "4096", "--recipe"]).arg(&recipe).arg(target).arg("48G");
    })?;
    row(bench, "check-extents-5m", format!("check of one file with {PIECES} extents"), &image, 6.0)
}

/// The image, made once.
fn made(bench: &Bench, name: &str, args: impl FnOnce(&mut std::process::Command, &Path)) -> Result<PathBuf> {
    let done = bench.dir.join(name);
    if !done.is_file() {
        eprintln!("  making {}", done.display());
        let half = done.with_extension("half");
        let mut mkfs = process::command(&bench.mkfs);
        args(&mut mkfs, &half);
        process::run(&mut mkfs)?;
        fs::rename(&half, &done)?;
    }
    Ok(done)
}

fn row(bench: &Bench, name: &'static str, work: String, image: &Path, factor: f64) -> Result<Row> {
    if fs::metadata(image)?.len() < WARMED {
        warm(image)?;
    }
    let check = |program: &Path, flag: &str| {
        let mut command = process::command(program);
        command.arg(flag).arg(image);
        command
    };
    // Nothing is written, so the target stays empty.
    let mut row = bench.compare(
        name,
        work,
        0,
        Side::program("dax-fsck", |_| check(&bench.fsck, "-n")),
        Side::program("e2fsck", |_| check(Path::new("e2fsck"), "-fn")),
        None,
    )?;
    row.program = "dax-fsck";
    if let Some(peer) = row.peer {
        let times = peer.median / row.ours.median;
        row.targets.push(Target::new("faster than e2fsck -fn", times, Bound::AtLeast, factor, "x"));
    }
    Ok(row)
}
