//! Changes through the journal: cut off at every write (each is whole or not there), replayed by us and by e2fsck, the old state or the new one.

use daxkit_device::{BlockDevice, FaultInjector, FaultPlan, MemoryDevice, Overlay};
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::super_block::SUPER_BLOCK_OFFSET;
use daxkit_format::field::Place;
use daxkit_volume::{OpenOptions, ReplayOverlay, Volume, seal};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use zerocopy::IntoBytes;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanos: 5 };

fn run(program: &str, args: &[&str], image: &Path) -> (i32, String) {
    let out = Command::new(program).args(args).arg(image).output();
    let out = out.unwrap_or_else(|e| panic!("{program} (package e2fsprogs) is needed: {e}"));
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code().unwrap_or(-1), text)
}

/// An image with some directories and files in it.
fn image(dir: &Path, options: &[&str]) -> MemoryDevice {
    let source = dir.join("source");
    for d in 0..8 {
        std::fs::create_dir_all(source.join(format!("d{d}"))).expect("mkdir");
        for f in 0..12 {
            std::fs::write(source.join(format!("d{d}/f{f}")), vec![f as u8; 3000 * f]).expect("write");
        }
    }
    let path = dir.join("image");
    std::fs::File::create(&path).and_then(|f| f.set_len(24 << 20)).expect("a file");
    let mut args = vec!["-q", "-F", "-d", source.to_str().expect("text")];
    args.extend(options);
    let (code, text) = run("mke2fs", &args, &path);
    assert_eq!(code, 0, "{text}");
    MemoryDevice::from_bytes(&std::fs::read(&path).expect("read"))
}

/// Changes many inodes, the superblock, and a directory's bytes.
fn change(device: &Arc<dyn BlockDevice>) -> Arc<ReplayOverlay> {
    let overlay = Arc::new(Overlay::new(Arc::clone(device)));
    let dynamic: Arc<dyn BlockDevice> = Arc::<ReplayOverlay>::clone(&overlay);
    let volume = Volume::open(dynamic, &OpenOptions::default()).expect("a volume");
    for d in 0..8 {
        for f in 0..12 {
            let place: Place = format!("inode.\"/d{d}/f{f}\".i_flags").parse().expect("a place");
            let located = volume.locate(&place).expect("located");
            let before = located.read(&*overlay).expect("read");
            let mut after = before.clone();
            let field = located.field.as_ref().expect("a field");
            let flags: u32 = 0x0200_0000 | u32::from_le_bytes(after[32..36].try_into().expect("four"));
            after[32..36].copy_from_slice(&flags.to_le_bytes());
            assert!(field.get_text(&after).expect("text").contains("DAX"));
            let edits = located.edits(&before, &after);
            let sealed = seal(&*overlay, &located.seals, &edits).expect("sealed");
            for edit in edits.iter().chain(&sealed) {
                overlay.write_at(edit.offset, &edit.bytes).expect("write");
            }
        }
    }
    let mut sb = *volume.super_block();
    sb.s_volume_name = *b"changed at once\0";
    sb.seal();
    overlay.write_at(SUPER_BLOCK_OFFSET, sb.as_bytes()).expect("write");
    overlay
}

/// What the change changes, as a reader sees it: the label, and how many files have the flag.
fn state(device: &MemoryDevice) -> (String, usize, bool) {
    let device: Arc<dyn BlockDevice> = Arc::new(device.snapshot());
    let volume = Volume::open(device, &OpenOptions::default()).expect("a volume after a cut");
    let label = String::from_utf8_lossy(&volume.super_block().s_volume_name).trim_end_matches('\0').to_owned();
    let mut dax = 0;
    for d in 0..8 {
        for f in 0..12 {
            let inode = volume.resolve(format!("/d{d}/f{f}").as_bytes(), false).expect("there");
            dax += usize::from(inode.disk().flags().bits() & 0x0200_0000 != 0);
        }
    }
    (label, dax, volume.needs_recovery())
}

#[test]
fn whatever_write_is_the_last_the_old_or_the_new_state_is_there() {
    for options in [
        &["-t", "ext4", "-b", "4096"][..],
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext4", "-b", "4096", "-O", "^metadata_csum,^64bit"],
        &["-t", "ext3", "-b", "1024"],
        &["-t", "ext4", "-b", "4096", "-O", "fast_commit", "-J", "fast_commit_size=256"],
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let original = image(dir.path(), options);
        let base: Arc<dyn BlockDevice> = Arc::new(original.snapshot());
        let overlay = change(&base);
        let old = state(&original);
        assert_eq!((old.0.as_str(), old.1), ("", 0));
        let (mut olds, mut news, mut done) = (0, 0, false);
        let mut cut = 0;
        while !done {
            let memory = original.snapshot();
            let device = FaultInjector::new(&memory, FaultPlan::new().cut_after(cut * 1024));
            let volume = Volume::open(Arc::new(original.snapshot()), &OpenOptions::default()).expect("a volume");
            let result = volume.commit_through_journal(&overlay, &device, NOW);
            done = result.is_ok();
            drop(device);
            let (label, dax, _) = state(&memory);
            match (label.as_str(), dax) {
                ("", 0) => olds += 1,
                ("changed at once", 96) => news += 1,
                other => panic!("{options:?}, cut after {cut} KiB: neither old nor new: {other:?}"),
            }
            if done {
                let commit = result.expect("done").expect("through the journal");
                assert!(commit.blocks > 3, "{commit:?}");
                assert_eq!((label.as_str(), dax), ("changed at once", 96));
            }
            if done || cut % 16 == 3 {
                // What e2fsck makes of it: it replays, and finds nothing else.
                let path = dir.path().join("cut");
                let mut bytes = vec![0; usize::try_from(memory.len()).expect("small")];
                memory.read_at(0, &mut bytes).expect("read");
                std::fs::write(&path, &bytes).expect("write");
                if done {
                    let (code, text) = run("e2fsck", &["-fn"], &path);
                    assert_eq!(code, 0, "{options:?}: {text}");
                    assert!(!text.contains("recovering"), "{text}");
                }
                let (code, text) = run("e2fsck", &["-fy"], &path);
                assert!(code <= 1, "{options:?}, cut {cut}: {code} {text}");
                for complaint in ["Fix? yes", "Clear? yes", "checksum"] {
                    assert!(!text.contains(complaint), "{options:?}, cut {cut}: {text}");
                }
                let after = MemoryDevice::from_bytes(&std::fs::read(&path).expect("read"));
                assert_eq!(state(&after).0, label, "{options:?}, cut {cut}: e2fsck agrees");
            }
            cut += 1;
        }
        assert!(olds > 10 && news >= 3, "{options:?}: {olds} old, {news} new");
    }
}

#[test]
fn what_does_not_go_through_the_journal_is_left_to_others() {
    let dir = tempfile::tempdir().expect("a directory");
    for (options, why) in
        [(&["-t", "ext2"][..], "no journal"), (&["-t", "ext4", "-b", "1024", "-J", "size=1"], "too many blocks")]
    {
        let original = image(dir.path(), options);
        let base: Arc<dyn BlockDevice> = Arc::new(original.snapshot());
        let overlay = change(&base);
        if why == "too many blocks" {
            // What lies in free blocks needs no log; the files' own blocks do.
            let volume = Volume::open(Arc::clone(&base), &OpenOptions::default()).expect("a volume");
            for file in (0..96).map(|i| format!("/d{}/f{}", i / 12, i % 12)) {
                let inode = volume.resolve(file.as_bytes(), false).expect("there");
                for run in volume.extents(&inode) {
                    let run = run.expect("sound");
                    overlay.write_at(run.physical.get() << 10, &vec![0x5a; (run.len as usize) << 10]).expect("write");
                }
            }
        }
        let volume = Volume::open(Arc::clone(&base), &OpenOptions::default()).expect("a volume");
        let target = original.snapshot();
        assert_eq!(volume.commit_through_journal(&overlay, &target, NOW).expect("no error"), None, "{why}");
        assert_eq!(state(&target), state(&original), "{why}: nothing was written");
    }
    // The journal itself, and a superblock that says another journal.
    let original = image(dir.path(), &["-t", "ext4"]);
    let base: Arc<dyn BlockDevice> = Arc::new(original.snapshot());
    let volume = Volume::open(Arc::clone(&base), &OpenOptions::default()).expect("a volume");
    let journal = volume.inode(daxkit_volume::InodeNr(8)).expect("the journal");
    let first = volume.extents(&journal).next().expect("a run").expect("sound").physical.get();
    let overlay = Overlay::new(Arc::clone(&base));
    overlay.write_at((first + 9) * u64::from(volume.block_size()), &[1; 100]).expect("write");
    assert_eq!(volume.commit_through_journal(&overlay, &original.snapshot(), NOW).expect("no error"), None);
    let overlay = Overlay::new(Arc::clone(&base));
    let mut sb = *volume.super_block();
    sb.s_journal_inum.set(12);
    sb.seal();
    overlay.write_at(SUPER_BLOCK_OFFSET, sb.as_bytes()).expect("write");
    assert_eq!(volume.commit_through_journal(&overlay, &original.snapshot(), NOW).expect("no error"), None);
}
