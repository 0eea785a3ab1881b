//! `dax-pmem explain`: what the kernel knows of each open file when a case, or a part of it, is over.

use std::fmt;
use std::io::Write as _;

use daxkit_cli::message::Messages;
use daxkit_scenario::case::cases;
use daxkit_scenario::transcript::Verdict;
use daxkit_scenario::{File, RunOptions, run_case, until};
use serde::Serialize;

use crate::args::{Explain, FAILED, UNUSABLE};
use crate::scenarios;
use crate::subject::Emulation;
use crate::subject::report::{Entry, FileReport, Mapping, Page};

/// A case and what was left behind it.
#[derive(Debug, Serialize)]
struct CaseReport {
    scenario: String,
    case: String,
    verdict: Verdict,
    files: Vec<FileReport>,
}

/// Explains what `wanted` names and gives the exit status.
///
/// # Errors
/// An image or a file that cannot be read, or output that cannot be written.
pub(crate) fn explain(wanted: &Explain, messages: &Messages) -> anyhow::Result<u8> {
    let ground = wanted.what.ground()?;
    let Some(files) = scenarios::read_all(&wanted.what, messages)? else { return Ok(UNUSABLE) };
    let mut reports = Vec::new();
    for (_, file) in files {
        let (file, parts) = choose(file, &wanted.at);
        let mut kernel = Emulation::new(ground.clone(), false);
        for case in file.scenarios.iter().flat_map(|scenario| cases(&file, scenario)) {
            let name = case.summary();
            if !parts.iter().all(|part| name.contains(part)) {
                continue;
            }
            let transcript = run_case(&case, &mut kernel, RunOptions::default());
            let began = !matches!(transcript.verdict, Verdict::Broken(_)) && !transcript.entries.is_empty();
            let files = if began { kernel.files() } else { Vec::new() };
            let (scenario, case) = (transcript.scenario, transcript.case);
            reports.push(CaseReport { scenario, case, verdict: transcript.verdict, files });
        }
    }
    if reports.is_empty() {
        messages.error("no case is chosen");
        return Ok(UNUSABLE);
    }
    let failed = reports.iter().any(|report| matches!(report.verdict, Verdict::Failed(_) | Verdict::Broken(_)));
    if wanted.json {
        daxkit_cli::json::print(&reports)?;
    } else {
        let mut out = std::io::stdout().lock();
        reports.iter().try_for_each(|report| write!(out, "{report}"))?;
    }
    Ok(if failed { FAILED } else { daxkit_cli::status::OK })
}

/// What `--at` leaves of a file, and the parts of their names that cases must have.
fn choose(mut file: File, at: &[String]) -> (File, Vec<&str>) {
    let mut parts = Vec::new();
    for at in at {
        if let Ok(line) = at.parse() {
            // The scenario that the line is in is the last that begins at or before it.
            let within = file.scenarios.iter().rev().find_map(|scenario| until(scenario, line));
            file.scenarios = within.into_iter().collect();
        } else {
            parts.push(at.as_str());
        }
    }
    (file, parts)
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "== {} [{}]", self.scenario, self.case)?;
        match &self.verdict {
            Verdict::Passed => {}
            Verdict::Failed(_) => writeln!(f, "it FAILED: see `run`")?,
            Verdict::Skipped(why) => writeln!(f, "skipped: {why}")?,
            Verdict::Broken(why) => writeln!(f, "BROKEN: {why}")?,
        }
        if self.files.is_empty() {
            writeln!(f, "no file is open")?;
        }
        self.files.iter().try_for_each(|file| write!(f, "{file}"))
    }
}

fn digit(is: bool) -> u8 {
    u8::from(is)
}

impl fmt::Display for FileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = if self.descriptors.is_empty() { "no descriptor".to_owned() } else { self.descriptors.join(", ") };
        writeln!(f, "inode {} of {}: {names}", self.inode, self.fs)?;
        writeln!(f, "  size      {}", self.size)?;
        writeln!(f, "  flag      {}", digit(self.flag))?;
        write!(f, "  S_DAX     {}", digit(self.s_dax))?;
        if let Some(rule) = &self.decided {
            write!(f, ": row {}, {}", rule.row, rule.reason)?;
        }
        writeln!(f)?;
        if self.now.s_dax != self.s_dax {
            let rule = &self.now;
            writeln!(f, "            {} when it is read again: row {}, {}", digit(rule.s_dax), rule.row, rule.reason)?;
        }
        writeln!(f, "  a_ops     {}", self.aops)?;
        let leaves = if self.dontcache { "; leaves memory behind the last use" } else { "" };
        writeln!(f, "  in use    open {}, mapped {}{leaves}", self.open, self.mappings.len())?;
        writeln!(f, "  pins      {}", self.pins)?;
        if self.pages.is_empty() {
            writeln!(f, "  i_pages   empty")?;
        }
        for (run, page) in runs(&self.pages, Page::follows) {
            writeln!(f, "  i_pages   {}", page_line(page, run))?;
        }
        self.mappings.iter().try_for_each(|mapping| write!(f, "{mapping}"))
    }
}

fn page_line(page: &Page, run: usize) -> String {
    let last = page.index + (run as u64) * (1 << page.order) - 1;
    let mut line = format!("{}..{last} {run} of order {}: {}", page.index, page.order, page.kind);
    for (is, word) in [(page.dirty, "dirty"), (page.towrite, "towrite"), (page.locked, "locked")] {
        if is {
            line += " ";
            line += word;
        }
    }
    match page.pfn {
        Some(pfn) if page.kind == "mapped" => format!("{line} pfn {pfn:#x}"),
        _ => line,
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("-");
        let kind = if self.shared { "shared" } else { "private" };
        let sync = if self.sync { " sync" } else { "" };
        writeln!(
            f,
            "  mapped    {}: {name} {:#x}+{:#x} from page {}, {} {kind}{sync}, {}",
            self.tasks.join(" "),
            self.start,
            self.length,
            self.page,
            self.protection,
            self.operations
        )?;
        for (run, entry) in runs(&self.entries, Entry::follows) {
            write!(f, "    {:#x} {run} {}: {}", entry.offset, entry.kind, entry.target)?;
            for (is, word) in [(entry.writable, " writable"), (entry.dirty, " dirty")] {
                if is {
                    f.write_str(word)?;
                }
            }
            if entry.target == "dax" {
                write!(f, " pfn {:#x}", entry.pfn)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Page {
    /// Whether it goes on where `before` ends, in the same state.
    fn follows(&self, before: &Self) -> bool {
        let pages = 1 << before.order;
        let next = Self { index: before.index + pages, pfn: before.pfn.map(|pfn| pfn + pages), ..*before };
        *self == next || (self.pfn == before.pfn && Self { pfn: self.pfn, ..next } == *self)
    }
}

impl Entry {
    fn follows(&self, before: &Self) -> bool {
        let pages = if before.kind == "pmd" { 512 } else { 1 };
        let next = Self { offset: before.offset + pages * 4096, ..*before };
        // Pages of a device lie behind each other; where others lie is nobody's business.
        Self { pfn: self.pfn, ..next } == *self && (self.target != "dax" || self.pfn == before.pfn + pages)
    }
}

/// Stretches of neighbours: how many, and the first.
fn runs<T>(list: &[T], follows: impl Fn(&T, &T) -> bool) -> impl Iterator<Item = (usize, &T)> {
    list.chunk_by(move |before, next| follows(next, before)).filter_map(|run| Some((run.len(), run.first()?)))
}
