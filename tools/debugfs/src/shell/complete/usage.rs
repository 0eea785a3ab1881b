//! What the usage line of a command says of its arguments.
//!
//! A usage line is words in capitals (values), words in small letters (to be typed as they are), and options. `[...]` may be left
//! out, `...` may be given again, ` | ` parts two ways to use the command. Each word in capitals has a row in [`WORDS`].

use crate::commands::{Command, UNITS, VERBS};
use daxkit_format::field::Structure;

/// What a word may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing that can be known.
    None,
    /// A path in the image.
    Image,
    /// A directory in the image.
    ImageDirectory,
    /// A path on the host.
    Host,
    /// A directory on the host.
    HostDirectory,
    /// A place.
    Place,
    /// A command.
    Command,
    /// A field of a structure.
    Field(Structure),
    /// A feature.
    Feature,
    /// An extended attribute of the file before.
    Attribute,
    /// One of these, with bars between them.
    Words(&'static str),
    /// One of these.
    List(&'static [&'static str]),
}

/// The words in capitals.
const WORDS: &[(&str, Kind)] = &[
    ("ALGORITHM", Kind::List(&["legacy", "half_md4", "tea"])),
    ("BIT", Kind::None),
    ("BLOCK", Kind::None),
    ("BLOCKS", Kind::None),
    ("BYTE", Kind::None),
    ("BYTES", Kind::None),
    ("COMMAND", Kind::Command),
    ("COUNT", Kind::None),
    ("N", Kind::None),
    ("DEVICE", Kind::Host),
    ("DIRECTORY", Kind::ImageDirectory),
    ("FEATURE", Kind::Feature),
    ("FIELD", Kind::None),
    ("FILE", Kind::Image),
    ("FIRST", Kind::None),
    ("FIRST-LAST", Kind::None),
    ("FROM", Kind::Image),
    ("GLOB", Kind::None),
    ("GOAL", Kind::None),
    ("GROUP", Kind::None),
    ("HOST_DIRECTORY", Kind::HostDirectory),
    ("HOST_FILE", Kind::Host),
    ("ID", Kind::None),
    ("IMAGE", Kind::Host),
    ("INODE", Kind::None),
    ("KIB", Kind::None),
    ("LAST", Kind::None),
    ("LENGTH", Kind::None),
    ("LEVEL", Kind::None),
    ("LOGICAL", Kind::None),
    ("MAJOR", Kind::None),
    ("MINOR", Kind::None),
    ("MODE", Kind::None),
    ("NAME", Kind::Image),
    ("NUMBER", Kind::None),
    ("OFFSET", Kind::None),
    ("PATH", Kind::Image),
    ("PATTERN", Kind::None),
    ("PHYSICAL", Kind::None),
    ("PLACE", Kind::Place),
    ("PROJECT", Kind::None),
    ("SECONDS", Kind::None),
    ("SEED", Kind::None),
    ("SOURCE", Kind::Image),
    ("TARGET", Kind::Image),
    ("TIME", Kind::None),
    ("TO", Kind::Image),
    ("UID:GID", Kind::None),
    ("UNDO", Kind::Host),
    ("UNIT", Kind::List(&UNITS)),
    ("VALUE", Kind::None),
    ("VERB", Kind::List(&VERBS)),
    ("VERSION", Kind::None),
];

/// Where a word means something else to one command.
const EXCEPTIONS: &[(&str, &str, Kind)] = &[
    ("dx_hash", "NAME", Kind::None),
    ("dirsearch", "NAME", Kind::None),
    ("ea_get", "NAME", Kind::Attribute),
    ("ea_rm", "NAME", Kind::Attribute),
    ("ea_set", "NAME", Kind::Attribute),
    ("put", "SOURCE", Kind::Host),
    ("set_block_group", "FIELD", Kind::Field(Structure::GroupDesc)),
    ("set_inode_field", "FIELD", Kind::Field(Structure::Inode)),
    ("set_mmp_value", "FIELD", Kind::Field(Structure::MmpStruct)),
    ("set_super_value", "FIELD", Kind::Field(Structure::SuperBlock)),
];

/// Options of several letters behind one dash.
const LONG_WITH_ONE_DASH: &[&str] = &["-clean"];

/// An option, and what its value may be if it has one.
#[derive(Debug, PartialEq, Eq)]
struct OptionWord {
    name: String,
    value: Option<Kind>,
}

/// A usage line, understood.
#[derive(Debug, Default)]
struct Usage {
    options: Vec<OptionWord>,
    /// Ways to use the command; of each, its arguments and whether one may be given again.
    ways: Vec<Vec<(Kind, bool)>>,
    /// Words in capitals without a row.
    unknown: Vec<&'static str>,
}

impl Usage {
    fn parse(command: &Command) -> Self {
        let mut usage = Self { ways: vec![Vec::new()], ..Self::default() };
        // The option before, when its value may follow.
        let mut pending: Option<String> = None;
        for token in command.args.split_whitespace() {
            let again = token.contains("...");
            let bare = token.trim_end_matches("...").trim_matches(['[', ']']);
            let bare = bare.strip_suffix("...").unwrap_or(bare);
            // As in [--as-kernel[=MODE]].
            let (bare, attached) = bare.split_once("[=").map_or((bare, None), |(name, value)| (name, Some(value)));
            if bare == "|" {
                usage.push_options(pending.take(), None);
                usage.ways.push(Vec::new());
            } else if bare.starts_with('-') && row(bare.trim_start_matches('-')).is_none() {
                usage.push_options(pending.take(), None);
                match attached {
                    Some(value) => {
                        let kind = usage.kind(command, value);
                        usage.push_options(Some(format!("{bare}=")), Some(kind));
                        usage.push_options(Some(bare.to_owned()), None);
                    }
                    None if token.ends_with(']') => usage.push_options(Some(bare.to_owned()), None),
                    None => pending = Some(bare.to_owned()),
                }
            } else {
                let kind = usage.kind(command, bare.trim_start_matches('-'));
                // The value of an option stands inside its brackets.
                match pending.take() {
                    Some(option) if !token.starts_with('[') => usage.push_options(Some(option), Some(kind)),
                    option => {
                        usage.push_options(option, None);
                        usage.ways.last_mut().into_iter().for_each(|way| way.push((kind, again)));
                    }
                }
            }
        }
        usage.push_options(pending, None);
        usage
    }

    fn push_options(&mut self, name: Option<String>, value: Option<Kind>) {
        let Some(name) = name else { return };
        let letters = name.strip_prefix('-').filter(|rest| rest.len() > 1 && !rest.starts_with('-'));
        match letters {
            // As in [-RVf].
            Some(letters) if value.is_none() && !LONG_WITH_ONE_DASH.contains(&name.as_str()) => {
                let letters = letters.chars().map(|letter| OptionWord { name: format!("-{letter}"), value: None });
                self.options.extend(letters);
            }
            _ if self.options.iter().any(|option| option.name == name) => {}
            _ => self.options.push(OptionWord { name, value }),
        }
    }

    fn kind(&mut self, command: &Command, word: &'static str) -> Kind {
        if word.contains(|c: char| c.is_ascii_lowercase()) {
            return Kind::Words(word);
        }
        let exception = EXCEPTIONS.iter().find(|(name, of, _)| *of == word && command.names.contains(name));
        if let Some((_, _, kind)) = exception {
            return *kind;
        }
        row(word).unwrap_or_else(|| {
            self.unknown.push(word);
            Kind::None
        })
    }

    /// The option that a word is, and the value that is attached to it.
    fn option<'w>(&self, word: &'w [u8]) -> Option<(&OptionWord, Option<&'w [u8]>)> {
        let known = |name: &[u8]| self.options.iter().find(|option| option.name.as_bytes() == name);
        if let Some(option) = known(word) {
            return Some((option, None));
        }
        if word.starts_with(b"--") {
            let at = word.iter().position(|b| *b == b'=')?;
            let option = known(word.get(..=at)?).or_else(|| known(word.get(..at)?))?;
            return Some((option, word.get(at + 1..)));
        }
        // Letters together: the first with a value ends them.
        let letters = word.strip_prefix(b"-")?;
        let mut last = None;
        for (at, letter) in letters.iter().enumerate() {
            let option = known(&[b'-', *letter])?;
            if option.value.is_some() {
                return Some((option, letters.get(at + 1..).filter(|rest| !rest.is_empty())));
            }
            last = Some((option, None));
        }
        last
    }

    /// What argument number `at` may be.
    fn argument(&self, at: usize) -> Vec<Kind> {
        let mut kinds = Vec::new();
        for way in &self.ways {
            // Behind one that may be given again, it may be that or any that follows.
            let from = way.iter().position(|(_, again)| *again).filter(|first| *first < at);
            match from {
                Some(first) => kinds.extend(way.iter().skip(first)),
                None => kinds.extend(way.get(at)),
            }
        }
        let mut distinct: Vec<Kind> = Vec::new();
        for (kind, _) in kinds {
            if !distinct.contains(&kind) {
                distinct.push(kind);
            }
        }
        distinct
    }
}

fn row(word: &str) -> Option<Kind> {
    WORDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind)
}

/// What the word under the cursor may be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expected<'w> {
    pub(super) kinds: Vec<Kind>,
    pub(super) options: Vec<String>,
    /// The arguments before, without options.
    pub(super) arguments: Vec<&'w [u8]>,
    /// So many bytes of the word are an option to which the rest is attached.
    pub(super) head: usize,
}

/// What may follow the words `before` (the command's name not among them) where `word` stands.
pub(super) fn expected<'w>(command: &Command, before: &[&'w [u8]], word: &str) -> Expected<'w> {
    let usage = Usage::parse(command);
    let mut expected = Expected::default();
    let (mut ended, mut value) = (false, None);
    for word in before {
        if value.take().is_some() {
            continue;
        }
        match usage.option(word).filter(|_| !ended) {
            Some((option, None)) => value = option.value,
            Some((_, Some(_))) => {}
            None if *word == b"--" && !ended => ended = true,
            // An option that is not known is an argument: chattr's -x is one.
            None => expected.arguments.push(word),
        }
    }
    if let Some(kind) = value {
        expected.kinds.push(kind);
        return expected;
    }
    if word.starts_with('-') && !ended {
        if let Some((option, Some(rest))) = usage.option(word.as_bytes())
            && let Some(kind) = option.value
        {
            expected.head = word.len().saturating_sub(rest.len());
            expected.kinds.push(kind);
            return expected;
        }
        expected.options = usage.options.iter().map(|option| option.name.clone()).collect();
    }
    expected.kinds = usage.argument(expected.arguments.len());
    expected
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands;

    fn command(name: &str) -> &'static Command {
        commands::all().find(|c| c.names.contains(&name)).unwrap()
    }

    fn kinds(line: &str) -> Vec<Kind> {
        let mut words: Vec<&str> = line.split(' ').collect();
        let word = words.pop().unwrap();
        let before: Vec<&[u8]> = words[1..].iter().map(|w| w.as_bytes()).collect();
        expected(command(words[0]), &before, word).kinds
    }

    #[test]
    fn every_word_of_every_usage_line_is_known() {
        for command in commands::everything() {
            let usage = Usage::parse(command);
            assert_eq!(usage.unknown, [""; 0], "{}: {} (add them to WORDS)", command.name(), command.args);
        }
    }

    #[test]
    fn no_row_is_left_over() {
        let all: Vec<&str> = commands::everything().map(|c| c.args).collect();
        for (word, _) in WORDS {
            let cut = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':'));
            let found = all.iter().any(|args| args.split(cut).any(|w| w.trim_start_matches('-') == *word));
            assert!(found, "{word}");
        }
        for (name, word, _) in EXCEPTIONS {
            assert!(command(name).args.contains(word), "{name} {word}");
        }
    }

    #[test]
    fn arguments_are_counted_without_options() {
        assert_eq!(kinds("stat "), [Kind::Image]);
        assert_eq!(kinds("stat a b "), [Kind::Image]);
        assert_eq!(kinds("cd /x"), [Kind::ImageDirectory]);
        assert_eq!(kinds("dump "), [Kind::Image]);
        assert_eq!(kinds("dump -p a "), [Kind::Host]);
        assert_eq!(kinds("dump a b "), []);
        assert_eq!(kinds("rdump a "), [Kind::Image, Kind::HostDirectory]);
        assert_eq!(kinds("rdump --tar "), [Kind::Host]);
        assert_eq!(kinds("locate "), [Kind::Place]);
        assert_eq!(kinds("help "), [Kind::Command]);
        assert_eq!(kinds("set_inode_field a "), [Kind::Field(Structure::Inode)]);
        assert_eq!(kinds("ea_get -f "), [Kind::Host]);
        assert_eq!(kinds("ea_get -f x a "), [Kind::Attribute]);
        assert_eq!(kinds("ea_get -fx a "), [Kind::Attribute]);
        assert_eq!(kinds("chattr -R +x "), [Kind::Image]);
        assert_eq!(kinds("chattr -x "), [Kind::Image]);
        assert_eq!(kinds("chattr -Rp 7 +x "), [Kind::Image]);
        assert_eq!(kinds("feature -"), [Kind::Feature]);
        assert_eq!(kinds("put --holes "), [Kind::Words("host|none")]);
        assert_eq!(kinds("list_quota "), [Kind::Words("user|group|project")]);
    }

    #[test]
    fn options_are_those_of_the_usage_line() {
        let options = |line: &str| expected(command(line), &[], "-").options;
        assert_eq!(options("ls"), ["-c", "-d", "-l", "-p", "-r"]);
        assert_eq!(options("dirty_filesys"), ["-clean"]);
        assert_eq!(options("stat"), [""; 0]);
        let chattr = options("chattr");
        assert!(
            ["-R", "-V", "-f", "--as-kernel", "--as-kernel=", "--glob"].iter().all(|o| chattr.iter().any(|c| c == o))
        );
        let attached = expected(command("rdump"), &[], "--tar=/tm");
        assert_eq!((attached.head, attached.kinds), (6, vec![Kind::Host]));
    }
}
