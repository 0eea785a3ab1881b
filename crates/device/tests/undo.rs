//! Undo files against the real `e2undo`, and the other way round: files of e2fsprogs applied by us.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use daxkit_device::{
    BlockDevice, FaultInjector, FaultPlan, FileDevice, FileOptions, MemoryDevice, UndoDevice, UndoError, UndoOptions,
    apply_undo,
};

fn run(name: &str, args: &[&str]) -> Output {
    // Where Debian keeps them, also for users whose path does not say so.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    Command::new(name)
        .args(args)
        .env("PATH", path)
        .env("MKE2FS_CONFIG", "/dev/null")
        .output()
        .unwrap_or_else(|e| panic!("{name} of e2fsprogs is needed: {e}"))
}

fn tool(name: &str, args: &[&str]) -> String {
    let output = run(name, args);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} {args:?}: {text}");
    text
}

struct Case {
    dir: tempfile::TempDir,
    image: PathBuf,
    undo: PathBuf,
    original: Vec<u8>,
}

impl Case {
    /// An image made by mke2fs at an offset into a file, with some bytes in its free space.
    fn new(block_size: &str, offset: u64, odd: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (image, undo) = (dir.path().join("image"), dir.path().join("undo"));
        let file = File::create(&image).unwrap();
        file.set_len(offset + (8 << 20) + odd).unwrap();
        file.write_all_at(&vec![0x5a; 1 << 20], offset + (5 << 20)).unwrap();
        let at = format!("offset={offset}");
        let args = ["-q", "-F", "-t", "ext4", "-b", block_size, "-E", &at, image.to_str().unwrap(), "8M"];
        tool("mke2fs", &args);
        let original = fs::read(&image).unwrap();
        Self { dir, image, undo, original }
    }

    fn device(&self, offset: u64) -> FileDevice {
        FileDevice::open(&self.image, FileOptions::read_write().offset(offset)).unwrap()
    }

    fn e2undo(&self) -> String {
        tool("e2undo", &[self.undo.to_str().unwrap(), self.image.to_str().unwrap()])
    }

    fn is_restored(&self) -> bool {
        fs::read(&self.image).unwrap() == self.original
    }
}

/// Changes of every kind, the superblock among them, more than one key block holds.
fn change<D: BlockDevice>(device: &UndoDevice<D>) {
    let mut label = [0; 4];
    device.read_at(1024 + 120, &mut label).unwrap();
    device.write_at(1024 + 120, b"LABEL").unwrap();
    device.write_at(1024 + 48, &[1, 2, 3, 4]).unwrap();
    let place = |n: u64| 1_000_003 + n * 9_000 % 6_000_000;
    device.save(&(0..580).map(|n| place(n)..place(n) + 700).collect::<Vec<_>>()).unwrap();
    for n in 0..600 {
        device.write_at(place(n), &[n as u8; 700]).unwrap();
    }
    device.write_zeroes(5_300_000, 700_001).unwrap();
    device.discard(100_000, 4096 * 5).unwrap();
    device.write_at(device.len() - 3, b"end").unwrap();
    device.write_at(3_000_000, &vec![9; 3_000_000]).unwrap();
}

#[test]
fn e2undo_restores_every_byte() {
    for (block_size, undo_block, odd) in
        [("4096", 4096, 0), ("1024", 1024, 0), ("1024", 32768, 0), ("4096", 4096, 1234), ("2048", 1 << 20, 512)]
    {
        let case = Case::new(block_size, 0, odd);
        let options = UndoOptions { block_size: undo_block, fs_offset: 0 };
        let undo = UndoDevice::create(case.device(0), &case.undo, options).unwrap();
        change(&undo);
        assert!(undo.bytes_saved() > 3_000_000);
        undo.finish().unwrap();
        assert!(!case.is_restored());
        let text = case.e2undo();
        assert!(!text.contains("run e2fsck"), "{text}");
        assert!(case.is_restored(), "blocks of {block_size}, undo blocks of {undo_block}, {odd} bytes more");
    }
}

#[test]
fn e2undo_finds_a_file_system_inside_a_larger_image() {
    let offset = 1 << 20;
    let case = Case::new("4096", offset, 0);
    let options = UndoOptions { fs_offset: offset, ..UndoOptions::default() };
    let undo = UndoDevice::create(case.device(offset), &case.undo, options).unwrap();
    change(&undo);
    undo.finish().unwrap();
    case.e2undo();
    assert!(case.is_restored());
}

#[test]
fn e2undo_refuses_an_image_that_has_changed_since() {
    let case = Case::new("4096", 0, 0);
    let undo = UndoDevice::create(case.device(0), &case.undo, UndoOptions::default()).unwrap();
    undo.write_at(1 << 20, b"x").unwrap();
    undo.finish().unwrap();
    case.device(0).write_at(1024 + 48, &[9; 4]).unwrap();
    let output = run("e2undo", &[case.undo.to_str().unwrap(), case.image.to_str().unwrap()]);
    assert!(!output.status.success());
    let refused = apply_undo(&File::open(&case.undo).unwrap(), &case.device(0));
    assert!(matches!(refused, Err(UndoError::AnotherDevice)), "{refused:?}");
}

#[test]
fn we_apply_what_we_and_e2fsprogs_wrote() {
    let case = Case::new("4096", 0, 0);
    let undo = UndoDevice::create(case.device(0), &case.undo, UndoOptions::default()).unwrap();
    change(&undo);
    undo.finish().unwrap();
    let changed = fs::read(&case.image).unwrap();
    let applied = apply_undo(&File::open(&case.undo).unwrap(), &case.device(0)).unwrap();
    assert!(applied.finished && applied.pre_images > 10);
    assert!(case.is_restored());
    // Going back twice, and after a going back that was interrupted behind the superblock, is no error.
    apply_undo(&File::open(&case.undo).unwrap(), &case.device(0)).unwrap();
    case.device(0).write_at(4096, &changed[4096..]).unwrap();
    apply_undo(&File::open(&case.undo).unwrap(), &case.device(0)).unwrap();
    assert!(case.is_restored());

    let theirs = case.dir.path().join("theirs");
    tool("tune2fs", &["-z", theirs.to_str().unwrap(), "-L", "other", case.image.to_str().unwrap()]);
    assert!(!case.is_restored());
    let applied = apply_undo(&File::open(&theirs).unwrap(), &case.device(0)).unwrap();
    assert!(applied.finished && applied.pre_images > 0);
    assert!(case.is_restored());

    let theirs = case.dir.path().join("theirs too");
    let image = case.image.to_str().unwrap();
    tool("mke2fs", &["-q", "-F", "-t", "ext2", "-b", "1024", "-z", theirs.to_str().unwrap(), image]);
    assert!(!case.is_restored());
    apply_undo(&File::open(&theirs).unwrap(), &case.device(0)).unwrap();
    assert!(case.is_restored());
}

#[test]
fn a_run_cut_at_any_write_leads_back() {
    let original = MemoryDevice::from_bytes(&fs::read(Case::new("1024", 0, 0).image).unwrap());
    let bytes = original.to_vec();
    for cut in [0, 1, 3, 700, 5_000, 60_000, 90_000] {
        let device = FaultInjector::new(original.snapshot(), FaultPlan::new().cut_after(cut));
        let file = tempfile::tempfile().unwrap();
        let undo = UndoDevice::over_file(&device, file.try_clone().unwrap(), UndoOptions::default()).unwrap();
        let cut_short = (0..600u64).any(|n| {
            undo.write_at(1024 + 120, &[n as u8; 16]).is_err()
                || undo.write_at(900_000 + n * 7_777, &[n as u8; 5000]).is_err()
        });
        assert!(cut_short);
        assert!(undo.finish().is_err());
        let applied = apply_undo(&file, device.base()).unwrap();
        assert!(!applied.finished);
        assert!(device.base().to_vec() == bytes, "cut after {cut}");
    }
}

#[test]
fn a_settled_file_is_complete_until_the_next_change_and_leads_back_from_that_too() {
    let case = Case::new("1024", 0, 0);
    let undo = UndoDevice::create(case.device(0), &case.undo, UndoOptions::default()).unwrap();
    for round in 1..4u8 {
        undo.write_at(1024 + 120, &[b'a' + round; 8]).unwrap();
        undo.write_at(u64::from(round) * 1_000_000, &[round; 5000]).unwrap();
        let midway = (fs::read(&case.image).unwrap(), fs::read(&case.undo).unwrap());
        undo.settle().unwrap();
        let settled = (fs::read(&case.image).unwrap(), fs::read(&case.undo).unwrap());
        for ((image, undo), finished) in [(midway, false), (settled, true)] {
            let memory = MemoryDevice::from_bytes(&image);
            fs::write(case.dir.path().join("copy"), &undo).unwrap();
            let applied = apply_undo(&File::open(case.dir.path().join("copy")).unwrap(), &memory).unwrap();
            assert_eq!(applied.finished, finished, "round {round}");
            assert!(memory.to_vec() == case.original, "round {round}, finished {finished}");
        }
        // A change of what was saved already.
        undo.write_at(1024 + 120, b"another").unwrap();
    }
    undo.settle().unwrap();
    drop(undo);
    assert!(!case.is_restored());
    case.e2undo();
    assert!(case.is_restored());
}

#[test]
fn an_unfinished_file_can_be_forced() {
    let case = Case::new("4096", 0, 0);
    let undo = UndoDevice::create(case.device(0), &case.undo, UndoOptions::default()).unwrap();
    undo.write_at(2_000_000, &[1; 10_000]).unwrap();
    drop(undo);
    // The superblock has not changed, so e2undo takes it; it marks the file system as not clean, in the superblock.
    let text = case.e2undo();
    assert!(text.contains("Incomplete undo record"), "{text}");
    assert!(fs::read(&case.image).unwrap()[8192..] == case.original[8192..]);
}

#[test]
fn saving_beforehand_flushes_once_and_saves_once() {
    let base = MemoryDevice::from_bytes(&[7; 100_000]);
    let file = tempfile::tempfile().unwrap();
    let undo = UndoDevice::over_file(&base, file.try_clone().unwrap(), UndoOptions::default()).unwrap();
    undo.save(&[0..1, 4095..4097, 50_000..50_000, 99_999..100_000]).unwrap();
    assert_eq!(undo.bytes_saved(), 3 * 4096);
    let len = file.metadata().unwrap().len();
    undo.write_at(0, &[1; 8192]).unwrap();
    assert_eq!(file.metadata().unwrap().len(), len);
    assert!(undo.save(&[0..1, 0..100_001]).is_err());
    undo.write_at(8192, &[1; 1]).unwrap();
    assert!(file.metadata().unwrap().len() > len);
    // Zeroing what is a hole needs no pre-image.
    let sparse =
        UndoDevice::over_file(MemoryDevice::new(1 << 40), tempfile::tempfile().unwrap(), UndoOptions::default());
    let sparse = sparse.unwrap();
    sparse.write_zeroes(5, 1 << 39).unwrap();
    assert_eq!(sparse.bytes_saved(), 0);
}

#[test]
fn a_pre_image_that_cannot_be_saved_prevents_the_change() {
    let base = FaultInjector::new(MemoryDevice::from_bytes(&[7; 50_000]), FaultPlan::new().bad_read(8192..8704));
    let file = tempfile::tempfile().unwrap();
    let undo = UndoDevice::over_file(&base, file.try_clone().unwrap(), UndoOptions::default()).unwrap();
    undo.write_at(20_000, b"x").unwrap();
    assert!(undo.write_at(4096, &[1; 8192]).is_err());
    undo.write_at(30_000, b"x").unwrap();
    let now = base.base().to_vec();
    assert!(now.iter().filter(|b| **b != 7).count() == 2);
    undo.finish().unwrap();
    assert_eq!(apply_undo(&file, base.base()).unwrap().pre_images, 2);
    assert!(base.base().to_vec().iter().all(|b| *b == 7));
    let read_only = FileDevice::open("/etc/passwd".as_ref(), FileOptions::read_only()).unwrap();
    let undo = UndoDevice::over_file(read_only, tempfile::tempfile().unwrap(), UndoOptions::default()).unwrap();
    assert!(undo.write_at(0, b"x").is_err() && undo.bytes_saved() == 0);
}

fn finished_file(dir: &Path) -> (MemoryDevice, Vec<u8>) {
    let path = dir.join("undo");
    let undo = UndoDevice::create(MemoryDevice::from_bytes(&[7; 60_000]), &path, UndoOptions::default()).unwrap();
    for n in 0..10 {
        undo.write_at(n * 6000, b"xyz").unwrap();
    }
    (undo.finish().unwrap(), fs::read(path).unwrap())
}

#[test]
fn damage_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (device, bytes) = finished_file(dir.path());
    let before = device.to_vec();
    let apply = |bytes: &[u8]| {
        let path = dir.path().join("broken");
        fs::write(&path, bytes).unwrap();
        apply_undo(&File::open(&path).unwrap(), &device)
    };
    // Every byte that is in use: header, superblock copy, key block, pre-images.
    let used = (0..512).chain(4096..5120).chain(8192..12_288).chain((12_288..bytes.len()).step_by(37));
    for at in used {
        let mut broken = bytes.clone();
        broken[at] ^= 0x10;
        match apply(&broken) {
            Err(_) => assert!(device.to_vec() == before, "byte {at}"),
            // Padding of the last pre-image, behind the end of the device.
            Ok(_) => panic!("byte {at} was not noticed"),
        }
    }
    for len in (0..bytes.len()).step_by(401) {
        assert!(apply(&bytes[..len]).is_err(), "cut to {len}");
    }
    assert!(matches!(apply(b""), Err(UndoError::NotAnUndoFile)));
    assert!(matches!(apply(&[0; 5000]), Err(UndoError::NotAnUndoFile)));
    let options = UndoOptions { block_size: 5000, fs_offset: 0 };
    let refused = UndoDevice::over_file(&device, tempfile::tempfile().unwrap(), options);
    assert!(matches!(refused, Err(UndoError::BlockSize(5000))));
    apply(&bytes).unwrap();
    assert!(device.to_vec().iter().all(|b| *b == 7));
}

#[test]
fn a_torn_key_block_of_an_unfinished_file_is_read() {
    let base = MemoryDevice::from_bytes(&[7; 60_000]);
    let file = tempfile::tempfile().unwrap();
    let undo = UndoDevice::over_file(&base, file.try_clone().unwrap(), UndoOptions::default()).unwrap();
    undo.write_at(0, b"one").unwrap();
    let mut header = [0; 512];
    file.read_exact_at(&mut header, 0).unwrap();
    let mut first_sector = [0; 512];
    file.read_exact_at(&mut first_sector, 8192).unwrap();
    undo.write_at(10_000, b"two").unwrap();
    drop(undo);
    // As if the power had gone before the header, after a part of the key block: its checksum is the old one.
    file.write_all_at(&header, 0).unwrap();
    file.write_all_at(&first_sector[..16], 8192).unwrap();
    base.write_at(10_000, &[7; 3]).unwrap();
    assert_eq!(apply_undo(&file, &base).unwrap().pre_images, 1);
    assert!(base.to_vec().iter().all(|b| *b == 7));
}
