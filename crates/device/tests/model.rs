//! Every device against a plain vector of bytes, over random operations.

use std::fs::File;
use std::io::Write;

use daxkit_device::{
    BlockDevice, FaultInjector, FaultPlan, FileDevice, FileOptions, MemoryDevice, Overlay, UndoDevice, UndoOptions,
    apply_undo,
};
use proptest::prelude::*;

/// Not a multiple of any page.
const LEN: u64 = 150_001;

#[derive(Debug, Clone)]
enum Op {
    Write(u64, u64, u8),
    Zero(u64, u64),
    Discard(u64, u64),
    Copy(u64, u64),
    Read(u64, u64),
    Flush,
}

fn range() -> impl Strategy<Value = (u64, u64)> {
    let offset = prop_oneof![0..LEN, (0..LEN / 4096).prop_map(|n| n * 4096)];
    let len = prop_oneof![0..700u64, 0..LEN, (0..10u64).prop_map(|n| n * 4096), Just(LEN)];
    (offset, len).prop_map(|(offset, len)| (offset, len.min(LEN - offset)))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (range(), 1u8..).prop_map(|((o, l), b)| Op::Write(o, l, b)),
        3 => range().prop_map(|(o, l)| Op::Zero(o, l)),
        1 => range().prop_map(|(o, l)| Op::Discard(o, l)),
        1 => range().prop_map(|(o, l)| Op::Copy(o, l)),
        2 => range().prop_map(|(o, l)| Op::Read(o, l)),
        1 => Just(Op::Flush),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..25)
}

fn pattern(seed: u8) -> Vec<u8> {
    (0..LEN as u32).map(|n| (n.wrapping_mul(31) >> 3) as u8 ^ seed).collect()
}

/// What a device says about itself must be true of the model.
fn check_claims(device: &dyn BlockDevice, model: &[u8], (offset, len): (u64, u64)) {
    let part = &model[offset as usize..(offset + len) as usize];
    if device.known_zero(offset, len) {
        assert!(part.iter().all(|b| *b == 0), "claims that {offset}+{len} is zero");
    }
    let (mut at, mut steps) = (offset, 0);
    while let Some(data) = device.next_data(at).unwrap() {
        assert!(data.start >= at && data.start < data.end && data.end <= LEN, "{data:?} from {at}");
        assert!(model[at as usize..data.start as usize].iter().all(|b| *b == 0), "a hole before {data:?} is not zero");
        at = data.end;
        steps += 1;
        assert!(steps < 1000);
    }
    assert!(model[at.min(LEN) as usize..].iter().all(|b| *b == 0), "after the last data, from {at}");
}

fn run(device: &dyn BlockDevice, model: &mut [u8], ops: &[Op]) {
    assert_eq!((device.len(), device.geometry().len, device.geometry().read_only), (LEN, LEN, false));
    let source_bytes = pattern(0x5a);
    let mut source = tempfile::tempfile().unwrap();
    source.write_all(&source_bytes).unwrap();
    for op in ops {
        let touched = match *op {
            Op::Write(offset, len, byte) => {
                device.write_at(offset, &vec![byte; len as usize]).unwrap();
                model[offset as usize..(offset + len) as usize].fill(byte);
                (offset, len)
            }
            Op::Zero(offset, len) => {
                device.write_zeroes(offset, len).unwrap();
                model[offset as usize..(offset + len) as usize].fill(0);
                (offset, len)
            }
            Op::Discard(offset, len) => {
                let part = &mut model[offset as usize..(offset + len) as usize];
                if device.discard(offset, len).unwrap() {
                    part.fill(0);
                } else {
                    // Anything may be there now.
                    device.read_at(offset, part).unwrap();
                }
                (offset, len)
            }
            Op::Copy(offset, len) => {
                let from = LEN - offset - len;
                device.copy_from_file(&source, from, offset, len).unwrap();
                let bytes = &source_bytes[from as usize..(from + len) as usize];
                model[offset as usize..(offset + len) as usize].copy_from_slice(bytes);
                (offset, len)
            }
            Op::Read(offset, len) => (offset, len),
            Op::Flush => {
                device.flush().unwrap();
                (0, LEN)
            }
        };
        let mut buf = vec![0xee; touched.1 as usize];
        device.read_at(touched.0, &mut buf).unwrap();
        assert!(buf == model[touched.0 as usize..(touched.0 + touched.1) as usize], "after {op:?}");
        check_claims(device, model, touched);
    }
    let mut all = vec![0xee; LEN as usize];
    device.read_at(0, &mut all).unwrap();
    assert!(all == model, "the whole content at the end");
    assert!(device.read_at(LEN, &mut [0]).is_err());
    assert!(device.write_at(LEN - 1, &[1, 2]).is_err());
    assert!(device.write_zeroes(u64::MAX, 2).is_err() && device.discard(LEN, 1).is_err());
    assert!(device.copy_from_file(&source, 0, LEN, 1).is_err());
    assert!(!device.known_zero(LEN - 1, 2) && device.next_data(LEN).unwrap().is_none());
}

fn temp_file(content: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    std::fs::write(&path, content).unwrap();
    (dir, path)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn memory(ops in ops(), fresh in any::<bool>()) {
        let mut model = if fresh { vec![0; LEN as usize] } else { pattern(1) };
        let device = if fresh { MemoryDevice::new(LEN) } else { MemoryDevice::from_bytes(&model) };
        let before = device.snapshot();
        let kept = model.clone();
        run(&device, &mut model, &ops);
        prop_assert!(device.to_vec() == model && before.to_vec() == kept);
    }

    #[test]
    fn a_new_file(ops in ops()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let device = FileDevice::create(&path, LEN).unwrap();
        prop_assert!(device.known_zero(0, LEN));
        let mut model = vec![0; LEN as usize];
        run(&device, &mut model, &ops);
        drop(device);
        prop_assert!(std::fs::read(&path).unwrap() == model);
    }

    #[test]
    fn a_window_of_an_existing_file(ops in ops(), base in prop_oneof![Just(4096u64), 1..9000u64], learn in any::<bool>()) {
        let mut model = pattern(2);
        model[20_000..90_000].fill(0);
        let mut whole = vec![0xaa; base as usize];
        whole.extend_from_slice(&model);
        whole.extend_from_slice(&[0xbb; 5000]);
        let (_dir, path) = temp_file(&whole);
        let device = FileDevice::open(&path, FileOptions::read_write().offset(base).len(LEN)).unwrap();
        if learn { device.learn_holes(3).unwrap(); }
        run(&device, &mut model, &ops);
        // What lies outside the window has not been touched.
        let after = std::fs::read(&path).unwrap();
        let end = (base + LEN) as usize;
        prop_assert!(after[..base as usize].iter().all(|b| *b == 0xaa));
        prop_assert!(after[end..].len() == 5000 && after[end..].iter().all(|b| *b == 0xbb));
        prop_assert!(after[base as usize..end] == model);
        prop_assert!(device.punch_all().unwrap());
        prop_assert!(device.known_zero(0, LEN));
        let after = std::fs::read(&path).unwrap();
        prop_assert!(after[base as usize..end].iter().all(|b| *b == 0));
        prop_assert!(after[end] == 0xbb && after[base as usize - 1] == 0xaa);
    }

    #[test]
    fn an_overlay(ops in ops(), more in ops(), sparse in any::<bool>()) {
        let mut model = pattern(3);
        if sparse { model[30_000..120_000].fill(0); }
        let base = MemoryDevice::from_bytes(&model);
        let kept = model.clone();
        let overlay = Overlay::spilling(&base, 2 * 4096);
        run(&overlay, &mut model, &ops);
        let upper = Overlay::new(&overlay);
        run(&upper, &mut model, &more);
        prop_assert!(base.to_vec() == kept);
        upper.apply_to(&overlay).unwrap();
        overlay.apply_to(&base).unwrap();
        prop_assert!(base.to_vec() == model);
        let changed = overlay.changes();
        prop_assert!(changed.windows(2).all(|w| w[0].range.end <= w[1].range.start));
        for n in 0..LEN {
            if kept[n as usize] != model[n as usize] {
                prop_assert!(changed.iter().any(|c| c.range.contains(&n)), "byte {} changed unseen", n);
            }
        }
    }

    #[test]
    fn an_injector_without_faults_under_an_undo_file(ops in ops(), block in prop_oneof![Just(1024u32), Just(4096), Just(65536)]) {
        let mut model = pattern(4);
        model[30_000..120_000].fill(0);
        let kept = model.clone();
        let injector = FaultInjector::new(MemoryDevice::from_bytes(&model), FaultPlan::new());
        let file = tempfile::tempfile().unwrap();
        let undo = UndoDevice::over_file(&injector, file.try_clone().unwrap(), UndoOptions { block_size: block, fs_offset: 0 }).unwrap();
        run(&undo, &mut model, &ops);
        undo.finish().unwrap();
        prop_assert!(injector.base().to_vec() == model);
        prop_assert!(apply_undo(&file, &injector).unwrap().finished);
        prop_assert!(injector.base().to_vec() == kept);
    }
}

#[test]
fn a_source_that_is_too_short_is_told_apart() {
    let mut source = tempfile::tempfile().unwrap();
    source.write_all(&[7; 1000]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let devices: [Box<dyn BlockDevice>; 2] =
        [Box::new(MemoryDevice::new(10_000)), Box::new(FileDevice::create(&dir.path().join("image"), 10_000).unwrap())];
    for device in devices {
        let error = device.copy_from_file(&source, 400, 0, 601).unwrap_err();
        assert!(matches!(error, daxkit_device::CopyError::SourceShort { at: 1000 }), "{error}");
        device.copy_from_file(&source, 400, 0, 600).unwrap();
        let directory = File::open(dir.path()).unwrap();
        let error = device.copy_from_file(&directory, 0, 0, 1).unwrap_err();
        assert!(matches!(error, daxkit_device::CopyError::Source(_)), "{error}");
    }
    // A file whose length the kernel does not know can be copied too.
    let device = FileDevice::create(&dir.path().join("other"), 10_000).unwrap();
    device.copy_from_file(&File::open("/proc/self/mountinfo").unwrap(), 0, 0, 10).unwrap();
    assert!(!device.known_zero(0, 10));
}

#[test]
fn what_is_known_to_be_zero_is_not_written() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let device = FileDevice::create(&path, 1 << 40).unwrap();
    device.write_zeroes(0, 1 << 40).unwrap();
    assert_eq!(device.next_data(0).unwrap(), None);
    device.write_at(1 << 30, &[1; 4096]).unwrap();
    device.flush().unwrap();
    assert!(std::fs::metadata(&path).unwrap().blocks() < 100);
    assert_eq!(device.next_data(0).unwrap(), Some(1 << 30..(1 << 30) + 4096));
    assert!(device.known_zero(0, 1 << 30) && !device.known_zero(1 << 30, 1));
    device.write_zeroes(0, 1 << 40).unwrap();
    device.flush().unwrap();
    assert_eq!(device.next_data(0).unwrap(), None);
    assert!(device.known_zero(0, 1 << 40));
}

#[test]
fn threads_share_a_device() {
    let dir = tempfile::tempdir().unwrap();
    let file = FileDevice::create(&dir.path().join("image"), 1 << 20).unwrap();
    let memory = MemoryDevice::new(1 << 20);
    let overlay = Overlay::new(MemoryDevice::new(1 << 20));
    let devices: [&dyn BlockDevice; 3] = [&file, &memory, &overlay];
    for device in devices {
        std::thread::scope(|scope| {
            for worker in 0..4u64 {
                scope.spawn(move || {
                    for n in (0..1024).filter(|n| n % 4 == worker) {
                        if n % 3 == 0 {
                            device.write_zeroes(n * 1024, 1024).unwrap();
                        } else {
                            device.write_at(n * 1024, &[n as u8 | 1; 1024]).unwrap();
                        }
                    }
                });
            }
        });
        let mut all = vec![0; 1 << 20];
        device.read_at(0, &mut all).unwrap();
        for (n, chunk) in all.chunks(1024).enumerate() {
            let byte = if n % 3 == 0 { 0 } else { n as u8 | 1 };
            assert!(chunk.iter().all(|b| *b == byte), "chunk {n}");
        }
    }
}

#[test]
fn opening_says_what_is_wrong() {
    use daxkit_device::OpenError;
    let (dir, path) = temp_file(&[1; 1000]);
    let open = |options| FileDevice::open(&path, options).map(|_| ());
    let error = open(FileOptions::read_write().offset(500).len(501)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}: 501 bytes at offset 500 were asked for, but it ends at 1000", path.display())
    );
    assert!(matches!(open(FileOptions::read_only().offset(1001)), Err(OpenError::OutsideFile { .. })));
    assert!(matches!(open(FileOptions::read_only().len(u64::MAX)), Err(OpenError::OutsideFile { .. })));
    assert!(matches!(open(FileOptions::read_only().len(1001).grow()), Err(OpenError::OutsideFile { .. })));
    assert!(matches!(FileDevice::open(dir.path(), FileOptions::read_only()), Err(OpenError::IsDirectory { .. })));
    let gone = dir.path().join("gone");
    assert!(matches!(FileDevice::open(&gone, FileOptions::read_only()), Err(OpenError::NotFound { .. })));
    assert!(matches!(
        FileDevice::open("/dev/null".as_ref(), FileOptions::read_only()),
        Err(OpenError::NotADevice { .. })
    ));
    assert!(matches!(FileDevice::create(&path, 5), Err(OpenError::AlreadyExists { .. })));

    let read_only = FileDevice::open(&path, FileOptions::read_only()).unwrap();
    assert!(matches!(read_only.write_at(0, b"x"), Err(daxkit_device::DeviceError::ReadOnly)));
    assert!(
        read_only.write_zeroes(0, 1).is_err() && read_only.discard(0, 1).is_err() && read_only.punch_all().is_err()
    );

    let grown = FileDevice::open(&path, FileOptions::read_write().offset(500).len(2000).grow()).unwrap();
    assert!(!grown.known_zero(0, 501) && grown.known_zero(500, 1500));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 2500);
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(600).unwrap();
    assert!(matches!(grown.read_at(0, &mut [0; 101]), Err(daxkit_device::DeviceError::Shrunk { offset: 0, len: 101 })));
}
