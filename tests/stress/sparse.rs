//! A file of 100 GiB with 50,000 pieces of data and as many holes.

use super::common::{holds, measure, open, scratch};
use super::oracle::{self, Mounted};
use super::snapshot::data_ranges;
use super::tools::{dax_mkfs, note, succeed, system};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

const LEN: u64 = 100 << 30;
const PIECES: u64 = 50_000;
const STEP: u64 = 2 << 20;

/// Where a piece lies: at almost every offset inside its window of 2 MiB, never next to another piece.
fn place(i: u64) -> u64 {
    i * STEP + i % 500 * 4096
}

fn piece(i: u64) -> [u8; 4096] {
    let mut bytes = [(i % 251) as u8 + 1; 4096];
    bytes[..8].copy_from_slice(&i.to_le_bytes());
    bytes
}

#[test]
fn a_hundred_gigabytes_in_fifty_thousand_pieces() {
    let scratch = scratch();
    let source = scratch.path().join("source");
    std::fs::create_dir(&source).expect("mkdir");
    let file = File::create(source.join("sparse")).expect("create");
    file.set_len(LEN).expect("a sparse file of 100 GiB");
    for i in 0..PIECES {
        file.write_all_at(&piece(i), place(i)).expect("write");
    }
    let expected = data_ranges(&file, LEN).expect("the host knows holes");
    assert_eq!(expected.len() as u64, PIECES, "the host keeps holes");
    drop(file);
    let image = scratch.path().join("image");
    let mut command = dax_mkfs();
    let used = measure(command.args(["-q", "-d"]).arg(&source).arg(&image).arg("1G"));
    let on_disk = std::fs::metadata(&image).expect("made").blocks() * 512;
    assert!(used.memory < 64 << 20, "{used}: memory must not depend on the content");
    holds(oracle::clean(&image));

    let volume = open(&image);
    let inode = volume.resolve(b"/sparse", false).expect("there");
    let ranges = volume.data_ranges(&inode).collect::<Result<Vec<_>, _>>().expect("readable");
    assert_eq!(ranges, expected, "holes are where they were");
    let extents = volume.extents(&inode).collect::<Result<Vec<_>, _>>().expect("readable").len();
    assert_eq!(extents, expected.len());
    let mut buf = [0; 4096];
    for i in 0..PIECES {
        assert_eq!(volume.read_at(&inode, place(i), &mut buf).expect("readable"), buf.len());
        assert_eq!(buf, piece(i), "piece {i}");
    }

    let mounted = holds(Mounted::new(&image, &scratch.path().join("mnt"), "ro"));
    let path = mounted.path().join("sparse");
    let told = holds(succeed(system("filefrag").arg("-v").arg(&path)));
    let is_extent = |line: &&str| line.split_once(':').is_some_and(|(n, _)| n.trim().parse::<u64>().is_ok());
    let found = String::from_utf8_lossy(&told).lines().filter(is_extent).count();
    assert_eq!(found, expected.len(), "extents by the kernel's count");
    let file = File::open(&path).expect("there");
    assert_eq!(file.metadata().expect("readable").len(), LEN);
    assert_eq!(data_ranges(&file, LEN).expect("the kernel knows holes"), expected);
    for i in 0..PIECES {
        file.read_exact_at(&mut buf, place(i)).expect("readable");
        assert_eq!(buf, piece(i), "piece {i}");
    }
    let used_by_file = file.metadata().expect("readable").blocks() * 512;
    drop(file);
    holds(mounted.unmount());
    note(format!(
        "100 GiB in {extents} extents: dax-mkfs took {used}; the file uses {} MiB, the image {} MiB",
        used_by_file >> 20,
        on_disk >> 20
    ));
    assert!((PIECES * 4096..PIECES * 4096 + (4 << 20)).contains(&used_by_file), "{used_by_file}");
}
