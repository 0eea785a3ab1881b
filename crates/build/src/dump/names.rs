//! A path for each inode, for the reader of the dump.
//!
//! Read through the volume, which judges the image where the dump does not: a damaged directory gives fewer names, a
//! volume that cannot be opened gives none. The text stays injective without them.

use daxkit_device::BlockDevice;
use daxkit_format::InodeNr;
use daxkit_volume::{OpenOptions, Volume};
use std::collections::BTreeMap;
use std::sync::Arc;

/// With more names than this none is printed: memory is bounded, and nobody reads such a dump from end to end.
const MAX_NAMES: usize = 1 << 18;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<u32, Vec<u8>>);

impl Names {
    pub(super) fn collect(device: &Arc<dyn BlockDevice>) -> Self {
        let options = OpenOptions { replay: false, ignore_checksums: true, ..OpenOptions::default() };
        let Ok(volume) = Volume::open(Arc::clone(device), &options) else { return Self::default() };
        let mut names = BTreeMap::from([(2, b"/".to_vec())]);
        let mut bytes = 0;
        let mut waiting = vec![2];
        while let Some(dir) = waiting.pop() {
            let Ok(inode) = volume.inode(InodeNr(u64::from(dir))) else { continue };
            let Ok(entries) = volume.read_dir(&inode) else { continue };
            let parent = names.get(&dir).cloned().unwrap_or_default();
            // What is damaged has no name.
            for entry in entries.flatten().filter(|e| !e.is_dot()) {
                let Ok(ino) = u32::try_from(entry.inode.get()) else { continue };
                if names.contains_key(&ino) {
                    continue;
                }
                let mut path = parent.clone();
                if path.last() != Some(&b'/') {
                    path.push(b'/');
                }
                path.extend_from_slice(&entry.name);
                bytes += path.len();
                names.insert(ino, path);
                if names.len() > MAX_NAMES || bytes > MAX_NAMES * 64 {
                    return Self::default();
                }
                if volume.inode(entry.inode).is_ok_and(|i| i.disk().is_dir()) {
                    waiting.push(ino);
                }
            }
        }
        Self(names)
    }

    pub(super) fn get(&self, ino: u32) -> Option<&[u8]> {
        self.0.get(&ino).map(Vec::as_slice)
    }
}
