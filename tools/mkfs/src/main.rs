//! `dax-mkfs`: makes ext4 images for persistent memory: empty, from directories and archives, from a recipe.
//!
//! The binary parses options, asks the host for what a library must not ask (clock, chance, target, terminal), calls
//! `daxkit-build`, and prints. Exit status 0 when the image was made or planned, 1 otherwise with one line on standard error.

#![forbid(unsafe_code)]

mod args;
mod host;
mod input;
mod journal_device;
mod order;
mod outputs;
mod print;
mod put;
mod recipe;
mod report;
mod run;
mod signatures;
mod size;
mod target;

use args::Args;
use clap::{CommandFactory, Parser};
use daxkit_build::manifest::Manifest;
use daxkit_cli::message::{Messages, with_causes};
use daxkit_cli::{docs, json, status, usage};
use std::process::ExitCode;

const TOOL: &str = "dax-mkfs";

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return ExitCode::from(usage::answer(TOOL, &error)),
    };
    let messages = Messages::new(TOOL, args.quiet);
    let done = match (args.document, args.schema) {
        (Some(document), _) => {
            docs::write(document, Args::command(), &mut std::io::stdout().lock()).map_err(anyhow::Error::from)
        }
        (None, true) => json::print(&report::schema::<report::Document>()).map_err(anyhow::Error::from),
        (None, false) if args.manifest_schema => {
            json::print(&report::schema::<Manifest>()).map_err(anyhow::Error::from)
        }
        (None, false) => run::run(&args, &messages),
    };
    match done {
        Ok(()) => ExitCode::from(status::OK),
        Err(error) => {
            messages.error(with_causes(error.as_ref()));
            ExitCode::from(status::FAILED)
        }
    }
}
