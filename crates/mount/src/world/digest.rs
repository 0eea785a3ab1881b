//! A number for the state of a world: equal states have equal numbers. For finding out whether anything changes at all.

use std::fmt::{self, Write as _};

use super::World;
use crate::fs::FileSystem;
use crate::ids::{PAGE_SIZE, SbId};
use crate::mm::page_table::Frame;

/// FNV-1a, over what is written to it.
struct Digest(u64);

impl Digest {
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

impl<F: FileSystem> World<F> {
    /// The number. Counts, events and findings are not part of it, nor what lies on a device and is neither cached nor mapped.
    pub(crate) fn digest(&self) -> u64 {
        let mut digest = Digest(0xCBF2_9CE4_8422_2325);
        // Writing to it cannot fail.
        let _ = write!(digest, "{:?}{:?}{:?}", self.inodes, self.icache, self.dentries);
        let _ = write!(digest, "{:?}{:?}{:?}{:?}", self.files, self.mms, self.vmas, self.tables);
        let _ = write!(digest, "{:?}{:?}{:?}{:?}", self.nodes, self.folios, self.pins, self.frame_owners);
        let _ = write!(digest, "{:?}{:?}{:?}{}", self.tasks, self.locks, self.queues, self.now);
        for bytes in &self.folio_bytes {
            digest.bytes(bytes);
        }
        for (at, mount) in self.sbs.iter().enumerate() {
            let _ = write!(digest, "{:?}{:?}{}", mount.fs.space(), mount.dax, mount.generation);
            let _ = write!(digest, "{:?}", [mount.read_only, mount.gone, mount.frozen, mount.shutdown]);
            let base = Frame::pmem(SbId(at as u16), 0).key();
            let pages = base..base + mount.fs.pages();
            let mut page = [0; PAGE_SIZE as usize];
            for (frame, _) in self.frame_owners.iter().filter(|(frame, _)| pages.contains(frame)) {
                if mount.fs.load((frame - base) * PAGE_SIZE, &mut page).is_ok() {
                    digest.bytes(&page);
                }
            }
        }
        digest.0
    }
}
