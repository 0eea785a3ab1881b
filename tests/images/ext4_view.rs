//! The second reader: `ext4-view`, which shares no code with daxkit or e2fsprogs.

use super::snapshot::{self, Entry, Snapshot, join};
use super::tools::Failure;
use ext4_view::{Ext4, Ext4Error, Path as ViewPath};
use std::collections::BTreeMap;
use std::path::Path;

/// What it could do.
pub(crate) enum Outcome {
    /// All it can tell, except attributes, change times and device numbers.
    Read(Snapshot),
    /// It does not support the image, and says why.
    Skipped(String),
}

/// Reads an image. Of files it reads the ranges where the source has data: a hole of a terabyte takes it long.
pub(crate) fn read(image: &Path, source: &Snapshot, block_size: u32, inode_size: u32) -> Result<Outcome, Failure> {
    // What version 1.0.0 takes for damage, in images of the kernel and of mke2fs too.
    if inode_size == 128 {
        return Ok(Outcome::Skipped("inodes of 128 bytes".to_owned()));
    }
    if block_size == 65_536 {
        return Ok(Outcome::Skipped("directory blocks of 65536 bytes".to_owned()));
    }
    if source.values().any(|e| (e.mtime.0 as i32) < 0) {
        return Ok(Outcome::Skipped("times whose low word is negative".to_owned()));
    }
    let told = |path: &[u8], e: Ext4Error| format!("ext4-view: {}: {e}", path.escape_ascii());
    let fs = match Ext4::load_from_path(image) {
        Ok(fs) => fs,
        Err(Ext4Error::Incompatible(why)) => return Ok(Outcome::Skipped(why.to_string())),
        Err(e) => return Err(told(b"", e)),
    };
    let mut all = Snapshot::new();
    let mut todo = vec![b"/".to_vec()];
    while let Some(path) = todo.pop() {
        let at = ViewPath::try_from(&path[..]).map_err(|e| format!("ext4-view: {}: {e}", path.escape_ascii()))?;
        let meta = fs.symlink_metadata(at).map_err(|e| told(&path, e))?;
        let kind = meta.file_type();
        let time = |t: ext4_view::Timestamp| (t.seconds(), t.nanoseconds());
        let bits = [
            (kind.is_regular_file(), 0o100_000),
            (kind.is_dir(), 0o040_000),
            (kind.is_symlink(), 0o120_000),
            (kind.is_char_dev(), 0o020_000),
            (kind.is_block_dev(), 0o060_000),
            (kind.is_fifo(), 0o010_000),
            (kind.is_socket(), 0o140_000),
        ];
        let mut entry = Entry {
            mode: bits.iter().find(|(is, _)| *is).map_or(0, |(_, bits)| *bits) | u32::from(meta.mode()),
            uid: meta.uid(),
            gid: meta.gid(),
            size: None,
            mtime: time(meta.modified()),
            atime: Some(time(meta.accessed())),
            ctime: None,
            content: None,
            data: None,
            xattrs: None,
            device: source.get(&path).and_then(|e| e.device),
            links: None,
            // It does not tell: taken from the source, so that nothing is compared.
            inode: 0,
        };
        if kind.is_dir() {
            for found in fs.read_dir(at).map_err(|e| told(&path, e))? {
                let found = found.map_err(|e| told(&path, e))?;
                let name = found.file_name();
                if !matches!(name.as_ref(), b"." | b"..") {
                    todo.push(join(&path, name.as_ref()));
                }
            }
        } else if kind.is_symlink() {
            entry.size = Some(meta.len());
            let target = fs.read_link(at).map_err(|e| told(&path, e))?;
            entry.content = Some(AsRef::<[u8]>::as_ref(&target).to_vec());
        } else if kind.is_regular_file() {
            entry.size = Some(meta.len());
            let whole = std::iter::once(0..meta.len()).collect::<Vec<_>>();
            let ranges = source.get(&path).and_then(|e| e.data.clone()).unwrap_or(whole);
            let mut file = fs.open(at).map_err(|e| told(&path, e))?;
            let hash = snapshot::hash_ranges(meta.len(), &ranges, |at, buf| {
                file.seek_to(at)?;
                let mut done = 0;
                while done < buf.len() {
                    match file.read_bytes(&mut buf[done..])? {
                        0 => break,
                        n => done += n,
                    }
                }
                buf[done..].fill(0xdd);
                Ok(())
            });
            entry.content = Some(hash.map_err(|e| told(&path, e))?);
        }
        all.insert(path, entry);
    }
    Ok(Outcome::Read(all))
}

/// Gives every name the group of hard links it has in the source, since `ext4-view` tells no inode numbers.
pub(crate) fn adopt_links(image: &mut Snapshot, source: &Snapshot) {
    let mut next = u64::MAX;
    let known: BTreeMap<&Vec<u8>, u64> = source.iter().map(|(p, e)| (p, e.inode)).collect();
    for (path, entry) in image {
        entry.inode = known.get(path).copied().unwrap_or_else(|| {
            next -= 1;
            next
        });
    }
}
