//! Text for people.

use daxkit_check::{Finding, Improved, Severity, Usage};
use std::fmt::Write as _;

/// A finding as a line, coloured by its weight.
pub(crate) fn line(finding: &Finding, severity: Severity, fixed: bool) {
    let (begin, end) = match severity {
        Severity::Advice => ("\x1b[36m", "\x1b[0m"),
        Severity::Error => ("\x1b[1;31m", "\x1b[0m"),
        Severity::Fatal => ("\x1b[1;35m", "\x1b[0m"),
    };
    let text = daxkit_cli::message::one_line(&finding);
    let (code, rest) = text.split_once(' ').unwrap_or((&text, ""));
    let mended = if fixed { " - mended" } else { "" };
    let weight = if severity == Severity::Advice { " [advice]" } else { "" };
    anstream::println!("{begin}{code}{end} {rest}{mended}{weight}");
}

/// The last line: the verdict, and what is used.
pub(crate) fn summary(image: &str, verdict: &str, usage: &Usage, size: Option<(u64, u64)>) {
    let Some((inodes, blocks)) = size else {
        return anstream::println!("{image}: {verdict}");
    };
    let pieces = if usage.files == 0 { 0.0 } else { usage.fragmented as f64 * 100.0 / usage.files as f64 };
    anstream::println!(
        "{image}: {verdict}, {}/{inodes} inodes ({pieces:.1}% of files in pieces), {}/{blocks} blocks",
        usage.inodes,
        usage.blocks
    );
}

/// What was done besides mending.
pub(crate) fn improved(image: &str, improved: &Improved, verbose: bool) {
    let Improved { directories, converted, bad_blocks, left } = improved;
    if let Some(count) = bad_blocks {
        anstream::println!("{image}: bad blocks listed: {count}");
    }
    for (inodes, what) in [(directories, "directories built anew"), (converted, "files mapped by extents now")] {
        if !inodes.is_empty() {
            anstream::println!("{image}: {what}: {}", inodes.len());
        }
        if verbose {
            inodes.iter().for_each(|ino| anstream::println!("  inode:{ino}"));
        }
    }
    left.iter().for_each(|why| anstream::println!("{image}: not done: {}", daxkit_cli::message::one_line(why)));
}

/// What `-v` says more.
pub(crate) fn verbose(usage: &Usage) {
    let mut text = String::new();
    for (count, what) in [
        (usage.files, "regular files"),
        (usage.dirs, "directories"),
        (usage.links, "symbolic links"),
        (usage.special, "devices, fifos and sockets"),
        (usage.dax, "inodes with the DAX flag"),
    ] {
        let _ = writeln!(text, "{count:>12} {what}");
    }
    anstream::print!("{text}");
}
