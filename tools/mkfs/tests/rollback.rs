//! An image that waits for being rolled back, because a change of it was cut short, and is overwritten.

mod common;

use common::{Bench, assert_clean, oracle};
use daxkit_device::rollback::{rollback_path, write_all_or_none};
use daxkit_device::{BlockDevice, FaultInjector, FaultPlan, FileDevice, FileOptions, MemoryDevice, Overlay};
use std::fs;
use std::path::{Path, PathBuf};

/// Leaves half of a change in a file system that begins at a byte of a file, and the way back.
fn cut_short(image: &Path, offset: u64) -> PathBuf {
    let bytes = fs::read(image).unwrap();
    let file = FileDevice::open(image, FileOptions::read_write().offset(offset)).unwrap();
    let overlay = Overlay::new(MemoryDevice::from_bytes(&bytes[usize::try_from(offset).unwrap()..]));
    overlay.write_at(1024 + 120, b"new").unwrap();
    overlay.write_at(4096, &[0xa5; 300_000]).unwrap();
    let device = FaultInjector::new(&file, FaultPlan::new().cut_after(100_000));
    write_all_or_none(image, offset, &device, &overlay).unwrap_err();
    drop(device);
    assert!(fs::read(image).unwrap() != bytes && rollback_path(image).exists());
    rollback_path(image)
}

#[test]
fn what_leads_back_to_an_overwritten_image_goes_with_it() {
    let bench = Bench::new();
    bench.ok(&["image", "16M"]);
    let image = bench.path("image");
    for options in [&["-F", "image"][..], &["-F", "image", "8M"], &["-F", "-O", "journal_dev", "image"]] {
        let rollback = cut_short(&image, 0);
        // What only looks leaves it.
        bench.ok(&[&["-n"], options].concat());
        assert!(rollback.exists());
        bench.ok(options);
        assert!(!rollback.exists(), "{options:?}");
        bench.ok(&["-F", "image"]);
        assert_clean(&image);
    }
    // Even one that leads nowhere.
    fs::write(rollback_path(&image), b"junk").unwrap();
    bench.ok(&["-F", "image"]);
    assert!(!rollback_path(&image).exists());
    // And one that an image left behind which is gone.
    let rollback = cut_short(&image, 0);
    fs::remove_file(&image).unwrap();
    bench.ok(&["image", "16M"]);
    assert!(!rollback.exists());
    assert_clean(&image);
}

#[test]
fn an_undo_file_leads_back_to_the_image_as_it_was_before_the_change() {
    let bench = Bench::new();
    bench.ok(&["image", "16M"]);
    let image = bench.path("image");
    let before = fs::read(&image).unwrap();
    let rollback = cut_short(&image, 0);
    bench.ok(&["-F", "-z", "undo", "image"]);
    assert!(!rollback.exists());
    assert_clean(&image);
    oracle("e2undo", &[bench.path("undo").to_str().unwrap(), image.to_str().unwrap()]);
    assert!(fs::read(&image).unwrap() == before);
    fs::write(&rollback, b"junk").unwrap();
    let line = bench.refused(&["-F", "-z", "undo2", "image"]);
    assert!(line.contains("not an undo file"), "{line}");
    assert!(fs::read(&image).unwrap() == before && rollback.exists());
}

#[test]
fn what_leads_back_elsewhere_in_the_file_is_kept() {
    let bench = Bench::new();
    bench.ok(&["image", "16M"]);
    let image = bench.path("image");
    let one = fs::read(&image).unwrap();
    fs::write(&image, [one.clone(), one].concat()).unwrap();
    let rollback = cut_short(&image, 16 << 20);
    let half = fs::read(&image).unwrap();
    let line = bench.refused(&["-F", "image", "16M"]);
    assert!(line.contains("stands, for the file system at byte 16777216 of the image"), "{line}");
    assert!(fs::read(&image).unwrap() == half && rollback.exists());
}
