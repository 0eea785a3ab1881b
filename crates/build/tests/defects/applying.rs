//! What `apply` promises: order, all or nothing, places that earlier defects made hard to find, reports and messages.

use crate::images::{build, kind};
use crate::places::open;
use crate::tools::{bytes, damage, defect, e2fsck, load, set};
use daxkit_build::defect::apply;
use daxkit_build::recipe::{Checksum, Defect, DefectChange};
use daxkit_device::{BlockDevice, MemoryDevice};
use std::sync::Arc;

fn image(name: &str) -> Arc<dyn BlockDevice> {
    let dir = tempfile::tempdir().unwrap();
    load(&build(kind(name), dir.path()))
}

fn sealed(place: &str, change: DefectChange) -> Defect {
    defect(place, change, Checksum::Seal)
}

/// The value of a field now.
fn value(device: &Arc<dyn BlockDevice>, place: &str) -> String {
    let located = open(device).locate(&place.parse().unwrap()).unwrap();
    located.field.unwrap().get_text(&located.read(&**device).unwrap()).unwrap()
}

#[test]
fn one_after_the_other_and_all_or_none() {
    let device = image("csum64");
    let before = bytes(&*device);
    let grow = sealed("inode.\"/files/plain\"/node.eh_entries", DefectChange::Add(1));
    let fill = sealed("inode.\"/files/plain\"/extent:1.ee_len", set("7"));
    let wrong = Defect { name: "the second".to_owned(), ..fill.clone() };
    let error = apply(&device, &[wrong, grow.clone()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "3:5: defect \"the second\": inode.\"/files/plain\"/extent:1.ee_len: inode.\"/files/plain\"/extent:1: there is no entry 1: \
         the node has 1"
    );
    let never = sealed("group.9.bg_flags", set("0"));
    let error = apply(&device, &[grow.clone(), fill.clone(), never]).unwrap_err();
    assert_eq!(error.to_string(), "3:5: group.9.bg_flags: group.9: no such group, the file system has 1");
    assert_eq!(bytes(&*device), before, "nothing is written when one defect cannot be applied");
    let done = apply(&device, &[grow, fill]).unwrap();
    let reports: Vec<_> = done.iter().map(|a| (a.place.as_str(), a.before.as_str(), a.after.as_str())).collect();
    assert_eq!(
        reports,
        [("inode.\"/files/plain\"/node.eh_entries", "1", "2"), ("inode.\"/files/plain\"/extent:1.ee_len", "0", "7")]
    );
    assert_eq!(value(&device, "inode.\"/files/plain\"/extent:1.ee_len"), "7");
    assert_eq!(apply(&device, &[]).unwrap(), []);
}

#[test]
fn a_place_is_found_whatever_was_damaged_before() {
    for name in ["1k", "gdt32", "plain"] {
        let device = image(name);
        let plain = open(&device).resolve(b"/files/plain", false).unwrap().nr();
        let places = [
            ("super.s_log_block_size", set("6")),
            ("super.s_inodes_per_group", DefectChange::Xor("0x1234".to_owned())),
            ("super.s_magic", set("0")),
            ("group.0.bg_free_blocks_count", DefectChange::Add(1)),
            ("group.0.bg_inode_table", set("0xffffffff")),
            ("inode:2.i_mode", set("0")),
            ("dir:2/block:0/entry:12.rec_len", set("3")),
            ("dir.\"/files\".entry.\"plain\"+0x8", DefectChange::Bytes(b"pl\nin".to_vec())),
            ("inode.\"/files/plain\".i_links_count", set("9")),
            ("inode.\"/files/sparse\"/node.eh_magic", set("0")),
            ("inode.\"/files/sparse\"/node:0.eh_magic", set("0")),
            ("inode.\"/files/sparse\"/extent:0.0.7.ee_len", set("0")),
            ("inode.\"/files/sparse\"/block:0", DefectChange::Bytes(vec![1])),
            ("inode.\"/files/plain\".xattr.\"user.small\".e_value_offs", set("0xffff")),
            ("inode.\"/files/plain\".xattr.\"user.small\".e_name_len", set("200")),
            ("inode.\"/files/plain\".xattr.\"user.small\".e_hash", set("5")),
            ("dir.\"/many\"/block:0.hash_version", set("99")),
            ("dir.\"/many\"/block:0.count", set("0")),
            ("dir.\"/many\"/block:0/dx:3.block", set("0")),
            ("dir.\"/many\".entry.\"an entry with a rather long name 0017\".inode", set("1")),
            ("journal.h_magic", set("0")),
            ("journal.s_blocksize", set("77")),
        ];
        for checksum in [Checksum::Seal, Checksum::Stale] {
            let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(&bytes(&*device)));
            let defects: Vec<Defect> = places.iter().map(|(p, c)| defect(p, c.clone(), checksum)).collect();
            let done = apply(&device, &defects).unwrap_or_else(|e| panic!("{name} {checksum:?}: {e}"));
            assert_eq!(done.len(), places.len());
            let links = done.iter().find(|a| a.place.ends_with("i_links_count")).unwrap();
            let mut raw = [0; 2];
            device.read_at(links.offset, &mut raw).unwrap();
            assert_eq!((raw, links.before.as_str(), links.after.as_str()), ([9, 0], "1", "9"), "{plain}");
        }
    }
}

/// Sealed defects on top of each other leave one consistent image.
#[test]
fn seals_stay_right_from_defect_to_defect() {
    let dir = tempfile::tempdir().unwrap();
    let path = build(kind("1k"), dir.path());
    let device = load(&path);
    let place = |p: &str, change| sealed(p, change);
    let defects = [
        place("inode.\"/files/sparse\".i_generation", set("0x1234")),
        place("inode.\"/files/sparse\"/node:0.0.eh_generation", set("5")),
        place("inode.\"/many\".i_generation", set("0x99")),
        place("dir.\"/many\"/block:0.dt_reserved", set("7")),
        place("inode.\"/many\".i_generation", set("0x98")),
        place("inode.\"/many\".i_version", DefectChange::Add(1)),
        place("group.0.bg_exclude_bitmap", set("3")),
        place("super.s_mnt_count", set("12")),
    ];
    apply(&device, &defects).unwrap();
    std::fs::write(&path, bytes(&*device)).unwrap();
    let (status, said) = e2fsck(&path);
    assert_eq!(status, 0, "{said}");
}

#[test]
fn changes_of_every_form() {
    let device = image("csum64");
    let plain = |field: &str| format!("inode.\"/files/plain\".{field}");
    let or = |t: &str| DefectChange::Or(t.to_owned());
    let clear = |t: &str| DefectChange::Clear(t.to_owned());
    let xor = |t: &str| DefectChange::Xor(t.to_owned());
    for (field, change, after) in [
        ("i_mode", set("0o100755"), "0100755"),
        ("i_mode", set("0x81a4"), "0100644"),
        ("i_mode", set("0b1000000111101101"), "0100755"),
        ("i_mode", clear("0111"), "0100644"),
        ("i_flags", or("DAX|nodump"), "NODUMP EXTENTS DAX"),
        ("i_flags", clear("NODUMP, 0x2000000"), "EXTENTS"),
        ("i_flags", xor("DAX"), "EXTENTS DAX"),
        ("i_flags", set("EXTENTS 0x800000"), "EXTENTS 0x800000"),
        ("i_flags.DAX", set("1"), "1"),
        ("i_flags.DAX", set("0"), "0"),
        ("i_uid", set("-1"), "65535"),
        ("i_uid", DefectChange::Add(2), "1"),
        ("i_uid_full", set("-2"), "4294967294"),
        ("i_uid_full", DefectChange::Add(3), "1"),
        ("i_size", set("-1"), "18446744073709551615"),
        ("i_size", DefectChange::Add(i64::MIN), "9223372036854775807"),
        ("i_blocks", set("0"), "0"),
        ("i_blocks", DefectChange::Add(-1), "281474976710655"),
        ("i_mtime", set("2040-01-01T00:00:00Z"), "1903-11-25T17:31:44Z"),
        ("i_mtime", set("-1"), "1969-12-31T23:59:59Z"),
        ("mtime", set("2040-01-01T00:00:00.000000007Z"), "2040-01-01T00:00:00.000000007Z"),
        ("i_block[13]", set("0xabcd"), "43981"),
        ("i_block", DefectChange::Bytes(vec![0x0b, 0xf3]), "0bf3"),
    ] {
        let done = damage(&device, &plain(field), change.clone(), Checksum::Seal);
        let done = done.unwrap_or_else(|e| panic!("{change:?}: {e}"));
        assert_eq!(done.after, after, "{field} {change:?}");
    }
    let done = damage(&device, "group.0/block_bitmap", DefectChange::Bit { index: 9, to: false }, Checksum::Seal);
    let done = done.unwrap();
    assert_eq!((done.offset, done.before.as_str(), done.after.as_str()), (4 * 4096 + 1, "1", "0"));
    let done = damage(&device, "super.s_volume_name", set("\"a\\x00b\""), Checksum::Seal).unwrap();
    assert_eq!((done.before.as_str(), done.after.as_str()), ("\"test\"", "\"a\\x00b\""));
}

#[test]
fn what_cannot_be_done_is_said_in_one_line_and_changes_nothing() {
    let device = image("csum64");
    let before = bytes(&*device);
    let mut wrong = Vec::new();
    let bytes_of = |n: usize| DefectChange::Bytes(vec![1; n]);
    let bit = |index| DefectChange::Bit { index, to: true };
    for (place, change, message) in [
        ("inode:2.i_links_count", set("6"), "it already has that value (6)"),
        ("inode:2.i_flags.DAX", set("0"), "it already has that value (0)"),
        ("inode:2.i_flags.DAX", set("yes"), "a single bit can only be set to 1 or 0"),
        ("inode:2.i_flags.DAX", DefectChange::Add(1), "a single bit can only be set to 1 or 0"),
        ("inode:2.i_flags.dex", set("1"), "inode:2: there is no bit \"i_flags.dex\" here"),
        ("inode:2.i_flegs", set("1"), "inode:2: there is no field \"i_flegs\" here"),
        ("inode:2.i_block[15]", set("1"), "inode:2: there is no element \"i_block[15]\" here"),
        ("inode:2", set("1"), "the place names no field; write bytes there, or name one"),
        ("inode:2.i_mode+0x1", set("1"), "a value is for a whole field; with an offset only bytes can be written"),
        ("inode:2.i_mode+0x2", set("1"), "inode:2.i_mode+0x2: the offset lies past the 2 bytes there are"),
        ("inode:2.i_mode", bytes_of(3), "3 bytes do not fit into the 2 bytes from there on"),
        ("inode:2+0xff", bytes_of(2), "2 bytes do not fit into the 1 bytes from there on"),
        ("inode:2.i_mode", set("0x10000"), "\"0x10000\" does not fit a field of 2 bytes"),
        ("inode:2.i_mode", set("rwx"), "\"rwx\" is not a number"),
        ("inode:2.i_mode", DefectChange::Or("rwx".to_owned()), "\"rwx\" is not numbers joined by | or ,"),
        (
            "inode:2.i_block",
            DefectChange::Add(1),
            "the field is not one integer; name an element of it, or set it as a whole",
        ),
        ("inode:2.i_mode", bit(3), "a bit by its number is for whole bitmaps"),
        ("group.0/block_bitmap", bit(32768), "bit 32768 lies past the 32768 bits of the bitmap's block"),
        ("group.0/block_bitmap", bit(4), "it already has that value (1)"),
        ("group.0/block_bitmap", set("1"), "the place names no field; write bytes there, or name one"),
        ("inode:99999.i_mode", set("1"), "inode:99999: no such inode, the file system has 1536"),
        ("inode.\"/a\\x0ab\".i_mode", set("1"), "inode:2: no entry a\\nb"),
        ("inode.\"files\".i_mode", set("1"), "inode.\"files\": paths begin with a slash"),
        ("inode.\"/files/fast/x\".i_mode", set("1"), "inode:17: not a directory"),
        ("inode.\"/files/plain\".xattr.\"user.none\".e_hash", set("1"), "the inode has no such attribute"),
        ("inode.\"/files/plain\"/map:3", set("1"), "the inode has no indirect map"),
        ("inode.\"/files/plain\"/block:77", bytes_of(1), "block 77 of the file is a hole"),
        ("inode.\"/files/fast\"/block:0", bytes_of(1), "the inode has no blocks"),
        ("dir.\"/files\"/block:0/dx:0.block", set("1"), "the block is no htree block"),
        ("dir.\"/files\"/block:0.hash_version", set("1"), "\"hash_version\" lies past the 24 bytes that are stored"),
        ("dir.\"/many\"/block:0/dx:400.block", set("1"), "there is no htree entry 400: the block has"),
        ("dir.\"/many\"/block:0.det_checksum", set("1"), "there is no field \"det_checksum\" here"),
        ("super:3.s_state", set("1"), "group.3: no such group, the file system has 1"),
        ("mmp.mmp_seq", set("1"), "the file system has no multiple mount protection"),
        ("quota.user.dqh_magic", set("1"), "the file system has no such quota file"),
        ("orphan/block:0", bytes_of(1), "the file system has no orphan file"),
        ("block:6144", bytes_of(1), "block:6144: no such block, the file system has 6144"),
        ("journal/block:4", bytes_of(0), "it already has that value ()"),
        ("inode.\"/files/sparse\"/node:0.eh_max", set("400"), "no checksum can be right there now"),
        ("dir.\"/many\"/block:0.limit", set("600"), "no checksum can be right there now"),
    ] {
        let error = damage(&device, place, change.clone(), Checksum::Seal).expect_err(place).to_string();
        if !error.contains(message) {
            wrong.push(format!("{place} {change:?}: {error:?} is not {message:?}"));
        }
        assert!(error.starts_with("3:5: ") && !error.contains('\n'), "{error:?}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(bytes(&*device), before);
    let nothing: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::new(1 << 20));
    let error = damage(&nothing, "super.s_state", set("1"), Checksum::Seal).unwrap_err().to_string();
    assert_eq!(error, "defects need an ext4 image: super: not an ext2, ext3 or ext4 file system (no magic number)");
}
