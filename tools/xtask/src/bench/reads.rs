//! Rows of dax-debugfs: names of inodes and owners of blocks on an image of half a million files.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Bench;
use super::measure::Side;
use super::report::{Bound, Row, Target};
use super::source::SmallFiles;
use crate::process;

/// What the image holds: 500,000 files of a block each at the most.
const FILES: SmallFiles = SmallFiles { count: 500_000, below: 100, each: 100 };

/// Numbers asked for at once.
const ASKED: u64 = 1000;

/// How much faster than debugfs it is to be.
const FACTOR: f64 = 10.0;

/// The names of a thousand inodes spread over the image.
pub(super) fn ncheck(bench: &Bench) -> Result<Row> {
    row(bench, "ncheck", format!("names of {ASKED} inodes among {} files", FILES.count), 100, FILES.count / ASKED - 1)
}

/// The owners of a thousand blocks spread over the image.
pub(super) fn icheck(bench: &Bench) -> Result<Row> {
    row(bench, "icheck", format!("owners of {ASKED} blocks among {} files", FILES.count), 100_000, 1100)
}

fn row(bench: &Bench, request: &'static str, work: String, first: u64, step: u64) -> Result<Row> {
    let image = image(bench)?;
    let script = bench.dir.join(format!("{request}.script"));
    let mut line = request.to_owned();
    for i in 0..ASKED {
        write!(line, " {}", first + i * step)?;
    }
    fs::write(&script, line + "\n").context("cannot write the script")?;
    super::source::warm(&image)?;
    let program = |program: &Path| {
        let mut command = process::command(program);
        command.arg("-f").arg(&script).arg(&image);
        command
    };
    // Nothing is written, so the target stays empty.
    let mut row = bench.compare(
        request,
        work,
        0,
        Side::program("dax-debugfs", |_| program(&bench.debugfs)),
        Side::program("debugfs", |_| program(Path::new("debugfs"))),
        None,
    )?;
    row.program = "dax-debugfs";
    if let Some(peer) = row.peer {
        row.targets.push(Target::new(
            "faster than debugfs",
            peer.median / row.ours.median,
            Bound::AtLeast,
            FACTOR,
            "x",
        ));
    }
    Ok(row)
}

/// The image, made once.
fn image(bench: &Bench) -> Result<PathBuf> {
    let done = bench.dir.join(format!("{}.img", FILES.name()));
    if !done.is_file() {
        let tree = FILES.make(&bench.dir)?;
        eprintln!("  making {}", done.display());
        let half = done.with_extension("half");
        let mut mkfs = process::command(&bench.mkfs);
        mkfs.args(["-q", "-F", "-b", "1024", "-N", "600000", "-d"]).arg(&tree).arg(&half).arg("1500M");
        process::run(&mut mkfs)?;
        fs::rename(&half, &done)?;
    }
    Ok(done)
}
