//! What comes out of an operation.

use crate::data;
use crate::errno::{Errno, Signal};
use core::fmt;
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;

/// What an operation gives when it succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing to tell.
    Unit,
    /// A number: bytes moved, a size, a count, 0 or 1.
    Number(u64),
    /// A word or a text.
    Text(String),
    /// Bytes read.
    Bytes(Vec<u8>),
    /// Words in no order: flags, options.
    Set(BTreeSet<String>),
    /// Things in order.
    List(Vec<Value>),
    /// Named values.
    Record(Record),
}

/// Named values, perhaps of a kind: `pmd{index=512 dirty=1}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Of which kind: the kind of an entry, the name of an event.
    pub tag: Option<String>,
    /// The values.
    pub fields: Vec<(String, Value)>,
}

impl Record {
    /// A record of a kind, without values.
    #[must_use]
    pub fn of(tag: &str) -> Self {
        Self { tag: Some(tag.to_owned()), fields: Vec::new() }
    }

    /// The same with one value more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Number(u64::from(is))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Record> for Value {
    fn from(record: Record) -> Self {
        Self::Record(record)
    }
}

impl Value {
    /// A set of words.
    #[must_use]
    pub fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Set(words.into_iter().map(str::to_owned).collect())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &mut dyn Iterator<Item = String>| {
            write!(f, "[{}]", items.collect::<Vec<_>>().join(" "))
        };
        match self {
            Self::Unit => f.write_str("done"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) if text.contains(|c: char| c.is_whitespace() || c.is_control()) || text.is_empty() => {
                write!(f, "{}", data::quote(text.as_bytes()))
            }
            Self::Text(text) => f.write_str(text),
            Self::Bytes(bytes) => f.write_str(&data::describe(bytes)),
            Self::Set(words) => list(f, &mut words.iter().cloned()),
            Self::List(items) => list(f, &mut items.iter().map(ToString::to_string)),
            Self::Record(record) => write!(f, "{record}"),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag.as_deref().unwrap_or(""))?;
        let fields: Vec<_> = self.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        write!(f, "{{{}}}", fields.join(" "))
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unit => s.serialize_unit(),
            Self::Number(number) => s.serialize_u64(*number),
            Self::Text(text) => s.serialize_str(text),
            Self::Bytes(bytes) => s.serialize_str(&data::describe(bytes)),
            Self::Set(words) => s.collect_seq(words),
            Self::List(items) => s.collect_seq(items),
            Self::Record(record) => {
                let tag = record.tag.iter().map(|tag| ("kind", Value::Text(tag.clone())));
                s.collect_map(tag.chain(record.fields.iter().map(|(name, value)| (name.as_str(), value.clone()))))
            }
        }
    }
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It succeeded.
    Done(Value),
    /// It failed.
    Failed(Errno),
    /// The task got a signal.
    Signal(Signal),
    /// It has not ended: the task waits for something. `wait` tells later how it ended.
    Blocked,
    /// The kernel crashed: an absent method, an absent page, a `BUG_ON`. In words.
    Oops(String),
    /// Who runs the scenario cannot do it, and why. The case is skipped.
    Unsupported(String),
}

impl Outcome {
    /// It succeeded and has nothing to tell.
    #[must_use]
    pub const fn ok() -> Self {
        Self::Done(Value::Unit)
    }
}

impl<E: Into<Errno>> From<Result<Value, E>> for Outcome {
    fn from(result: Result<Value, E>) -> Self {
        match result {
            Ok(value) => Self::Done(value),
            Err(errno) => Self::Failed(errno.into()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(value) => write!(f, "= {value}"),
            Self::Failed(errno) => write!(f, "! {errno}"),
            Self::Signal(signal) => write!(f, "! {signal}"),
            Self::Blocked => f.write_str("blocks"),
            Self::Oops(what) => write!(f, "! OOPS: {what}"),
            Self::Unsupported(why) => write!(f, "not supported: {why}"),
        }
    }
}
