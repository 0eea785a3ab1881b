//! Reading a document by its tables' keys: what is wrong is noted, the first in the order of the text is told.
//!
//! Every value knows its key and its place, so that a message says what was wanted there and what stands there. Reading goes
//! on behind an error; a value that is wrong is `None`, and of all that was noted the earliest counts. So nothing must be
//! noted that only follows from another error behind it.

use super::error::{RecipeError, key_shown, quoted};
use super::position::Lines;
use super::schema::{ATTRIBUTES, RECIPE, TableInfo, tables};
use super::types::At;
use daxkit_format::field::did_you_mean;
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// What all of a recipe's parts are read with.
pub(super) struct Reader<'t> {
    /// The text.
    pub(super) text: &'t str,
    /// Its lines.
    pub(super) lines: &'t Lines<'t>,
    /// The directory that paths of the host are relative to.
    pub(super) dir: &'t Path,
    first: RefCell<Option<(usize, String)>>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, lines: &'t Lines<'t>, dir: &'t Path) -> Self {
        Self { text, lines, dir, first: RefCell::new(None) }
    }

    /// Line and column of an offset.
    pub(super) fn at(&self, offset: usize) -> At {
        self.lines.at(offset)
    }

    /// Notes an error at an offset, unless an earlier one is known.
    pub(super) fn note(&self, offset: usize, message: impl FnOnce() -> String) {
        let mut first = self.first.borrow_mut();
        if first.as_ref().is_none_or(|(known, _)| offset < *known) {
            *first = Some((offset, message()));
        }
    }

    /// The earliest error.
    pub(super) fn first(&self) -> Option<RecipeError> {
        self.first.borrow_mut().take().map(|(offset, message)| RecipeError::at(self.at(offset), message))
    }
}

/// A table, all of whose keys are known to its [`TableInfo`].
pub(super) struct Table<'a> {
    pub(super) reader: &'a Reader<'a>,
    /// What it is.
    pub(super) info: &'static TableInfo,
    /// Where it begins.
    pub(super) offset: usize,
    table: &'a DeTable<'a>,
    /// Whether it has keys that nobody knows: one that is missing may be one of them.
    strangers: bool,
}

impl<'a> Table<'a> {
    /// Takes a table; keys that it cannot have are noted.
    pub(super) fn open(
        reader: &'a Reader<'a>,
        info: &'static TableInfo,
        table: &'a DeTable<'a>,
        offset: usize,
    ) -> Self {
        let mut strangers = false;
        for key in table.keys() {
            let name: &str = key.get_ref();
            if info.all_keys().all(|known| known != name) {
                strangers = true;
                reader.note(key.span().start, || {
                    let hint = match did_you_mean(name, info.all_keys()) {
                        none if none.is_empty() => home_of(name, info),
                        near => near,
                    };
                    format!("unknown key {} in {}{hint}", key_shown(name), info.name)
                });
            }
        }
        Self { reader, info, offset, table, strangers }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &'static str) -> Option<Field<'a>> {
        debug_assert!(self.info.all_keys().any(|known| known == key), "{} has no key {key}", self.info.name);
        let (spelled, value) = self.table.get_key_value(key)?;
        Some(Field { reader: self.reader, key, key_offset: spelled.span().start, value })
    }

    /// Notes that the table as a whole is not enough, unless a key that nobody knows may be what is missed.
    pub(super) fn lacks(&self, what: impl FnOnce() -> String) {
        if !self.strangers {
            self.reader.note(self.offset, || format!("{} {}", self.info.name, what()));
        }
    }

    /// The value of a key that must be there.
    pub(super) fn need(&self, key: &'static str) -> Option<Field<'a>> {
        let found = self.get(key);
        if found.is_none() {
            self.lacks(|| format!("lacks `{key}`"));
        }
        found
    }

    /// The value of the one of these keys that is there; a second one is noted.
    pub(super) fn one_of(&self, keys: &[&'static str]) -> Option<Field<'a>> {
        let mut found: Vec<_> = keys.iter().filter_map(|key| self.get(key)).collect();
        found.sort_by_key(|field| field.key_offset);
        if let [first, second, ..] = found[..] {
            self.conflict(first, second);
        }
        found.first().copied()
    }

    /// As [`Table::one_of`]; one must be there.
    pub(super) fn need_one_of(&self, keys: &[&'static str]) -> Option<Field<'a>> {
        let found = self.one_of(keys);
        if found.is_none() {
            self.lacks(|| format!("lacks one of {}", listed(keys)));
        }
        found
    }

    /// Notes that two keys exclude each other, at the later one.
    pub(super) fn conflict(&self, one: Field<'a>, other: Field<'a>) {
        let (first, second) = if one.key_offset < other.key_offset { (one, other) } else { (other, one) };
        self.reader.note(second.key_offset, || {
            let line = self.reader.at(first.key_offset).line;
            format!("`{}` and `{}` (line {line}) exclude each other in {}", second.key, first.key, self.info.name)
        });
    }

    /// Its entries in the order of the text, for tables whose keys are free.
    pub(super) fn free_entries(reader: &'a Reader<'a>, table: &'a DeTable<'a>) -> Vec<Field<'a>> {
        let field = |(key, value): (&'a Spanned<_>, _)| {
            let name: &'a std::borrow::Cow<'a, str> = key.get_ref();
            Field { reader, key: name, key_offset: key.span().start, value }
        };
        let mut entries: Vec<_> = table.iter().map(field).collect();
        entries.sort_by_key(|entry| entry.key_offset);
        entries
    }
}

/// Words between backticks, separated by commas.
pub(super) fn listed(words: &[&str]) -> String {
    format!("`{}`", words.join("`, `"))
}

/// Where a key belongs that has strayed into another table.
fn home_of(key: &str, strayed: &TableInfo) -> String {
    let mut homes: Vec<_> = tables().iter().filter(|t| t.keys.contains(&key)).map(|t| t.name).collect();
    if homes.contains(&ATTRIBUTES.name) && strayed.shared.is_none() {
        return format!("; it is an attribute, and {} has none", strayed.name);
    }
    if homes.contains(&RECIPE.name) {
        return "; it belongs at the top of the recipe, before the first table".to_owned();
    }
    match homes.pop() {
        None => String::new(),
        Some(last) if homes.is_empty() => format!("; it belongs in {last}"),
        Some(last) => format!("; it belongs in {} or {last}", homes.join(", ")),
    }
}

/// A value and its key; for the elements of a list, the key of the list.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) key: &'a str,
    pub(super) key_offset: usize,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Field<'a> {
    /// Where the value begins.
    pub(super) fn offset(&self) -> usize {
        self.value.span().start
    }

    /// The value as it is spelled.
    pub(super) fn spelled(&self) -> &'a str {
        self.reader.text.get(self.value.span()).unwrap_or_default()
    }

    /// The value.
    pub(super) fn value(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    /// Notes that the value is wrong, and why; `why` follows the key.
    pub(super) fn refuse<T>(&self, why: impl std::fmt::Display) -> Option<T> {
        self.refuse_at(self.offset(), why)
    }

    /// As [`Field::refuse`], at an offset inside the value.
    pub(super) fn refuse_at<T>(&self, offset: usize, why: impl std::fmt::Display) -> Option<T> {
        self.reader.note(offset, || format!("{} {why}", key_shown(self.key)));
        None
    }

    /// Notes what was wanted and what stands there.
    pub(super) fn wants<T>(&self, wanted: impl std::fmt::Display) -> Option<T> {
        self.refuse(format_args!("wants {wanted}, found {}", self.found()))
    }

    /// What stands there, for a message.
    fn found(&self) -> String {
        let cut = |text: String| if text.len() > 60 { "a long number".to_owned() } else { text };
        match self.value() {
            DeValue::String(text) => quoted(text),
            DeValue::Integer(number) => cut(number.to_string()),
            DeValue::Float(number) => cut(number.to_string()),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(time) => time.to_string(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }

    /// A text.
    pub(super) fn text(&self, wanted: &str) -> Option<&'a str> {
        self.value().as_str().or_else(|| self.wants(wanted))
    }

    /// `true` or `false`.
    pub(super) fn bool(&self) -> Option<bool> {
        self.value().as_bool().or_else(|| self.wants("true or false"))
    }

    /// The value as a number of any size the format knows; `None` for other values, without a note.
    pub(super) fn integer(&self) -> Option<i128> {
        self.value().as_integer().and_then(integer)
    }

    /// A number in a range.
    pub(super) fn number<T: TryFrom<i128> + Into<u64> + Copy>(&self, range: RangeInclusive<T>) -> Option<T> {
        let (least, most): (u64, u64) = ((*range.start()).into(), (*range.end()).into());
        self.integer()
            .filter(|n| (i128::from(least)..=i128::from(most)).contains(n))
            .and_then(|n| T::try_from(n).ok())
            .or_else(|| self.wants(format_args!("a number from {least} to {most}")))
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let word = self.value().as_str();
        if let Some((_, choice)) = choices.iter().find(|(name, _)| Some(*name) == word) {
            return Some(*choice);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.wants(format_args!("one of {}", listed(&names)))
    }

    /// The elements of a list.
    pub(super) fn list(&self, wanted: &str) -> Option<Vec<Field<'a>>> {
        match self.value() {
            DeValue::Array(array) => Some(array.iter().map(|value| Field { value, ..*self }).collect()),
            _ => self.wants(wanted),
        }
    }

    /// The elements of a list, or the value itself where it is none.
    pub(super) fn one_or_list(&self) -> Vec<Field<'a>> {
        match self.value() {
            DeValue::Array(array) => array.iter().map(|value| Field { value, ..*self }).collect(),
            _ => vec![*self],
        }
    }

    /// A text, or a list of texts.
    pub(super) fn texts(&self, wanted: &str) -> Option<Vec<&'a str>> {
        let texts: Vec<_> = self.one_or_list().iter().map(|element| element.text(wanted)).collect();
        texts.into_iter().collect()
    }

    /// A table; `None` without a note for other values.
    pub(super) fn as_table(&self, info: &'static TableInfo) -> Option<Table<'a>> {
        Some(Table::open(self.reader, info, self.value().as_table()?, self.offset()))
    }

    /// A table.
    pub(super) fn table(&self, info: &'static TableInfo, wanted: &str) -> Option<Table<'a>> {
        self.as_table(info).or_else(|| self.wants(wanted))
    }

    /// A list of tables.
    pub(super) fn tables(&self, info: &'static TableInfo, wanted: &str) -> Option<Vec<Table<'a>>> {
        let tables: Vec<_> = self.list(wanted)?.iter().map(|element| element.table(info, wanted)).collect();
        tables.into_iter().collect()
    }
}

/// The value of an integer; `None` beyond 127 bits.
fn integer(number: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}
