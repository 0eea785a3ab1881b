//! Shell completions and the manual page, made from the same command description that parses the options.

use clap::{Command, ValueEnum};
use clap_complete::Shell;
use std::io::{self, Write};

/// What can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// The manual page, in roff.
    Man,
    /// Completions for bash.
    Bash,
    /// Completions for elvish.
    Elvish,
    /// Completions for fish.
    Fish,
    /// Completions for PowerShell.
    Powershell,
    /// Completions for zsh.
    Zsh,
}

/// Writes a document about `command`.
///
/// # Errors
/// `out` cannot be written.
pub fn write(document: Document, mut command: Command, out: &mut dyn Write) -> io::Result<()> {
    let shell = match document {
        Document::Man => return clap_mangen::Man::new(command).section("8").render(out),
        Document::Bash => Shell::Bash,
        Document::Elvish => Shell::Elvish,
        Document::Fish => Shell::Fish,
        Document::Powershell => Shell::PowerShell,
        Document::Zsh => Shell::Zsh,
    };
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, out);
    Ok(())
}
