//! Values held against patterns.

use crate::ast::{Compare, Expectation, Failure, Pattern, RecordPattern};
use crate::data::Data;
use crate::value::{Outcome, Record, Value};

/// Whether an outcome is what is expected; without an expectation success is.
#[must_use]
pub fn meets(outcome: &Outcome, expected: Option<&Expectation>) -> bool {
    match (expected, outcome) {
        (_, Outcome::Unsupported(_)) => false,
        (Some(Expectation::Anything), outcome) => !matches!(outcome, Outcome::Oops(_)),
        (None, outcome) => matches!(outcome, Outcome::Done(_)),
        (Some(Expectation::Blocks), outcome) => matches!(outcome, Outcome::Blocked),
        (Some(Expectation::Fails(failure)), outcome) => match (failure, outcome) {
            (Failure::Errno(wanted), Outcome::Failed(errno)) => wanted == errno,
            (Failure::Signal(wanted), Outcome::Signal(signal)) => wanted == signal,
            (Failure::Oops, Outcome::Oops(_)) => true,
            _ => false,
        },
        (Some(Expectation::Value(compare, pattern)), Outcome::Done(value)) => holds(value, *compare, pattern),
        (Some(Expectation::Value(..)), _) => false,
    }
}

fn holds(value: &Value, compare: Compare, pattern: &Pattern) -> bool {
    let number = |test: fn(&u64, &u64) -> bool| match (value, pattern) {
        (Value::Number(value), Pattern::Number(wanted)) => test(value, wanted),
        _ => false,
    };
    match compare {
        Compare::Eq => is(value, pattern),
        Compare::Ne => !is(value, pattern),
        Compare::Ge => number(u64::ge),
        Compare::Le => number(u64::le),
        Compare::Gt => number(u64::gt),
        Compare::Lt => number(u64::lt),
        Compare::Has => has(value, pattern),
        Compare::Lacks => lacks(value, pattern),
    }
}

fn is(value: &Value, pattern: &Pattern) -> bool {
    match (value, pattern) {
        (_, Pattern::Anything) => true,
        (Value::Number(value), Pattern::Number(wanted)) => value == wanted,
        (Value::Text(text), Pattern::Word(word)) => text == word,
        (Value::Text(text), Pattern::Data(data)) => data.is(text.as_bytes()),
        (Value::Bytes(bytes), Pattern::Data(data)) => data.is(bytes),
        (Value::List(items), Pattern::List(wanted)) => {
            items.len() == wanted.len() && items.iter().zip(wanted).all(|(item, wanted)| is(item, wanted))
        }
        (Value::Set(words), Pattern::List(wanted)) => {
            let in_set = |wanted: &Pattern| words.iter().any(|word| is_word(word, wanted));
            let wanted_once = |word: &String| wanted.iter().any(|wanted| is_word(word, wanted));
            wanted.iter().all(in_set) && words.iter().all(wanted_once)
        }
        (Value::Record(record), Pattern::Record(wanted)) => is_record(record, wanted),
        (Value::Record(record), Pattern::Word(tag)) => record.tag.as_ref() == Some(tag),
        _ => false,
    }
}

fn is_word(word: &str, pattern: &Pattern) -> bool {
    match pattern {
        Pattern::Anything => true,
        Pattern::Word(wanted) => word == wanted,
        Pattern::Data(data) => data.is(word.as_bytes()),
        _ => false,
    }
}

/// Whether a record is of the kind and its fields hold; fields that are not asked for do not count.
pub(crate) fn is_record(record: &Record, wanted: &RecordPattern) -> bool {
    let field = |(name, compare, pattern): &(crate::place::Name, Compare, Pattern)| {
        record.get(&name.text).is_some_and(|value| holds(value, *compare, pattern))
    };
    (wanted.tag.is_none() || record.tag == wanted.tag) && wanted.fields.iter().all(field)
}

/// What a value contains: a word of a set, an element of a list, elements in this order, bytes of bytes.
fn has(value: &Value, pattern: &Pattern) -> bool {
    match (value, pattern) {
        (Value::Set(words), Pattern::List(wanted)) => {
            wanted.iter().all(|wanted| words.iter().any(|word| is_word(word, wanted)))
        }
        (Value::Set(words), wanted) => words.iter().any(|word| is_word(word, wanted)),
        (Value::List(items), Pattern::List(wanted)) => {
            let mut items = items.iter();
            wanted.iter().all(|wanted| items.any(|item| is(item, wanted)))
        }
        (Value::List(items), wanted) => items.iter().any(|item| is(item, wanted)),
        (Value::Bytes(bytes), Pattern::Data(data)) => has_bytes(bytes, data),
        (Value::Text(text), Pattern::Data(data)) => has_bytes(text.as_bytes(), data),
        (Value::Text(text), Pattern::Word(word)) => text.contains(word.as_str()),
        _ => false,
    }
}

fn has_bytes(bytes: &[u8], data: &Data) -> bool {
    // What is longer than the bytes is not built at all.
    if data.len() > bytes.len() as u64 {
        return false;
    }
    let wanted = data.to_vec();
    wanted.is_empty() || bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Nothing of the pattern is in the value. A value that could not contain it at all does not lack it: that is a mistake.
fn lacks(value: &Value, pattern: &Pattern) -> bool {
    match (value, pattern) {
        (Value::Set(_) | Value::List(_), Pattern::List(wanted)) => wanted.iter().all(|wanted| !has(value, wanted)),
        (Value::Set(_) | Value::List(_) | Value::Bytes(_) | Value::Text(_), wanted) => !has(value, wanted),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::Statement;

    /// What is expected behind an operation that gives anything.
    fn expected(text: &str) -> Expectation {
        let file = crate::parse(&format!("scenario t\nwait {text}")).expect(text);
        let Some(Statement::Step(step)) = file.scenarios[0].body.first() else { panic!("{text}") };
        step.expect.clone().expect(text)
    }

    #[test]
    fn patterns_take_what_they_say() {
        let pmd = |index: u64| Value::from(Record::of("pmd").with("index", index).with("dirty", true));
        let list = Value::List(vec![pmd(0), pmd(512), pmd(1024)]);
        let set = Value::set(["e", "x"]);
        let bytes = Value::Bytes(b"\0\0\0abcabc".to_vec());
        for (value, text, holds) in [
            (&Value::Number(4096), "= 4K", true),
            (&Value::Number(4096), "= 4097", false),
            (&Value::Number(4096), ">= 4096", true),
            (&Value::Number(4096), "> 4096", false),
            (&Value::Number(4096), "= x", false),
            (&set, "= [x e]", true),
            (&set, "= [x]", false),
            (&set, "= [x e j]", false),
            (&set, "has x", true),
            (&set, "has [x j]", false),
            (&set, "lacks j", true),
            (&set, "lacks [x j]", false),
            (&Value::Number(1), "lacks j", false),
            (&bytes, "= zero*3,\"abc\"*2", true),
            (&bytes, "= zero*3,\"abc\"", false),
            (&bytes, "has \"cab\"", true),
            (&bytes, "lacks \"cab\"", false),
            (&bytes, "has 0x41*1G", false),
            (&list, "= [pmd pmd pmd]", true),
            (&list, "= [pmd pmd]", false),
            (&list, "= [pmd{index=0} ? pmd{index>600 dirty=1}]", true),
            (&list, "has pmd{index=512}", true),
            (&list, "has pte", false),
            (&list, "has [pmd{index=0} pmd{index=1024}]", true),
            (&list, "has [pmd{index=1024} pmd{index=0}]", false),
            (&list, "lacks pmd{dirty=0}", true),
            (&list, "!= []", true),
            (&list, "?", true),
        ] {
            assert_eq!(meets(&Outcome::Done(value.clone()), Some(&expected(text))), holds, "{value} {text}");
        }
    }

    #[test]
    fn failures_are_no_values() {
        use crate::errno::{Errno, Signal};
        for (outcome, text, holds) in [
            (Outcome::Failed(Errno::EBUSY), "! EBUSY", true),
            (Outcome::Failed(Errno::EBUSY), "! EINVAL", false),
            (Outcome::Failed(Errno::EBUSY), "!= 5", false),
            (Outcome::Signal(Signal::Sigbus), "! SIGBUS", true),
            (Outcome::Blocked, "blocks", true),
            (Outcome::ok(), "blocks", false),
            (Outcome::Oops("NULL".to_owned()), "! oops", true),
            (Outcome::Oops("NULL".to_owned()), "?", false),
            (Outcome::Unsupported(String::new()), "?", false),
        ] {
            assert_eq!(meets(&outcome, Some(&expected(text))), holds, "{outcome} {text}");
        }
        assert!(meets(&Outcome::ok(), None) && !meets(&Outcome::Failed(Errno::EIO), None));
    }
}
