//! Rows of dax-fsck: a check of a sound image, against `e2fsck -fn`. The floor is an example of `daxkit-check` that reads what a check
//! has to read, and no more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Bench;
use super::edits::{WHOLE, image};
use super::measure::{Status, readers};
use super::report::{Bound, Row, Target};
use super::rows::row_of;
use super::source::warm;
use crate::process;
use crate::workspace::Workspace;

/// One directory with so many entries.
const ENTRIES: u64 = 200_000;

/// Extents of one file.
const PIECES: u64 = 5_000_000;

/// An image that is longer is nearly all holes; reading them all would take longer than the bench.
const WARMED: u64 = 32 << 30;

/// How often the floor the time may be.
const OF_FLOOR: f64 = 2.0;

/// What two threads have to gain.
const SCALING: f64 = 1.7;

/// The program that measures the floor.
#[derive(Debug)]
pub(super) struct Floor(PathBuf);

impl Floor {
    pub(super) fn build(workspace: &Workspace) -> Result<Self> {
        workspace.build_example("daxkit-check", "floor").map(Self)
    }
}

/// Half a million files.
pub(super) fn files(bench: &Bench, floor: &Floor) -> Result<Row> {
    let image = image(bench, WHOLE)?;
    let work = format!("check of {} files in 2,200 directories, 8 GiB", WHOLE.count);
    row(bench, "check-500k", work, &image, 12.0, Some(floor))
}

/// An empty file system of 15 TiB. The floor is low there: nothing of the many descriptors but where tables are.
pub(super) fn empty(bench: &Bench, floor: &Floor) -> Result<Row> {
    let image = made(bench, "empty-15T.img", |mkfs, target| {
        mkfs.args(["-q", "-F", "-b", "4096"]).arg(target).arg("15T");
    })?;
    row(bench, "check-empty-15t", "check of an empty image of 15 TiB".to_owned(), &image, 60.0, Some(floor))
}

/// One directory of many entries.
pub(super) fn directory(bench: &Bench, floor: &Floor) -> Result<Row> {
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
    row(bench, "check-dir-200k", format!("check of one directory of {ENTRIES} entries"), &image, 12.0, Some(floor))
}

/// One file in many pieces. Its blocks were never written, so the image takes little room. No floor: what has to be read is the map.
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
    row(bench, "check-extents-5m", format!("check of one file with {PIECES} extents"), &image, 6.0, None)
}

/// What the second thread gains, over half a million files.
pub(super) fn scaling(bench: &Bench) -> Result<Row> {
    let image = image(bench, WHOLE)?;
    warm(&image)?;
    let name = "check-threads";
    let work = format!("check of {} files in 2,200 directories, two threads against one", WHOLE.count);
    eprintln!("{name}: {work}");
    let on = |threads: &str| {
        let mut command = check(&bench.fsck, "-n", &image);
        command.args(["--threads", threads]);
        command
    };
    let mut sides = [on("2"), on("1")];
    let samples = readers(&mut sides, bench.runs, Status::Success)?;
    let mut row = row_of(name, work, "2 threads", Some("1 thread"), &samples)?;
    if let Some(peer) = row.peer {
        let times = peer.median / row.ours.median;
        row.targets.push(Target::new("faster than on one thread", times, Bound::AtLeast, SCALING, "x"));
    }
    Ok(row)
}

/// The image, made once.
pub(super) fn made(bench: &Bench, name: &str, args: impl FnOnce(&mut Command, &Path)) -> Result<PathBuf> {
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

/// A program that checks an image.
pub(super) fn check(program: &Path, flags: &str, image: &Path) -> Command {
    let mut command = process::command(program);
    command.arg(flags).arg(image);
    command
}

fn row(
    bench: &Bench,
    name: &'static str,
    work: String,
    image: &Path,
    factor: f64,
    floor: Option<&Floor>,
) -> Result<Row> {
    if fs::metadata(image)?.len() < WARMED {
        warm(image)?;
    }
    eprintln!("{name}: {work}");
    let mut sides = vec![check(&bench.fsck, "-n", image), check(Path::new("e2fsck"), "-fn", image)];
    if let Some(Floor(program)) = floor {
        let mut command = process::command(program);
        command.arg(image);
        sides.push(command);
    }
    let samples = readers(&mut sides, bench.runs, Status::Success)?;
    let mut row = row_of(name, work, "dax-fsck", Some("e2fsck"), &samples)?;
    if let Some(peer) = row.peer {
        let times = peer.median / row.ours.median;
        row.targets.push(Target::new("faster than e2fsck -fn", times, Bound::AtLeast, factor, "x"));
    }
    if let Some(floor) = row.floor {
        row.targets.push(Target::new(
            "time of the floor",
            row.ours.median / floor.median,
            Bound::AtMost,
            OF_FLOOR,
            "x",
        ));
    }
    Ok(row)
}
