//! `[filesystem]`: the options of the command line. What they mean and which go together is for
//! [`options`](crate::options); here they become the text that the command line would hold.

use super::reader::{Field, Table};
use super::schema::FILESYSTEM;
use super::times::time;
use super::types::FileSystemOptions;
use super::values::owner;
use crate::source::exclude_set;
use toml::de::DeValue;

const WORDS: &str = "a text, a list of texts, or a table such as { stride = 4 }";

/// Reads the table.
pub(super) fn filesystem(field: Field<'_>) -> Option<FileSystemOptions> {
    let t = field.table(&FILESYSTEM, "one table, [filesystem]")?;
    let text = |key| t.get(key).and_then(text);
    let number = |key| t.get(key).and_then(number);
    let list =
        |key| t.get(key).and_then(|field| field.texts("a text or a list of texts")).map(owned).unwrap_or_default();
    let words = |key| t.get(key).and_then(words).unwrap_or_default();
    let choice = |key, choices: &[&'static str]| {
        let choices: Vec<_> = choices.iter().map(|word| (*word, *word)).collect();
        t.get(key).and_then(|field| field.choice(&choices)).map(str::to_owned)
    };
    Some(FileSystemOptions {
        size: number("size"),
        reserve: number("reserve"),
        block_size: number("block_size"),
        cluster_size: number("cluster_size"),
        fs_type: choice("type", &["ext2", "ext3", "ext4"]),
        usage: text("usage"),
        label: text("label"),
        uuid: text("uuid"),
        inodes: number("inodes"),
        inode_ratio: number("inode_ratio"),
        inode_size: number("inode_size"),
        reserved_percent: t.get("reserved_percent").and_then(percent),
        features: list("features"),
        extended: words("extended"),
        journal: words("journal"),
        flex_bg_size: number("flex_bg_size"),
        blocks_per_group: number("blocks_per_group"),
        revision: number("revision"),
        last_mounted: text("last_mounted"),
        creator_os: number("creator_os"),
        errors: choice("errors", &["continue", "remount-ro", "panic"]),
        page_size: number("page_size"),
        pmem_align: choice("pmem_align", &["none", "2M", "16M", "128M"]),
        holes: choice("holes", &["host", "zero-blocks", "none"]),
        dax_paths: dax_paths(&t),
        owner: t.get("owner").and_then(owner),
        exclude: exclude(&t),
        time: t.get("time").and_then(time),
        reproducible: t.get("reproducible").and_then(|field| field.bool()),
    })
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

/// A text that the command line could hold.
fn text(field: Field<'_>) -> Option<String> {
    let text = field.text("a text")?;
    if text.contains('\0') { field.refuse("holds a NUL") } else { Some(text.to_owned()) }
}

/// A number, or a text with one and a unit.
fn number(field: Field<'_>) -> Option<String> {
    match field.value() {
        DeValue::Integer(_) => decimal(field),
        DeValue::String(_) => text(field),
        _ => field.wants("a number, or a text such as \"64M\""),
    }
}

/// A number in decimal, whatever base it is written in: the command line has no `0o`.
fn decimal(field: Field<'_>) -> Option<String> {
    let number = field.integer().filter(|n| i64::try_from(*n).is_ok());
    number.map(|n| n.to_string()).or_else(|| field.wants("a number of 64 bits"))
}

/// A percentage, which may have a fraction.
fn percent(field: Field<'_>) -> Option<String> {
    match field.value() {
        DeValue::Float(number) if number.as_str().parse().is_ok_and(f64::is_finite) => Some(number.as_str().to_owned()),
        DeValue::Float(_) => field.wants("a percentage"),
        _ => number(field),
    }
}

/// Words with or without a value: text as `-E` and `-J` take it, or a table.
fn words(field: Field<'_>) -> Option<Vec<String>> {
    let Some(table) = field.value().as_table() else { return field.texts(WORDS).map(owned) };
    let words: Vec<_> = Table::free_entries(field.reader, table).into_iter().map(word).collect();
    words.into_iter().collect()
}

fn word(entry: Field<'_>) -> Option<String> {
    if entry.key.is_empty() || entry.key.contains([',', '=', '\0']) {
        return entry.refuse_at(entry.key_offset, "is not a word for an option");
    }
    let value = match entry.value() {
        DeValue::Boolean(true) => return Some(entry.key.to_owned()),
        DeValue::Integer(_) => decimal(entry)?,
        DeValue::String(_) => text(entry)?,
        _ => return entry.wants("a number, a text, or true for the word alone"),
    };
    if value.contains(',') {
        return entry.refuse("has a comma, which would end the value");
    }
    Some(format!("{}={value}", entry.key))
}

fn dax_paths(table: &Table<'_>) -> Vec<String> {
    const WANTED: &str = "an absolute path in the image, or a list of them";
    let elements = table.get("dax").map(|field| field.one_or_list()).unwrap_or_default();
    let path = |element: &Field<'_>| {
        let path = element.text(WANTED)?;
        if path.starts_with('/') && !path.contains('\0') { Some(path.to_owned()) } else { element.wants(WANTED) }
    };
    elements.iter().filter_map(path).collect()
}

fn exclude(table: &Table<'_>) -> Vec<String> {
    let elements = table.get("exclude").map(|field| field.one_or_list()).unwrap_or_default();
    elements.iter().filter_map(|element| glob(*element)).map(str::to_owned).collect()
}

/// Longest pattern: no system call takes a longer path (`PATH_MAX`).
const LONGEST_PATTERN: usize = 4096;

/// A pattern in the language of `--exclude`.
pub(super) fn glob(field: Field<'_>) -> Option<&str> {
    let pattern = field.text("a pattern such as \"/a/*.o\", or a list of them")?;
    if pattern.is_empty() {
        return field.refuse("has an empty pattern");
    }
    // Compiling takes time by the length, and stack by the depth of braces.
    if pattern.len() > LONGEST_PATTERN {
        return field.refuse(format_args!("has a pattern of {} bytes; the most is {LONGEST_PATTERN}", pattern.len()));
    }
    match exclude_set([pattern]) {
        Ok(_) => Some(pattern),
        Err(error) => field.refuse(format_args!("has a pattern that is none: {}", reason(&error))),
    }
}

/// Why a pattern is none. What its regular expression is refused for names things that nobody wrote.
pub(super) fn reason(error: &globset::Error) -> String {
    match error.kind() {
        globset::ErrorKind::Regex(_) => "it is too long, or its braces are too deep".to_owned(),
        other => other.to_string(),
    }
}
