//! Changes all or none: cut off at every write, rolled back, and refused when the rollback file is not the image's.

use daxkit_device::rollback::{
    RollbackError, discard, finish_roll_back, honour, pending_at, roll_back, rollback_path, rollback_pending,
    write_all_or_none,
};
use daxkit_device::{BlockDevice, FaultInjector, FaultPlan, FileDevice, FileOptions, MemoryDevice, Overlay};
use std::sync::Arc;

const LEN: usize = 256 << 10;

fn old() -> Vec<u8> {
    (0..LEN).map(|i| (i / 7) as u8).collect()
}

fn bytes(device: &dyn BlockDevice) -> Vec<u8> {
    let mut all = vec![0; LEN];
    device.read_at(0, &mut all).expect("read");
    all
}

/// An overlay with changes in many places, some of them zeroes.
fn changed(base: MemoryDevice) -> Overlay<MemoryDevice> {
    let overlay = Overlay::new(base);
    for i in 0..12u64 {
        overlay.write_at(i * 20_011 + 3, &[0xa0 + i as u8; 1500]).expect("write");
    }
    overlay.write_zeroes(131_072, 16_384).expect("zeroes");
    overlay
}

#[test]
fn whatever_write_is_the_last_the_old_or_the_new_state_is_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let image = dir.path().join("image");
    let original = MemoryDevice::from_bytes(&old());
    let overlay = changed(original.snapshot());
    let new = bytes(&overlay);
    let (mut was_old, mut was_new) = (0, 0);
    for cut in 0..400 {
        let memory = original.snapshot();
        let device = FaultInjector::new(&memory, FaultPlan::new().cut_after(cut * 4096));
        let done = write_all_or_none(&image, 0, &device, &overlay);
        // The next run finds the bytes that got through.
        drop(device);
        if done.is_ok() {
            assert!(!rollback_pending(&image));
            assert_eq!(bytes(&memory), new);
            was_new += 1;
            break;
        }
        assert!(rollback_pending(&image), "cut {cut}: the way back stands as long as it is needed");
        let back = roll_back(&image, &memory).expect("rolled back").expect("something to roll back");
        assert!(back.pre_images > 0);
        finish_roll_back(&image).expect("removed");
        assert_eq!(bytes(&memory), old(), "cut {cut}");
        assert!(!rollback_pending(&image) && roll_back(&image, &memory).expect("nothing").is_none());
        was_old += 1;
    }
    assert!(was_old > 5 && was_new == 1, "{was_old} {was_new}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("list").count(), 0, "nothing is left behind");
}

#[test]
fn a_device_that_fails_once_is_rolled_back_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let image = dir.path().join("image");
    let original = MemoryDevice::from_bytes(&old());
    let overlay = changed(original.snapshot());
    let device = FaultInjector::new(original.snapshot(), FaultPlan::new().fail_write(3));
    let error = write_all_or_none(&image, 0, &device, &overlay).expect_err("the device failed");
    assert!(matches!(error, RollbackError::Device(_)), "{error}");
    assert!(!rollback_pending(&image));
    assert_eq!(bytes(&device), old());
}

#[test]
fn what_is_no_way_back_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let image = dir.path().join("image");
    let device = MemoryDevice::from_bytes(&old());
    std::fs::write(rollback_path(&image), b"not an undo file at all").expect("write");
    let error = roll_back(&image, &device).expect_err("refused");
    let text = error.to_string();
    assert!(text.ends_with(": not an undo file") && text.lines().count() == 1, "{text}");
    assert_eq!(bytes(&device), old());
    // One that could not even be begun.
    let nowhere = dir.path().join("missing/image");
    let error = write_all_or_none(&nowhere, 0, &device, &changed(device.snapshot())).expect_err("no directory");
    assert!(matches!(error, RollbackError::File { .. }), "{error}");
    assert_eq!(bytes(&device), old());
}

/// An image on disk that a run has left half changed, with its rollback file.
fn half_changed(image: &std::path::Path) {
    std::fs::write(image, old()).expect("write");
    let file = FileDevice::open(image, FileOptions::read_write()).expect("open");
    let overlay = changed(MemoryDevice::from_bytes(&old()));
    let device = FaultInjector::new(&file, FaultPlan::new().cut_after(10_000));
    write_all_or_none(image, 0, &device, &overlay).expect_err("cut");
    drop(device);
    assert!(std::fs::read(image).expect("read") != old());
}

#[test]
fn whoever_opens_the_image_sees_what_it_was_and_a_writer_puts_it_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let (image, link) = (dir.path().join("image"), dir.path().join("link"));
    half_changed(&image);
    let half = std::fs::read(&image).expect("read");
    // By whatever name.
    std::os::unix::fs::symlink("image", &link).expect("link");
    assert_eq!(rollback_path(&link), rollback_path(&image));
    let open = |how| -> Arc<dyn BlockDevice> { Arc::new(FileDevice::open(&link, how).expect("open")) };
    let (device, rolled_back) = honour(&link, 0, open(FileOptions::read_only())).expect("rolled back in memory");
    assert!(rolled_back && bytes(&*device) == old());
    assert!(std::fs::read(&image).expect("read") == half && rollback_pending(&image), "the reader writes nothing");
    drop(device);
    // What stands must not be lost to another change.
    let writer = open(FileOptions::read_write());
    let error =
        write_all_or_none(&image, 0, &*writer, &changed(MemoryDevice::from_bytes(&old()))).expect_err("refused");
    assert!(matches!(error, RollbackError::Pending { .. }), "{error}");
    assert!(std::fs::read(&image).expect("read") == half);
    let (device, rolled_back) = honour(&link, 0, writer).expect("rolled back");
    assert!(rolled_back && bytes(&*device) == old());
    drop(device);
    assert!(std::fs::read(&image).expect("read") == old() && !rollback_pending(&image));
    let (_, rolled_back) = honour(&image, 0, open(FileOptions::read_write())).expect("nothing to do");
    assert!(!rolled_back);
}

#[test]
fn a_change_of_another_part_of_the_image_is_left_to_who_opens_that() {
    let dir = tempfile::tempdir().expect("a directory");
    let image = dir.path().join("image");
    std::fs::write(&image, [vec![9; 4096], old()].concat()).expect("write");
    let part = |how: FileOptions, offset| -> Arc<dyn BlockDevice> {
        Arc::new(FileDevice::open(&image, how.offset(offset)).expect("open"))
    };
    let writer = part(FileOptions::read_write(), 4096);
    let device = FaultInjector::new(&writer, FaultPlan::new().cut_after(10_000));
    write_all_or_none(&image, 4096, &device, &changed(MemoryDevice::from_bytes(&old()))).expect_err("cut");
    drop(device);
    drop(writer);
    assert_eq!(pending_at(&image).expect("readable"), Some(4096));
    let (_, rolled_back) = honour(&image, 0, part(FileOptions::read_only(), 0)).expect("not concerned");
    assert!(!rolled_back);
    let error = honour(&image, 0, part(FileOptions::read_write(), 0)).expect_err("another part first");
    assert!(matches!(error, RollbackError::Elsewhere { offset: 4096, .. }), "{error}");
    let (device, rolled_back) = honour(&image, 4096, part(FileOptions::read_write(), 4096)).expect("rolled back");
    assert!(rolled_back && bytes(&*device) == old());
    assert_eq!(pending_at(&image).expect("nothing"), None);
}

#[test]
fn what_does_not_matter_any_more_is_discarded() {
    let dir = tempfile::tempdir().expect("a directory");
    let image = dir.path().join("image");
    half_changed(&image);
    std::fs::write(dir.path().join("image.daxkit-rollback.new"), b"half").expect("write");
    assert!(discard(&image).expect("removed"));
    assert!(!discard(&image).expect("nothing to remove"));
    assert_eq!(std::fs::read_dir(dir.path()).expect("list").count(), 1);
}
