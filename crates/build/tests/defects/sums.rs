//! Checksums as the very thing that is changed, and those that `e2fsck -fn` of the whole image does not look at.

use crate::images::{build, kind};
use crate::judge::{fill, write_changes};
use crate::places::open;
use crate::tools::{bytes, damage, defect, e2fsck, load, run, set};
use daxkit_build::defect::apply;
use daxkit_build::recipe::{Checksum, Defect, DefectChange};
use daxkit_device::{BlockDevice, Overlay};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// What a tool says of the image with these defects.
fn said(image: &Path, device: &Arc<dyn BlockDevice>, defects: &[Defect], ask: &dyn Fn(&Path) -> String) -> String {
    let overlay = Arc::new(Overlay::new(Arc::clone(device)));
    let shared: Arc<dyn BlockDevice> = Arc::<Overlay<_>>::clone(&overlay);
    apply(&shared, defects).unwrap_or_else(|e| panic!("{e}"));
    write_changes(image, &overlay, &*overlay);
    let text = ask(image);
    write_changes(image, &overlay, &**device);
    text
}

/// Each: kind of image, checksum, what e2fsck says of it, and what it would say of the checksum outside of that one.
const SUMS: [(&str, &str, &str, &str); 15] = [
    ("csum64", "super.s_checksum", "Superblock checksum does not match", "-"),
    ("csum64", "group.0.bg_checksum", "Group descriptor 0 checksum is", "-"),
    ("csum64", "group.0.bg_block_bitmap_csum", "Group 0 block bitmap does not match checksum", "Group descriptor 0"),
    ("csum64", "group.0.bg_inode_bitmap_csum", "Group 0 inode bitmap does not match checksum", "Group descriptor 0"),
    ("csum64", "inode.\"/files/plain\".i_checksum", "checksum does not match inode", "-"),
    ("csum64", "block:{=inode.\"/files/plain\".i_file_acl}.h_checksum", "checksum does not match block", "match inode"),
    ("csum64", "dir.\"/files\"/block:0.det_checksum", "directory passes checks but fails checksum", "match inode"),
    ("csum32", "group.0.bg_block_bitmap_csum", "Group 0 block bitmap does not match checksum", "Group descriptor 0"),
    ("1k", "inode.\"/files/sparse\"/node:0.et_checksum", "checksum does not match extent", "match inode"),
    ("1k", "dir.\"/many\"/block:0.dt_checksum", "root node fails checksum", "match inode"),
    ("1k", "orphan/block:0.ob_checksum", "block 0 is not clean", "match inode"),
    ("gdt32", "group.1.bg_checksum", "Group descriptor 1 checksum is", "-"),
    ("gdt64", "group.0.bg_checksum", "Group descriptor 0 checksum is", "-"),
    ("mmp", "mmp.mmp_checksum", "Superblock MMP block checksum does not match", "-"),
    ("journal3", "journal.s_checksum", "Journal superblock is corrupt", "-"),
];

#[test]
fn a_checksum_that_is_changed_stays_and_those_outside_of_it_follow() {
    let dir = tempfile::tempdir().unwrap();
    for sums in SUMS.chunk_by(|a, b| a.0 == b.0) {
        let image = build(kind(sums[0].0), dir.path());
        let device = load(&image);
        for (kind, place, inner, outer) in sums {
            let place = fill(place, &open(&device));
            let flip = defect(&place, DefectChange::Xor("1".to_owned()), Checksum::Seal);
            let text = said(&image, &device, &[flip], &|image| e2fsck(image).1);
            assert!(text.contains(inner) && (*outer == "-" || !text.contains(outer)), "{kind} {place}: {text}");
        }
    }
}

/// What e2fsck says when it goes by the copy of the superblock in group 1.
fn by_copy(image: &Path) -> String {
    run("e2fsck", &["-fn", "-b", "8193", "-B", "1024", image.to_str().unwrap()]).1
}

#[test]
fn copies_have_checksums_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let complaint = "Superblock checksum does not match";
    for (name, has_sums) in [("1k", true), ("plain", false)] {
        let image = build(kind(name), dir.path());
        let device = load(&image);
        let show = |image: &Path| {
            let args = ["-h", "-o", "superblock=8193", "-o", "blocksize=1024", image.to_str().unwrap()];
            by_copy(image) + &run("dumpe2fs", &args).1
        };
        for (checksum, complains) in [(Checksum::Seal, false), (Checksum::Stale, has_sums)] {
            let change = defect("super:1.s_volume_name", set("changed"), checksum);
            let text = said(&image, &device, &[change], &show);
            assert_eq!(text.contains(complaint), complains, "{name}: {text}");
            assert!(complains || text.contains("Filesystem volume name:   changed"), "{name}: {text}");
        }
    }
    // No tool verifies copies of descriptors: they are judged where the primary ones lie, by e2fsck.
    let as_primary = |image: &Path| {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(image).unwrap();
        let (mut primary, mut copy) = ([0; 1024], [0; 1024]);
        file.read_exact_at(&mut primary, 2 * 1024).unwrap();
        file.read_exact_at(&mut copy, 8194 * 1024).unwrap();
        file.write_all_at(&copy, 2 * 1024).unwrap();
        let text = e2fsck(image).1;
        file.write_all_at(&primary, 2 * 1024).unwrap();
        text
    };
    for (name, has_sums) in [("1k", true), ("gdt32", true), ("plain", false)] {
        let image = build(kind(name), dir.path());
        let device = load(&image);
        for (checksum, complains) in [(Checksum::Seal, false), (Checksum::Stale, has_sums)] {
            let change = defect("group.2:1.bg_used_dirs_count", set("99"), checksum);
            let text = said(&image, &device, &[change], &as_primary);
            assert_eq!(text.contains("Group descriptor 2 checksum is"), complains, "{name}: {text}");
            assert!(text.contains("Directories count wrong for group #2 (99"), "{name}: {text}");
        }
    }
}

/// Blocks of the log: 1 descriptor, 2 and 3 data, 4 commit, 5 revoke, 6 commit. The journal is replayed to see.
#[test]
fn blocks_of_the_log_are_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    let replay = |image: &Path| {
        std::fs::copy(image, &copy).unwrap();
        let text = run("e2fsck", &["-fy", copy.to_str().unwrap()]).1;
        let read = run("debugfs", &["-R", "block_dump 20001", copy.to_str().unwrap()]).1;
        text + &read
    };
    for name in ["journal3", "journal2"] {
        let image = build(kind(name), dir.path());
        let device = load(&image);
        let good = replay(&image);
        assert!(
            good.contains("recovering journal") && !good.contains("checksum") && good.contains("0000000"),
            "{good}"
        );
        for (place, change) in [
            ("journal/block:1+0x380", DefectChange::Bytes(vec![0x55])),
            ("journal/block:2+0x8", DefectChange::Bytes(b"DAMAGED".to_vec())),
            ("journal/block:3+0x8", DefectChange::Bytes(b"DAMAGED".to_vec())),
            ("journal/block:4.h_commit_sec", set("@86400")),
            ("journal/block:5.r_count", DefectChange::Add(-8)),
            ("journal/block:6.h_commit_nsec", set("17")),
        ] {
            let sealed = said(&image, &device, &[defect(place, change.clone(), Checksum::Seal)], &replay);
            assert!(sealed.contains("recovering journal"), "{name} {place}: {sealed}");
            assert!(!sealed.contains("corrupt"), "{name} {place}: {sealed}");
            assert!(!sealed.to_lowercase().contains("checksum"), "{name} {place}: {sealed}");
            assert_eq!(sealed.contains("DAMAGED"), place.contains("block:2+"), "{name} {place}: {sealed}");
            let stale = said(&image, &device, &[defect(place, change.clone(), Checksum::Stale)], &replay);
            let refused = stale.contains("checksum error") || stale.contains("was corrupt, replay was aborted");
            assert!(refused, "{name} {place}: {stale}");
        }
    }
}

#[test]
fn an_entry_of_the_orphan_file_counts_when_its_checksum_fits() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(kind("1k"), dir.path());
    let device = load(&image);
    let orphan = open(&device).resolve(b"/files/plain", false).unwrap().nr().get() as u32;
    let copy = dir.path().join("copy");
    // Only a run that may write looks at orphans.
    let repair = |image: &Path| {
        std::fs::copy(image, &copy).unwrap();
        run("e2fsck", &["-fy", copy.to_str().unwrap()]).1
    };
    for (checksum, fits) in [(Checksum::Seal, true), (Checksum::Stale, false)] {
        let defects = [
            defect("super.s_feature_ro_compat.orphan_present", set("1"), Checksum::Seal),
            defect("orphan/block:0", DefectChange::Bytes(orphan.to_le_bytes().to_vec()), checksum),
        ];
        let text = said(&image, &device, &defects, &repair);
        assert_eq!(text.contains(&format!("orphaned inode {orphan}")), fits, "{text}");
    }
}

#[test]
fn a_change_of_all_seeds_is_refused_unless_stale() {
    let dir = tempfile::tempdir().unwrap();
    for (name, place, change, refused) in [
        ("csum64", "super.s_uuid", set("clear"), true),
        ("csum64", "super.s_feature_ro_compat.metadata_csum", set("0"), true),
        ("csum64", "super.s_feature_incompat.metadata_csum_seed", set("1"), true),
        ("csum64", "super.s_checksum_type", set("2"), true),
        ("csum64", "super.s_checksum_seed", set("0x5"), false),
        ("csum64", "super+0x68", DefectChange::Bytes(vec![0x99]), true),
        ("csum64", "block:0+0x468", DefectChange::Bytes(vec![0x99]), true),
        ("seed", "super.s_uuid", set("clear"), false),
        ("seed", "super:1.s_uuid", set("clear"), false),
        ("seed", "super.s_checksum_seed", set("0x5"), true),
        ("gdt32", "super.s_uuid", set("clear"), true),
        ("gdt32", "super.s_feature_ro_compat.uninit_bg", set("0"), true),
        ("plain", "super.s_uuid", set("clear"), false),
        ("plain", "super.s_feature_ro_compat.metadata_csum", set("1"), true),
        ("journal3", "journal.s_uuid", set("clear"), true),
        ("journal3", "journal.s_feature_incompat.journal_checksum_v3", set("0"), true),
    ] {
        let path = dir.path().join(name);
        let image = if path.exists() { path } else { build(kind(name), dir.path()) };
        let device = load(&image);
        let before = bytes(&*device);
        let answer = damage(&device, place, change.clone(), Checksum::Seal).map_err(|e| e.to_string());
        match answer {
            Ok(_) => assert!(!refused, "{name} {place}"),
            Err(e) => {
                assert!(refused && e.contains("it can only be left stale (checksum = \"stale\")"), "{name} {e}");
                assert_eq!(bytes(&*device), before);
                damage(&device, place, change, Checksum::Stale).unwrap();
            }
        }
    }
}
