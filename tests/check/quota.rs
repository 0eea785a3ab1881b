//! Quota files: sizes and heads that they can have, held against what e2fsck says of each.

use crate::bases;
use crate::by_hand::{changed, found, image, repaired};
use crate::verdict::{theirs, write};

/// The quota file of users has six blocks, and says so; the last of them is the leaf with room.
const ARGS: &[&str] = &["-t", "ext4", "-b", "1024", "-N", "64", "-O", "quota,^has_journal", "-E", "quotatype=usrquota"];

const DAMAGED: &str = "QTA001 quota.user:0";
const CUT: &str = "QTA004 inode:3.i_size_lo";
const USAGE: &str = "QTA002 quota.user:0";

#[test]
fn sizes_and_heads_of_a_quota_file() {
    let sound = image(ARGS, "1M", "");
    assert_eq!(found(&sound), [""; 0]);
    let size = |size: u32| ("inode:3.i_size_lo".to_owned(), size);
    let word = |block: u32, byte: u32, value: u32| (format!("inode:3/block:{block}+{byte:#x}"), value);
    let cases: &[((String, u32), i32, &[&str])] = &[
        (size(5120), 4, &[DAMAGED]),
        (size(5121), 4, &[USAGE, CUT]),
        // It reads what there is, and that is enough.
        (size(6143), 0, &[CUT]),
        (size(6145), 0, &[]),
        (size(7168), 0, &[]),
        (size(100_000), 0, &[]),
        // Blocks that the head counts.
        (word(0, 0x14, 0), 4, &[DAMAGED]),
        (word(0, 0x14, 5), 4, &[DAMAGED]),
        (word(0, 0x14, 7), 4, &[DAMAGED]),
        (word(0, 0x14, u32::MAX), 4, &[DAMAGED]),
        // The first that is free, and the first leaf with room.
        (word(0, 0x18, 5), 0, &[]),
        (word(0, 0x18, 6), 4, &[DAMAGED]),
        (word(0, 0x1c, 5), 0, &[]),
        (word(0, 0x1c, 6), 4, &[DAMAGED]),
        // A reference of the root.
        (word(1, 4, 6), 4, &[DAMAGED]),
    ];
    let scratch = bases::scratch();
    let file = scratch.path().join("image");
    for ((place, value), status, findings) in cases {
        let mut bytes = sound.clone();
        changed(&mut bytes, place, &value.to_le_bytes());
        write(&file, &bytes);
        let said = format!("{place}={value}");
        assert_eq!((theirs(&file, "-fn").0, found(&bytes)), (*status, strings(findings)), "{said}");
        let after = repaired(&bytes, |_| true);
        assert_eq!(found(&after), [""; 0], "{said}");
        write(&file, &after);
        assert_eq!(theirs(&file, "-fn").0, 0, "{said}");
        // The last block is what it was: limits stay.
        assert!(!findings.contains(&CUT) || after == sound, "{said}");
    }
}

#[test]
fn numbers_of_quota_files_without_the_feature() {
    let sound = image(&["-t", "ext2", "-b", "1024", "-N", "64"], "1M", "");
    let cases: &[(&str, u32, i32, &[&str])] = &[
        ("s_usr_quota_inum", 2, 4, &["SUP022 super.s_usr_quota_inum"]),
        ("s_usr_quota_inum", 3, 0, &[]),
        ("s_grp_quota_inum", 10, 0, &["SUP022 super.s_grp_quota_inum"]),
        ("s_prj_quota_inum", 65, 0, &["SUP022 super.s_prj_quota_inum"]),
        // An inode that is not in use: that of projects counts as if it were.
        ("s_usr_quota_inum", 50, 0, &[]),
        ("s_prj_quota_inum", 50, 4, &["QTA003 super.s_prj_quota_inum"]),
    ];
    let scratch = bases::scratch();
    let file = scratch.path().join("image");
    for (field, value, status, findings) in cases {
        let mut bytes = sound.clone();
        changed(&mut bytes, &format!("super.{field}"), &value.to_le_bytes());
        write(&file, &bytes);
        let said = format!("{field}={value}");
        assert_eq!((theirs(&file, "-fn").0, found(&bytes)), (*status, strings(findings)), "{said}");
        let after = repaired(&bytes, |_| true);
        assert!(findings.is_empty() || after == sound, "{said}");
    }
}

fn strings(findings: &[&str]) -> Vec<String> {
    findings.iter().map(|finding| (*finding).to_owned()).collect()
}
