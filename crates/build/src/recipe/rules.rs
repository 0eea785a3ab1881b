//! `[[rule]]`: what is done to everything that a pattern matches.

use super::attrs::{attrs, remove_xattrs};
use super::filesystem::{glob, reason};
use super::items::several;
use super::reader::Table;
use super::schema::RULE;
use super::types::Rule;
use crate::source::{Kind, exclude_set};

const KINDS: &[(&str, Kind)] = &[
    ("file", Kind::File),
    ("dir", Kind::Dir),
    ("symlink", Kind::Symlink),
    ("char", Kind::Char),
    ("block", Kind::Block),
    ("fifo", Kind::Fifo),
    ("socket", Kind::Socket),
];

/// Reads all rules of the recipe.
pub(super) fn rules(recipe: &Table<'_>) -> Vec<Rule> {
    let tables = recipe.get("rule").and_then(|field| several(field, &RULE)).unwrap_or_default();
    tables.iter().filter_map(rule).collect()
}

fn rule(t: &Table<'_>) -> Option<Rule> {
    let place = t.need("match");
    let mut attrs = attrs(t);
    if let Some(field) = t.get("remove_xattrs") {
        attrs.remove_xattrs = remove_xattrs(field, &attrs.xattrs);
    }
    let kinds = t.get("kind").map(|field| field.one_or_list()).unwrap_or_default();
    let kinds = kinds.iter().filter_map(|kind| kind.choice(KINDS)).collect();
    let place = place?;
    let patterns: Option<Vec<&str>> = place.one_or_list().into_iter().map(glob).collect();
    let patterns = patterns?;
    if patterns.is_empty() {
        return place.refuse("is empty: the rule would match nothing");
    }
    if RULE.all_keys().all(|key| matches!(key, "match" | "kind") || t.get(key).is_none()) {
        t.lacks(|| "changes nothing".to_owned());
    }
    match exclude_set(patterns) {
        Ok(matches) => Some(Rule { at: t.reader.at(t.offset), matches, kinds, attrs }),
        Err(error) => place.refuse(format_args!("has patterns that are none together: {}", reason(&error))),
    }
}
