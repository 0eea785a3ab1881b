//! Images that cannot be mounted, or not be written: the kernel's errno, and one line that says why.

use std::fs;
use std::path::{Path, PathBuf};

use daxkit_format::dax::{DaxMode, Errno};
use daxkit_mount::fail::Fail;
use daxkit_mount::fs::ext4::Ext4Fs;
use daxkit_mount::fs::{FileSystem, Media};
use daxkit_mount::vfs::{namespace, open, rw, sync};
use daxkit_mount::world::objects::OpenFlags;

use crate::machine::{Machine, at, ext4, memory};
use crate::shared::tools::{succeed, system};

/// Where the superblock lies.
const SUPER: usize = 1024;

pub(crate) fn make(dir: &Path, options: &str, size: &str) -> PathBuf {
    let image = dir.join("image");
    let mut command = system("mke2fs");
    succeed(command.args(["-q", "-F"]).args(options.split_whitespace()).arg(&image).arg(size)).expect("mke2fs");
    image
}

pub(crate) fn changed(image: &Path, change: impl FnOnce(&mut [u8])) {
    let mut bytes = fs::read(image).expect("it is read");
    change(&mut bytes);
    fs::write(image, bytes).expect("it is written");
}

fn refusal(image: &Path) -> (Errno, String) {
    let refused = ext4(image, 0).expect_err("it must not mount");
    (refused.errno(), refused.to_string())
}

#[test]
fn what_is_no_ext4_or_not_known_is_invalid() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let image = make(dir.path(), "-t ext4 -b 4096", "16M");
    changed(&image, |bytes| bytes[SUPER + 0x38] ^= 1);
    let (errno, line) = refusal(&image);
    assert_eq!(errno, Errno::EINVAL);
    assert!(line.contains("magic") || line.contains("superblock"), "{line}");

    fs::write(&image, vec![0; 4 << 20]).expect("it is written");
    assert_eq!(refusal(&image).0, Errno::EINVAL);

    // An incompatible feature that nobody knows.
    let image = make(dir.path(), "-t ext4 -b 4096 -O ^metadata_csum", "16M");
    changed(&image, |bytes| bytes[SUPER + 0x63] |= 0x40);
    assert_eq!(refusal(&image).0, Errno::EINVAL);

    let image = make(dir.path(), "-t ext4 -b 1024", "16M");
    let refused = refusal(&image);
    let line = "blocks of 1024 bytes: the emulated kernel maps blocks as large as its pages, 4096 bytes";
    assert_eq!(refused, (Errno::EINVAL, line.to_owned()));
}

#[test]
fn a_broken_checksum_and_a_broken_number_are_told_apart() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let image = make(dir.path(), "-t ext4 -b 4096 -O metadata_csum", "16M");
    // The label: nothing but the checksum can tell.
    changed(&image, |bytes| bytes[SUPER + 0x78] ^= 1);
    assert_eq!(refusal(&image).0, Errno::EBADMSG);

    let image = make(dir.path(), "-t ext4 -b 4096 -O metadata_csum", "16M");
    let cut = fs::OpenOptions::new().write(true).open(&image).expect("it opens");
    cut.set_len(8 << 20).expect("it is cut");
    assert_eq!(refusal(&image).0, Errno::EINVAL);
}

#[test]
fn a_feature_that_may_only_be_read_mounts_read_only() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let image = make(dir.path(), "-t ext4 -b 4096 -O ^metadata_csum", "16M");
    changed(&image, |bytes| bytes[SUPER + 0x67] |= 0x40);
    let before = fs::read(&image).expect("it is read");
    let mut fs = ext4(&image, 0).expect("it can be read");
    assert!(fs.features().read_only);
    assert_eq!(fs.unlink(2, b"lost+found", true, 0), Err(Errno::EROFS));
    assert_eq!(fs.commit(), Ok(()));
    let mut after = vec![0; before.len()];
    fs.load(0, &mut after).expect("nothing is poisoned");
    assert!(after == before, "something was written");
}

#[test]
fn a_full_device_says_so_and_goes_on() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let image = make(dir.path(), "-t ext4 -b 4096 -m 0 -N 64", "8M");
    let machine = Machine::of(ext4(&image, 1_900_000_000).expect("it mounts"), DaxMode::Always, 1_900_000_000);
    let rt = &machine.rt;
    let flags = OpenFlags::RDWR | OpenFlags::CREAT;
    let file = open::open(rt, at("/file"), flags, 0o644).expect("creat");
    let data = vec![7; 1 << 20];
    let mut size = 0;
    let ended = loop {
        match rw::write(rt, file, Some(size), &data) {
            Ok(n) => size += n as u64,
            Err(fail) => break fail,
        }
    };
    assert_eq!(ended, Fail::Errno(Errno::ENOSPC));
    let free = machine.shared.with(|w| w.sb(crate::machine::SB).fs.space());
    assert!(free.free_blocks < 8, "{free:?}");
    // What waits for a commit can be had at once.
    open::close(rt, file).expect("close");
    namespace::unlink(rt, at("/file")).expect("unlink");
    let file = open::open(rt, at("/file"), flags, 0o644).expect("creat");
    let mut again = 0;
    while let Ok(n) = rw::write(rt, file, Some(again), &data) {
        again += n as u64;
    }
    assert_eq!(again, size);
    let mut names = 0;
    let full = loop {
        match namespace::mkdir(rt, at(&format!("/{names}")), 0o755) {
            Ok(()) => names += 1,
            Err(fail) => break fail,
        }
    };
    assert_eq!(full, Fail::Errno(Errno::ENOSPC));
    open::close(rt, file).expect("close");
    sync::sync(rt).expect("sync");
    let fs = machine.umount();
    crate::machine::save(&fs, &image);
    crate::shared::judge::assert_clean(&image, "after it was full");
}

#[test]
fn a_copy_goes_its_own_way() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let image = make(dir.path(), "-t ext4 -b 4096", "16M");
    let mut one = Ext4Fs::mount(memory(&image), false, 1_900_000_000).expect("it mounts");
    one.unlink(2, b"lost+found", true, 1_900_000_000).expect("it is empty");
    // Made in the middle of a transaction.
    let mut two = one.clone();
    assert_eq!((one.lookup(2, b"lost+found"), two.lookup(2, b"lost+found")), (Err(Errno::ENOENT), Err(Errno::ENOENT)));
    two.commit().expect("commit");
    one.store(0, 0, b"other").expect("nothing is poisoned");
    let mut bytes = [0; 5];
    two.load(0, &mut bytes).expect("nothing is poisoned");
    assert_eq!(bytes, [0; 5]);
    let again = Ext4Fs::mount(two.memory(), false, 1_900_000_001).expect("it mounts");
    assert_eq!(again.lookup(2, b"lost+found"), Err(Errno::ENOENT));
}
