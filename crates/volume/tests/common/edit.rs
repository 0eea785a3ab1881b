//! For tests that change volumes.

use daxkit_device::{BlockDevice, FileDevice, FileOptions};
use daxkit_format::ext4::inode::Timestamp;
use daxkit_volume::{OpenOptions, Volume};
use std::path::Path;
use std::sync::Arc;

/// The time of all edits.
pub const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanos: 7 };

/// xorshift64*: enough to choose what comes next.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit.max(1)
    }
}

/// The seed of this run: `DAXKIT_SEED`, or one made from `which`, the same every time. It is printed.
pub fn seed(which: u64) -> u64 {
    let seed = match std::env::var("DAXKIT_SEED") {
        Ok(text) => text.parse().expect("DAXKIT_SEED is a number"),
        Err(_) => 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(which + 1),
    };
    println!("seed {seed}");
    seed
}

/// An image opened for changes, and the device to commit them to.
pub fn open_writable(image: &Path) -> (Arc<dyn BlockDevice>, Volume) {
    let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open(image, FileOptions::read_write()).expect("opens"));
    let options = OpenOptions { writable: true, ..OpenOptions::default() };
    let volume = Volume::open(Arc::clone(&device), &options).expect("a volume");
    (device, volume)
}

/// Neither `dax-fsck -n` nor `e2fsck -fn` finds anything.
pub fn assert_clean(image: &Path, what: &str) {
    let text = super::judge::assert_clean(image, what);
    // Complaints that do not change the status; a tree that could be packed more tightly is none.
    let complaint = text.lines().find(|line| line.ends_with("? no") && !line.ends_with("Optimize? no"));
    assert_eq!(complaint, None, "{what}: {text}");
}
