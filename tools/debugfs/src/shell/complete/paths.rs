//! Paths in the image and on the host.

use super::Item;
use crate::session::{Session, is_no_path};
use daxkit_format::ext4::dir_entry::file_type;
use std::path::Path;

/// Entries of a directory looked at. Nobody completes names in a larger one by hand, and everybody would wait.
const MAX_LOOKED_AT: usize = 1 << 18;

/// `a/b/na` as `a/b/` and `na`.
fn parts(word: &str) -> (&str, &str) {
    word.split_at(word.rfind('/').map_or(0, |at| at + 1))
}

/// Names in the image that `word` may become; with `directories`, only those that one can go to.
pub(super) fn image(session: &Session<'_>, word: &str, directories: bool) -> Vec<Item> {
    let (dir, prefix) = parts(word);
    let inode = match dir {
        _ if session.closed => return Vec::new(),
        "" => session.volume.inode(session.here).ok(),
        dir => session.glance(dir.as_bytes()).ok(),
    };
    let entries = inode.and_then(|inode| session.volume.read_dir(&inode).ok());
    let mut items = Vec::new();
    for (count, entry) in entries.into_iter().flatten().enumerate() {
        if count == MAX_LOOKED_AT {
            return Vec::new();
        }
        // What cannot be typed cannot be completed, and damage is not said while somebody types.
        let Ok(entry) = entry else { continue };
        let Ok(name) = str::from_utf8(&entry.name) else { continue };
        let (is_dir, is_link) = match entry.file_type {
            file_type::UNKNOWN => {
                let inode = session.volume.inode(entry.inode).ok();
                (inode.as_ref().is_some_and(|i| i.is_dir()), inode.is_some_and(|i| i.is_symlink()))
            }
            kind => (kind == file_type::DIR, kind == file_type::SYMLINK),
        };
        if is_dir || is_link || !directories {
            items.extend(item(dir, prefix, name, is_dir));
        }
    }
    items
}

/// As [`image`], on the host.
pub(super) fn host(word: &str, directories: bool) -> Vec<Item> {
    let (dir, prefix) = parts(word);
    let entries = std::fs::read_dir(if dir.is_empty() { Path::new(".") } else { Path::new(dir) });
    let mut items = Vec::new();
    for (count, entry) in entries.into_iter().flatten().enumerate() {
        if count == MAX_LOOKED_AT {
            return Vec::new();
        }
        let Ok(entry) = entry else { continue };
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        // Links are followed here: the host does so, too.
        let is_dir = name.starts_with(prefix) && entry.path().is_dir();
        if is_dir || !directories {
            items.extend(item(dir, prefix, name, is_dir));
        }
    }
    // The host does not list these.
    items.extend([".", ".."].into_iter().filter_map(|name| item(dir, prefix, name, true)));
    items
}

fn item(dir: &str, prefix: &str, name: &str, is_dir: bool) -> Option<Item> {
    // Control characters may come from anywhere, and the line would bring them to the terminal.
    if !name.starts_with(prefix) || name.contains(char::is_control) || (prefix.is_empty() && matches!(name, "." | ".."))
    {
        return None;
    }
    let slash = if is_dir { "/" } else { "" };
    let shown = format!("{name}{slash}");
    // A name that would be taken for an option, an inode number or a place.
    let here = if dir.is_empty() && prefix.is_empty() && (name.starts_with('-') || is_no_path(name.as_bytes())) {
        "./"
    } else {
        ""
    };
    Some(Item { word: format!("{here}{dir}{shown}"), shown, whole: !is_dir })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_something_else_get_a_path() {
        let word = |dir, name| item(dir, "", name, false).map(|item| item.word);
        assert_eq!(word("", "plain").as_deref(), Some("plain"));
        assert_eq!(word("", "-l").as_deref(), Some("./-l"));
        assert_eq!(word("", "<12>").as_deref(), Some("./<12>"));
        assert_eq!(word("", "inode:12").as_deref(), Some("./inode:12"));
        assert_eq!(word("sub/", "-l").as_deref(), Some("sub/-l"));
        assert_eq!(word("", "a\x1b[31mb"), None);
        assert_eq!(word("", ".."), None);
    }

    #[test]
    fn a_word_is_a_directory_and_the_begin_of_a_name() {
        assert_eq!(parts("na"), ("", "na"));
        assert_eq!(parts("/na"), ("/", "na"));
        assert_eq!(parts("a/b/"), ("a/b/", ""));
    }
}
