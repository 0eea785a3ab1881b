//! Questions, one for each finding.

use anyhow::{Result, bail};
use daxkit_check::Finding;
use std::io::{BufRead, Write};

/// What is answered to the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    Ask,
    Yes,
}

/// Makes sure that there is somebody to ask.
pub(crate) fn check_terminal() -> Result<()> {
    if daxkit_cli::question::can_ask() {
        return Ok(());
    }
    bail!("without a terminal there is nobody to ask; -n checks, -p mends what is safe, -y mends all");
}

/// Asks about a finding: yes, no, or yes to this and all that follow.
pub(crate) fn ask(finding: &Finding, rest: &mut Rest) -> bool {
    if *rest == Rest::Yes {
        return true;
    }
    let mut err = std::io::stderr().lock();
    let text = daxkit_cli::message::one_line(&finding);
    if write!(err, "{text}. {}? (y, N, a: all) ", finding.question()).and_then(|()| err.flush()).is_err() {
        return false;
    }
    let mut answer = String::new();
    if std::io::stdin().lock().read_line(&mut answer).is_err() {
        return false;
    }
    match answer.trim_start().chars().next() {
        Some('a' | 'A') => {
            *rest = Rest::Yes;
            true
        }
        Some('y' | 'Y') => true,
        _ => false,
    }
}
