//! Rows of dax-debugfs that edit: every run begins with a fresh copy of the image, made outside the timed part. And the rows that copy
//! trees out.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Bench;
use super::double_write::Places;
use super::measure::{Fresh, Side};
use super::report::{Bound, Row, Target};
use super::source::SmallFiles;
use crate::process;

/// Empty files: what is measured is inodes.
const NAMED: SmallFiles = SmallFiles { count: 100_000, below: 1, each: 100 };

/// As [`NAMED`], for rows over a whole tree: in 2,200 directories.
pub(super) const WHOLE: SmallFiles = SmallFiles { count: 500_000, below: 1, each: 250 };

/// Size of the images in GiB.
const SIZE: u64 = 8;

/// `EXT4_EXTENTS_FL` and `EXT4_DAX_FL`.
const FLAGS: &str = "0x2080000";

/// The DAX flag on every file, each named by its path.
pub(super) fn set_flag(bench: &Bench) -> Result<Row> {
    let image = image(bench, NAMED)?;
    let script = bench.dir.join("set-flag.script");
    let mut lines = String::new();
    for path in NAMED.paths() {
        writeln!(lines, "set_inode_field /{path} flags {FLAGS}")?;
    }
    fs::write(&script, lines).context("cannot write the script")?;
    let places = Places::of(&bench.debugfs, &image, NAMED.count)?;
    let program = |program: &Path, target: &Path| {
        let mut command = process::command(program);
        command.arg("-w").arg("-f").arg(&script).arg(target);
        command
    };
    let row = bench.compare_on(
        "set-flag-100k",
        format!("the DAX flag of {} files, named by path", NAMED.count),
        Fresh::Copy(&image),
        Side::program("dax-debugfs", |target| program(&bench.debugfs, target)),
        Side::program("debugfs", |target| program(Path::new("debugfs"), target)),
        Some(Side::function("floor", |target| places.write_twice(target))),
    )?;
    Ok(promised(row, 20.0))
}

/// The DAX flag on a whole tree.
pub(super) fn chattr(bench: &Bench) -> Result<Row> {
    let image = image(bench, WHOLE)?;
    let mount = bench.dir.join("mount");
    fs::create_dir_all(&mount)?;
    let row = bench.compare_on(
        "chattr-500k",
        format!("chattr -R +x over {} files", WHOLE.count),
        Fresh::Copy(&image),
        Side::program("dax-debugfs", |target| {
            let mut command = process::command(&bench.debugfs);
            command.args(["-w", "-R", "chattr -R +x /"]).arg(target);
            command
        }),
        Side::function("mount", |target| in_a_mount(target, &mount)),
        None,
    )?;
    Ok(promised(row, 10.0))
}

/// What is copied out: files of a few blocks.
const OUT: SmallFiles = SmallFiles { count: 50_000, below: 8893, each: 100 };

/// A tree copied out into a directory.
pub(super) fn rdump(bench: &Bench) -> Result<Row> {
    let image = image(bench, OUT)?;
    let row = bench.compare_on(
        "rdump-50k",
        format!("rdump of {} files into a directory", OUT.count),
        Fresh::Hole(0),
        Side::function("dax-debugfs", |target| into_directory(&bench.debugfs, &image, target)),
        Side::function("debugfs", |target| into_directory(Path::new("debugfs"), &image, target)),
        None,
    )?;
    remove_trees(bench)?;
    Ok(promised(row, 1.0))
}

/// The same into an archive, beside debugfs, which knows directories only.
pub(super) fn rdump_tar(bench: &Bench) -> Result<Row> {
    let image = image(bench, OUT)?;
    let row = bench.compare_on(
        "rdump-tar-50k",
        format!("rdump of {} files into an archive", OUT.count),
        Fresh::Hole(0),
        Side::program("dax-debugfs", |target| {
            let mut command = process::command(&bench.debugfs);
            command.arg("-R").arg(format!("rdump --tar {} /", target.display())).arg(&image);
            command
        }),
        Side::function("debugfs", |target| into_directory(Path::new("debugfs"), &image, target)),
        None,
    )?;
    remove_trees(bench)?;
    Ok(promised(row, 4.0))
}

/// Copies everything into a new directory beside the target, and makes it durable.
fn into_directory(program: &Path, image: &Path, target: &Path) -> Result<()> {
    let beside = target.parent().context("a target lies somewhere")?;
    let tree = (0..).map(|nr| beside.join(format!("{TREE}{nr}"))).find(|dir| !dir.exists());
    let tree = tree.context("no name is free")?;
    fs::create_dir(&tree)?;
    let mut command = process::command(program);
    process::run(command.arg("-R").arg(format!("rdump / {}", tree.display())).arg(image))?;
    Ok(rustix::fs::syncfs(fs::File::open(&tree)?)?)
}

/// What the names of copied trees begin with.
const TREE: &str = "rdump-tree-";

/// Removes the trees of all runs, which nobody timed.
fn remove_trees(bench: &Bench) -> Result<()> {
    for entry in fs::read_dir(&bench.dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TREE) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// What a user would do as root.
fn in_a_mount(image: &Path, mount: &Path) -> Result<()> {
    let run = |program: &str, args: &[&Path]| {
        let mut command: Command = process::command(program);
        command.args(args);
        process::run(&mut command).with_context(|| format!("{program} (a loop mount needs root)"))
    };
    run("mount", &[Path::new("-o"), Path::new("loop"), image, mount])?;
    let changed = run("chattr", &[Path::new("-R"), Path::new("+x"), mount]);
    run("umount", &[mount])?;
    changed
}

fn promised(mut row: Row, factor: f64) -> Row {
    row.program = "dax-debugfs";
    if let (Some(against), Some(peer)) = (row.against, row.peer) {
        let what = format!("faster than {against}");
        row.targets.push(Target::new(what, peer.median / row.ours.median, Bound::AtLeast, factor, "x"));
    }
    row
}

/// The image of a tree, made once.
pub(super) fn image(bench: &Bench, files: SmallFiles) -> Result<PathBuf> {
    let done = bench.dir.join(format!("{}-{SIZE}G.img", files.name()));
    if !done.is_file() {
        let tree = files.make(&bench.dir)?;
        eprintln!("  making {}", done.display());
        let half = done.with_extension("half");
        let mut mkfs = process::command(&bench.mkfs);
        let inodes = (files.count + files.count / 10).to_string();
        mkfs.args(["-q", "-F", "-b", "4096", "-N", &inodes, "-d"]).arg(&tree).arg(&half).arg(format!("{SIZE}G"));
        process::run(&mut mkfs)?;
        fs::rename(&half, &done)?;
    }
    Ok(done)
}
