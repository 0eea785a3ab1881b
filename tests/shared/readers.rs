//! Three ways to read an image as a [`Snapshot`]: mounted by the kernel, by `debugfs`, and by `daxkit-volume`.

use super::oracle::{self, Mounted};
use super::snapshot::{self, Entry, Snapshot, join};
use super::tools::Failure;
use daxkit_device::FileDevice;
use daxkit_volume::{OpenOptions, Volume};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// As the kernel shows it.
pub(crate) fn kernel(image: &Path, scratch: &Path) -> Result<Snapshot, Failure> {
    let mounted = Mounted::new(image, &scratch.join("mnt"), "ro")?;
    let snapshot = snapshot::of_directory(mounted.path())?;
    mounted.unmount()?;
    Ok(snapshot)
}

/// As daxkit's own reader shows it.
pub(crate) fn volume(image: &Path) -> Result<Snapshot, Failure> {
    let read = || -> Result<Snapshot, Box<dyn std::error::Error>> {
        let device = FileDevice::open(image, daxkit_device::FileOptions::default())?;
        let volume = Volume::open(Arc::new(device), &OpenOptions::default())?;
        let mut all = Snapshot::new();
        for visit in volume.walk(volume.root()?) {
            let visit = visit.map_err(|e| format!("/{}: {}", e.path.escape_ascii(), e.error))?;
            let mut path = vec![b'/'];
            path.extend_from_slice(&visit.path);
            let told = path.escape_ascii().to_string();
            let inode = &visit.inode;
            let time = |t: daxkit_format::ext4::inode::Timestamp| (t.seconds, t.nanos);
            let mut entry = Entry {
                mode: inode.i_mode.get().into(),
                uid: inode.uid(),
                gid: inode.gid(),
                size: None,
                mtime: time(inode.mtime()),
                atime: Some(time(inode.atime())),
                ctime: Some(time(inode.ctime())),
                content: None,
                data: None,
                xattrs: None,
                device: None,
                links: (!inode.is_dir()).then_some(inode.i_links_count.get().into()),
                inode: inode.nr().get(),
            };
            if inode.is_file() {
                let data =
                    volume.data_ranges(inode).collect::<Result<Vec<_>, _>>().map_err(|e| format!("{told}: {e}"))?;
                let hash =
                    snapshot::hash_ranges(inode.size(), &data, |at, buf| match volume.read_at(inode, at, buf) {
                        Ok(n) if n == buf.len() => Ok(()),
                        Ok(n) => Err(format!("{told}: {n} bytes of {} at {at}", buf.len())),
                        Err(e) => Err(format!("{told}: {e}")),
                    })?;
                (entry.size, entry.data, entry.content) = (Some(inode.size()), Some(data), Some(hash));
            } else if inode.is_symlink() {
                entry.size = Some(inode.size());
                entry.content = Some(volume.read_link(inode).map_err(|e| format!("{told}: {e}"))?);
            } else if matches!(entry.kind(), 0o020_000 | 0o060_000) {
                entry.device = Some(inode.device());
            }
            let mut xattrs = BTreeMap::new();
            for xattr in volume.xattrs(inode).map_err(|e| format!("{told}: {e}"))? {
                if let Some((name, value)) = xattr.for_user().map_err(|e| format!("{told}: {e}"))? {
                    xattrs.insert(name, value);
                }
            }
            entry.xattrs = Some(xattrs);
            all.insert(path, entry);
        }
        Ok(all)
    };
    read().map_err(|e| format!("daxkit-volume: {e}"))
}

/// As debugfs shows it: names by `ls`, inodes by `stat`, attributes by `ea_list` and `ea_get`, content by `dump`.
pub(crate) fn debugfs(image: &Path, scratch: &Path) -> Result<Snapshot, Failure> {
    let names = debugfs_names(image, scratch)?;
    let inodes: BTreeSet<u32> = names.values().copied().collect();
    let mut script = Vec::new();
    for inode in &inodes {
        script.extend_from_slice(format!("stat <{inode}>\n").as_bytes());
    }
    let text = oracle::debugfs(image, &script, scratch)?;
    let mut stats = BTreeMap::new();
    for (inode, part) in answers(&text, "stat")? {
        let stat = parse_stat(&part).ok_or_else(|| format!("cannot make sense of debugfs's stat: {part}"))?;
        stats.insert(inode, stat);
    }
    let mut script = Vec::new();
    let (dumps, values) = (scratch.join("dumps"), scratch.join("values"));
    for dir in [&dumps, &values] {
        let _ = std::fs::remove_dir_all(dir);
        std::fs::create_dir(dir).map_err(|e| e.to_string())?;
    }
    let mut expected = Vec::new();
    for (inode, stat) in &stats {
        let to = dumps.join(inode.to_string());
        if stat.entry.is_file() && is_dumped(&stat.entry) {
            script.extend_from_slice(format!("dump <{inode}> ").as_bytes());
            script.extend_from_slice(oracle::plain(&to).as_bytes());
            script.push(b'\n');
        }
        for name in &stat.xattrs {
            let to = values.join(expected.len().to_string());
            script.extend_from_slice(format!("ea_get -f {} <{inode}> ", oracle::plain(&to).display()).as_bytes());
            script.extend_from_slice(name);
            script.push(b'\n');
            expected.push((*inode, name.clone(), to));
        }
    }
    oracle::debugfs(image, &script, scratch)?;
    for (inode, name, file) in expected {
        let mut value =
            std::fs::read(&file).map_err(|e| format!("debugfs gives no value of {}: {e}", name.escape_ascii()))?;
        if name.starts_with(b"system.posix_acl_") {
            kernel_acl(&mut value);
        }
        if let Some(stat) = stats.get_mut(&inode) {
            stat.entry.xattrs.get_or_insert_default().insert(name, value);
        }
    }
    let mut all = Snapshot::new();
    for (path, inode) in names {
        let stat = stats.get(&inode).ok_or_else(|| format!("debugfs does not know inode {inode}"))?;
        let mut entry = stat.entry.clone();
        entry.inode = inode.into();
        if entry.is_file() && is_dumped(&entry) {
            let file = dumps.join(inode.to_string());
            let mut len = std::fs::metadata(&file).map_err(|e| e.to_string())?.len();
            if let (true, Some(size), 60) = (stat.inline, entry.size, len) {
                // debugfs 1.47.0 writes out all of `i_block`, however little of it the file has.
                let file = std::fs::File::options().write(true).open(&file).map_err(|e| e.to_string())?;
                file.set_len(size.min(len)).map_err(|e| e.to_string())?;
                len = size.min(len);
            }
            entry.content = Some(snapshot::hash_file(&file).map_err(|e| format!("{}: {e}", file.display()))?);
            if entry.size != Some(len) {
                return Err(format!("debugfs dumps {len} bytes of inode {inode} of {:?}", entry.size));
            }
        }
        all.insert(path, entry);
    }
    let _ = std::fs::remove_dir_all(&dumps);
    Ok(all)
}

/// debugfs writes out every hole: of the largest sparse files others must tell.
fn is_dumped(entry: &Entry) -> bool {
    entry.size.is_some_and(|size| size < 256 << 20)
}

/// Entries of an ACL that name nobody have the id -1 in the kernel, 0 in libext2fs.
fn kernel_acl(value: &mut [u8]) {
    for entry in value.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        if !matches!(entry[0], 2 | 8) {
            entry[4..8].fill(0xff);
        }
    }
}

/// Every path and its inode, found directory by directory.
fn debugfs_names(image: &Path, scratch: &Path) -> Result<BTreeMap<Vec<u8>, u32>, Failure> {
    let mut names = BTreeMap::from([(b"/".to_vec(), 2)]);
    let mut level = vec![(b"/".to_vec(), 2)];
    while !level.is_empty() {
        let script: String = level.iter().map(|(_, inode)| format!("ls -p <{inode}>\n")).collect();
        let text = oracle::debugfs(image, script.as_bytes(), scratch)?;
        let mut below = Vec::new();
        let mut rest = &text[..];
        for (dir, inode) in &level {
            let head = format!("debugfs: ls -p <{inode}>\n");
            rest = rest
                .strip_prefix(head.as_bytes())
                .ok_or_else(|| format!("debugfs does not answer `{}`", head.trim()))?;
            let end = find(rest, b"\ndebugfs: ").map_or(rest.len(), |at| at + 1);
            let (part, behind) = rest.split_at(end);
            rest = behind;
            for listed in oracle::parse_ls(part)? {
                if listed.inode == 0 || matches!(&listed.name[..], b"." | b"..") {
                    continue;
                }
                let path = join(dir, &listed.name);
                names.insert(path.clone(), listed.inode);
                below.push((path, listed.inode));
            }
        }
        // Which of them are directories only stat tells; asking `ls` of a file would be a complaint.
        let script: String = below.iter().map(|(_, inode)| format!("stat <{inode}>\n")).collect();
        let text = oracle::debugfs(image, script.as_bytes(), scratch)?;
        let dirs: BTreeSet<u32> = answers(&text, "stat")?
            .into_iter()
            .filter(|(_, part)| part.contains("Type: directory"))
            .map(|(inode, _)| inode)
            .collect();
        level = below.into_iter().filter(|(_, inode)| dirs.contains(inode)).collect();
    }
    Ok(names)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|w| w == what)
}

/// The answers to a script that asked the same of many inodes.
pub(crate) fn answers(text: &[u8], command: &str) -> Result<Vec<(u32, String)>, Failure> {
    let head = format!("debugfs: {command} <");
    let text = String::from_utf8_lossy(text);
    text.split(head.as_str())
        .skip(1)
        .map(|part| {
            let (inode, answer) = part.split_once(">\n").ok_or("an answer of debugfs without an inode")?;
            Ok((inode.parse().map_err(|_| "an answer of debugfs for no number")?, answer.to_owned()))
        })
        .collect()
}

struct Stat {
    entry: Entry,
    inline: bool,
    xattrs: Vec<Vec<u8>>,
}

fn parse_stat(text: &str) -> Option<Stat> {
    let word = |key: &str| -> Option<&str> {
        let at = text.find(key)? + key.len();
        text.get(at..)?.split_whitespace().next()
    };
    // `ctime: 0xSECONDS:EXTRA -- date`, indented unless inodes are small, where there is no extra part either.
    let time = |key: &str| -> Option<(i64, u32)> {
        let line = text.lines().find_map(|l| l.trim_start().strip_prefix(key))?;
        let value = line.split_whitespace().next()?.trim_start_matches("0x");
        let (seconds, extra) = match value.split_once(':') {
            Some((s, x)) => (s, u32::from_str_radix(x, 16).ok()?),
            None => (value, 0),
        };
        let seconds = u32::from_str_radix(seconds, 16).ok()?;
        Some((i64::from(seconds.cast_signed()) + (i64::from(extra & 3) << 32), extra >> 2))
    };
    // Printed as signed.
    let id = |key: &str| word(key)?.parse::<i64>().ok().map(|id| id as u32);
    let kind = match word("Type:")? {
        "regular" => 0o100_000,
        "directory" => 0o040_000,
        "symlink" => 0o120_000,
        "character" => 0o020_000,
        "block" => 0o060_000,
        "FIFO" => 0o010_000,
        "socket" => 0o140_000,
        _ => return None,
    };
    let mode = kind | u32::from_str_radix(word("Mode:")?, 8).ok()?;
    let mut entry = Entry {
        mode,
        uid: id("User:")?,
        gid: id("Group:")?,
        size: None,
        mtime: time("mtime: ")?,
        atime: Some(time("atime: ")?),
        ctime: Some(time("ctime: ")?),
        content: None,
        data: None,
        xattrs: Some(BTreeMap::new()),
        device: None,
        links: (kind != 0o040_000).then_some(word("Links:")?.parse().ok()?),
        inode: 0,
    };
    if kind == 0o100_000 || kind == 0o120_000 {
        entry.size = Some(word("Size:")?.parse().ok()?);
    }
    if kind == 0o020_000 || kind == 0o060_000 {
        let (major, minor) = word("Device major/minor number:")?.split_once(':')?;
        entry.device = Some((major.parse().ok()?, minor.parse().ok()?));
    }
    let mut xattrs = Vec::new();
    if let Some((_, list)) = text.split_once("Extended attributes:\n") {
        for line in list.lines().take_while(|l| l.starts_with("  ")) {
            let (name, _) = line.trim_start().split_once(" (")?;
            // Not for users: the tail of inline data.
            if name != "system.data" {
                xattrs.push(name.as_bytes().to_vec());
            }
        }
    }
    let flags = u32::from_str_radix(word("Flags:")?.trim_start_matches("0x"), 16).ok()?;
    Some(Stat { entry, inline: flags & 0x1000_0000 != 0, xattrs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_of_debugfs_is_understood() {
        let text = "Inode: 13   Type: regular    Mode:  0644   Flags: 0x0\nGeneration: 0    Version: 0x00000000:00000000\n\
                    User: 70000   Group:    -2   Project:     0   Size: 1\nFile ACL: 564\nLinks: 2   Blockcount: 4\n\
                    Fragment:  Address: 0    Number: 0    Size: 0\n ctime: 0x6b034698:00000000 -- Sun Nov 22 19:46:32 2026\n \
                    atime: 0xffffffff:00000004 -- x\n mtime: 0x00000001:00000001 -- x\ncrtime: 0x6b034698:00000000 -- x\n\
                    Size of extra inode fields: 32\nExtended attributes:\n  user.a (5) = \"hello\"\n  user.big (300)\nBLOCKS:\n";
        let stat = parse_stat(text).expect("understood");
        assert_eq!(stat.xattrs, [b"user.a".to_vec(), b"user.big".to_vec()]);
        let e = stat.entry;
        assert_eq!((e.mode, e.uid, e.gid, e.size, e.links), (0o100_644, 70_000, u32::MAX - 1, Some(1), Some(2)));
        assert_eq!((e.atime, e.mtime), (Some((-1, 1)), ((1 << 32) + 1, 0)));
    }
}
