//! The command line.

use clap::builder::TypedValueParser as _;
use clap::{Args as ClapArgs, Parser, Subcommand};
use daxkit_cli::docs::Document;
use std::path::PathBuf;

use crate::TOOL;
use crate::any_fs::{Base, Ground};

const NOTES: &str = "\
Exit status: 0 everything came out as expected (skipped cases are counted and named); 1 something did not, or a property \
of the kernel was violated; 2 a scenario or the command line cannot be used.";

/// Exit status when a case failed.
pub(crate) const FAILED: u8 = 1;
/// Exit status when a scenario cannot be read.
pub(crate) const UNUSABLE: u8 = 2;

/// Runs scenarios on an emulated kernel over emulated persistent memory
#[derive(Debug, Parser)]
#[command(name = TOOL, version, after_long_help = NOTES, subcommand_required = true)]
pub(crate) struct Args {
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run scenarios and say where they did not come out as expected
    Run(Run),
    /// Run scenarios and say what the kernel then knows of each open file: flag, S_DAX and why, cached pages, page tables
    Explain(Explain),
    /// Run scenarios and count their faults, by size and by the reason for a smaller one
    Stat(Stat),
    /// Print a man page or shell completions
    #[command(hide = true)]
    Document {
        /// Which
        document: Document,
    },
}

/// What is run, on what.
#[derive(Debug, ClapArgs)]
pub(crate) struct What {
    /// Image for scenarios that run on a given one; `none` where they bring their own file systems
    #[arg(value_name = "IMAGE", value_parser = clap::builder::OsStringValueParser::new().map(Base::from))]
    pub(crate) base: Base,
    /// Files of scenarios
    #[arg(required = true, value_name = "SCENARIO")]
    pub(crate) scenarios: Vec<PathBuf>,
    /// Run what scenarios want as ext4 in memory on ext4 volumes, with journal, extent trees and everything else that lies on a disk
    #[arg(long)]
    pub(crate) volumes: bool,
    /// Run only scenarios whose title contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
}

impl What {
    /// Opens the image, if one is named.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub(crate) fn ground(&self) -> anyhow::Result<Ground> {
        Ok(Ground { given: self.base.open()?, volumes: self.volumes })
    }
}

/// What `run` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) what: What,
    /// Print the transcript as JSON, an object for each file
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the trace events of each operation
    #[arg(long)]
    pub(crate) trace: bool,
    /// Go on in a case behind what did not come out as expected
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Print cases that passed, too
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// What `explain` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) what: What,
    /// Stop behind this line of its scenario; or run only cases whose name has this (`a xfs 6.12 dax=inode`, or a part of it); may be
    /// given more than once
    #[arg(long, value_name = "LINE|CASE")]
    pub(crate) at: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `stat` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Stat {
    #[command(flatten)]
    pub(crate) what: What,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
