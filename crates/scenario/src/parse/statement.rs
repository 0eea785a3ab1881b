//! Operations, claims and schedules.

use super::expectation::{DEEPEST, at_expectation, expectation, pattern};
use super::{Cursor, KEYWORDS};
use crate::ast::{Claim, Condition, Formula, Incident, Pattern, Step, Turn, TurnExtent};
use crate::error::Error;
use crate::ops::Operation;
use crate::place::{Name, Place};
use crate::word::Word;
use daxkit_format::field::did_you_mean;

pub(super) fn step(c: &mut Cursor<'_>, place: Place, on: Option<Condition>) -> Result<Step, Error> {
    let task = if c.at_prefix() {
        let name = c.name("task")?;
        c.sign(":")?;
        Some(name)
    } else {
        None
    };
    let print = c.take_bare("print");
    let (word, at) = c.bare("an operation")?;
    let operation = Operation::parse(word, c).unwrap_or_else(|| {
        let known = Operation::TABLE.iter().map(|row| row.name).chain(KEYWORDS.iter().copied());
        Err(Error::new(at, format!("there is no operation `{word}`{}", did_you_mean(word, known))))
    })?;
    let register = if c.take_sign("->") { Some(c.name("register")?) } else { None };
    let expect = if at_expectation(c) { Some(expectation(c)?) } else { None };
    Ok(Step { place, on, task, print, operation, register, expect, expect_on: Vec::new() })
}

pub(super) fn claim(c: &mut Cursor<'_>, on: Option<Condition>) -> Result<Claim, Error> {
    let place = c.place();
    Ok(Claim { place, on, how: c.word()?, what: formula(c, 0)? })
}

fn formula(c: &mut Cursor<'_>, depth: usize) -> Result<Formula, Error> {
    let mut any = vec![conjunction(c, depth)?];
    while c.take_bare("or") {
        any.push(conjunction(c, depth)?);
    }
    Ok(if any.len() == 1 { any.remove(0) } else { Formula::Or(any) })
}

fn conjunction(c: &mut Cursor<'_>, depth: usize) -> Result<Formula, Error> {
    let mut all = vec![term(c, depth)?];
    while c.take_bare("and") {
        all.push(term(c, depth)?);
    }
    Ok(if all.len() == 1 { all.remove(0) } else { Formula::And(all) })
}

fn term(c: &mut Cursor<'_>, depth: usize) -> Result<Formula, Error> {
    if depth > DEEPEST {
        return Err(Error::new(c.place(), "this is nested too deep"));
    }
    if c.take_bare("not") {
        return Ok(Formula::Not(Box::new(term(c, depth + 1)?)));
    }
    if c.take_sign("(") {
        let inner = formula(c, depth + 1)?;
        c.sign(")")?;
        return Ok(inner);
    }
    if c.take_bare("violated") {
        let (text, place) = c.bare("a property, as P3,")?;
        let number = text.strip_prefix('P').and_then(|number| number.parse::<u8>().ok());
        return match number {
            Some(1..=14) => Ok(Formula::Violated(text.to_owned())),
            _ => Err(Error::new(place, format!("`{text}` is no property: P1 to P14 are"))),
        };
    }
    if c.take_bare("event") {
        let place = c.place();
        return match pattern(c, depth)? {
            Pattern::Record(record) if record.tag.is_some() => Ok(Formula::Event(record)),
            Pattern::Word(name) => {
                Ok(Formula::Event(crate::ast::RecordPattern { tag: Some(name), fields: Vec::new() }))
            }
            _ => Err(Error::new(place, "an event has a name")),
        };
    }
    if let Some(incident) = c.peek_bare().and_then(Incident::from_word) {
        c.take_bare(incident.word());
        return Ok(Formula::Incident(incident));
    }
    let register = c.name("register")?;
    if !at_expectation(c) {
        return Err(c.wanted("what the register holds"));
    }
    Ok(Formula::Register(register, expectation(c)?))
}

pub(super) fn turns(c: &mut Cursor<'_>) -> Result<Vec<Turn>, Error> {
    let mut turns = Vec::new();
    while !c.is_done() {
        turns.push(turn(c)?);
    }
    Ok(turns)
}

fn turn(c: &mut Cursor<'_>) -> Result<Turn, Error> {
    let (text, place) = c.bare("a turn, as `A`, `A*2`, `A.3` or `A@point`,")?;
    let bad = || Error::new(place, format!("`{text}` is no turn: `A`, `A*2`, `A.3` and `A@point` are"));
    let (name, extent) = if let Some((name, point)) = text.split_once('@') {
        (name, TurnExtent::Point(point.to_owned()))
    } else if let Some((name, steps)) = text.split_once('.') {
        (name, TurnExtent::Steps(steps.parse().map_err(|_| bad())?))
    } else {
        (text, TurnExtent::Operations(if c.take_sign("*") { c.number()? } else { 1 }))
    };
    let empty = matches!(&extent, TurnExtent::Point(point) if point.is_empty());
    if !Name::is_name(name) || empty {
        return Err(bad());
    }
    Ok(Turn { task: Name { text: name.into(), place }, extent })
}
