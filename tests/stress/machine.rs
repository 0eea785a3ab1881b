//! The machine's own `/usr`, or as much of it as fits, becomes an image and reads back the same.

use super::common::{holds, measure, scratch};
use super::oracle;
use super::readers;
use super::snapshot::{self, Snapshot};
use super::tools::{dax_mkfs, note};
use super::tree_compare::{Allow, compare};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most content, in bytes.
const MOST: u64 = 1536 << 20;

/// How deep directories are taken apart to fill what is left.
const DEPTH: usize = 3;

/// Bytes on disk of everything below a path, by directory down to [`DEPTH`]. Symlinks and what lies on other file systems
/// count as nothing.
fn weigh(path: &Path, depth: usize, weights: &mut BTreeMap<PathBuf, u64>) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    let mut weight = meta.blocks() * 512;
    if meta.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            weight += weigh(&entry.path(), depth + 1, weights);
        }
    }
    if depth <= DEPTH {
        weights.insert(path.to_owned(), weight);
    }
    weight
}

/// Less than this is not worth taking a directory apart for.
const SCRAP: u64 = 64 << 20;

/// Which paths below `dir` to leave out so that at most `room` bytes are left: the largest, which are few.
fn choose(dir: &Path, depth: usize, weights: &BTreeMap<PathBuf, u64>, room: &mut u64, out: &mut Vec<PathBuf>) {
    let mut children: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    children.sort_by_key(|p| (weights.get(p).copied().unwrap_or(0), p.clone()));
    for child in children {
        let weight = weights.get(&child).copied().unwrap_or(0);
        if weight <= *room {
            *room -= weight;
        } else if depth + 1 < DEPTH && *room > SCRAP && child.is_dir() && !child.is_symlink() {
            choose(&child, depth + 1, weights, room, out);
        } else {
            out.push(child);
        }
    }
}

/// A path as a pattern that matches just it.
fn pattern(path: &[u8]) -> OsString {
    let mut glob = Vec::new();
    for byte in path {
        match byte {
            b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'\\' => glob.extend_from_slice(&[b'[', *byte, b']']),
            other => glob.push(*other),
        }
    }
    OsString::from(std::ffi::OsStr::from_bytes(&glob))
}

/// The source without what is left out. Access times change while the machine runs.
fn chosen(root: &Path, excluded: &[Vec<u8>]) -> Snapshot {
    let mut all = holds(snapshot::of_directory(root));
    all.retain(|path, entry| {
        entry.atime = None;
        !excluded.iter().any(|e| path.strip_prefix(&e[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'/'))
    });
    // Names that lie outside share the count.
    let mut names: BTreeMap<u64, u32> = BTreeMap::new();
    all.values().for_each(|e| *names.entry(e.inode).or_default() += 1);
    all.values_mut().filter(|e| e.links.is_some()).for_each(|e| e.links = names.get(&e.inode).copied());
    all
}

#[test]
fn usr_reads_back_identical() {
    let root = Path::new("/usr");
    let scratch = scratch();
    let free = rustix::fs::statvfs(scratch.path()).map(|s| s.f_bavail * s.f_frsize).expect("a file system");
    assert!(free > 1 << 30, "this test needs a gigabyte free in {}", scratch.path().display());
    let mut weights = BTreeMap::new();
    let whole = weigh(root, 0, &mut weights);
    let mut room = MOST.min(free / 2);
    let mut excluded = Vec::new();
    if whole > room {
        choose(root, 0, &weights, &mut room, &mut excluded);
    }
    let excluded: Vec<Vec<u8>> =
        excluded.iter().map(|p| p.as_os_str().as_bytes()[root.as_os_str().len()..].to_vec()).collect();
    let image = scratch.path().join("image");
    let mut last = None;
    // A machine may install something meanwhile.
    for _ in 0..3 {
        let mut command = dax_mkfs();
        command.args(["-q", "-F", "-d"]).arg(root);
        for path in &excluded {
            command.arg("--exclude").arg(pattern(path));
        }
        let used = measure(command.arg(&image).arg("2G"));
        holds(oracle::clean(&image));
        let source = chosen(root, &excluded);
        let files = source.values().filter(|e| e.is_file()).count();
        let bytes: u64 = source.values().filter_map(|e| e.size).sum();
        let most = source.len() as u64 * 200 + (64 << 20);
        note(format!(
            "/usr ({} MiB, without {} paths): {} names, {files} files, {} MiB: dax-mkfs took {used}, at most {} MiB",
            whole >> 20,
            excluded.len(),
            source.len(),
            bytes >> 20,
            most >> 20
        ));
        assert!(used.memory < most, "{used}");
        let allow = Allow::nothing(256, 4096);
        let verdict = [
            compare("the kernel", &source, &holds(readers::kernel(&image, scratch.path())), allow),
            compare("daxkit-volume", &source, &holds(readers::volume(&image)), allow),
        ];
        match verdict.into_iter().find_map(Result::err) {
            None => return,
            Some(told) if chosen(root, &excluded) == source => panic!("{told}"),
            Some(told) => last = Some(told),
        }
    }
    panic!("/usr changed three times while it was compared: {}", last.unwrap_or_default());
}
