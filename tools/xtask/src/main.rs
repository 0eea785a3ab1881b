//! The project's chores: what a fresh machine needs, the tests, the speed table, the quick start.
//!
//! Run as `cargo xtask CHORE`. It knows the workspace and how to call cargo; it must never know a file system: where the
//! bench needs a number of ext4's geometry, the computation stands beside it. The judge of the images asks `daxkit-build`
//! what a recipe says.
#![forbid(unsafe_code)]

mod bench;
mod ci;
mod fuzz;
mod images;
mod lint;
mod man;
mod process;
mod quickstart;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "daxkit's chores", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Build the tools and run the main job on a small tree, end to end
    Quickstart,
    /// Run every test, or a part of them
    Test(test::Args),
    /// Bring what the tests need (as root), or say what is missing
    Setup,
    /// Check the formatting and run clippy, warnings as errors
    Lint,
    /// Measure against what a user would run instead
    Bench(bench::Args),
    /// Make every image of images/ twice and hold it against what its recipe says of it
    Images(images::Args),
    /// Fuzz one parser, guided by coverage
    Fuzz(fuzz::Args),
    /// Write the tools' manual pages and shell completions
    Man,
    /// Run what continuous integration runs
    Ci,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let workspace = Workspace::find()?;
    match cli.chore {
        Chore::Quickstart => quickstart::run(&workspace),
        Chore::Test(args) => test::run(&workspace, &args),
        Chore::Setup => setup::run(&workspace),
        Chore::Lint => lint::run(&workspace),
        Chore::Bench(args) => bench::run(&workspace, &args),
        Chore::Images(args) => images::run(&workspace, &args),
        Chore::Fuzz(args) => fuzz::run(&workspace, &args),
        Chore::Man => man::run(&workspace),
        Chore::Ci => ci::run(&workspace),
    }
}
