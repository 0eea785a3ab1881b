//! What the word under the cursor may become: commands, options, names in the image and on the host, places and their fields.

mod names;
mod paths;
mod places;
mod usage;

use crate::commands::{self, Command};
use crate::session::Session;
use crate::words;
use usage::{Expected, Kind};

/// Most candidates shown; of more than that, only what they have in common.
const MOST: usize = 1000;

/// One way to complete a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// As the list shows it.
    pub(super) shown: String,
    /// What replaces the word in the line.
    pub(super) text: String,
}

/// A word that the one under the cursor may become, without quotes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    word: String,
    /// As the list shows it.
    shown: String,
    /// Nothing can follow in this word.
    whole: bool,
}

impl Item {
    fn whole(word: impl Into<String>) -> Self {
        let word = word.into();
        Self { shown: word.clone(), word, whole: true }
    }

    fn open(word: impl Into<String>) -> Self {
        Self { whole: false, ..Self::whole(word) }
    }
}

/// Completes the last word of `line`: where it begins, and what may stand in its place. Looks, and says nothing.
pub(super) fn complete(session: &Session<'_>, line: &str) -> (usize, Vec<Candidate>) {
    let mut cut = words::cut(line.as_bytes());
    let last = match cut.words.last() {
        Some(word) if word.range.end == line.len() => cut.words.pop().unwrap_or_default(),
        _ => words::Word { range: line.len()..line.len(), ..words::Word::default() },
    };
    let start = last.range.start;
    let Ok(word) = String::from_utf8(last.bytes) else { return (start, Vec::new()) };
    let before: Vec<&[u8]> = cut.words.iter().map(|word| word.bytes.as_slice()).collect();
    let items = match before.split_first() {
        None => names::commands(session),
        Some((name, rest)) => match commands::find(session, name) {
            Some(command) => argument(session, command, rest, &word),
            None => Vec::new(),
        },
    };
    // A name that would be taken for something else is completed to a path.
    let fits = |whole: &str| whole.starts_with(&word) || whole.strip_prefix("./").is_some_and(|w| w.starts_with(&word));
    let items = items.into_iter().filter(|item| fits(&item.word)).collect();
    (start, dress(items, last.has_quotes))
}

/// What the next argument of a command may be.
fn argument(session: &Session<'_>, command: &Command, before: &[&[u8]], word: &str) -> Vec<Item> {
    let expected = usage::expected(command, before, word);
    let (head, rest) = word.split_at(expected.head);
    let mut items: Vec<Item> = expected.options.iter().map(|option| Item::whole(option.as_str())).collect();
    for kind in &expected.kinds {
        items.extend(of_kind(session, *kind, &expected, rest));
    }
    for item in &mut items {
        item.word.insert_str(0, head);
    }
    items
}

fn of_kind(session: &Session<'_>, kind: Kind, expected: &Expected<'_>, word: &str) -> Vec<Item> {
    match kind {
        Kind::None => Vec::new(),
        Kind::Image => paths::image(session, word, false),
        Kind::ImageDirectory => paths::image(session, word, true),
        Kind::Host => paths::host(word, false),
        Kind::HostDirectory => paths::host(word, true),
        Kind::Place => places::places(session, word),
        Kind::Command => names::commands(session),
        Kind::Field(structure) => places::short_fields(structure, word),
        Kind::Feature => names::features(word),
        Kind::Attribute => names::attributes(session, &expected.arguments),
        Kind::Words(list) => list.split('|').map(|word| Item::whole(word.trim_matches(['[', ']']))).collect(),
        Kind::List(list) => list.iter().map(|word| Item::whole(*word)).collect(),
    }
}

/// Makes candidates of items: sorted, quoted where they must be. All of several are quoted alike, so that what they have in common
/// is what their texts have in common.
fn dress(mut items: Vec<Item>, has_quotes: bool) -> Vec<Candidate> {
    items.sort_unstable();
    items.dedup_by(|a, b| a.word == b.word);
    let (Some(first), Some(last)) = (items.first(), items.last()) else { return Vec::new() };
    if items.len() == 1 {
        let text = words::quote(&first.word) + if first.whole { " " } else { "" };
        return vec![Candidate { shown: first.shown.clone(), text }];
    }
    // They are sorted: what the first and the last have in common, all have.
    let common = first.word.char_indices().zip(last.word.chars()).find(|((_, a), b)| a != b).map(|((at, _), _)| at);
    let common = first.word.get(..common.unwrap_or(first.word.len())).unwrap_or_default();
    let quoted = has_quotes || (!common.is_empty() && words::needs_quotes(common));
    let text = |word: &str| if quoted { words::quote_open(word) } else { word.to_owned() };
    if items.len() > MOST {
        return vec![Candidate { shown: common.to_owned(), text: text(common) }];
    }
    items.iter().map(|item| Candidate { shown: item.shown.clone(), text: text(&item.word) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dressed(words: &[&str], has_quotes: bool) -> Vec<String> {
        dress(words.iter().map(|w| Item::whole(*w)).collect(), has_quotes).into_iter().map(|c| c.text).collect()
    }

    #[test]
    fn quotes_stand_where_they_must() {
        assert_eq!(dressed(&["plain"], false), ["plain "]);
        assert_eq!(dressed(&["two words"], false), ["\"two words\" "]);
        assert_eq!(dressed(&["a\"b"], true), ["\"a\"\"b\" "]);
        // What they have in common needs no quotes.
        assert_eq!(dressed(&["two words", "two"], false), ["two", "two words"]);
        assert_eq!(dressed(&["two words", "two wolves"], false), ["\"two wolves", "\"two words"]);
        assert_eq!(dressed(&["ab", "ac"], true), ["\"ab", "\"ac"]);
        assert_eq!(dressed(&["b c", "a"], false), ["a", "b c"]);
    }

    #[test]
    fn too_many_give_what_they_have_in_common() {
        let many: Vec<String> = (0..=MOST).map(|nr| format!("a b{nr}é")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(dressed(&many, false), ["\"a b"]);
        assert_eq!(dressed(&many[..MOST], false).len(), MOST);
    }

    #[test]
    fn a_directory_stays_open() {
        let candidates = dress(vec![Item::open("a dir/")], false);
        assert_eq!(candidates[0].text, "\"a dir/\"");
    }
}
