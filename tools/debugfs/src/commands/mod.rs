//! The table of commands. One file holds the commands of one group; a command is a row.

mod attributes;
mod bits;
mod change;
mod chattr;
mod content;
mod convert;
mod dax;
mod decide;
mod diff;
mod dump;
mod extent_mode;
mod extents;
mod extract;
mod fields;
mod flags;
mod free;
mod fuzz;
mod hash;
mod hex;
mod image;
mod inherit;
mod init;
mod journal;
mod journal_edit;
mod list;
mod map;
mod names;
mod navigate;
mod place;
mod put;
mod raw_inode;
mod rdump;
mod search;
mod shell;
mod stat;
mod state;
mod stats;
mod sums;
mod usage;
mod zap;

pub(crate) use convert::UNITS;
pub(crate) use fields::{Together, Wanted};
pub(crate) use fuzz::VERBS;
pub(crate) use journal_edit::{External, OpenJournal};

use crate::output::shown;
use crate::session::Session;
use anyhow::{Result, bail};
use std::collections::HashMap;
use std::sync::OnceLock;

/// One command.
pub(crate) struct Command {
    /// Its names; the first is the one the help shows.
    pub(crate) names: &'static [&'static str],
    /// Options and arguments, as the usage line shows them.
    pub(crate) args: &'static str,
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// Lines that work on most images, with a newline between them.
    pub(crate) example: &'static str,
    /// The words behind the name.
    pub(crate) run: fn(&mut Session<'_>, &'static Command, &[Vec<u8>]) -> Result<()>,
}

/// A group: its title in the help, and its rows.
#[derive(Clone, Copy)]
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) commands: &'static [Command],
}

/// All commands.
pub(crate) static GROUPS: &[Group] = &[
    Group { title: "The file system", commands: image::COMMANDS },
    Group { title: "A new file system", commands: init::COMMANDS },
    Group { title: "Its state", commands: state::COMMANDS },
    Group { title: "Its numbers", commands: stats::COMMANDS },
    Group { title: "Find one's way", commands: navigate::COMMANDS },
    Group { title: "Directories and content", commands: list::COMMANDS },
    Group { title: "Names, changed", commands: names::COMMANDS },
    Group { title: "Content, changed", commands: content::COMMANDS },
    Group { title: "Inodes", commands: stat::COMMANDS },
    Group { title: "Inodes by hand", commands: raw_inode::COMMANDS },
    Group { title: "Fields, set by name", commands: fields::COMMANDS },
    Group { title: "Damage on purpose", commands: fuzz::COMMANDS },
    Group { title: "Attributes", commands: attributes::COMMANDS },
    Group { title: "Flags", commands: flags::COMMANDS },
    Group { title: "Flags, changed", commands: chattr::COMMANDS },
    Group { title: "Extents", commands: extents::COMMANDS },
    Group { title: "Extents by hand", commands: extent_mode::COMMANDS },
    Group { title: "Places of blocks and inodes", commands: map::COMMANDS },
    Group { title: "From numbers to names", commands: search::COMMANDS },
    Group { title: "Names and their hashes", commands: hash::COMMANDS },
    Group { title: "In use and free", commands: free::COMMANDS },
    Group { title: "In use and free, by hand", commands: bits::COMMANDS },
    Group { title: "Quota, deleted inodes", commands: usage::COMMANDS },
    Group { title: "The journal", commands: journal::COMMANDS },
    Group { title: "The journal by hand", commands: journal_edit::COMMANDS },
    Group { title: "Bytes", commands: hex::COMMANDS },
    Group { title: "Bytes, changed", commands: zap::COMMANDS },
    Group { title: "Persistent memory", commands: dax::COMMANDS },
    Group { title: "Is it really DAX?", commands: decide::COMMANDS },
    Group { title: "What children get", commands: inherit::COMMANDS },
    Group { title: "Places", commands: place::COMMANDS },
    Group { title: "Checksums", commands: sums::COMMANDS },
    Group { title: "Units", commands: convert::COMMANDS },
    Group { title: "Copy a file out", commands: extract::COMMANDS },
    Group { title: "Copy trees out", commands: rdump::COMMANDS },
    Group { title: "Changes", commands: change::COMMANDS },
    Group { title: "Copy trees in", commands: put::COMMANDS },
    Group { title: "Two images", commands: diff::COMMANDS },
    Group { title: "The whole image", commands: dump::COMMANDS },
    Group { title: "This program", commands: shell::COMMANDS },
];

/// All rows.
pub(crate) fn all() -> impl Iterator<Item = &'static Command> {
    GROUPS.iter().flat_map(|g| g.commands)
}

/// The command with this name. Those of the extent mode are there while a tree is open.
pub(crate) fn find(session: &Session<'_>, name: &[u8]) -> Option<&'static Command> {
    // Most lines of a long script are of one kind.
    if let Some(together) = session.together.as_ref().filter(|t| t.command().names.iter().any(|n| n.as_bytes() == name))
    {
        return Some(together.command());
    }
    static BY_NAME: OnceLock<HashMap<&[u8], &Command>> = OnceLock::new();
    let by_name = || all().flat_map(|c| c.names.iter().map(move |name| (name.as_bytes(), c))).collect();
    if let Some(command) = BY_NAME.get_or_init(by_name).get(name) {
        return Some(command);
    }
    mode(session).find(|c| c.names.iter().any(|n| n.as_bytes() == name))
}

/// The commands that are there now.
pub(crate) fn available(session: &Session<'_>) -> impl Iterator<Item = &'static Command> {
    all().chain(mode(session))
}

/// Those of the extent mode, while a tree is open.
fn mode(session: &Session<'_>) -> impl Iterator<Item = &'static Command> {
    extent_mode::MODE.iter().filter(|_| session.extent.is_some()).copied().flatten()
}

/// The commands that are there at any time.
#[cfg(test)]
pub(crate) fn everything() -> impl Iterator<Item = &'static Command> {
    all().chain(extent_mode::MODE.iter().copied().flatten())
}

impl Command {
    /// The name the help shows.
    pub(crate) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// The examples, a line each.
    pub(crate) fn examples(&self) -> std::str::Lines<'static> {
        self.example.lines()
    }

    /// The usage line.
    pub(crate) fn usage(&self) -> String {
        let gap = if self.args.is_empty() { "" } else { " " };
        format!("usage: {}{gap}{}", self.name(), self.args)
    }

    /// Whether it can be run when no image is open.
    pub(crate) fn works_without_image(&self) -> bool {
        let names = [
            "help",
            "quit",
            "open_filesys",
            "close_filesys",
            "init_filesys",
            "show_debugfs_params",
            "lcd",
            "supported_features",
            "restore_image",
        ];
        names.iter().any(|name| self.names.contains(name))
    }

    /// Whether what it does to the image counts as a whole, or not at all. The others open and close images and changes.
    pub(crate) fn is_edit_of_image(&self) -> bool {
        let names = ["open_filesys", "close_filesys", "init_filesys", "begin", "commit", "abort", "quit"];
        !names.iter().any(|name| self.names.contains(name))
    }

    /// Takes options off the front of the words: letters of `letters`, alone or together (`-ld`), a letter behind which
    /// `letters` has a colon with a value (`-b 12`, `-b12`), and long options of `long` with a value (`--data-offset 2M`,
    /// `--data-offset=2M`), or without one where `long` has an exclamation mark behind the name. `--` ends them. Between `least` and
    /// `most` words must be left.
    pub(crate) fn options<'w>(
        &self,
        words: &'w [Vec<u8>],
        letters: &str,
        long: &[&str],
        (least, most): (usize, usize),
    ) -> Result<Options<'w>> {
        let mut found = Options { letters: String::new(), long: Vec::new(), rest: words };
        while let Some((word, rest)) = found.rest.split_first() {
            if word == b"--" {
                found.rest = rest;
                break;
            }
            if let Some(name) = word.strip_prefix(b"--") {
                let mut parts = name.splitn(2, |b| *b == b'=');
                let name = parts.next().map(shown).unwrap_or_default();
                let bare = long.iter().any(|l| l.strip_suffix('!') == Some(name.as_str()));
                if !bare && !long.contains(&name.as_str()) {
                    bail!("no option --{name}; {}", self.usage());
                }
                let (value, rest) = match (parts.next(), rest.split_first()) {
                    (Some(_), _) if bare => bail!("--{name} takes no value; {}", self.usage()),
                    (None, _) if bare => (&b""[..], rest),
                    (Some(value), _) => (value, rest),
                    (None, Some((value, rest))) => (value.as_slice(), rest),
                    (None, None) => bail!("--{name} wants a value; {}", self.usage()),
                };
                found.long.push((name, value));
                found.rest = rest;
                continue;
            }
            let Some(flags) = word.strip_prefix(b"-").filter(|f| !f.is_empty()) else { break };
            found.rest = rest;
            let mut flags = flags;
            while let Some((flag, behind)) = flags.split_first() {
                flags = behind;
                let flag = char::from(*flag);
                let mut known = letters.chars().skip_while(|l| *l != flag);
                if flag == ':' || known.next().is_none() {
                    bail!("no option -{}; {}", flag.escape_default(), self.usage());
                }
                found.letters.push(flag);
                if known.next() == Some(':') {
                    let value = match (behind, rest.split_first()) {
                        ([], Some((value, rest))) => {
                            found.rest = rest;
                            value.as_slice()
                        }
                        ([], None) => bail!("-{flag} wants a value; {}", self.usage()),
                        (behind, _) => behind,
                    };
                    found.long.push((flag.to_string(), value));
                    break;
                }
            }
        }
        if found.rest.len() < least || found.rest.len() > most {
            bail!("{}", self.usage());
        }
        Ok(found)
    }
}

/// What [`Command::options`] found.
pub(crate) struct Options<'w> {
    letters: String,
    long: Vec<(String, &'w [u8])>,
    /// The words behind the options.
    pub(crate) rest: &'w [Vec<u8>],
}

impl Options<'_> {
    /// Whether a letter was given.
    pub(crate) fn has(&self, letter: char) -> bool {
        self.letters.contains(letter)
    }

    /// The value of an option, the last one if given again.
    pub(crate) fn value(&self, name: &str) -> Option<&[u8]> {
        self.long.iter().rev().find(|(n, _)| n == name).map(|(_, v)| *v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The requests of debugfs 1.47 (`list_requests`), each with its aliases.
    const DEBUGFS: &[&str] = &[
        "show_debugfs_params params",
        "open_filesys open",
        "close_filesys close",
        "freefrag e2freefrag",
        "feature features",
        "dirty_filesys dirty",
        "init_filesys",
        "show_super_stats stats",
        "ncheck",
        "icheck",
        "change_root_directory chroot",
        "change_working_directory cd",
        "list_directory ls",
        "show_inode_info stat",
        "dump_extents extents ex",
        "blocks",
        "filefrag",
        "link ln",
        "unlink",
        "mkdir",
        "rmdir",
        "rm",
        "kill_file",
        "copy_inode",
        "clri",
        "freei",
        "seti",
        "testi",
        "freeb",
        "setb",
        "testb",
        "modify_inode mi",
        "find_free_block ffb",
        "find_free_inode ffi",
        "print_working_directory pwd",
        "expand_dir expand",
        "mknod",
        "list_deleted_inodes lsdel",
        "undelete undel",
        "write",
        "dump_inode dump",
        "cat",
        "lcd",
        "rdump",
        "set_super_value ssv",
        "set_inode_field sif",
        "set_block_group set_bg",
        "logdump",
        "htree_dump htree",
        "dx_hash hash",
        "dirsearch",
        "bmap",
        "fallocate",
        "punch truncate",
        "symlink",
        "imap",
        "dump_unused",
        "set_current_time",
        "supported_features",
        "dump_mmp",
        "set_mmp_value smmp",
        "extent_open eo",
        "zap_block zap",
        "block_dump bdump bd",
        "ea_list",
        "ea_get",
        "ea_set",
        "ea_rm",
        "list_quota lq",
        "get_quota gq",
        "inode_dump idump id",
        "journal_open jo",
        "journal_close jc",
        "journal_write jw",
        "journal_run jr",
        "help",
        "list_requests lr ?",
        "quit q",
    ];

    /// What debugfs has no request for.
    const OWN: &[&str] = &[
        "abort",
        "begin",
        "chattr",
        "commit",
        "convert",
        "dax",
        "diff",
        "dump_image",
        "freesp",
        "fuzz",
        "history",
        "inherit",
        "locate",
        "lsattr",
        "mv",
        "orphan_inodes",
        "pmd",
        "pop",
        "print",
        "push",
        "put",
        "restore_image",
        "set",
        "back",
        "forward",
        "sums",
    ];

    #[test]
    fn names_mean_what_they_mean_in_debugfs() {
        for command in all() {
            if let Some(own) = OWN.iter().find(|own| command.names.contains(own)) {
                assert_eq!(command.names, [*own], "an own command has one name");
                let taken = DEBUGFS.iter().any(|request| request.split(' ').any(|name| name == *own));
                assert!(!taken, "{own} is a request of debugfs");
                continue;
            }
            // Every other name belongs to one request, and the request has all its names.
            for request in DEBUGFS {
                let names: Vec<&str> = request.split(' ').collect();
                if names.iter().any(|name| command.names.contains(name)) {
                    assert!(names.iter().all(|name| command.names.contains(name)), "{request}: {:?}", command.names);
                }
            }
            let known = |name: &&str| DEBUGFS.iter().any(|request| request.split(' ').any(|n| n == *name));
            assert!(command.names.iter().all(known), "{:?}", command.names);
        }
    }

    #[test]
    fn every_name_belongs_to_one_command_and_every_command_is_explained() {
        let mut seen = BTreeSet::new();
        for command in all() {
            assert!(!command.names.is_empty());
            for name in command.names {
                assert!(seen.insert(*name), "{name} twice");
            }
            assert!(!command.summary.is_empty() && !command.summary.ends_with('.'), "{}", command.name());
            assert!(command.examples().next().is_some(), "{}", command.name());
            for example in command.examples() {
                let first = example.split(' ').next();
                assert!(first.is_some_and(|n| command.names.contains(&n)), "{}: {example}", command.name());
            }
        }
    }
}
