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
        "a piece of data" => ("file = [{ path = \"/a\", size = \"8M\", data = [{ ", " }] }]\n"),
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
        ("attributes" | "[[rule]]", "match" | "kind") => &["match = \"*\"", "mode = 0o644"],
        ("attributes" | "[[rule]]", _) => &["match = \"*\""],
        ("[[file]]", "pattern" | "holes") => &["path = \"/a\"", "size = \"8M\""],
        ("[[file]]" | "[[dir]]", _) => &["path = \"/a\""],
        ("[[symlink]]" | "[[link]]", _) => &["path = \"/z\"", "target = \"/c\""],
        ("[[node]]", _) => &["path = \"/a\"", "type = \"char\"", "device = \"1:3\""],
        ("[[defect]]", "bit") => &["place = \"group.0/block_bitmap\"", "to = true"],
        ("[[defect]]", "to") => &["place = \"group.0/block_bitmap\"", "bit = 1"],
        ("[[defect]]", "name" | "place" | "checksum") => &["place = \"super.s_magic\"", "set = 1"],
        ("[[defect]]", "add") => &["place = \"super.s_free_inodes_count\""],
        ("[[defect]]", "bytes") => &["place = \"block:100\""],
        ("[[defect]]", _) => &["place = \"inode:12.i_flags\""],
        ("a piece of data", _) => &["pattern = \"zero\""],
        ("place", "skew") => &["align = \"2M\""],
        ("fragments", _) => &["pieces = 2"],
        ("an extent", _) => &["logical = 0", "physical = 9", "len = 1"],
        ("entries", _) => &["count = 1"],
        ("e2fsck", _) => &["exit = 4"],
        _ => &[],
    }
}

/// A recipe with an entry in a table beside others, and the place of the entry as messages give it.
fn recipe_with(table: &TableInfo, entry: &str, others: &[&str]) -> (String, String) {
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
    (text, format!("{line}:{column}: "))
}

/// The message for such a recipe, and the place of the entry.
fn refused(table: &TableInfo, entry: &str, others: &[&str]) -> (String, String) {
    let (text, place) = recipe_with(table, entry, others);
    match parse(&text, Path::new("/r")) {
        Ok(_) => panic!("{text:?} is taken"),
        Err(error) => (error.to_string(), place),
    }
}

/// [`companions`] that are not the entry itself.
fn others(table: &TableInfo, key: &str) -> Vec<&'static str> {
    let itself = format!("{key} = ");
    companions(table.name, key).iter().copied().filter(|other| !other.starts_with(&itself)).collect()
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
            let (message, place) = refused(table, &format!("{key} = [nan]"), &others(table, key));
            let line = place.split(':').next().expect("a line");
            let at_the_value = message.starts_with(&format!("{line}:"));
            assert!(at_the_value && message.contains(&format!(": `{key}` ")), "{}, {key}: {message}", table.name);
        }
    }
}

const REFERENCE: &str = include_str!("../../../docs/recipes.md");

/// The rows of the reference: heading, key, form, default, meaning, example.
fn documented() -> Vec<(String, [&'static str; 5])> {
    let (mut heading, mut is_of_keys) = (String::new(), false);
    let mut rows = Vec::new();
    for line in REFERENCE.lines() {
        if let Some(title) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
            heading = title.to_owned();
        }
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        if !line.starts_with('|') {
            is_of_keys = false;
        } else if line.starts_with("| Key |") {
            is_of_keys = true;
        } else if is_of_keys && !line.starts_with("|---") {
            let cells = cells.try_into().unwrap_or_else(|cells| panic!("{heading}: {cells:?}"));
            rows.push((heading.clone(), cells));
        }
    }
    rows
}

/// What stands between backticks.
fn code(cell: &str) -> &str {
    cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).unwrap_or_else(|| panic!("no code: {cell}"))
}

#[test]
fn the_reference_documents_the_keys_there_are() {
    let rows = documented();
    let found: Vec<(String, &str)> =
        rows.iter().map(|(heading, [key, ..])| (heading.to_lowercase(), code(key))).collect();
    let mut expected = Vec::new();
    for table in tables() {
        expected.extend(table.keys.iter().map(|key| (table.name.to_lowercase(), *key)));
    }
    for (heading, key) in &expected {
        assert!(found.contains(&(heading.clone(), key)), "the reference lacks {key} of {heading}");
    }
    for (heading, key) in &found {
        assert!(expected.contains(&(heading.clone(), key)), "{heading} has no key {key}");
    }
    assert_eq!(found.len(), expected.len(), "a key is documented twice");
    // In the same order within a table, where the eye looks for them.
    for table in tables() {
        let of_table = |rows: &[(String, &'static str)]| -> Vec<&str> {
            rows.iter().filter(|(heading, _)| *heading == table.name.to_lowercase()).map(|(_, key)| *key).collect()
        };
        assert_eq!(of_table(&found), of_table(&expected), "{}", table.name);
    }
    for (heading, cells) in &rows {
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{heading}: {cells:?}");
    }
}

#[test]
fn every_example_of_the_reference_is_taken() {
    let mut examples = 0;
    for (heading, [key, .., example]) in documented() {
        let table = tables().iter().find(|table| table.name.eq_ignore_ascii_case(&heading));
        let table = table.unwrap_or_else(|| panic!("there is no table {heading}"));
        let (key, example) = (code(key), code(example));
        assert!(example.starts_with(&format!("{key} = ")), "{heading}, {key}: {example}");
        let (text, _) = recipe_with(table, example, &others(table, key));
        if let Err(error) = parse(&text, Path::new("/r")) {
            panic!("{heading}, {key}: {error}\n{text}");
        }
        examples += 1;
    }
    for block in REFERENCE.split("```toml\n").skip(1) {
        let text = block.split("```").next().expect("the block ends");
        if let Err(error) = parse(text, Path::new("/r")) {
            panic!("{error}\n{text}");
        }
        examples += 1;
    }
    assert!(examples > 120, "{examples} examples");
}

/// The places of the reference's table name fields that exist.
#[test]
fn every_place_of_the_reference_is_one() {
    let table = REFERENCE.split("| Place |").nth(1).expect("there is a table of places");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut places = 0;
    for place in rows.flat_map(|row| row.split('|').nth(1).into_iter().flat_map(|cell| cell.split(", "))) {
        let place = code(place.trim());
        let change = if place.contains("bitmap") || place.starts_with("block:") { "bytes = '00'" } else { "set = 1" };
        let text = format!("[[defect]]\nplace = '{place}'\n{change}");
        if let Err(error) = parse(&text, Path::new("/r")) {
            panic!("{error}\n{text}");
        }
        places += 1;
    }
    assert!(places > 10, "{places} places");
}
