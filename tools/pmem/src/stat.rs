//! `dax-pmem stat`: how many faults the cases of scenarios made, of which size, and why not of the larger one.

use std::fmt;
use std::io::Write as _;

use daxkit_cli::message::Messages;
use daxkit_mount::world::counters::{Counters, FallbackReason};
use daxkit_scenario::case::cases;
use daxkit_scenario::transcript::Verdict;
use daxkit_scenario::{RunOptions, run_case};
use serde::Serialize;

use crate::args::{FAILED, Stat, UNUSABLE};
use crate::scenarios;
use crate::subject::{Emulation, word_of};

/// Counts, of a case or of all.
#[derive(Debug, Clone, Default, Serialize)]
struct Counts {
    faults: u64,
    pmd: u64,
    pte: u64,
    zero: u64,
    cow: u64,
    wp: u64,
    page_cache: u64,
    fallback: Vec<Fallback>,
    /// Bytes of files that were mapped at once without a copy in the page cache, at most.
    cache_saved: u64,
}

/// How many faults of 2 MiB fell back for a reason.
#[derive(Debug, Clone, Serialize)]
struct Fallback {
    reason: String,
    words: &'static str,
    faults: u64,
}

#[derive(Debug, Serialize)]
struct CaseCounts {
    scenario: String,
    case: String,
    verdict: Verdict,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Debug, Serialize)]
struct Report {
    cases: Vec<CaseCounts>,
    total: Counts,
}

impl Counts {
    fn new(counters: &Counters, cache_saved: u64) -> Self {
        let fallback = FallbackReason::ALL.iter().zip(counters.fallback).filter(|(_, faults)| *faults > 0);
        Self {
            faults: counters.faults,
            pmd: counters.pmd,
            pte: counters.pte,
            zero: counters.zero,
            cow: counters.cow,
            wp: counters.wp,
            page_cache: counters.page_cache,
            fallback: fallback
                .map(|(reason, faults)| Fallback { reason: word_of(*reason), words: reason.words(), faults })
                .collect(),
            cache_saved,
        }
    }
}

/// Counts what `wanted` names and gives the exit status.
///
/// # Errors
/// An image or a file that cannot be read, or output that cannot be written.
pub(crate) fn stat(wanted: &Stat, messages: &Messages) -> anyhow::Result<u8> {
    let ground = wanted.what.ground()?;
    let Some(files) = scenarios::read_all(&wanted.what, messages)? else { return Ok(UNUSABLE) };
    let mut list = Vec::new();
    let mut sum = Counters::default();
    let mut most_saved = 0;
    for (_, file) in &files {
        let mut kernel = Emulation::new(ground.clone(), false);
        for case in file.scenarios.iter().flat_map(|scenario| cases(file, scenario)) {
            let transcript = run_case(&case, &mut kernel, RunOptions::default());
            if matches!(transcript.verdict, Verdict::Skipped(_) | Verdict::Broken(_)) && transcript.entries.is_empty() {
                continue;
            }
            let (counters, saved) = kernel.counters();
            add(&mut sum, &counters);
            most_saved = most_saved.max(saved);
            let (scenario, case) = (transcript.scenario, transcript.case);
            list.push(CaseCounts {
                scenario,
                case,
                verdict: transcript.verdict,
                counts: Counts::new(&counters, saved),
            });
        }
    }
    let failed = list.iter().any(|case| matches!(case.verdict, Verdict::Failed(_) | Verdict::Broken(_)));
    let report = Report { total: Counts::new(&sum, most_saved), cases: list };
    if wanted.json {
        daxkit_cli::json::print(&report)?;
    } else {
        let mut out = std::io::stdout().lock();
        for case in &report.cases {
            let failed = if matches!(case.verdict, Verdict::Failed(_)) { " (FAILED: see `run`)" } else { "" };
            write!(out, "== {} [{}]{failed}\n{}", case.scenario, case.case, case.counts)?;
        }
        if report.cases.len() != 1 {
            write!(out, "== {} cases\n{}", report.cases.len(), report.total)?;
        }
    }
    Ok(if failed { FAILED } else { daxkit_cli::status::OK })
}

fn add(sum: &mut Counters, more: &Counters) {
    sum.faults += more.faults;
    sum.pte += more.pte;
    sum.pmd += more.pmd;
    sum.zero += more.zero;
    sum.cow += more.cow;
    sum.wp += more.wp;
    sum.page_cache += more.page_cache;
    for (sum, more) in sum.fallback.iter_mut().zip(more.fallback) {
        *sum += more;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in [
            ("faults", self.faults),
            ("mapped 2 MiB", self.pmd),
            ("mapped 4 KiB", self.pte),
            ("read holes", self.zero),
            ("private copies", self.cow),
            ("write-protected", self.wp),
            ("page cache", self.page_cache),
        ] {
            writeln!(f, "{count:>8} {name}")?;
        }
        for fallback in &self.fallback {
            writeln!(f, "{:>8} not 2 MiB: {}", fallback.faults, fallback.words)?;
        }
        writeln!(f, "{:>8} bytes at most that the page cache need not hold", self.cache_saved)
    }
}
