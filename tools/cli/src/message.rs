//! Messages on standard error: one line each, `tool: what: why`, coloured on a terminal unless `NO_COLOR` is set.

use std::fmt::{self, Display};

/// The name a tool gives itself in messages, and whether it may talk at all.
#[derive(Debug, Clone, Copy)]
pub struct Messages {
    tool: &'static str,
    quiet: bool,
}

impl Messages {
    /// Messages of `tool`; a quiet one keeps notes to itself, not warnings or errors.
    #[must_use]
    pub fn new(tool: &'static str, quiet: bool) -> Self {
        Self { tool, quiet }
    }

    /// Says why the tool fails.
    pub fn error(&self, what: impl Display) {
        anstream::eprintln!("{}", self.error_line(what, true));
    }

    /// What [`Messages::error`] says, for those who have to say it elsewhere.
    #[must_use]
    pub fn error_line(&self, what: impl Display, color: bool) -> String {
        let (begin, end) = if color { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        format!("{}: {begin}error{end}: {}", self.tool, one_line(&what))
    }

    /// Says what may not be what the user wants.
    pub fn warning(&self, what: impl Display) {
        anstream::eprintln!("{}: \x1b[1;33mwarning\x1b[0m: {}", self.tool, one_line(&what));
    }

    /// Says what was decided for the user.
    pub fn note(&self, what: impl Display) {
        if !self.quiet {
            anstream::eprintln!("{}: \x1b[1mnote\x1b[0m: {}", self.tool, one_line(&what));
        }
    }
}

/// An error's text may quote file names, and those may hold anything: control characters are shown, not sent to the
/// terminal.
#[must_use]
pub fn one_line(what: &impl Display) -> String {
    struct Clean(String);
    impl fmt::Write for Clean {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            for c in s.chars() {
                if c.is_control() {
                    self.0.extend(c.escape_default());
                } else {
                    self.0.push(c);
                }
            }
            Ok(())
        }
    }
    let mut clean = Clean(String::new());
    // A Display that fails has printed what it could.
    let _ = fmt::write(&mut clean, format_args!("{what}"));
    clean.0
}

/// An error and its causes, as `what: why: why`. A cause that the text before ends with is not said again.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.ends_with(&why) {
            text = format!("{text}: {why}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug)]
        struct Outer(bool, io::Error);
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.1)
            }
        }
        impl Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.0 { write!(f, "cannot read: {}", self.1) } else { f.write_str("cannot read") }
            }
        }
        for whole in [true, false] {
            assert_eq!(with_causes(&Outer(whole, io::Error::other("worn out"))), "cannot read: worn out");
        }
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(one_line(&"a\nb\x1b[31mc\u{85}é"), "a\\nb\\u{1b}[31mc\\u{85}é");
    }
}
