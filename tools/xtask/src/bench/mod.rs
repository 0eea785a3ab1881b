//! `cargo xtask bench`: what daxkit costs beside what a user would run instead.
//!
//! The rules that make a number worth printing: runs of both sides alternate, and who goes first does too; everything is
//! durable when the clock stops, on both sides alike; targets are removed and made outside the timed part; sources are in the
//! page cache; medians are compared. Where it can be said what the work costs at the least (the floor), that is
//! measured in the same rounds.

mod check_memory;
mod checks;
mod corpus;
mod double_write;
mod edits;
mod floor;
mod kernel;
mod measure;
mod reads;
mod report;
mod rows;
mod source;

pub(crate) use source::Xorshift;

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;

use crate::workspace::{Profile, Workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One row only
    row: Option<RowName>,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
    /// Rounds; each runs every side once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Where sources and images are put; it decides which disk is measured [default: bench in the target directory]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Measure peak memory on a million files too, and of a check of five million (7 GB of disk, a few minutes)
    #[arg(long)]
    large: bool,
    /// Measure this dax-mkfs instead of building one
    #[arg(long, value_name = "PROGRAM")]
    mkfs: Option<PathBuf>,
    /// Measure this dax-debugfs instead of building one
    #[arg(long, value_name = "PROGRAM")]
    debugfs: Option<PathBuf>,
    /// Measure this dax-fsck instead of building one
    #[arg(long, value_name = "PROGRAM")]
    fsck: Option<PathBuf>,
}

/// The rows of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowName {
    /// An empty image of 15 TiB, sparse
    #[value(name = "empty-15t")]
    Empty15T,
    /// 50,000 files of 0 to 9 kB
    #[value(name = "files-50k")]
    Files50K,
    /// One file of 2 GiB
    #[value(name = "file-2g")]
    File2G,
    /// The 50,000 files out of a tar archive
    #[value(name = "tar-50k")]
    Tar50K,
    /// A root file system of 1 GiB out of a tar archive
    #[value(name = "root-1g")]
    Root1G,
    /// Peak memory
    #[value(name = "memory")]
    Memory,
    /// Names of 1,000 inodes among 500,000 files
    #[value(name = "ncheck")]
    Ncheck,
    /// Owners of 1,000 blocks among 500,000 files
    #[value(name = "icheck")]
    Icheck,
    /// The DAX flag of 100,000 files named by path
    #[value(name = "set-flag-100k")]
    SetFlag,
    /// `chattr -R +x` over 500,000 files
    #[value(name = "chattr-500k")]
    Chattr,
    /// `rdump` of 50,000 files into a directory
    #[value(name = "rdump-50k")]
    Rdump,
    /// `rdump` of 50,000 files into an archive
    #[value(name = "rdump-tar-50k")]
    RdumpTar,
    /// A check of 500,000 files
    #[value(name = "check-500k")]
    CheckFiles,
    /// A check of an empty image of 15 TiB
    #[value(name = "check-empty-15t")]
    CheckEmpty,
    /// A check of one directory of 200,000 entries
    #[value(name = "check-dir-200k")]
    CheckDirectory,
    /// A check of one file of 5,000,000 extents
    #[value(name = "check-extents-5m")]
    CheckExtents,
    /// What the second thread gains in a check of 500,000 files
    #[value(name = "check-threads")]
    CheckThreads,
    /// Peak memory of a check, for each inode
    #[value(name = "check-memory")]
    CheckMemory,
    /// Checks of the broken images below DAXKIT_CORPUS
    #[value(name = "check-corpus")]
    CheckCorpus,
    /// Rates of the emulated kernel
    #[value(name = "kernel-rates")]
    KernelRates,
    /// A million operations on ext4, in memory and on a model, with the judges in between
    #[value(name = "kernel-operations")]
    KernelOperations,
}

/// Where a bench works, and with what.
#[derive(Debug)]
struct Bench {
    dir: PathBuf,
    mkfs: PathBuf,
    debugfs: PathBuf,
    fsck: PathBuf,
    runs: u32,
}

/// Measures the rows that are asked for.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    // Who names all three programs builds none.
    let built = match (&args.mkfs, &args.debugfs, &args.fsck) {
        (Some(_), Some(_), Some(_)) => PathBuf::new(),
        _ if matches!(args.row, Some(RowName::KernelRates | RowName::KernelOperations)) => PathBuf::new(),
        _ => workspace.build_tools(Profile::Release)?,
    };
    let program = |given: &Option<PathBuf>, name| given.clone().unwrap_or_else(|| built.join(name));
    let mkfs = program(&args.mkfs, "dax-mkfs");
    let (debugfs, fsck) = (program(&args.debugfs, "dax-debugfs"), program(&args.fsck, "dax-fsck"));
    let dir = args.dir.clone().unwrap_or_else(|| workspace.target.join("bench"));
    std::fs::create_dir_all(&dir)?;
    let bench = Bench { dir, mkfs, debugfs, fsck, runs: args.runs };
    let wanted = |row| args.row.is_none_or(|only| only == row);
    let mut rows = Vec::new();
    if wanted(RowName::Empty15T) {
        rows.push(rows::empty_15t(&bench)?);
    }
    if wanted(RowName::Files50K) {
        rows.push(rows::files_50k(&bench)?);
    }
    if wanted(RowName::File2G) {
        rows.push(rows::file_2g(&bench)?);
    }
    if wanted(RowName::Tar50K) {
        rows.push(rows::tar_50k(&bench)?);
    }
    if wanted(RowName::Root1G) {
        rows.push(rows::root_1g(&bench)?);
    }
    if wanted(RowName::Memory) {
        rows.extend(rows::memory(&bench, args.large)?);
    }
    if wanted(RowName::Ncheck) {
        rows.push(reads::ncheck(&bench)?);
    }
    if wanted(RowName::Icheck) {
        rows.push(reads::icheck(&bench)?);
    }
    if wanted(RowName::SetFlag) {
        rows.push(edits::set_flag(&bench)?);
    }
    if wanted(RowName::Chattr) {
        rows.push(edits::chattr(&bench)?);
    }
    if wanted(RowName::Rdump) {
        rows.push(edits::rdump(&bench)?);
    }
    if wanted(RowName::RdumpTar) {
        rows.push(edits::rdump_tar(&bench)?);
    }
    check_rows(workspace, &bench, args, &mut rows)?;
    if wanted(RowName::KernelRates) {
        rows.push(kernel::rates(workspace, &bench)?);
    }
    if wanted(RowName::KernelOperations) {
        rows.push(kernel::operations(workspace, &bench)?);
    }
    let report = report::Report::new(bench.runs, rows);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}

/// The rows of dax-fsck.
fn check_rows(workspace: &Workspace, bench: &Bench, args: &Args, rows: &mut Vec<report::Row>) -> Result<()> {
    let wanted = |row| args.row.is_none_or(|only| only == row);
    if [RowName::CheckFiles, RowName::CheckEmpty, RowName::CheckDirectory].into_iter().any(wanted) {
        let floor = checks::Floor::build(workspace)?;
        if wanted(RowName::CheckFiles) {
            rows.push(checks::files(bench, &floor)?);
        }
        if wanted(RowName::CheckEmpty) {
            rows.push(checks::empty(bench, &floor)?);
        }
        if wanted(RowName::CheckDirectory) {
            rows.push(checks::directory(bench, &floor)?);
        }
    }
    if wanted(RowName::CheckExtents) {
        rows.push(checks::extents(bench)?);
    }
    if wanted(RowName::CheckThreads) {
        rows.push(checks::scaling(bench)?);
    }
    if wanted(RowName::CheckMemory) {
        rows.extend(check_memory::rows(bench, args.large)?);
    }
    if wanted(RowName::CheckCorpus) {
        rows.extend(corpus::row(bench)?);
    }
    Ok(())
}
