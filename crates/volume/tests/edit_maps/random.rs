//! Content changed at random, against bytes in memory; what e2fsck, debugfs and the kernel make of it.

use crate::common::{Mount, edit::*, mke2fs, output, scratch};
use crate::{content, files};
use daxkit_format::InodeNr;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::ext4::edit::Fill;
use daxkit_volume::{EditError, Editor};

/// An image whose maps are kept in a way of their own.
struct Kind {
    mke2fs: &'static str,
    size: &'static str,
    /// How large a file may become.
    most: u64,
}

/// One random change of a file and of the bytes it should hold.
fn change(
    editor: &mut Editor<'_>,
    rng: &mut Rng,
    nr: InodeNr,
    model: &mut Vec<u8>,
    most: u64,
) -> Result<String, EditError> {
    let mut inode = editor.inode(nr)?;
    let bs = u64::from(editor.block_size());
    let at = rng.below(most);
    let len = match rng.below(4) {
        0 => rng.below(100),
        1 => rng.below(bs * 3),
        _ => rng.below(bs * 60),
    };
    let end = (at + len).min(most);
    let at = at.min(end);
    Ok(match rng.below(10) {
        0..5 => {
            let bytes: Vec<u8> = (0..end - at).map(|_| rng.below(255) as u8 + 1).collect();
            editor.write_content(&mut inode, at, &bytes)?;
            if !bytes.is_empty() {
                model.resize(model.len().max(end as usize), 0);
                model[at as usize..end as usize].copy_from_slice(&bytes);
            }
            format!("write {at}..{end}")
        }
        5 => {
            editor.truncate(&mut inode, at)?;
            model.resize(at as usize, 0);
            format!("truncate {at}")
        }
        6 | 7 => {
            let (first, last) = (at / bs, end.div_ceil(bs));
            editor.punch(&mut inode, first..last)?;
            let to = model.len().min((last * bs) as usize);
            if ((first * bs) as usize) < to {
                model[(first * bs) as usize..to].fill(0);
            }
            format!("punch blocks {first}..{last}")
        }
        8 => {
            let fill = if rng.below(2) == 0 { Fill::Unwritten } else { Fill::Zeroes };
            let keep = rng.below(2) == 0;
            match editor.attempt(|e| e.fallocate(&mut inode, at..end, fill, keep)) {
                Ok(()) => {}
                Err(EditError::Refused { .. }) => return Ok("fallocate refused".to_owned()),
                Err(e) => return Err(e),
            }
            if !keep {
                model.resize(model.len().max(end as usize), 0);
            }
            format!("fallocate {at}..{end} {fill:?} {keep}")
        }
        _ => {
            let extents = !inode.flags().contains(InodeFlags::EXTENTS);
            match editor.attempt(|e| e.convert_map(&mut inode, extents)) {
                Ok(()) | Err(EditError::Refused { .. } | EditError::FileTooLarge { .. }) => {}
                Err(e) => return Err(e),
            }
            format!("convert {extents}")
        }
    })
}

/// Files hold what was written, whatever maps them.
fn random(which: u64, kind: &Kind) {
    let Kind { mke2fs: args, size, most } = kind;
    let seed = seed(which);
    let mut rng = Rng::new(seed);
    let dir = scratch();
    let image = mke2fs(dir.path(), "image", args, None, size);
    let (device, mut volume) = open_writable(&image);
    let files = files(&mut volume);
    let mut models = [Vec::new(), Vec::new()];
    for round in 0..12 {
        for step in 0..60 {
            let which = rng.below(2) as usize;
            let (nr, model) = (files[which], &mut models[which]);
            let before = model.clone();
            let done = volume.change(NOW, |editor| change(editor, &mut rng, nr, model, *most));
            match done {
                Ok(_) => {}
                Err(EditError::NoSpace { .. }) => *model = before,
                Err(e) => panic!("{args}, seed {seed}, round {round}, step {step}: {e}"),
            }
        }
        for (nr, model) in files.iter().zip(&models) {
            let found = content(&volume, *nr);
            assert_eq!(found.len(), model.len(), "{args}, seed {seed}, round {round}");
            let at = found.iter().zip(model).position(|(a, b)| a != b);
            assert_eq!(at, None, "{args}, seed {seed}, round {round}: inode {nr} differs");
        }
        volume.commit(&image, 0, &*device, NOW).expect("committed");
        assert_clean(&image, &format!("{args}, seed {seed}, round {round}"));
        let cat = output("debugfs", &[&"-R", &"cat /a", &image]);
        assert!(cat.stdout == models[0], "{args}, seed {seed}, round {round}: debugfs reads otherwise");
    }
    let mount = Mount::new(&image, &dir.path().join("mnt"), "ro");
    for (name, model) in ["a", "b"].iter().zip(&models) {
        let found = std::fs::read(mount.path.join(name)).expect("the kernel reads");
        assert!(found == *model, "{args}, seed {seed}: the kernel reads /{name} otherwise");
    }
}

#[test]
fn four_kib_blocks() {
    random(0, &Kind { mke2fs: "-t ext4 -b 4096", size: "64M", most: 12 << 20 });
}

#[test]
fn one_kib_blocks() {
    random(1, &Kind { mke2fs: "-t ext4 -b 1024", size: "48M", most: 6 << 20 });
}

#[test]
fn without_extents() {
    random(2, &Kind { mke2fs: "-t ext4 -b 1024 -O ^extent,^64bit", size: "48M", most: 20 << 20 });
}

#[test]
fn without_checksums() {
    random(3, &Kind { mke2fs: "-t ext4 -b 4096 -O ^metadata_csum,^64bit", size: "64M", most: 12 << 20 });
}

#[test]
fn clusters_of_four() {
    random(4, &Kind { mke2fs: "-t ext4 -b 4096 -O bigalloc -C 16384", size: "96M", most: 6 << 20 });
}

#[test]
fn clusters_of_64() {
    random(5, &Kind { mke2fs: "-t ext4 -b 1024 -O bigalloc -C 65536", size: "96M", most: 3 << 20 });
}

#[test]
fn old_inodes() {
    random(6, &Kind { mke2fs: "-t ext4 -b 4096 -O ^huge_file,^extra_isize -I 128", size: "64M", most: 12 << 20 });
}

#[test]
fn ext2() {
    random(7, &Kind { mke2fs: "-t ext2 -b 1024", size: "48M", most: 30 << 20 });
}

#[test]
fn quota() {
    random(8, &Kind { mke2fs: "-t ext4 -b 4096 -O quota,project", size: "64M", most: 12 << 20 });
}

#[test]
fn content_in_inodes() {
    random(9, &Kind { mke2fs: "-t ext4 -b 1024 -O inline_data", size: "32M", most: 400 });
}
