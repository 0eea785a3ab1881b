//! Blocks that are tried by writing: what fails is listed, and everything is as it was.

use crate::by_hand::image;
use crate::verdict::NOW;
use daxkit_check::{BadBlocks, Options, Repaired, Scan, repair};
use daxkit_device::{BlockDevice, DeviceError, FaultInjector, FaultPlan, Geometry, MemoryDevice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn sound() -> Vec<u8> {
    image(&["-t", "ext4", "-b", "1024", "-N", "64", "-O", "^has_journal"], "6M", "write $DIR/blocks /f\n")
}

fn tried(device: Arc<dyn BlockDevice>, options: Options) -> Repaired {
    let mut options = options;
    options.wishes.bad_blocks = Some(BadBlocks { blocks: Vec::new(), keep: false, scan: Scan::Write });
    repair(device, &options, &mut |_| true)
}

/// A device of which one byte has a bit that is never set, and which sets a flag at a write.
#[derive(Debug)]
struct Odd {
    below: MemoryDevice,
    stuck: Option<u64>,
    writes: AtomicU64,
    stop_at: u64,
    stop: Arc<AtomicBool>,
}

impl Odd {
    fn new(bytes: &[u8], stuck: Option<u64>, stop_at: u64) -> Self {
        let (writes, stop) = (AtomicU64::new(0), Arc::default());
        Self { below: MemoryDevice::from_bytes(bytes), stuck, writes, stop_at, stop }
    }
}

impl BlockDevice for Odd {
    fn len(&self) -> u64 {
        self.below.len()
    }

    fn geometry(&self) -> Geometry {
        self.below.geometry()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        self.below.read_at(offset, buf)?;
        let within = self.stuck.and_then(|at| usize::try_from(at.checked_sub(offset)?).ok());
        if let Some(byte) = within.and_then(|at| buf.get_mut(at)) {
            *byte &= !0x10;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        if self.writes.fetch_add(1, Ordering::Relaxed) + 1 == self.stop_at {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.below.write_at(offset, data)
    }

    fn flush(&self) -> Result<(), DeviceError> {
        self.below.flush()
    }
}

#[test]
fn blocks_that_cannot_be_written_or_hold_a_bit() {
    let bytes = sound();
    let plan = FaultPlan::new().bad_write(2000 * 1024 + 100..2001 * 1024 + 1).bad_read(5000 * 1024..5001 * 1024);
    let device = Arc::new(FaultInjector::new(Odd::new(&bytes, Some(3000 * 1024 + 7), 0), plan));
    let done = tried(Arc::clone(&device) as Arc<dyn BlockDevice>, Options::new(NOW));
    assert!(done.is_clean() && done.fixed.is_empty(), "{:?} {:?}", done.fixed, done.left);
    assert_eq!((done.improved.bad_blocks, done.improved.left.as_slice()), (Some(4), &[][..]));
    assert!(device.base().below.to_vec() == bytes, "everything is as it was");
    // Which they are is seen in the list.
    let after = MemoryDevice::from_bytes(&bytes);
    done.edits().apply_to(&after).expect("memory is writable");
    let bytes = after.to_vec();
    let volume = crate::mutate::open_any(&bytes).1.expect("sound");
    let list = volume.inode_unverified(daxkit_volume::InodeNr(1)).expect("there");
    let listed: Vec<u32> = list.i_block.as_chunks().0.iter().map(|n| u32::from_le_bytes(*n)).take(4).collect();
    assert_eq!(listed, [2000, 2001, 3000, 5000]);
}

#[test]
fn a_trial_that_is_stopped_gives_back_what_was_there() {
    let bytes = sound();
    // The first write puts the pattern there, the second what there was.
    for stop_at in [1, 2, 3] {
        let device = Arc::new(Odd::new(&bytes, None, stop_at));
        let mut options = Options::new(NOW);
        options.stop = Arc::clone(&device.stop);
        let done = tried(Arc::clone(&device) as Arc<dyn BlockDevice>, options);
        assert!(device.below.to_vec() == bytes);
        assert_eq!(done.improved.bad_blocks, None);
        assert_eq!(device.writes.load(Ordering::Relaxed), stop_at.next_multiple_of(2));
    }
}

#[test]
fn what_was_never_written_is_not_tried() {
    let bytes = sound();
    let device = Arc::new(MemoryDevice::from_bytes(&bytes));
    let data = |device: &MemoryDevice| {
        let (mut at, mut all) = (0, Vec::new());
        while let Some(part) = device.next_data(at).expect("memory") {
            at = part.end;
            all.push(part);
        }
        all
    };
    let before = data(&device);
    let done = tried(Arc::clone(&device) as Arc<dyn BlockDevice>, Options::new(NOW));
    assert!(done.improved.bad_blocks == Some(0) && device.to_vec() == bytes);
    assert_eq!(data(&device), before);
}
