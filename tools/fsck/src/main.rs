//! `dax-fsck`: checks an ext4 image, part by part, repairs it, and verifies the rules of the DAX flag.
//!
//! The binary parses, opens, asks and prints; what is wrong with an image, and how it is mended, `daxkit-check` knows. Everything that is mended
//! is mended in memory first; it is written when nothing is left to mend, under an undo file where one is wanted.

#![forbid(unsafe_code)]

mod args;
mod ask;
mod codes;
mod dax_report;
mod discard;
mod extended;
mod fragments;
mod opinion;
mod output;
mod policy;
mod progress;
mod report;
mod run;
mod status;
mod undo;

use args::Args;
use clap::{CommandFactory, Parser};
use daxkit_cli::docs;
use daxkit_cli::json;
use daxkit_cli::message::{Messages, with_causes};
use std::process::ExitCode;
use std::time::SystemTime;

/// The name in messages.
const TOOL: &str = "dax-fsck";

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // The parser's own status means something else here.
            let answer = daxkit_cli::usage::answer(TOOL, &error);
            return ExitCode::from(if answer == 0 { 0 } else { status::USAGE });
        }
    };
    args.color.apply();
    let messages = Messages::new(TOOL, false);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let done = match &args {
        Args { document: Some(document), .. } => {
            docs::write(*document, Args::command(), &mut std::io::stdout().lock()).map(|()| 0).map_err(Into::into)
        }
        Args { schema: true, .. } => json::print(&report::schema()).map(|()| 0).map_err(Into::into),
        Args { list_codes: true, .. } => codes::list(args.json),
        Args { explain: Some(code), .. } => codes::explain(code, &messages),
        _ => run::run(&args, now, &messages),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            messages.error(with_causes(error.as_ref()));
            ExitCode::from(status::of_error(&error))
        }
    }
}
