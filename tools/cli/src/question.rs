//! Questions: asked only where somebody can answer.

use crate::message::one_line;
use std::fmt::Display;
use std::io::{BufRead, IsTerminal, Write};

/// Whether both the question can be seen and the answer typed.
#[must_use]
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks `what`, as "Proceed anyway?"; anything but a word that begins with `y` means no. Without a terminal it is no.
#[must_use]
pub fn ask(what: impl Display) -> bool {
    if !can_ask() {
        return false;
    }
    let mut err = std::io::stderr().lock();
    if write!(err, "{} (y,N) ", one_line(&what)).and_then(|()| err.flush()).is_err() {
        return false;
    }
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).is_ok() && is_yes(&answer)
}

fn is_yes(answer: &str) -> bool {
    answer.trim_start().starts_with(['y', 'Y'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(is_yes("y\n") && is_yes(" Yes\n"));
        assert!(!is_yes("") && !is_yes("\n") && !is_yes("n\n") && !is_yes("ok\n"));
    }
}
