//! What a scenario may say: names that were declared, tasks that exist, expectations that can be met.

use crate::ast::{
    Claim, Compare, Concurrent, Condition, Declarations, Expectation, File, Formula, Pattern, RecordPattern, Scenario,
    Source, Statement, Step,
};
use crate::case::{MOST as MOST_CASES, cases};
use crate::error::{Collector, Error, Errors};
use crate::ops::args::{NameKind, NameUse};
use crate::ops::{Operation, Shape};
use crate::place::{Name, Place};
use daxkit_format::field::did_you_mean;
use std::collections::{BTreeMap, BTreeSet};

/// Most operations that a scenario may come to, repetitions counted.
pub const MOST_STEPS: u64 = 1_000_000;

/// Checks a file; `text` is what it was read from, for showing lines.
///
/// # Errors
/// All that is wrong, in the order of the text.
pub fn check(file: &File, text: &str) -> Result<(), Errors> {
    let mut checker = Checker::default();
    let mut titles = BTreeSet::new();
    for scenario in &file.scenarios {
        if !titles.insert(&scenario.title) {
            checker.wrong(scenario.place, "another scenario has the same title");
        }
        checker.scenario(file, scenario);
    }
    checker.errors.finish(text)
}

/// The process whose descriptors and mappings a task has, by number.
type Process = usize;

#[derive(Default)]
struct Checker {
    errors: Collector,
    filesystems: Vec<String>,
    /// Tasks that exist by now, and their processes.
    tasks: BTreeMap<String, Process>,
    processes: usize,
    /// What each process has made: of which kind, under which name.
    names: BTreeSet<(Process, &'static str, String)>,
    registers: BTreeSet<String>,
}

impl Checker {
    fn wrong(&mut self, place: Place, why: impl Into<String>) {
        self.errors.push(Error::new(place, why));
    }

    fn scenario(&mut self, file: &File, scenario: &Scenario) {
        *self = Self { errors: std::mem::take(&mut self.errors), ..Self::default() };
        self.tasks.insert("root".to_owned(), 0);
        self.processes = 1;
        for declared in [&file.shared, &scenario.declarations] {
            self.declarations(declared);
        }
        if self.filesystems.is_empty() {
            self.wrong(scenario.place, "this scenario has no file system");
        }
        if cases(file, scenario).len() >= MOST_CASES {
            self.wrong(scenario.place, format!("this scenario comes to {MOST_CASES} cases or more"));
        }
        let steps = self.body(&scenario.body, 1, false);
        if steps > MOST_STEPS {
            self.wrong(scenario.place, format!("this scenario comes to more than {MOST_STEPS} operations"));
        }
    }

    fn declarations(&mut self, declared: &Declarations) {
        for fs in &declared.filesystems {
            if self.filesystems.contains(&fs.name.text.to_string()) {
                self.wrong(fs.name.place, format!("there is a file system `{}` already", fs.name));
            }
            self.filesystems.push(fs.name.text.to_string());
            if !matches!(fs.block.unwrap_or(4096), 512 | 1024 | 2048 | 4096 | 8192 | 16384 | 32768 | 65536) {
                self.wrong(fs.name.place, "blocks have a power of two of bytes, 512 to 64K");
            }
            if matches!(fs.source, Source::Mem(0)) {
                self.wrong(fs.name.place, "a file system of no bytes holds nothing");
            }
        }
        for task in &declared.tasks {
            let process = match &task.thread_of {
                None => None,
                Some(other) => self.task(other),
            };
            let process = process.unwrap_or_else(|| {
                self.processes += 1;
                self.processes - 1
            });
            if self.tasks.insert(task.name.text.to_string(), process).is_some() {
                self.wrong(task.name.place, format!("there is a task `{}` already", task.name));
            }
        }
    }

    fn task(&mut self, name: &Name) -> Option<Process> {
        let process = self.tasks.get(&*name.text).copied();
        if process.is_none() {
            let near = did_you_mean(&name.text, self.tasks.keys().map(String::as_str));
            self.wrong(name.place, format!("there is no task `{name}`{near}"));
        }
        process
    }

    fn filesystem(&mut self, name: &Name) {
        if !self.filesystems.contains(&name.text.to_string()) {
            let near = did_you_mean(&name.text, self.filesystems.iter().map(String::as_str));
            self.wrong(name.place, format!("there is no file system `{name}`{near}"));
        }
    }

    /// How many operations statements come to, each done `times`.
    fn body(&mut self, body: &[Statement], times: u64, concurrent: bool) -> u64 {
        let mut steps = 0u64;
        for statement in body {
            steps = steps.saturating_add(match statement {
                Statement::Step(step) => {
                    self.step(step, concurrent);
                    times
                }
                Statement::Claim(claim) => {
                    self.claim(claim);
                    0
                }
                Statement::Setup(inner) => self.body(inner, times, concurrent),
                Statement::Repeat(n, inner) => self.body(inner, times.saturating_mul(*n), concurrent),
                Statement::Concurrent(block) => {
                    if concurrent {
                        self.wrong(block.place, "a concurrent block cannot stand in another");
                    }
                    self.concurrent(block, times)
                }
            });
        }
        steps
    }

    fn concurrent(&mut self, block: &Concurrent, times: u64) -> u64 {
        for turn in &block.schedule {
            self.task(&turn.task);
        }
        self.body(&block.body, times, true)
    }

    fn condition(&mut self, condition: Option<&Condition>) {
        if let Some(fs) = condition.and_then(|condition| condition.fs.as_ref()) {
            self.filesystem(fs);
        }
    }

    fn step(&mut self, step: &Step, concurrent: bool) {
        self.condition(step.on.as_ref());
        if concurrent && step.task.is_none() {
            self.wrong(step.place, "in a concurrent block each operation says whose it is");
        }
        let process = step.task.as_ref().map_or(Some(0), |task| self.task(task));
        if let Some(process) = process {
            step.operation.names(&mut |kind, how, name| self.name(process, kind, how, name));
        }
        self.arguments(&step.operation, step.place);
        if let Some(register) = &step.register {
            self.registers.insert(register.text.to_string());
        }
        let elsewhere = step.expect_on.iter().map(|(on, expected)| (Some(on), expected));
        for (on, expected) in step.expect.iter().map(|expected| (None, expected)).chain(elsewhere) {
            self.condition(on);
            if let Expectation::Value(compare, pattern) = expected {
                self.fits(step.place, step.operation.name(), step.operation.shape(), *compare, pattern);
            }
        }
    }

    fn name(&mut self, process: Process, kind: NameKind, how: NameUse, name: &Name) {
        match (kind, how) {
            (NameKind::Fs, _) => self.filesystem(name),
            (NameKind::Task, NameUse::Uses) => drop(self.task(name)),
            (NameKind::Task, NameUse::Declares) => {
                let child = self.processes;
                self.processes += 1;
                // The child has what its parent has.
                let copies: Vec<_> = self.names.iter().filter(|(of, ..)| *of == process).cloned().collect();
                self.names.extend(copies.into_iter().map(|(_, kind, name)| (child, kind, name)));
                if self.tasks.insert(name.text.to_string(), child).is_some() {
                    self.wrong(name.place, format!("there is a task `{name}` already"));
                }
            }
            (kind, NameUse::Declares) => {
                self.names.insert((process, kind.text(), name.text.to_string()));
            }
            (kind, NameUse::Uses) => {
                if !self.names.contains(&(process, kind.text(), name.text.to_string())) {
                    let known = self.names.iter().filter(|(of, k, _)| *of == process && *k == kind.text());
                    let near = did_you_mean(&name.text, known.map(|(.., name)| name.as_str()));
                    self.wrong(name.place, format!("this task has made no {} `{name}`{near}", kind.text()));
                }
            }
        }
    }

    /// Arguments whose type alone does not say enough.
    fn arguments(&mut self, operation: &Operation, place: Place) {
        use crate::words::{FallocFlag, MapFlag, OpenFlag};
        match operation {
            Operation::Open { flags, .. } => {
                let ways = [OpenFlag::Rdonly, OpenFlag::Wronly, OpenFlag::Rdwr];
                let given = ways.iter().filter(|way| flags.contains(**way)).count();
                if given > 1 || given == 0 && !flags.contains(OpenFlag::Path) {
                    self.wrong(place, "a file is opened O_RDONLY, O_WRONLY or O_RDWR, or as O_PATH");
                }
            }
            Operation::Mmap { flags, .. } => {
                let kinds = [MapFlag::Shared, MapFlag::Private, MapFlag::SharedValidate];
                if kinds.iter().filter(|kind| flags.contains(**kind)).count() != 1 {
                    self.wrong(place, "a mapping is shared, private or shared_validate");
                }
            }
            Operation::Store { width, value, .. } => {
                let bits = 8 << (*width as u32);
                if bits < 64 && value >> bits != 0 {
                    self.wrong(place, format!("{value} has more than {bits} bits"));
                }
            }
            Operation::DropCaches { what } if !(1..=3).contains(what) => {
                self.wrong(place, "caches are dropped by 1, 2 or 3");
            }
            Operation::Fallocate { flags, .. } => {
                let whats = [FallocFlag::Punch, FallocFlag::Zero, FallocFlag::Collapse, FallocFlag::Insert];
                let whats = whats.into_iter().chain([FallocFlag::Unshare]);
                if whats.filter(|what| flags.contains(*what)).count() > 1 {
                    self.wrong(place, "a range is punched, zeroed, collapsed, inserted or unshared, one of them");
                }
            }
            _ => {}
        }
    }

    fn fits(&mut self, place: Place, name: &str, shape: Shape, compare: Compare, pattern: &Pattern) {
        let contains = matches!(compare, Compare::Has | Compare::Lacks);
        let ordered = !matches!(compare, Compare::Eq | Compare::Ne | Compare::Has | Compare::Lacks);
        let fits = match (shape, pattern) {
            (Shape::Any, _) => true,
            (_, Pattern::Anything) => !ordered,
            (Shape::Unit, _) => false,
            (Shape::Number, pattern) => matches!(pattern, Pattern::Number(_)) && !contains,
            (Shape::Text, pattern) => matches!(pattern, Pattern::Word(_) | Pattern::Data(_)) && !ordered,
            (Shape::Bytes, pattern) => matches!(pattern, Pattern::Data(_)) && !ordered,
            (Shape::Set | Shape::Texts, Pattern::List(items)) => {
                !ordered
                    && items.iter().all(|item| matches!(item, Pattern::Word(_) | Pattern::Data(_) | Pattern::Anything))
            }
            (Shape::Set | Shape::Texts, pattern) => contains && matches!(pattern, Pattern::Word(_) | Pattern::Data(_)),
            (Shape::Record(fields), Pattern::Record(record)) => {
                self.record(place, name, &[], fields, record);
                matches!(compare, Compare::Eq | Compare::Ne)
            }
            (Shape::Records(kinds, fields), Pattern::List(items)) => {
                items.iter().all(|item| self.element(place, name, kinds, fields, item)) && !ordered
            }
            (Shape::Records(kinds, fields), pattern) => contains && self.element(place, name, kinds, fields, pattern),
            (Shape::Record(_), _) => false,
        };
        if !fits {
            let gives = match shape {
                Shape::Unit => "nothing but success",
                Shape::Number => "a number",
                Shape::Text => "a word or text",
                Shape::Bytes => "bytes",
                Shape::Set => "a set of words",
                Shape::Texts => "a list of names",
                Shape::Record(_) => "a record",
                Shape::Records(..) => "a list of records",
                Shape::Any => "whatever was waited for",
            };
            let wanted = format!("{compare} {}", crate::print::pattern(pattern));
            self.wrong(place, format!("`{name}` gives {gives}, which `{wanted}` cannot be held against"));
        }
    }

    fn element(&mut self, place: Place, name: &str, kinds: &[&str], fields: &[&str], item: &Pattern) -> bool {
        match item {
            Pattern::Record(record) => self.record(place, name, kinds, fields, record),
            Pattern::Word(word) => self.kind(place, name, kinds, word),
            item => return matches!(item, Pattern::Anything),
        }
        true
    }

    fn kind(&mut self, place: Place, name: &str, kinds: &[&str], kind: &str) {
        if !kinds.is_empty() && !kinds.contains(&kind) {
            self.wrong(place, format!("`{name}` gives no `{kind}`: {}", kinds.join(" ")));
        }
    }

    fn record(&mut self, place: Place, name: &str, kinds: &[&str], fields: &[&str], record: &RecordPattern) {
        if let Some(tag) = &record.tag {
            self.kind(place, name, kinds, tag);
        }
        for (field, ..) in &record.fields {
            if !fields.is_empty() && !fields.contains(&&*field.text) {
                let near = did_you_mean(&field.text, fields.iter().copied());
                let near = if near.is_empty() { format!(": {}", fields.join(" ")) } else { near };
                self.wrong(field.place, format!("`{name}` gives no `{field}`{near}"));
            }
        }
    }

    fn claim(&mut self, claim: &Claim) {
        self.condition(claim.on.as_ref());
        self.formula(&claim.what);
    }

    fn formula(&mut self, what: &Formula) {
        match what {
            Formula::Or(all) | Formula::And(all) => all.iter().for_each(|what| self.formula(what)),
            Formula::Not(what) => self.formula(what),
            Formula::Register(name, _) => {
                if !self.registers.contains(&*name.text) {
                    let near = did_you_mean(&name.text, self.registers.iter().map(String::as_str));
                    self.wrong(name.place, format!("no operation before gives the register `{name}`{near}"));
                }
            }
            Formula::Incident(_) | Formula::Violated(_) | Formula::Event(_) => {}
        }
    }
}
