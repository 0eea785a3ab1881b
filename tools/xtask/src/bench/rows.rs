//! The rows of the table: what each side runs, and what is promised.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Bench;
use super::floor::{self, Geometry};
use super::measure::{self, Fresh, Sample, Side};
use super::report::{Bound, Row, Target, Times, mib};
use super::source::{self, SmallFiles};
use crate::process;

const GIB: u64 = 1 << 30;

/// The sources of the second row: 50,000 files, 212 MiB.
const SMALL_FILES: SmallFiles = SmallFiles { count: 50_000, below: 8893, each: 100 };

/// The sources of the large memory row: what counts is how many files there are, so they are short.
const MILLION_FILES: SmallFiles = SmallFiles { count: 1_000_000, below: 1024, each: 100 };

impl Bench {
    /// `dax-mkfs` as the rows run it. The length is that of the target.
    fn mkfs(&self, source: Option<&Path>, target: &Path) -> Command {
        let mut command = process::command(&self.mkfs);
        command.args(["-q", "-F"]);
        with_source(command, source, target)
    }

    /// Everything measured for one row, put beside each other.
    pub(super) fn compare(
        &self,
        name: &'static str,
        work: String,
        len: u64,
        ours: Side<'_>,
        peer: Side<'_>,
        floor: Option<Side<'_>>,
    ) -> Result<Row> {
        self.compare_on(name, work, Fresh::Hole(len), ours, peer, floor)
    }

    /// As [`Bench::compare`], over targets that are not holes.
    pub(super) fn compare_on(
        &self,
        name: &'static str,
        work: String,
        fresh: Fresh<'_>,
        ours: Side<'_>,
        peer: Side<'_>,
        floor: Option<Side<'_>>,
    ) -> Result<Row> {
        eprintln!("{name}: {work}");
        let against = Some(peer.name);
        let mut sides = vec![ours, peer];
        sides.extend(floor);
        let samples = measure::alternate(&sides, self.runs, &self.dir.join("image"), fresh)?;
        row_of(name, work, "dax-mkfs", against, &samples)
    }
}

/// The row of what was measured: ours, that of the other side, and the floor, as far as there are such.
pub(super) fn row_of(
    name: &'static str,
    work: String,
    program: &'static str,
    against: Option<&'static str>,
    samples: &[Vec<Sample>],
) -> Result<Row> {
    let side = |nr: usize| samples.get(nr).map(Vec::as_slice).unwrap_or_default();
    Ok(Row {
        name,
        work,
        program,
        ours: Times::of(side(0)).context("no run of ours was measured")?,
        against,
        peer: Times::of(side(1)),
        floor: Times::of(side(2)),
        disk_ours: most(side(0), |s| s.disk),
        disk_peer: against.map(|_| most(side(1), |s| s.disk)),
        peak_memory: most(side(0), |s| s.peak_memory),
        peak_memory_peer: against.map(|_| most(side(1), |s| s.peak_memory)),
        targets: Vec::new(),
        notes: Vec::new(),
    })
}

fn most(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> u64 {
    samples.iter().map(of).max().unwrap_or(0)
}

/// `mke2fs` as a user would call it for the same image.
fn mke2fs(source: Option<&Path>, target: &Path) -> Command {
    let mut command = process::command("mke2fs");
    command.args(["-q", "-F", "-t", "ext4"]);
    with_source(command, source, target)
}

fn with_source(mut command: Command, source: Option<&Path>, target: &Path) -> Command {
    if let Some(source) = source {
        command.arg("-d").arg(source);
    }
    command.arg(target);
    command
}

/// How much faster than the other side.
fn faster(row: &Row, limit: f64) -> Option<Target> {
    let what = format!("faster than {}", row.against?);
    Some(Target::new(what, row.peer?.median / row.ours.median, Bound::AtLeast, limit, "x"))
}

/// An empty image of 15 TiB.
pub(super) fn empty_15t(bench: &Bench) -> Result<Row> {
    let geometry = Geometry { len: 15 << 40, block_size: 4096, descriptor_size: 64 };
    let mut row = bench.compare(
        "empty-15t",
        format!("empty 15 TiB image, sparse ({:.1} MiB of descriptors and backups)", mib(geometry.descriptor_bytes())),
        geometry.len,
        Side::program("dax-mkfs", |target| bench.mkfs(None, target)),
        Side::program("mke2fs", |target| mke2fs(None, target)),
        Some(Side::function("floor", move |target| floor::descriptors(target, geometry))),
    )?;
    row.targets.extend(faster(&row, 4.0));
    if let Some(floor) = row.floor {
        row.targets.push(Target::new("time of the floor", row.ours.median / floor.median, Bound::AtMost, 1.5, "x"));
    }
    if let Some(peer) = row.disk_peer {
        let less = peer as f64 / row.disk_ours.max(1) as f64;
        row.targets.push(Target::new("disk space less than mke2fs", less, Bound::AtLeast, 6.0, "x"));
    }
    Ok(row)
}

/// 50,000 small files, warm in the page cache.
pub(super) fn files_50k(bench: &Bench) -> Result<Row> {
    let source = SMALL_FILES.make(&bench.dir)?;
    let bytes = source::warm(&source)?;
    let files = source::files(&source)?;
    let mut row = bench.compare(
        "files-50k",
        format!("{} files of 0 to 9 kB, {:.0} MiB, warm cache", SMALL_FILES.count, mib(bytes)),
        GIB,
        Side::program("dax-mkfs", |target| bench.mkfs(Some(&source), target)),
        Side::program("mke2fs -d", |target| mke2fs(Some(&source), target)),
        Some(Side::function("floor", |target| floor::read_and_write(target, &files))),
    )?;
    row.targets.extend(faster(&row, 4.0));
    Ok(row)
}

/// One file of 2 GiB, against a plain copy of it.
pub(super) fn file_2g(bench: &Bench) -> Result<Row> {
    let source = source::one_file(&bench.dir, 2 * GIB)?;
    source::warm(&source)?;
    let mut row = bench.compare(
        "file-2g",
        "one file of 2 GiB, warm cache".to_owned(),
        5 * GIB / 2,
        Side::program("dax-mkfs", |target| bench.mkfs(Some(&source), target)),
        Side::program("cp", |target| {
            let mut cp = process::command("cp");
            cp.arg(source.join("large.dat")).arg(target);
            cp
        }),
        None,
    )?;
    if let Some(peer) = row.peer {
        row.targets.push(Target::new("time of cp", row.ours.median / peer.median, Bound::AtMost, 1.3, "x"));
    }
    Ok(row)
}

/// The 50,000 small files again, out of a tar archive.
pub(super) fn tar_50k(bench: &Bench) -> Result<Row> {
    let archive = source::archive(&SMALL_FILES.make(&bench.dir)?)?;
    let bytes = source::warm(&archive)?;
    let mut row = bench.compare(
        "tar-50k",
        format!("tar archive of {} files of 0 to 9 kB, {:.0} MiB, warm cache", SMALL_FILES.count, mib(bytes)),
        GIB,
        Side::program("dax-mkfs", |target| bench.mkfs(Some(&archive), target)),
        Side::program("genext2fs -a", |target| {
            let mut command = process::command("genext2fs");
            let blocks = (GIB / 4096).to_string();
            let inodes = (SMALL_FILES.count + SMALL_FILES.count / 8).to_string();
            command.args(["-B", "4096", "-b", &blocks, "-N", &inodes, "-a"]).arg(&archive).arg(target);
            command
        }),
        None,
    )?;
    row.targets.extend(faster(&row, 4.0));
    Ok(row)
}

/// A root file system of 1 GiB out of a tar archive, against unpacking it and `mke2fs -d`.
pub(super) fn root_1g(bench: &Bench) -> Result<Row> {
    let archive = source::archive(&source::root_tree(&bench.dir, GIB)?)?;
    let bytes = source::warm(&archive)?;
    let unpacked = bench.dir.join("unpacked");
    let fresh = || -> Result<std::path::PathBuf> {
        // Each run unpacks into a directory of its own, so that nobody is timed at removing the last one.
        for nr in 0.. {
            let dir = unpacked.join(format!("{nr}"));
            if !dir.exists() {
                std::fs::create_dir_all(&dir)?;
                return Ok(dir);
            }
        }
        anyhow::bail!("no name is left in {}", unpacked.display())
    };
    let row = bench.compare(
        "root-1g",
        format!("root file system out of a tar archive of {:.0} MiB, warm cache", mib(bytes)),
        2 * GIB,
        Side::program("dax-mkfs", |target| bench.mkfs(Some(&archive), target)),
        Side::function("tar, mke2fs", |target| {
            let dir = fresh()?;
            process::run(process::command("tar").arg("-C").arg(&dir).arg("-xf").arg(&archive))?;
            process::run(&mut mke2fs(Some(&dir), target))
        }),
        None,
    );
    std::fs::remove_dir_all(&unpacked).context("cannot remove what was unpacked")?;
    let mut row = row?;
    row.targets.extend(faster(&row, 3.0));
    Ok(row)
}

/// Peak memory: of many files, and of much content.
pub(super) fn memory(bench: &Bench, large: bool) -> Result<Vec<Row>> {
    let small = SMALL_FILES.make(&bench.dir)?;
    let mut rows = vec![
        memory_of(bench, &small, SMALL_FILES.count, GIB)?,
        memory_of(bench, &source::archive(&small)?, SMALL_FILES.count, GIB)?,
        memory_of(bench, &source::one_file(&bench.dir, 2 * GIB)?, 1, 5 * GIB / 2)?,
    ];
    if large {
        let million = MILLION_FILES.make(&bench.dir)?;
        rows.push(memory_of(bench, &million, MILLION_FILES.count, 18 * GIB)?);
        rows.push(memory_of(bench, &source::archive(&million)?, MILLION_FILES.count, 18 * GIB)?);
    }
    Ok(rows)
}

/// One run is enough: memory does not vary as time does.
fn memory_of(bench: &Bench, source: &Path, files: u64, len: u64) -> Result<Row> {
    let from = if source.is_file() { " out of a tar archive" } else { "" };
    let work = format!("peak memory, {files} file{}{from}", if files == 1 { " of 2 GiB" } else { "s" });
    eprintln!("memory: {work}");
    let ours = Side::program("dax-mkfs", |target| bench.mkfs(Some(source), target));
    let samples = measure::alternate(&[ours], 1, &bench.dir.join("image"), Fresh::Hole(len))?;
    let samples = samples.first().map(Vec::as_slice).unwrap_or_default();
    let peak_memory = most(samples, |s| s.peak_memory);
    let limit = files.saturating_mul(200).saturating_add(64 << 20);
    let what = "peak memory (200 bytes a file and 64 MiB)";
    Ok(Row {
        name: "memory",
        work,
        program: "dax-mkfs",
        ours: Times::of(samples).context("no run was measured")?,
        against: None,
        peer: None,
        floor: None,
        disk_ours: most(samples, |s| s.disk),
        disk_peer: None,
        peak_memory,
        peak_memory_peer: None,
        targets: vec![Target::new(what, mib(peak_memory), Bound::AtMost, mib(limit), " MiB")],
        notes: Vec::new(),
    })
}
