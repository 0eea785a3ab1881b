//! Colour: who decides whether there is any, and what it means.
//!
//! Asked are, in this order, the tool's own `--color`, `NO_COLOR` and `CLICOLOR_FORCE`, and whether the output is a terminal that
//! knows colours (`TERM`).

use anstream::{AutoStream, ColorChoice};
use anstyle::AnsiColor;
pub use anstyle::Style;
use clap::ValueEnum;
use std::fmt::{self, Display};

/// Directories.
pub const DIRECTORY: Style = AnsiColor::Blue.on_default().bold();
/// Symbolic links.
pub const LINK: Style = AnsiColor::Cyan.on_default().bold();
/// Devices, pipes and sockets.
pub const DEVICE: Style = AnsiColor::Yellow.on_default().bold();
/// What a tool for DAX is there to show.
pub const DAX: Style = AnsiColor::Green.on_default().bold();

/// When output is coloured, as `--color` says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal, unless the environment is against it.
    #[default]
    Auto,
    /// Always, in pipes and files as well.
    Always,
    /// Never.
    Never,
}

impl When {
    /// Lets the messages on standard error follow.
    pub fn apply(self) {
        let choice = match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        };
        choice.write_global();
    }

    /// What that means for standard output.
    #[must_use]
    pub fn paint(self) -> Paint {
        Paint {
            on: match self {
                Self::Auto => AutoStream::choice(&std::io::stdout()) != ColorChoice::Never,
                Self::Always => true,
                Self::Never => false,
            },
        }
    }
}

/// Colours text, or leaves it alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Whether there is colour at all.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.on
    }

    /// `what` in a style. Alignment and width are those of what is inside: ask for them there.
    #[must_use]
    pub fn paint<D: Display>(self, style: Style, what: D) -> Painted<D> {
        Painted { style: if self.on { style } else { Style::new() }, what }
    }
}

/// See [`Paint::paint`].
#[derive(Debug, Clone, Copy)]
pub struct Painted<D> {
    style: Style,
    what: D,
}

impl<D: Display> Display for Painted<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.style.render())?;
        self.what.fmt(f)?;
        write!(f, "{}", self.style.render_reset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_colour_is_what_it_was() {
        assert_eq!(When::Never.paint().paint(DIRECTORY, "etc").to_string(), "etc");
        assert_eq!(When::Always.paint().paint(DIRECTORY, "etc").to_string(), "\x1b[1m\x1b[34metc\x1b[0m");
    }
}
