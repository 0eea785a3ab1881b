//! Places in images of mke2fs: found whatever the checksums say, and nothing but an error whatever the image says.

mod common;

use common::{Rng, assert_clean, debugfs_write, mke2fs, open_bytes, output, scratch};
use daxkit_device::{BlockDevice, MemoryDevice};
use daxkit_format::field::Place;
use daxkit_volume::{BlockNr, Edit, Located, OpenOptions, Seal, Verdict, Volume, seal};
use std::path::Path;
use std::sync::Arc;

/// One place of every form, for the image of [`image`].
const PLACES: [&str; 38] = [
    "super.s_free_inodes_count",
    "super:1.s_state",
    "super:0.s_state",
    "group.1.bg_flags",
    "group.1:1.bg_flags",
    "group.0:0.bg_checksum",
    "group.0/block_bitmap",
    "group.0/inode_bitmap+0x10",
    "inode:2.i_size",
    "inode.\"/dir\".i_generation",
    "inode.\"/sparse\"/node.eh_max",
    "inode.\"/sparse\"/node:0.et_checksum",
    "inode.\"/sparse\"/extent:0.ei_leaf",
    "inode.\"/sparse\"/extent:0.3.ee_start",
    "inode.\"/sparse\"/block:0+0x3ff",
    "inode:7/map:13",
    "inode:7/map:13.3",
    "inode.\"/file\".xattr.\"user.in\".e_hash",
    "inode.\"/file\".xattr.\"user.out\".e_value_offs",
    "dir:2.entry.\"dir\".inode",
    "dir.\"/\".entry.\"..\".rec_len",
    "dir.\"/dir\"/block:1/entry:0.name_len",
    "dir.\"/dir\"/block:0/dx:1.hash",
    "dir.\"/dir\"/block:0.indirect_levels",
    "dir.\"/dir\"/block:0.count",
    "dir.\"/dir\"/block:0.dt_checksum",
    "dir.\"/dir\"/block:1.det_checksum",
    "block:1",
    "block:2+0x1e",
    "block:900+0x1",
    "journal.s_sequence",
    "journal/block:1",
    "mmp.mmp_seq",
    "quota.user.dqi_flags",
    "quota.group/id:0.dqb_curspace",
    "orphan/block:0.ob_magic",
    "inode.\"/link\".i_mode",
    "inode.\"/link/../file\".i_mode",
];

fn image(dir: &Path) -> std::path::PathBuf {
    use std::os::unix::fs::FileExt;
    let source = dir.join("source");
    std::fs::create_dir_all(source.join("dir")).unwrap();
    for i in 0..300 {
        std::fs::write(source.join(format!("dir/an entry with a rather long name {i:04}")), "").unwrap();
    }
    std::fs::write(source.join("file"), "content\n").unwrap();
    std::os::unix::fs::symlink("dir", source.join("link")).unwrap();
    let sparse = std::fs::File::create(source.join("sparse")).unwrap();
    for i in 0..100u64 {
        sparse.write_all_at(&[7; 4096], i * 8192).unwrap();
    }
    let args = "-t ext4 -b 1024 -g 8192 -N 1024 -O quota,orphan_file -J size=1";
    let image = mke2fs(dir, "image", args, Some(&source), "24M");
    let value = dir.join("value");
    std::fs::write(&value, "x".repeat(300)).unwrap();
    debugfs_write(&image, &format!("ea_set /file user.in small\nea_set /file user.out -f {}\n", value.display()));
    let out = output("e2fsck", &[&"-fyD", &image]);
    assert!(out.status.code().is_some_and(|c| c <= 1), "{}", String::from_utf8_lossy(&out.stdout));
    // Last, since with it debugfs and e2fsck wait for others to let go of the image.
    let out = output("tune2fs", &[&"-O", &"mmp", &image]);
    assert!(out.status.success());
    assert_clean(&image);
    image
}

fn locate(volume: &Volume, place: &str) -> Result<Located, String> {
    volume.locate(&place.parse::<Place>().unwrap()).map_err(|e| e.to_string())
}

fn value(volume: &Volume, located: &Located) -> Option<String> {
    located.field?.get_text(&located.read(&**volume.device()).unwrap())
}

#[test]
fn every_form_of_place_is_found_and_checksums_do_not_matter() {
    let scratch = scratch();
    let good = std::fs::read(image(scratch.path())).unwrap();
    let strict = OpenOptions { replay: false, ..OpenOptions::default() };
    let volume = open_bytes(&good, &strict).unwrap();
    let found: Vec<Located> =
        PLACES.iter().map(|p| locate(&volume, p).unwrap_or_else(|e| panic!("{p}: {e}"))).collect();
    let text = |place| value(&volume, &locate(&volume, place).unwrap());
    assert_eq!(text("dir.\"/\".entry.\"..\".inode").as_deref(), Some("2"));
    assert_eq!(text("inode.\"/link\".i_mode").as_deref(), Some("0120777"));
    assert_eq!(text("inode.\"/link/../file\".i_size").as_deref(), Some("8"));
    assert_eq!(text("inode.\"/sparse\"/node.eh_depth").as_deref(), Some("1"));
    assert_eq!(text("dir.\"/dir\"/block:0/dx:0.block").as_deref(), Some("1"));
    assert_eq!(text("journal.s_blocksize").as_deref(), Some("1024"));

    // Every checksum there is, spoilt: a volume that verifies finds the same places all the same.
    let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(&good));
    let seals: Vec<&Seal> = found.iter().flat_map(|l| &l.seals).collect();
    let spoilt: Vec<Edit> = seals.iter().flat_map(|s| s.spoil(&*device).unwrap()).collect();
    let sb = volume.super_block_offset();
    for edit in spoilt.iter().filter(|e| !(sb..sb + 1024).contains(&e.offset)) {
        device.write_at(edit.offset, &edit.bytes).unwrap();
    }
    let volume = Volume::open(Arc::clone(&device), &strict).unwrap();
    assert!(volume.inode(daxkit_volume::InodeNr(2)).is_err() && volume.group_desc(daxkit_volume::GroupNr(0)).is_err());
    for (place, before) in PLACES.iter().zip(&found) {
        let now = locate(&volume, place).unwrap_or_else(|e| panic!("{place}: {e}"));
        assert_eq!(&now, before, "{place}");
    }
}

/// Fixing from the inside out makes right what spoiling made wrong.
#[test]
fn what_is_spoilt_is_wrong_and_what_is_fixed_is_right_again() {
    let scratch = scratch();
    let path = image(scratch.path());
    let good = std::fs::read(&path).unwrap();
    let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(&good));
    let volume = open_bytes(&good, &OpenOptions { replay: false, ..OpenOptions::default() }).unwrap();
    let bytes = |device: &dyn BlockDevice| {
        let mut bytes = vec![0; device.len() as usize];
        device.read_at(0, &mut bytes).unwrap();
        bytes
    };
    let mut kinds = std::collections::BTreeSet::new();
    for place in PLACES {
        let located = locate(&volume, place).unwrap();
        let [seal, outer @ ..] = located.seals.as_slice() else { continue };
        if seal.verify(&*device).unwrap() == Verdict::Unused {
            continue;
        }
        assert_eq!(seal.verify(&*device).unwrap(), Verdict::Right, "{place}: {seal}");
        assert_eq!(seal.fix(&*device).unwrap(), [], "{place}");
        let spoil = seal.spoil(&*device).unwrap();
        for edit in &spoil {
            assert!(seal.stored_at(&*device).unwrap().contains(&edit.range()));
            device.write_at(edit.offset, &edit.bytes).unwrap();
        }
        assert!(
            matches!(seal.verify(&*device).unwrap(), Verdict::Wrong { stored, right } if stored == right ^ 1),
            "{seal}"
        );
        for seal in std::iter::once(seal).chain(outer) {
            for edit in seal.fix(&*device).unwrap() {
                device.write_at(edit.offset, &edit.bytes).unwrap();
            }
        }
        assert!(bytes(&*device) == good, "{place}");
        let text = seal.to_string();
        kinds.insert(text[text.rfind('.').unwrap()..].to_owned());
    }
    let wanted = [
        ".bg_block_bitmap_csum",
        ".bg_checksum",
        ".bg_inode_bitmap_csum",
        ".det_checksum",
        ".dt_checksum",
        ".et_checksum",
        ".h_checksum",
        ".i_checksum",
        ".mmp_checksum",
        ".ob_checksum",
        ".s_checksum",
    ];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
}

#[test]
fn another_superblock_and_another_offset() {
    let scratch = scratch();
    let path = image(scratch.path());
    let good = std::fs::read(&path).unwrap();
    let mut shifted = vec![0xee; 4096 + 512];
    shifted.extend_from_slice(&good);
    let options = OpenOptions { offset: 4096 + 512, replay: false, ..OpenOptions::default() };
    let (plain, moved) = (open_bytes(&good, &OpenOptions::default()).unwrap(), open_bytes(&shifted, &options).unwrap());
    for place in PLACES {
        let (a, b) = (locate(&plain, place).unwrap(), locate(&moved, place).unwrap());
        assert_eq!(a.named.start + 4096 + 512, b.named.start, "{place}");
        assert_eq!(value(&plain, &a), value(&moved, &b), "{place}");
        for seal in &b.seals {
            let verdict = seal.verify(&**moved.device()).unwrap();
            assert!(matches!(verdict, Verdict::Right | Verdict::Unused), "{place}: {seal} {verdict:?}");
        }
    }
    let backup = OpenOptions { super_block: Some(BlockNr(8193)), replay: false, ..OpenOptions::default() };
    let volume = open_bytes(&good, &backup).unwrap();
    let at = |place: &str| locate(&volume, place).unwrap().object.start;
    assert_eq!((at("super"), at("super:0"), at("super:1")), (8193 * 1024, 1024, 8193 * 1024));
    assert_eq!((at("group.0"), at("group.0:0"), at("group.0:1")), (8194 * 1024, 2 * 1024, 8194 * 1024));
    assert_eq!(
        locate(&volume, "inode.\"/sparse\"/block:3").unwrap().object,
        locate(&plain, "inode.\"/sparse\"/block:3").unwrap().object
    );
}

/// A change and what [`seal`] adds to it, written into the image.
fn change(path: &Path, place: &str, text: &str) -> Vec<Edit> {
    let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(&std::fs::read(path).unwrap()));
    let volume = Volume::open(Arc::clone(&device), &OpenOptions { replay: false, ..OpenOptions::default() }).unwrap();
    let located = locate(&volume, place).unwrap();
    let before = located.read(&*device).unwrap();
    let mut after = before.clone();
    located.field.unwrap().set_text(&mut after, text).unwrap();
    let edits = located.edits(&before, &after);
    let sums = seal(&*device, &located.seals, &edits).unwrap();
    for edit in edits.iter().chain(&sums) {
        device.write_at(edit.offset, &edit.bytes).unwrap();
    }
    let mut bytes = vec![0; device.len() as usize];
    device.read_at(0, &mut bytes).unwrap();
    std::fs::write(path, bytes).unwrap();
    sums
}

#[test]
fn a_new_generation_seals_every_block_of_the_inode() {
    let scratch = scratch();
    let path = image(scratch.path());
    for (inode, least) in [("inode.\"/dir\"", 15), ("inode.\"/sparse\"", 2), ("inode:12", 4)] {
        let sums = change(&path, &format!("{inode}.i_generation"), "0x1234567");
        // The inode's own checksum lies in two places.
        assert!(sums.len() >= least + 2, "{inode}: {}", sums.len());
        assert_clean(&path);
    }
}

/// Flags make an entry one that has a hash behind its name, whether there is one or not.
#[test]
fn the_hash_behind_an_encrypted_name() {
    let scratch = scratch();
    let path = image(scratch.path());
    let volume = open_bytes(&std::fs::read(&path).unwrap(), &OpenOptions::default()).unwrap();
    // The last entry of a block has room behind its name.
    let last = volume.read_dir(&volume.root().unwrap()).unwrap().last().unwrap().unwrap();
    let place = format!("dir.\"/\"/block:{}/entry:{}.minor_hash", last.logical, last.offset);
    assert!(locate(&volume, &place).unwrap_err().contains("there is no field \"minor_hash\" here"));
    change(&path, "inode:2.i_flags", "EXTENTS ENCRYPT CASEFOLD");
    let volume = open_bytes(&std::fs::read(&path).unwrap(), &OpenOptions::default()).unwrap();
    let located = locate(&volume, &place).unwrap();
    // Behind the head, the name and its padding comes the first hash.
    let hash = located.object.start + 8 + last.name.len().next_multiple_of(4) as u64;
    assert_eq!(located.named, hash + 4..hash + 8);
    // An entry that its name fills has none.
    assert!(locate(&volume, "dir.\"/\"/block:0/entry:24.hash").is_err());
}

#[test]
fn no_image_makes_it_panic_or_run_for_ever() {
    let scratch = scratch();
    let good = std::fs::read(image(scratch.path())).unwrap();
    let seed = 0x10ca_7e5e_ed00_0001;
    println!("seed {seed:#x}");
    let mut rng = Rng(seed);
    let places: Vec<Place> = PLACES.iter().map(|p| p.parse().unwrap()).collect();
    let clean = open_bytes(&good, &OpenOptions::default()).unwrap();
    // Bytes that the way to these places leads over.
    let near: Vec<u64> = places.iter().map(|p| clean.locate(p).unwrap().object.start).collect();
    let whole = MemoryDevice::from_bytes(&good);
    let (mut found, mut missing) = (0, 0);
    for round in 0..600 {
        let device: Arc<dyn BlockDevice> = Arc::new(whole.snapshot());
        for _ in 0..1 + round % 12 {
            let start = near[rng.below(near.len() as u64) as usize];
            let byte = [0, 1, 0x7f, 0x80, 0xff, rng.next() as u8][rng.below(6) as usize];
            device.write_at(start + rng.below(256), &[byte]).unwrap();
        }
        let catastrophic = round % 3 == 0;
        let options = OpenOptions { ignore_checksums: true, catastrophic, replay: false, ..OpenOptions::default() };
        let Ok(volume) = Volume::open(device, &options) else { continue };
        for place in &places {
            match volume.locate(place) {
                Ok(located) => {
                    found += 1;
                    for seal in &located.seals {
                        let _ = (seal.verify(&**volume.device()), seal.fix(&**volume.device()));
                    }
                }
                Err(e) => {
                    missing += 1;
                    assert!(!e.to_string().contains('\n'), "{e}");
                }
            }
        }
    }
    assert!(found > 10_000 && missing > 300, "{found} found, {missing} missing");
}
