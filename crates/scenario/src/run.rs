//! The driver: runs the cases of a file against a subject, in the order written.

use crate::ast::{Claim, Concurrent, File, Formula, Incident, Quantifier, Statement, Step, Turn, TurnExtent};
use crate::case::{Case, cases};
use crate::matching::{is_record, meets};
use crate::ops::Operation;
use crate::place::Name;
use crate::print;
use crate::subject::{ConcurrentStep, Subject, TaskRef};
use crate::transcript::{CaseTranscript, Entry, Transcript, Verdict};
use crate::value::{Outcome, Record};
use crate::word::Word;
use std::collections::{BTreeMap, BTreeSet};

/// How to run.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Go on behind what is not as expected; else the case ends there.
    pub keep_going: bool,
    /// Trace events go to the transcript.
    pub trace: bool,
}

/// Runs all cases of a file that was checked.
pub fn run(file: &File, subject: &mut dyn Subject, options: RunOptions) -> Transcript {
    let all = file.scenarios.iter().flat_map(|scenario| cases(file, scenario));
    Transcript { cases: all.map(|case| run_case(&case, subject, options)).collect() }
}

/// Runs one case.
pub fn run_case(case: &Case<'_>, subject: &mut dyn Subject, options: RunOptions) -> CaseTranscript {
    let missing = case.needs.iter().find(|need| !subject.supports(*need));
    let mut driver = Driver {
        case,
        subject,
        options,
        tasks: case.tasks.iter().map(|task| task.name.to_owned()).collect(),
        registers: BTreeMap::new(),
        events: Vec::new(),
        incidents: Vec::new(),
        judged: BTreeSet::new(),
        entries: Vec::new(),
        failed: 0,
        stopped: None,
    };
    let verdict = if let Some(need) = missing {
        Verdict::Skipped(format!("needs {}", need.word()))
    } else if let Err(error) = driver.subject.begin(case) {
        Verdict::Broken(error.to_string())
    } else {
        let _ = driver.body(&case.scenario.body);
        driver.rest_of_incidents();
        match (driver.failed, driver.stopped.take()) {
            (0, None) => Verdict::Passed,
            (0, Some(why)) => Verdict::Skipped(why),
            (failed, _) => Verdict::Failed(failed),
        }
    };
    CaseTranscript { scenario: case.scenario.title.clone(), case: case.summary(), entries: driver.entries, verdict }
}

/// The case goes no further.
struct Stop;

struct Driver<'r, 'c> {
    case: &'r Case<'c>,
    subject: &'r mut dyn Subject,
    options: RunOptions,
    /// Names of tasks by number; those that were forked come last.
    tasks: Vec<String>,
    registers: BTreeMap<String, Outcome>,
    /// All events so far, for claims.
    events: Vec<Record>,
    /// All incidents so far.
    incidents: Vec<String>,
    /// First words of incidents that a claim or an expectation has judged.
    judged: BTreeSet<String>,
    entries: Vec<Entry>,
    failed: usize,
    stopped: Option<String>,
}

impl Driver<'_, '_> {
    fn body(&mut self, body: &[Statement]) -> Result<(), Stop> {
        for statement in body {
            match statement {
                Statement::Step(step) => self.step(step)?,
                Statement::Claim(claim) => self.claim(claim)?,
                Statement::Setup(inner) => self.body(inner)?,
                Statement::Repeat(times, inner) => {
                    for _ in 0..*times {
                        self.body(inner)?;
                    }
                }
                Statement::Concurrent(block) => self.concurrent(block)?,
            }
        }
        Ok(())
    }

    fn task(&self, name: Option<&Name>) -> usize {
        name.and_then(|name| self.tasks.iter().position(|task| **task == *name.text)).unwrap_or(0)
    }

    fn is_here(&self, step: &Step) -> bool {
        step.on.as_ref().is_none_or(|on| self.case.holds(on))
    }

    fn do_operation(&mut self, task: usize, operation: &Operation) -> Outcome {
        let name = self.tasks.get(task).cloned().unwrap_or_default();
        let outcome = self.subject.run(TaskRef { index: task, name: &name }, operation);
        if let (Operation::Fork { child }, Outcome::Done(_)) = (operation, &outcome) {
            self.tasks.push(child.0.text.to_string());
        }
        outcome
    }

    fn step(&mut self, step: &Step) -> Result<(), Stop> {
        if !self.is_here(step) {
            return Ok(());
        }
        let task = self.task(step.task.as_ref());
        let outcome = self.do_operation(task, &step.operation);
        self.told(step, task, outcome)
    }

    /// Takes the outcome of a step: register, transcript, verdict.
    fn told(&mut self, step: &Step, task: usize, outcome: Outcome) -> Result<(), Stop> {
        let elsewhere = step.expect_on.iter().find(|(on, _)| self.case.holds(on)).map(|(_, expected)| expected);
        let expected = elsewhere.or(step.expect.as_ref());
        let met = meets(&outcome, expected);
        let unsupported = if let Outcome::Unsupported(why) = &outcome { Some(why.clone()) } else { None };
        if met && matches!(outcome, Outcome::Oops(_)) {
            self.judged.insert(Incident::Oops.word().to_owned());
        }
        if let Some(register) = &step.register {
            self.registers.insert(register.text.to_string(), outcome.clone());
        }
        let events = self.subject.take_events();
        let incidents = self.subject.take_incidents();
        self.events.extend(events.iter().cloned());
        self.incidents.extend(incidents.iter().cloned());
        self.entries.push(Entry {
            line: step.place.line,
            task: self.tasks.get(task).cloned(),
            what: print::operation(&step.operation),
            outcome: Some(outcome),
            register: step.register.as_ref().map(ToString::to_string),
            expected: (!met && unsupported.is_none())
                .then(|| expected.map_or_else(|| "success".to_owned(), print::expectation)),
            events: if self.options.trace { events } else { Vec::new() },
            incidents,
        });
        if let Some(why) = unsupported {
            self.stopped = Some(format!("line {}: {why}", step.place.line));
            return Err(Stop);
        }
        if met { Ok(()) } else { self.fail() }
    }

    fn fail(&mut self) -> Result<(), Stop> {
        self.failed += 1;
        if self.options.keep_going { Ok(()) } else { Err(Stop) }
    }

    fn claim(&mut self, claim: &Claim) -> Result<(), Stop> {
        if claim.on.as_ref().is_some_and(|on| !self.case.holds(on)) {
            return Ok(());
        }
        judges(&claim.what, &mut self.judged);
        let seen = self.seen(&claim.what);
        // One run shows one of the ways: it cannot refute that something is sometimes seen.
        let good = match claim.how {
            Quantifier::Never => !seen,
            Quantifier::Always => seen,
            Quantifier::Sometimes => true,
        };
        let note = if good { None } else { Some(if seen { "it was seen" } else { "it was not seen" }.to_owned()) };
        self.entries.push(Entry {
            line: claim.place.line,
            task: None,
            what: print::claim_line(claim),
            outcome: None,
            register: None,
            expected: note.map(|note| format!("otherwise: {note}")),
            events: Vec::new(),
            incidents: Vec::new(),
        });
        if good { Ok(()) } else { self.fail() }
    }

    fn seen(&self, what: &Formula) -> bool {
        let incident = |word: &str| self.incidents.iter().any(|text| first_word(text) == word);
        match what {
            Formula::Or(any) => any.iter().any(|what| self.seen(what)),
            Formula::And(all) => all.iter().all(|what| self.seen(what)),
            Formula::Not(what) => !self.seen(what),
            Formula::Register(name, expected) => {
                self.registers.get(&*name.text).is_some_and(|outcome| meets(outcome, Some(expected)))
            }
            Formula::Incident(Incident::Oops) => incident("oops") || self.oopsed(),
            Formula::Incident(which) => incident(which.word()),
            Formula::Violated(property) => incident(property),
            Formula::Event(pattern) => self.events.iter().any(|event| is_record(event, pattern)),
        }
    }

    fn oopsed(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.outcome, Some(Outcome::Oops(_))))
    }

    /// Incidents that no claim or expectation is about make a case fail.
    fn rest_of_incidents(&mut self) {
        self.incidents.extend(self.subject.take_incidents());
        self.failed += self.incidents.iter().filter(|text| !self.judged.contains(first_word(text))).count();
    }

    fn concurrent(&mut self, block: &Concurrent) -> Result<(), Stop> {
        let mut steps: Vec<&Step> = Vec::new();
        let mut claims = Vec::new();
        flatten(&block.body, &mut steps, &mut claims);
        steps.retain(|step| self.is_here(step));
        let tasks: Vec<usize> = steps.iter().map(|step| self.task(step.task.as_ref())).collect();
        let names = self.tasks.clone();
        let of = |index: usize| {
            let task = tasks.get(index).copied().unwrap_or(0);
            TaskRef { index: task, name: names.get(task).map_or("", String::as_str) }
        };
        let listed: Vec<ConcurrentStep<'_>> = steps
            .iter()
            .enumerate()
            .map(|(index, step)| ConcurrentStep { index, task: of(index), operation: &step.operation })
            .collect();
        if let Some(outcomes) = self.subject.concurrent(&listed, &block.schedule) {
            for ((step, task), outcome) in steps.iter().zip(&tasks).zip(outcomes) {
                self.told(step, *task, outcome)?;
            }
        } else {
            let names: Vec<&str> = tasks.iter().map(|task| self.tasks.get(*task).map_or("", String::as_str)).collect();
            match order(&names, &block.schedule) {
                Some(order) => {
                    for index in order {
                        let (Some(step), Some(task)) = (steps.get(index), tasks.get(index)) else { continue };
                        let outcome = self.do_operation(*task, &step.operation);
                        self.told(step, *task, outcome)?;
                    }
                }
                None => {
                    self.stopped = Some(format!("line {}: the schedule needs a stepping runtime", block.place.line));
                    return Err(Stop);
                }
            }
        }
        claims.into_iter().try_for_each(|claim| self.claim(claim))
    }
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or("").trim_end_matches(':')
}

/// Adds the incidents and properties that a claim is about.
fn judges(what: &Formula, judged: &mut BTreeSet<String>) {
    match what {
        Formula::Or(all) | Formula::And(all) => all.iter().for_each(|what| judges(what, judged)),
        Formula::Not(what) => judges(what, judged),
        Formula::Incident(incident) => drop(judged.insert(incident.word().to_owned())),
        Formula::Violated(property) => drop(judged.insert(property.clone())),
        Formula::Register(..) | Formula::Event(_) => {}
    }
}

/// Steps of a block in the order written, repetitions unrolled, and its claims.
fn flatten<'a>(body: &'a [Statement], steps: &mut Vec<&'a Step>, claims: &mut Vec<&'a Claim>) {
    for statement in body {
        match statement {
            Statement::Step(step) => steps.push(step),
            Statement::Claim(claim) => claims.push(claim),
            Statement::Setup(inner) => flatten(inner, steps, claims),
            Statement::Repeat(times, inner) => (0..*times).for_each(|_| flatten(inner, steps, claims)),
            Statement::Concurrent(block) => flatten(&block.body, steps, claims),
        }
    }
}

/// The order of whole operations that a schedule asks for, what it leaves out behind it in the order written; `None` when
/// it asks for parts of operations.
fn order(tasks: &[&str], schedule: &[Turn]) -> Option<Vec<usize>> {
    let mut left: Vec<usize> = (0..tasks.len()).collect();
    let mut order = Vec::with_capacity(tasks.len());
    for turn in schedule {
        let TurnExtent::Operations(times) = turn.extent else { return None };
        for _ in 0..times {
            let next = left.iter().position(|index| tasks.get(*index).is_some_and(|task| **task == *turn.task.text));
            let Some(next) = next else { break };
            order.push(left.remove(next));
        }
    }
    order.extend(left);
    Some(order)
}
