//! `dax-pmem`: runs scenarios on an emulated kernel over emulated persistent memory.
//!
//! The binary parses options, reads scenarios, makes the emulated kernel do what they say, and prints. Exit status: see
//! [`args`].

#![forbid(unsafe_code)]

mod any_fs;
mod args;
mod run;
mod subject;

use args::{Args, Command};
use clap::{CommandFactory, Parser};
use daxkit_cli::message::{Messages, with_causes};
use daxkit_cli::{docs, status, usage};
use std::process::ExitCode;

const TOOL: &str = "dax-pmem";

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return ExitCode::from(usage::answer(TOOL, &error)),
    };
    let messages = Messages::new(TOOL, false);
    let done = match args.command {
        Command::Run(ref wanted) => run::run(wanted, &messages),
        Command::Document { document } => docs::write(document, Args::command(), &mut std::io::stdout().lock())
            .map(|()| status::OK)
            .map_err(anyhow::Error::from),
    };
    done.map_or_else(
        |error| {
            messages.error(with_causes(error.as_ref()));
            ExitCode::from(args::UNUSABLE)
        },
        ExitCode::from,
    )
}
