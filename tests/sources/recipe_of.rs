//! A recipe that describes a tree: every name, with everything the language can say of it.

use super::snapshot::{Entry, Snapshot, Time};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Which times the recipe gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// All three.
    All,
    /// That of the last change of the content, which stands for the others.
    Mtime,
}

/// Longest content that stands in the recipe itself.
const IN_PLACE: u64 = 4096;

/// The recipe of the tree at `root`. A recipe names files of the host in UTF-8; `names` is a new directory for such names.
pub(crate) fn recipe(root: &Path, tree: &Snapshot, names: &Path, times: Times) -> String {
    fs::create_dir(names).expect("mkdir");
    let mut text = "version = 1\n".to_owned();
    let mut first: BTreeMap<u64, &[u8]> = BTreeMap::new();
    for (nr, (path, entry)) in tree.iter().enumerate() {
        if let Some(target) = first.get(&entry.inode) {
            writeln!(text, "[[link]]\npath = {}\ntarget = {}", bytes(path), bytes(target)).expect("written");
            continue;
        }
        if !entry.is_dir() {
            first.insert(entry.inode, path);
        }
        let table = match entry.kind() {
            0o040_000 => "dir",
            0o100_000 => "file",
            0o120_000 => "symlink",
            _ => "node",
        };
        writeln!(text, "[[{table}]]\npath = {}", bytes(path)).expect("written");
        match entry.kind() {
            0o100_000 => {
                let host = root.join(OsStr::from_bytes(&path[1..]));
                content(&mut text, &host, &names.join(nr.to_string()), entry);
            }
            0o120_000 => {
                let target = entry.content.as_ref().expect("a target");
                writeln!(text, "target = {}", bytes(target)).expect("written");
            }
            0o040_000 => {}
            kind => {
                let name = match kind {
                    0o020_000 => "char",
                    0o060_000 => "block",
                    0o010_000 => "fifo",
                    _ => "socket",
                };
                writeln!(text, "type = \"{name}\"").expect("written");
                if let Some((major, minor)) = entry.device {
                    writeln!(text, "device = \"{major}:{minor}\"").expect("written");
                }
            }
        }
        attributes(&mut text, entry, times);
    }
    text
}

fn content(text: &mut String, host: &Path, name: &Path, entry: &Entry) {
    let (size, data) = (entry.size.expect("a size"), entry.data.as_ref().expect("its data"));
    if size <= IN_PLACE && data.iter().map(|r| r.end - r.start).sum::<u64>() == size {
        let content = fs::read(host).expect("the file");
        writeln!(text, "hex = \"{}\"", hex(&content)).expect("written");
        return;
    }
    symlink(host, name).expect("symlink");
    let mut holes = Vec::new();
    let mut at = 0;
    for range in data {
        if range.start > at {
            holes.push(format!("\"{at}..{}\"", range.start));
        }
        at = range.end;
    }
    if at < size {
        holes.push(format!("\"{at}..\""));
    }
    writeln!(text, "source = \"{}\"\nsize = {size}\nholes = [{}]", name.display(), holes.join(", ")).expect("written");
}

fn attributes(text: &mut String, entry: &Entry, times: Times) {
    writeln!(text, "mode = \"{:o}\"\nuid = {}\ngid = {}", entry.mode & 0o7777, entry.uid, entry.gid).expect("written");
    writeln!(text, "mtime = \"@{}\"", seconds(entry.mtime)).expect("written");
    if times == Times::All {
        for (name, time) in [("atime", entry.atime), ("ctime", entry.ctime)] {
            writeln!(text, "{name} = \"@{}\"", seconds(time.expect("a time"))).expect("written");
        }
    }
    let xattrs = entry.xattrs.iter().flatten();
    let xattrs: Vec<String> = xattrs
        .map(|(name, value)| {
            let name = std::str::from_utf8(name).expect("names of attributes in UTF-8");
            format!("\"{name}\" = {{ hex = \"{}\" }}", hex(value))
        })
        .collect();
    if !xattrs.is_empty() {
        writeln!(text, "xattrs = {{ {} }}", xattrs.join(", ")).expect("written");
    }
}

fn bytes(path: &[u8]) -> String {
    format!("{{ bytes = \"{}\" }}", hex(path))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, b| {
        write!(text, "{b:02x}").expect("written");
        text
    })
}

/// Decimal seconds; a negative number counts back with its fraction.
fn seconds((seconds, nanos): Time) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let sign = if total < 0 { "-" } else { "" };
    let total = total.unsigned_abs();
    format!("{sign}{}.{:09}", total / 1_000_000_000, total % 1_000_000_000)
}

#[test]
fn times_before_1970_count_back() {
    assert_eq!(seconds((-1, 999_999_999)), "-0.000000001");
    assert_eq!(seconds((-2, 500_000_000)), "-1.500000000");
    assert_eq!(seconds((5, 7)), "5.000000007");
}
