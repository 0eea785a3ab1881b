//! What happens when the command line itself is not understood, or asks for help.

use crate::message::Messages;
use crate::status;
use clap::error::ErrorKind;

/// Prints what the parser has to say and gives the exit status. Help and version go to standard output; a mistake is one line
/// and fails like anything else, not with the parser's own status.
#[must_use]
pub fn answer(tool: &'static str, error: &clap::Error) -> u8 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return if error.print().is_ok() { status::OK } else { status::FAILED };
    }
    let text = error.render().to_string();
    let first: Vec<&str> = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    let line = first.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    Messages::new(tool, false).error(format_args!("{line} (--help shows the options)"));
    status::FAILED
}
