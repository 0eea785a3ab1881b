//! The command line.

use clap::{Args as ClapArgs, Parser, Subcommand};
use daxkit_cli::docs::Document;
use std::path::PathBuf;

use crate::TOOL;

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
    /// Print a man page or shell completions
    #[command(hide = true)]
    Document {
        /// Which
        document: Document,
    },
}

/// What `run` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// Files of scenarios
    #[arg(required = true)]
    pub(crate) scenarios: Vec<PathBuf>,
    /// Run only scenarios whose title contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
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
