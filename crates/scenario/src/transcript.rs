//! What is told of a run, as text and as JSON.

use crate::value::{Outcome, Record};
use core::fmt;
use serde::Serialize;

/// The runs of a file's cases.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Transcript {
    /// One after the other, in the order of the file.
    pub cases: Vec<CaseTranscript>,
}

/// The run of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseTranscript {
    /// The scenario's title.
    pub scenario: String,
    /// What sets the case apart.
    pub case: String,
    /// What happened.
    pub entries: Vec<Entry>,
    /// How it ended.
    pub verdict: Verdict,
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All was as expected.
    Passed,
    /// This many entries were not.
    Failed(usize),
    /// It was not run, or not to its end: why.
    Skipped(String),
    /// It could not begin: why.
    Broken(String),
}

/// An operation or a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Line of the text.
    pub line: u32,
    /// Who; none for a claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// What, as it is written.
    pub what: String,
    /// What came out; none for a claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The register that took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub register: Option<String>,
    /// What should have come out instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Trace events on the way, where they are asked for.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "events")]
    pub events: Vec<Record>,
    /// What went wrong in the kernel on the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<String>,
}

fn events<S: serde::Serializer>(events: &[Record], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(events.iter().map(|event| crate::value::Value::Record(event.clone())))
}

impl Transcript {
    /// Whether no case failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.cases.iter().all(|case| matches!(case.verdict, Verdict::Passed | Verdict::Skipped(_)))
    }

    /// As JSON, one object.
    ///
    /// # Errors
    /// None that can occur: every key is a text.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cases.iter().try_for_each(|case| write!(f, "{case}"))
    }
}

impl fmt::Display for CaseTranscript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "== {} [{}]", self.scenario, self.case)?;
        self.entries.iter().try_for_each(|entry| write!(f, "{entry}"))?;
        match &self.verdict {
            Verdict::Passed => writeln!(f, "passed"),
            Verdict::Failed(entries) => writeln!(f, "FAILED: {entries} not as expected"),
            Verdict::Skipped(why) => writeln!(f, "skipped: {why}"),
            Verdict::Broken(why) => writeln!(f, "BROKEN: {why}"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>4} ", self.line)?;
        if let Some(task) = &self.task {
            write!(f, "{task}: ")?;
        }
        f.write_str(&self.what)?;
        if let Some(register) = &self.register {
            write!(f, " -> {register}")?;
        }
        if let Some(outcome) = &self.outcome {
            write!(f, " {outcome}")?;
        }
        writeln!(f)?;
        self.events.iter().try_for_each(|event| writeln!(f, "       {event}"))?;
        self.incidents.iter().try_for_each(|incident| writeln!(f, "     !! {incident}"))?;
        if let Some(expected) = &self.expected {
            writeln!(f, "     ?? expected {expected}")?;
        }
        Ok(())
    }
}
