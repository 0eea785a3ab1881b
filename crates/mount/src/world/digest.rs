//! A number for the state of a world: equal states have equal numbers. For finding out whether anything changes at all.

use std::fmt::{self, Write as _};

use super::World;
use crate::flat_map::FlatMap;
use crate::fs::FileSystem;
use crate::ids::{PAGE_SIZE, SbId};
use crate::mm::page_table::Frame;

/// FNV-1a, over what is written to it.
struct Digest(u64);

impl Digest {
    const fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3));
    }
}

impl fmt::Write for Digest {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.bytes(s.as_bytes());
        Ok(())
    }
}

/// Of a map, in whichever order it was filled.
fn of_map<V: Copy + Default + fmt::Debug>(map: &FlatMap<V>) -> u64 {
    map.iter().fold(0, |sum, entry| {
        let mut digest = Digest::new();
        let _ = write!(digest, "{entry:?}");
        sum.wrapping_add(digest.0)
    })
}

impl<F: FileSystem> World<F> {
    /// The number. Counts, events and findings are not part of it, nor what lies on a device and is neither cached nor mapped.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut digest = Digest::new();
        // Writing to it cannot fail.
        let _ = write!(digest, "{:?}{:?}{:?}{:?}", self.inodes, self.dentries, self.files, self.mms);
        let _ = write!(digest, "{:?}{:?}{:?}{:?}", self.vmas, self.tables, self.nodes, self.folios);
        let _ = write!(digest, "{:?}{}", self.tasks, self.now);
        let maps = [
            of_map(&self.icache),
            of_map(&self.dcache),
            of_map(&self.pins),
            of_map(&self.frame_owners),
            of_map(&self.locks),
            of_map(&self.queues),
        ];
        let _ = write!(digest, "{maps:?}");
        for bytes in &self.folio_bytes {
            digest.bytes(bytes);
        }
        for (at, mount) in self.sbs.iter().enumerate() {
            let _ = write!(digest, "{:?}{:?}{}", mount.fs.space(), mount.dax, mount.generation);
            let _ = write!(digest, "{:?}", [mount.read_only, mount.gone, mount.frozen, mount.shutdown]);
            let base = Frame::pmem(SbId(at as u16), 0).key();
            let pages = base..base + mount.fs.pages();
            let mut page = [0; PAGE_SIZE as usize];
            let mut shown: Vec<u64> =
                self.frame_owners.iter().map(|(frame, _)| frame).filter(|frame| pages.contains(frame)).collect();
            shown.sort_unstable();
            for frame in shown {
                if mount.fs.load((frame - base) * PAGE_SIZE, &mut page).is_ok() {
                    digest.bytes(&page);
                }
            }
        }
        digest.0
    }
}
