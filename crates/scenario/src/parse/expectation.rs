//! What is expected, patterns and conditions.

use super::Cursor;
use super::declaration::release_of;
use crate::ast::{Compare, Condition, Expectation, Failure, Pattern, RecordPattern};
use crate::errno::{Errno, Signal};
use crate::error::Error;
use crate::place::Name;
use crate::token::{Kind, Token};
use crate::word::Word;
use daxkit_format::field::did_you_mean;

/// Deepest nesting of a pattern or a formula.
pub(super) const DEEPEST: usize = 16;

pub(super) fn at_expectation(c: &Cursor<'_>) -> bool {
    match c.peek() {
        Some(Token { kind: Kind::Sign(sign), .. }) => *sign == "!" || Compare::from_word(sign).is_some(),
        Some(Token { kind: Kind::Bare(word), .. }) => matches!(&**word, "has" | "lacks" | "blocks" | "?"),
        _ => false,
    }
}

pub(super) fn expectation(c: &mut Cursor<'_>) -> Result<Expectation, Error> {
    if c.take_sign("!") {
        return failure(c).map(Expectation::Fails);
    }
    if c.take_bare("blocks") {
        return Ok(Expectation::Blocks);
    }
    if c.take_bare("?") {
        return Ok(Expectation::Anything);
    }
    Ok(Expectation::Value(c.word()?, pattern(c, 0)?))
}

fn failure(c: &mut Cursor<'_>) -> Result<Failure, Error> {
    let (text, place) = c.bare("an error number, a signal or `oops`")?;
    if text == "oops" {
        return Ok(Failure::Oops);
    }
    if let Some(signal) = Signal::from_word(text) {
        return Ok(Failure::Signal(signal));
    }
    Errno::from_name(text).map(Failure::Errno).ok_or_else(|| {
        let known = Errno::ALL.iter().map(|errno| errno.name()).chain(Signal::ALL.iter().map(|signal| signal.word()));
        Error::new(place, format!("`{text}` is no error number, signal or `oops`{}", did_you_mean(text, known)))
    })
}

pub(super) fn pattern(c: &mut Cursor<'_>, depth: usize) -> Result<Pattern, Error> {
    if depth > DEEPEST {
        return Err(Error::new(c.place(), "this is nested too deep"));
    }
    if c.take_bare("?") {
        return Ok(Pattern::Anything);
    }
    if c.at_data() {
        return c.data().map(Pattern::Data);
    }
    if c.take_sign("[") {
        let mut items = Vec::new();
        while !c.take_sign("]") {
            items.push(pattern(c, depth + 1)?);
        }
        return Ok(Pattern::List(items));
    }
    if c.at_sign("{") {
        return record(c, None, depth).map(Pattern::Record);
    }
    let (text, place) = c.bare("a value")?;
    // A kind touches its brace; apart from it the brace begins the next value.
    if matches!(c.peek(), Some(Token { kind: Kind::Sign("{"), apart: false, .. })) {
        return record(c, Some(text.to_owned()), depth).map(Pattern::Record);
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let token = [Token { kind: Kind::Bare(text.to_owned()), place, apart: true }];
        return Cursor::new(&token, place.line).number().map(Pattern::Number);
    }
    // An option of a mount: `dax=always`.
    if matches!(c.peek(), Some(Token { kind: Kind::Sign("="), apart: false, .. })) {
        c.sign("=")?;
        return Ok(Pattern::Word(format!("{text}={}", c.bare("the option's value")?.0)));
    }
    Ok(Pattern::Word(text.to_owned()))
}

pub(super) fn record(c: &mut Cursor<'_>, tag: Option<String>, depth: usize) -> Result<RecordPattern, Error> {
    c.sign("{")?;
    let mut fields = Vec::new();
    while !c.take_sign("}") {
        let name: Name = c.name("field")?;
        fields.push((name, c.word()?, pattern(c, depth + 1)?));
    }
    Ok(RecordPattern { tag, fields })
}

/// `[FS] [ext4|xfs] [6.1 | ..6.1 | 6.2.. | 5.11..6.1] [OPTION]:`.
pub(super) fn condition(c: &mut Cursor<'_>) -> Result<Condition, Error> {
    let start = c.place();
    let mut condition = Condition::default();
    while !c.take_sign(":") {
        if c.is_done() {
            return Err(c.wanted("`:`"));
        }
        let place = c.place();
        let option = c.mount_options()?;
        let text = option.to_string();
        let twice = || Error::new(place, format!("`{text}` says twice where"));
        let rules = crate::words::Rules::from_word(&text);
        if let Some(rules) = rules {
            if condition.rules.replace(rules).is_some() {
                return Err(twice());
            }
        } else if let Some((from, to)) = releases(&text) {
            if condition.from.is_some() || condition.to.is_some() {
                return Err(twice());
            }
            (condition.from, condition.to) = (from, to);
        } else if text.contains(['=', ',']) || matches!(&*text, "defaults" | "dax") {
            if text.contains(',') || condition.option.replace(text.clone()).is_some() {
                return Err(twice());
            }
        } else if Name::is_name(&text) {
            if condition.fs.replace(Name { text: text.clone().into(), place }).is_some() {
                return Err(twice());
            }
        } else {
            let forms = "ext4 or xfs, a release (6.1, ..6.1, 6.2..), an option (dax=inode), a file system";
            return Err(Error::new(place, format!("`{text}` is no condition; these are: {forms}")));
        }
    }
    if condition == Condition::default() {
        return Err(Error::new(start, "`on` needs to be told where"));
    }
    Ok(condition)
}

type Bound = Option<crate::ast::Release>;

/// The first and last release of a range; `None` when it is none, or has no end at all.
fn releases(text: &str) -> Option<(Bound, Bound)> {
    let Some((from, to)) = text.split_once("..") else {
        return release_of(text).map(|release| (Some(release), Some(release)));
    };
    match (from, to) {
        ("", "") => None,
        ("", to) => release_of(to).map(|to| (None, Some(to))),
        (from, "") => release_of(from).map(|from| (Some(from), None)),
        (from, to) => Some((Some(release_of(from)?), Some(release_of(to)?))),
    }
}
