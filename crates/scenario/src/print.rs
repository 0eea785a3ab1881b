//! From the tree to its canonical text; comments are not in the tree, and so not in the text.

use crate::ast::{
    Claim, Compare, Condition, Declarations, Expectation, Failure, File, Formula, FsDecl, Pattern, RecordPattern,
    Source, Statement, Step, TaskDecl, Turn, TurnExtent,
};
use crate::data::{self, Data, Fill};
use crate::token::is_bare;
use crate::word::Word;
use core::fmt::Write as _;

/// The text of a tree: reading it gives the tree back.
#[must_use]
pub fn print(file: &File) -> String {
    let mut out = String::new();
    declarations(&file.shared, &mut out);
    for scenario in &file.scenarios {
        if !out.is_empty() {
            out.push('\n');
        }
        line(&mut out, 0, &format!("scenario {}", data::quote(scenario.title.as_bytes())));
        declarations(&scenario.declarations, &mut out);
        statements(&scenario.body, 0, &mut out);
    }
    out
}

fn line(out: &mut String, depth: usize, text: &str) {
    writeln!(out, "{:1$}{text}", "", depth * 2).expect("a string takes all");
}

fn joined<T>(items: &[T], between: &str, text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(between)
}

fn declarations(declared: &Declarations, out: &mut String) {
    if !declared.needs.is_empty() {
        let needs: Vec<_> = declared.needs.iter().map(Word::word).collect();
        line(out, 0, &format!("needs {}", needs.join(" ")));
    }
    declared.filesystems.iter().for_each(|fs| line(out, 0, &filesystem(fs)));
    declared.tasks.iter().for_each(|decl| line(out, 0, &task(decl)));
}

fn filesystem(fs: &FsDecl) -> String {
    let mut text = format!("fs {} {}", fs.name, joined(&fs.rules, "|", |rules| rules.word().to_owned()));
    text.push_str(&match &fs.source {
        Source::Mem(bytes) => format!(" mem={}", size(*bytes)),
        Source::Image(path) => format!(" image={}", bare_or_quoted(path)),
        Source::Given => " given".to_owned(),
    });
    let mut key = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            write!(text, " {key}={value}").expect("a string takes all");
        }
    };
    let some = |text: String| if text.is_empty() { None } else { Some(text) };
    key("profile", some(joined(&fs.profiles, "|", ToString::to_string)));
    key("block", fs.block.map(size));
    key("features", some(joined(&fs.features, ",", |f| format!("{}{}", if f.off { "^" } else { "" }, f.name))));
    key("options", some(joined(&fs.options, "|", ToString::to_string)));
    key("device", fs.device.map(|device| device.word().to_owned()));
    key("realtime", fs.realtime.map(|device| device.word().to_owned()));
    if fs.unmounted {
        text.push_str(" unmounted");
    }
    text
}

fn task(decl: &TaskDecl) -> String {
    let mut text = format!("task {}", decl.name);
    let mut key = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            write!(text, " {key}={value}").expect("a string takes all");
        }
    };
    key("uid", decl.uid.map(|uid| uid.to_string()));
    key("gid", decl.gid.map(|gid| gid.to_string()));
    let caps = decl.caps.map(|caps| caps.iter().map(Word::word).collect::<Vec<_>>().join("|"));
    key("caps", caps.map(|caps| if caps.is_empty() { "none".to_owned() } else { caps }));
    key("thread_of", decl.thread_of.as_ref().map(ToString::to_string));
    if decl.userns {
        text.push_str(" userns");
    }
    text
}

fn statements(body: &[Statement], depth: usize, out: &mut String) {
    for statement in body {
        match statement {
            Statement::Step(step) => {
                line(out, depth, &step_line(step));
                for (on, expected) in &step.expect_on {
                    line(out, depth + 1, &format!("on {}: {}", condition(on), expectation(expected)));
                }
            }
            Statement::Claim(claim) => line(out, depth, &claim_line(claim)),
            Statement::Setup(body) => block(out, depth, "setup", body, &[]),
            Statement::Repeat(times, body) => block(out, depth, &format!("repeat {}", size(*times)), body, &[]),
            Statement::Concurrent(block_) => block(out, depth, "concurrent", &block_.body, &block_.schedule),
        }
    }
}

fn block(out: &mut String, depth: usize, opens: &str, body: &[Statement], schedule: &[Turn]) {
    line(out, depth, opens);
    statements(body, depth + 1, out);
    if !schedule.is_empty() {
        line(out, depth + 1, &format!("schedule {}", joined(schedule, " ", turn)));
    }
    line(out, depth, "end");
}

/// A turn of a schedule.
#[must_use]
pub fn turn(turn: &Turn) -> String {
    match &turn.extent {
        TurnExtent::Operations(1) => turn.task.to_string(),
        TurnExtent::Operations(times) => format!("{}*{}", turn.task, size(*times)),
        TurnExtent::Steps(steps) => format!("{}.{steps}", turn.task),
        TurnExtent::Point(point) => format!("{}@{point}", turn.task),
    }
}

/// The line of a step, without what is expected elsewhere.
fn step_line(step: &Step) -> String {
    let mut text = step.on.as_ref().map_or_else(String::new, |on| format!("on {}: ", condition(on)));
    if let Some(task) = &step.task {
        write!(text, "{task}: ").expect("a string takes all");
    }
    if step.print {
        text.push_str("print ");
    }
    step.operation.print(&mut text);
    if let Some(register) = &step.register {
        write!(text, " -> {register}").expect("a string takes all");
    }
    if let Some(expected) = &step.expect {
        write!(text, " {}", expectation(expected)).expect("a string takes all");
    }
    text
}

/// An operation as it is written.
#[must_use]
pub fn operation(operation: &crate::ops::Operation) -> String {
    let mut text = String::new();
    operation.print(&mut text);
    text
}

pub(crate) fn claim_line(claim: &Claim) -> String {
    let on = claim.on.as_ref().map_or_else(String::new, |on| format!("on {}: ", condition(on)));
    format!("{on}{} {}", claim.how.word(), formula(&claim.what))
}

fn formula(what: &Formula) -> String {
    // A formula inside another stands in parentheses unless it is a single term.
    let inner = |what: &Formula| match what {
        Formula::Or(_) | Formula::And(_) => format!("({})", formula(what)),
        what => formula(what),
    };
    match what {
        Formula::Or(any) => joined(any, " or ", inner),
        Formula::And(all) => joined(all, " and ", inner),
        Formula::Not(what) => format!("not {}", inner(what)),
        Formula::Register(register, expected) => format!("{register} {}", expectation(expected)),
        Formula::Incident(incident) => incident.word().to_owned(),
        Formula::Violated(property) => format!("violated {property}"),
        Formula::Event(record) => format!("event {}", record_text(record)),
    }
}

fn condition(on: &Condition) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(on.fs.as_ref().map(ToString::to_string));
    parts.extend(on.rules.map(|rules| rules.word().to_owned()));
    match (on.from, on.to) {
        (None, None) => {}
        (Some(from), Some(to)) if from == to => parts.push(from.to_string()),
        (from, to) => {
            let text = |bound: Option<crate::ast::Release>| bound.map_or_else(String::new, |r| r.to_string());
            parts.push(format!("{}..{}", text(from), text(to)));
        }
    }
    parts.extend(on.option.clone());
    parts.join(" ")
}

/// What is expected, as it is written.
#[must_use]
pub fn expectation(expected: &Expectation) -> String {
    match expected {
        Expectation::Anything => "?".to_owned(),
        Expectation::Blocks => "blocks".to_owned(),
        Expectation::Value(compare, wanted) => format!("{} {}", compare.word(), pattern(wanted)),
        Expectation::Fails(Failure::Errno(errno)) => format!("! {errno}"),
        Expectation::Fails(Failure::Signal(signal)) => format!("! {signal}"),
        Expectation::Fails(Failure::Oops) => "! oops".to_owned(),
    }
}

/// A pattern, as it is written.
#[must_use]
pub fn pattern(wanted: &Pattern) -> String {
    match wanted {
        Pattern::Anything => "?".to_owned(),
        Pattern::Number(number) => size(*number),
        Pattern::Word(word) => word.clone(),
        Pattern::Data(bytes) => data(bytes),
        Pattern::List(items) => format!("[{}]", joined(items, " ", pattern)),
        Pattern::Record(record) => record_text(record),
    }
}

fn record_text(record: &RecordPattern) -> String {
    let field = |(name, compare, wanted): &(crate::place::Name, Compare, Pattern)| match compare {
        Compare::Has | Compare::Lacks => format!("{name} {} {}", compare.word(), pattern(wanted)),
        compare => format!("{name}{}{}", compare.word(), pattern(wanted)),
    };
    format!("{}{{{}}}", record.tag.as_deref().unwrap_or(""), joined(&record.fields, " ", field))
}

/// Data, as it is written.
#[must_use]
pub fn data(bytes: &Data) -> String {
    if bytes.pieces.is_empty() {
        return "\"\"".to_owned();
    }
    joined(&bytes.pieces, ",", |piece| match &piece.what {
        Fill::Byte(0) => format!("zero*{}", size(piece.times)),
        Fill::Byte(byte) => format!("{byte:#04x}*{}", size(piece.times)),
        Fill::Random(seed) => format!("random:{seed}*{}", size(piece.times)),
        Fill::Text(text) if piece.times == 1 => data::quote(text),
        Fill::Text(text) => format!("{}*{}", data::quote(text), size(piece.times)),
    })
}

/// A number with the largest suffix that leaves it whole.
#[must_use]
pub fn size(number: u64) -> String {
    for (suffix, shift) in [("T", 40), ("G", 30), ("M", 20), ("K", 10)] {
        if number != 0 && number.is_multiple_of(1 << shift) {
            return format!("{}{suffix}", number >> shift);
        }
    }
    number.to_string()
}

/// A text as a bare word where it can be one.
pub(crate) fn bare_or_quoted(text: &str) -> String {
    let bare = !text.is_empty() && text.chars().all(is_bare) && !text.ends_with(':') && !text.contains("->");
    if bare { text.to_owned() } else { data::quote(text.as_bytes()) }
}
