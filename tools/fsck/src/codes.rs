//! The table of codes, for people.

use anyhow::Result;
use daxkit_check::{Code, Severity};
use daxkit_cli::message::Messages;
use serde_json::json;

use crate::status::{CLEAN, USAGE};

/// Lists all codes.
pub(crate) fn list(as_json: bool) -> Result<u8> {
    if as_json {
        let all: Vec<_> = Code::ALL
            .iter()
            .map(|code| {
                json!({
                    "code": code.id(), "severity": code.severity().name(), "safe": code.is_safe(),
                    "title": code.title(), "e2fsck": code.e2fsck(),
                })
            })
            .collect();
        daxkit_cli::json::print(&all)?;
        return Ok(CLEAN);
    }
    for code in Code::ALL {
        let safe = if code.is_safe() && code.severity() != Severity::Advice { " (safe)" } else { "" };
        anstream::println!("{} {:<7}{} {}", code.id(), code.severity().name(), code.title(), safe);
    }
    Ok(CLEAN)
}

/// Explains one.
pub(crate) fn explain(name: &str, messages: &Messages) -> Result<u8> {
    let Some(code) = Code::by_id(name) else {
        messages.error(format_args!("{name}: no such code (--list-codes lists them)"));
        return Ok(USAGE);
    };
    anstream::println!("{}: {}", code.id(), code.title());
    anstream::println!("{}", code.explanation().trim());
    anstream::println!(
        "severity: {}; mended by -p: {}",
        code.severity().name(),
        if code.is_safe() { "yes" } else { "no" }
    );
    let numbers: Vec<String> = code.e2fsck().iter().map(|n| format!("{n:#08x}")).collect();
    if !numbers.is_empty() {
        anstream::println!("problems of e2fsck: {}", numbers.join(" "));
    }
    Ok(CLEAN)
}
