//! The keys of every table: each is read, a misspelt one leads back to it, and the reference documents just these.

use daxkit_build::recipe::{TableInfo, parse, tables};
use std::path::Path;

/// A place in a recipe for an entry of a table: what stands before it, and behind it.
fn context(table: &str) -> (&'static str, &'static str) {
    match table {
        "the recipe" => ("", "\n"),
        "[filesystem]" => ("[filesystem]\n", "\n"),
        "attributes" | "[[rule]]" => ("[[rule]]\n", "\n"),
        "[[file]]" => ("[[file]]\n", "\n"),
        "[[dir]]" => ("[[dir]]\n", "\n"),
        "[[symlink]]" => ("[[symlink]]\n", "\n"),
        "[[link]]" => ("[[link]]\n", "\n"),
        "[[node]]" => ("[[node]]\n", "\n"),
        "[[defect]]" => ("[[defect]]\n", "\n"),
        "[expect]" => ("[expect]\n", "\n"),
        "a path" => ("file = [{ path = { ", " } }]\n"),
        "an attribute's value" => ("file = [{ path = \"/a\", xattrs = { \"user.a\" = { ", " } } }]\n"),
        "a pattern" => ("file = [{ path = \"/a\", size = 1, pattern = { ", " } }]\n"),
        "a piece of data" => ("file = [{ path = \"/a\", size = 1, data = [{ ", " }] }]\n"),
        "place" => ("file = [{ path = \"/a\", place = { ", " } }]\n"),
        "fragments" => ("file = [{ path = \"/a\", fragments = { ", " } }]\n"),
        "an extent" => ("file = [{ path = \"/a\", extents = [{ ", " }] }]\n"),
        "entries" => ("dir = [{ path = \"/a\", entries = { ", " } }]\n"),
        "e2fsck" => ("[expect.e2fsck]\n", "\n"),
        other => panic!("the test knows no recipe with the table {other}"),
    }
}

/// Entries that must stand beside one with this key, so that nothing else is missed first.
fn companions(table: &str, key: &str) -> &'static [&'static str] {
    match (table, key) {
        ("attributes" | "[[rule]]", "kind") => &["match = \"*\"", "mode = 0o644"],
        ("attributes" | "[[rule]]", _) => &["match = \"*\""],
        ("[[file]]" | "[[dir]]", _) => &["path = \"/a\""],
        ("[[symlink]]" | "[[link]]", _) => &["path = \"/a\"", "target = \"/b\""],
        ("[[node]]", _) => &["path = \"/a\"", "type = \"char\"", "device = \"1:3\""],
        ("[[defect]]", "bit") => &["place = \"group.0/block_bitmap\"", "to = true"],
        ("[[defect]]", "to") => &["place = \"group.0/block_bitmap\"", "bit = 1"],
        ("[[defect]]", "name" | "place" | "checksum") => &["place = \"super.s_magic\"", "set = 1"],
        ("[[defect]]", _) => &["place = \"super.s_magic\""],
        ("a piece of data", _) => &["pattern = \"zero\""],
        ("place", "skew") => &["align = \"2M\""],
        ("fragments", _) => &["pieces = 2"],
        ("an extent", _) => &["logical = 0", "physical = 9", "len = 1"],
        ("entries", _) => &["count = 1"],
        ("e2fsck", _) => &["exit = 4"],
        _ => &[],
    }
}

/// The message for a recipe with an entry in a table beside others, the entry's place put before it.
fn refused(table: &TableInfo, entry: &str, others: &[&str]) -> (String, String) {
    let (before, behind) = context(table.name);
    let separator = if behind == "\n" { "\n" } else { ", " };
    let mut text = before.to_owned();
    for other in others {
        text += other;
        text += separator;
    }
    let line = text.matches('\n').count() + 1;
    let column = text.len() - text.rfind('\n').map_or(0, |end| end + 1) + 1;
    text += entry;
    text += behind;
    match parse(&text, Path::new("/r")) {
        Ok(_) => panic!("{text:?} is taken"),
        Err(error) => (error.to_string(), format!("{line}:{column}: ")),
    }
}

/// What one slip of the finger makes of a key.
fn misspelt(key: &str) -> Vec<String> {
    let letters: Vec<char> = key.chars().collect();
    let mut out = Vec::new();
    for i in 0..letters.len() {
        let with = |change: &dyn Fn(&mut Vec<char>)| {
            let mut word = letters.clone();
            change(&mut word);
            word.into_iter().collect::<String>()
        };
        out.push(with(&|w| w.splice(i..=i, []).for_each(drop)));
        out.push(with(&|w| w.insert(i, letters[i])));
        out.push(with(&|w| w[i] = if w[i] == 'z' { 'y' } else { 'z' }));
        out.push(with(&|w| w[i] = w[i].to_ascii_uppercase()));
        if i > 0 {
            out.push(with(&|w| w.swap(i - 1, i)));
        }
    }
    out.retain(|word| !word.is_empty() && word != key);
    out
}

#[test]
fn a_misspelt_key_leads_back_to_the_key() {
    let mut tried = 0;
    for table in tables() {
        for key in table.all_keys() {
            for word in misspelt(key) {
                if table.all_keys().any(|known| known == word) {
                    continue;
                }
                let (message, place) = refused(table, &format!("{word} = 1"), &[]);
                let name = if table.name == "attributes" { "[[rule]]" } else { table.name };
                let start = format!("{place}unknown key `{word}` in {name}; did you mean `");
                assert!(message.starts_with(&start) && message.contains(&format!("`{key}`")), "{key}: {message}");
                tried += 1;
            }
        }
    }
    assert!(tried > 3000, "{tried} words");
}

/// No key takes a list of what is not a number: one that is in the list of keys and not read would go through.
#[test]
fn every_key_is_read() {
    for table in tables() {
        for key in table.all_keys() {
            let mut others = companions(table.name, key).to_vec();
            others.retain(|other| !other.starts_with(&format!("{key} = ")));
            let (message, place) = refused(table, &format!("{key} = [nan]"), &others);
            let line = place.split(':').next().expect("a line");
            let at_the_value = message.starts_with(&format!("{line}:"));
            assert!(at_the_value && message.contains(&format!(": `{key}` ")), "{}, {key}: {message}", table.name);
        }
    }
}
