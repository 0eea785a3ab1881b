//! An image against its source: everything a reader can tell is compared, and all that differs is listed.

use super::snapshot::{Entry, Snapshot, Time};
use super::tools::Failure;
use std::collections::BTreeMap;
use std::ops::Range;

/// What may differ between source and image, because the format or the maker says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allow {
    /// Inodes have no room for nanoseconds and late years: seconds in 32 bits, signed.
    pub(crate) old_times: bool,
    /// The maker is mke2fs 1.47.0: it keeps 32 bits of seconds of mtime only, and not of the root, and makes
    /// two inodes of a symlink with two names.
    pub(crate) mke2fs: bool,
    /// Holes are kept in units of this many bytes.
    pub(crate) hole_unit: u64,
    /// Holes may have been filled or made.
    pub(crate) any_holes: bool,
    /// The root directory is the maker's own: no source says anything of it.
    pub(crate) own_root: bool,
}

impl Allow {
    /// Nothing but what block size and inode size force.
    pub(crate) const fn nothing(inode_size: u32, hole_unit: u64) -> Self {
        Self { old_times: inode_size < 256, mke2fs: false, hole_unit, any_holes: false, own_root: false }
    }

    fn time(&self, t: Time) -> Time {
        match (self.old_times, self.mke2fs) {
            (_, true) => ((t.0 as i32).into(), 0),
            (true, false) => (t.0.clamp(i32::MIN.into(), i32::MAX.into()), 0),
            (false, false) => t,
        }
    }
}

/// Most differences listed.
const MOST: usize = 20;

/// Compares what a reader found in an image with its source.
pub(crate) fn compare(reader: &str, source: &Snapshot, image: &Snapshot, allow: Allow) -> Result<(), Failure> {
    let mut different = Vec::new();
    let mut image = image.clone();
    if !source.contains_key(&b"/lost+found"[..]) {
        match image.remove(&b"/lost+found"[..]) {
            Some(e) if e.mode == 0o040_700 && (e.uid, e.gid) == (0, 0) => {}
            Some(e) => different.push(format!("/lost+found: mode {:o}, owner {}:{}", e.mode, e.uid, e.gid)),
            None => different.push("/lost+found: missing".to_owned()),
        }
    }
    let mut source = source.clone();
    if allow.own_root {
        source.remove(&b"/"[..]);
        image.remove(&b"/"[..]);
    }
    for path in source.keys().filter(|p| !image.contains_key(*p)) {
        different.push(format!("{}: missing", path.escape_ascii()));
    }
    for path in image.keys().filter(|p| !source.contains_key(*p)) {
        different.push(format!("{}: not in the source", path.escape_ascii()));
    }
    let (source_groups, image_groups) = (groups(&source), groups(&image));
    for (path, expected) in &source {
        let Some(found) = image.get(path) else { continue };
        let mut expected = expected.clone();
        if allow.mke2fs && path == b"/" {
            expected.mtime = found.mtime;
        }
        let expected = &expected;
        let mut say = |what: &str, expected: String, found: String| {
            different.push(format!("{}: {what} is {found}, expected {expected}", path.escape_ascii()));
        };
        entry(expected, found, allow, &mut say);
        if !(expected.is_dir() || allow.mke2fs && expected.is_symlink()) {
            let (e, f) = (&source_groups[&expected.inode], &image_groups[&found.inode]);
            if e != f {
                let names =
                    |g: &[&Vec<u8>]| g.iter().map(|p| p.escape_ascii().to_string()).collect::<Vec<_>>().join(" ");
                say("group of hard links", names(e), names(f));
            }
            if let Some(links) = found.links.filter(|l| *l as usize != f.len()) {
                say("link count", f.len().to_string(), links.to_string());
            }
        }
    }
    if different.is_empty() {
        return Ok(());
    }
    let count = different.len();
    different.truncate(MOST);
    if count > MOST {
        different.push(format!("and {} more", count - MOST));
    }
    Err(format!("{reader} sees {count} differences:\n  {}", different.join("\n  ")))
}

/// Names that share an inode, by its number.
fn groups(all: &Snapshot) -> BTreeMap<u64, Vec<&Vec<u8>>> {
    let mut groups: BTreeMap<u64, Vec<&Vec<u8>>> = BTreeMap::new();
    for (path, e) in all.iter().filter(|(_, e)| !e.is_dir()) {
        groups.entry(e.inode).or_default().push(path);
    }
    groups
}

fn entry(expected: &Entry, found: &Entry, allow: Allow, say: &mut dyn FnMut(&str, String, String)) {
    if expected.mode != found.mode {
        say("mode", format!("{:o}", expected.mode), format!("{:o}", found.mode));
    }
    if (expected.uid, expected.gid) != (found.uid, found.gid) {
        say("owner", format!("{}:{}", expected.uid, expected.gid), format!("{}:{}", found.uid, found.gid));
    }
    if expected.size != found.size {
        say("size", format!("{:?}", expected.size), format!("{:?}", found.size));
    }
    let mut times = vec![("mtime", Some(expected.mtime), Some(found.mtime))];
    if !allow.mke2fs {
        times.push(("atime", expected.atime, found.atime));
        times.push(("ctime", expected.ctime, found.ctime));
    }
    for (name, e, f) in times {
        if let (Some(e), Some(f)) = (e.map(|t| allow.time(t)), f.map(|t| if allow.mke2fs { allow.time(t) } else { t }))
            && e != f
        {
            say(name, format!("{}.{:09}", e.0, e.1), format!("{}.{:09}", f.0, f.1));
        }
    }
    if let (Some(e), Some(f)) = (&expected.content, &found.content)
        && e != f
    {
        say("content", e.escape_ascii().to_string(), f.escape_ascii().to_string());
    }
    if expected.device != found.device {
        say("device", format!("{:?}", expected.device), format!("{:?}", found.device));
    }
    if let (Some(e), Some(f)) = (&expected.xattrs, &found.xattrs)
        && e != f
    {
        for name in e.keys().chain(f.keys().filter(|n| !e.contains_key(*n))).filter(|n| e.get(*n) != f.get(*n)) {
            let show = |v: Option<&Vec<u8>>| {
                v.map_or("missing".to_owned(), |v| {
                    format!("{} bytes {}", v.len(), v.get(..40.min(v.len())).unwrap_or_default().escape_ascii())
                })
            };
            say(&format!("attribute {}", name.escape_ascii()), show(e.get(name)), show(f.get(name)));
        }
    }
    if let (Some(e), Some(f), Some(size), false) = (&expected.data, &found.data, expected.size, allow.any_holes) {
        let rounded = round(e, allow.hole_unit, size);
        // The image may have no hole where the source has data, and none of its own data far from the source's.
        if !covers(f, e) || !covers(&rounded, f) {
            say("data", format!("{e:?} (in units of {}: {rounded:?})", allow.hole_unit), format!("{f:?}"));
        }
    }
}

/// The ranges, grown to whole units and joined.
fn round(ranges: &[Range<u64>], unit: u64, size: u64) -> Vec<Range<u64>> {
    let mut grown: Vec<Range<u64>> = Vec::new();
    for r in ranges {
        let (start, end) = (r.start / unit * unit, r.end.div_ceil(unit).saturating_mul(unit).min(size));
        match grown.last_mut() {
            Some(last) if last.end >= start => last.end = last.end.max(end),
            _ => grown.push(start..end),
        }
    }
    grown
}

/// Whether every byte of `inner` lies in `outer`.
fn covers(outer: &[Range<u64>], inner: &[Range<u64>]) -> bool {
    inner.iter().all(|i| outer.iter().any(|o| o.start <= i.start && i.end <= o.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Entry {
        Entry {
            mode: 0o100_644,
            uid: 1,
            gid: 2,
            size: Some(10_000),
            mtime: (1 << 33, 5),
            atime: Some((1, 2)),
            ctime: Some((3, 4)),
            content: Some(vec![1]),
            data: Some(vec![0..4096]),
            xattrs: Some(BTreeMap::from([(b"user.a".to_vec(), b"b".to_vec())])),
            device: None,
            links: Some(1),
            inode: 12,
        }
    }

    fn tree(e: Entry) -> Snapshot {
        let dir = Entry { mode: 0o040_755, size: None, content: None, data: None, links: None, inode: 2, ..file() };
        let lost = Entry { mode: 0o040_700, uid: 0, gid: 0, inode: 11, ..dir.clone() };
        Snapshot::from([(b"/".to_vec(), dir), (b"/f".to_vec(), e), (b"/lost+found".to_vec(), lost)])
    }

    #[test]
    fn every_difference_is_noticed() {
        let allow = Allow::nothing(256, 4096);
        let mut source = tree(file());
        source.remove(&b"/lost+found"[..]);
        assert_eq!(compare("x", &source, &tree(file()), allow), Ok(()));
        type Change = (&'static str, fn(&mut Entry));
        let changes: [Change; 12] = [
            ("mode", |e| e.mode = 0o100_645),
            ("owner", |e| e.gid = 3),
            ("size", |e| e.size = Some(10_001)),
            ("mtime", |e| e.mtime.1 = 4),
            ("atime", |e| e.atime = Some((1, 1))),
            ("ctime", |e| e.ctime = Some((4, 4))),
            ("content", |e| e.content = Some(vec![2])),
            ("data", |e| e.data = Some(vec![0..4095])),
            ("data", |e| e.data = Some(vec![0..4097])),
            ("attribute user.a", |e| e.xattrs = Some(BTreeMap::new())),
            ("device", |e| e.device = Some((1, 1))),
            ("link count", |e| e.links = Some(2)),
        ];
        for (what, change) in changes {
            let mut changed = file();
            change(&mut changed);
            let told = compare("x", &source, &tree(changed), allow).expect_err(what);
            assert!(told.contains(&format!("/f: {what} is ")) && told.contains("1 differences"), "{told}");
        }
        let mut image = tree(file());
        let twin = image[&b"/f"[..]].clone();
        image.insert(b"/g".to_vec(), twin);
        assert!(compare("x", &source, &image, allow).expect_err("more").contains("/g: not in the source"));
        image.remove(&b"/f"[..]);
        assert!(compare("x", &source, &image, allow).expect_err("less").contains("/f: missing"));
        image.remove(&b"/lost+found"[..]);
        assert!(compare("x", &source, &image, allow).expect_err("less").contains("/lost+found: missing"));
    }

    #[test]
    fn old_inodes_hold_times_until_2038() {
        let allow = Allow::nothing(128, 4096);
        assert_eq!(allow.time((1 << 33, 5)), (i64::from(i32::MAX), 0));
        assert_eq!(allow.time((-(1 << 33), 5)), (i64::from(i32::MIN), 0));
    }

    #[test]
    fn ranges_are_rounded_and_joined() {
        assert_eq!(round(&[0..10, 5000..5001, 20_000..20_010], 4096, 20_010), [0..8192, 16_384..20_010]);
        assert!(covers(&[0..8], &[0..4, 6..8]) && !covers(&[0..4], &[2..6]));
    }
}
