use super::*;
use crate::ext4::inode::Timestamp;
use crate::ext4::quota::QuotaKind;
use crate::on_disk::{FieldKind, FieldValue};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn every_field_lies_alone_and_inside_its_structure() {
    let mut seen = BTreeSet::new();
    for s in structures() {
        let mut end = 0;
        let mut names = BTreeSet::new();
        for f in s.fields {
            assert_eq!(f.offset, end, "{}.{}", s.name, f.name);
            assert!(names.insert(f.name), "{}.{} twice", s.name, f.name);
            end += f.kind.len();
        }
        assert_eq!(end, s.size, "{}", s.name);
        assert!(seen.insert((s.name, s.size)), "{} twice", s.name);
        assert_eq!(Structure::by_name(s.name).map(Structure::name), Some(s.name));
        assert_eq!(s.structure.size(), s.size);
    }
    assert_eq!(structures().len(), 41);
}

/// Patterns that show a wrong width, order or sign.
fn samples(kind: FieldKind) -> Vec<FieldValue> {
    match kind {
        FieldKind::Bytes { count } => [0u8, 1, 0x22, 0x5c, 0x80, 0xff]
            .iter()
            .map(|b| FieldValue::Bytes((0..count).map(|i| b.wrapping_mul(i as u8 | 1)).collect()))
            .chain([FieldValue::Bytes(
                b"a \"b\" \\x".iter().copied().chain([0; 768]).take(usize::from(count)).collect(),
            )])
            .collect(),
        FieldKind::Le { width, count } | FieldKind::Be { width, count } => {
            let max = if width == 8 { u64::MAX } else { (1 << (u32::from(width) * 8)) - 1 };
            let one = |x: u64| {
                if count == 1 {
                    FieldValue::Int(x)
                } else {
                    FieldValue::Ints((0..u64::from(count)).map(|i| x ^ (i & 1)).collect())
                }
            };
            (0..u32::from(width) * 8)
                .map(|b| 1u64 << b)
                .chain([0, 3, 1_700_000_000, max, max - 1])
                .map(|x| one(x & max))
                .collect()
        }
    }
}

#[test]
fn every_field_of_every_structure_reads_back_from_its_text() {
    let mut fields = 0;
    for s in structures() {
        for f in s.fields {
            let access = Access::find(s.structure, f.name).unwrap_or_else(|| panic!("{}.{}", s.name, f.name));
            assert_eq!((access.low, access.second()), (*f, None), "{}.{}", s.name, f.name);
            for value in samples(f.kind) {
                let mut bytes = vec![0x55; s.size];
                assert!(access.set(&mut bytes, &value), "{}.{} {value:?}", s.name, f.name);
                let text = access.get_text(&bytes).expect("in range");
                let mut again = vec![0x55; s.size];
                assert_eq!(access.set_text(&mut again, &text), Ok(()), "{}.{} {text}", s.name, f.name);
                assert_eq!(again, bytes, "{}.{} {text}", s.name, f.name);
                assert!(!text.contains('\n'), "{text}");
            }
            fields += 1;
        }
    }
    assert!(fields > 300, "{fields}");
}

#[test]
fn values_in_two_halves_are_one_number() {
    let mut bytes = [0u8; 160];
    let size = Access::find(Structure::Inode, "size").expect("known");
    assert_eq!(size.name, "i_size");
    assert!(size.set(&mut bytes, &FieldValue::Int(0x1_2345_6789)));
    assert_eq!((bytes[4], bytes[7], bytes[0x6c]), (0x89, 0x23, 1));
    assert_eq!(size.get(&bytes), Some(FieldValue::Int(0x1_2345_6789)));
    let uid = Access::find(Structure::Inode, "uid").expect("known");
    assert_eq!(uid.set_text(&mut bytes, "70000"), Ok(()));
    assert_eq!(Access::find(Structure::Inode, "uid_hi").and_then(|a| a.get(&bytes)), Some(FieldValue::Int(1)));
    let blocks = Access::find(Structure::Inode, "blocks").expect("known");
    assert!(!blocks.set(&mut bytes, &FieldValue::Int(1 << 48)));
    assert!(blocks.set(&mut bytes, &FieldValue::Int((1 << 48) - 1)));
    // A descriptor of 32 bytes has no high halves.
    let table = Access::find(Structure::GroupDesc, "inode_table").expect("known");
    assert!(!table.set(&mut [0; 32], &FieldValue::Int(1 << 32)));
    assert!(table.set(&mut [0; 32], &FieldValue::Int(7)));
}

#[test]
fn joined_times_carry_epoch_and_nanoseconds() {
    let mut bytes = [0u8; 160];
    let mtime = Access::find(Structure::Inode, "mtime").expect("known");
    for text in ["2024-02-29T23:59:59.000000001Z", "1901-12-13T20:45:52Z", "2446-05-10T22:38:55.999999999Z"] {
        assert_eq!(mtime.set_text(&mut bytes, text), Ok(()));
        assert_eq!(mtime.get_text(&bytes).as_deref(), Some(text));
    }
    assert!(mtime.set_text(&mut bytes, "2446-05-10T22:38:56Z").is_err());
    assert_eq!(mtime.set_text(&mut bytes, "20240102030405"), Ok(()));
    assert_eq!(mtime.get_text(&bytes).as_deref(), Some("2024-01-02T03:04:05Z"));
}

#[test]
fn words_of_i_block_have_names() {
    let block = Access::find(Structure::Inode, "block").expect("known");
    let mut bytes = [0u8; 160];
    assert_eq!(block.element("TIND").expect("last").set_text(&mut bytes, "77"), Ok(()));
    assert_eq!(bytes[0x28 + 56], 77);
    assert!(block.element("15").is_none());
    let seed = Access::find(Structure::SuperBlock, "hash_seed").expect("known");
    assert_eq!(seed.element("3").map(|e| e.low.offset), Some(0xEC + 12));
    assert!(seed.element("4").is_none());
}

#[test]
fn bits_have_names_and_unknown_ones_survive() {
    let flags = Access::find(Structure::Inode, "flags").expect("known");
    assert_eq!(flags.bit("dax"), Some(0x0200_0000));
    let mut bytes = [0u8; 160];
    assert_eq!(flags.set_text(&mut bytes, "EXTENTS DAX 0x00800000"), Ok(()));
    assert_eq!(flags.get_text(&bytes).as_deref(), Some("EXTENTS DAX 0x800000"));
    assert_eq!(flags.set_text(&mut bytes, "0x80000"), Ok(()));
    assert_eq!(flags.get_text(&bytes).as_deref(), Some("EXTENTS"));
    assert!(flags.set_text(&mut bytes, "EXTENTS NOSUCH").is_err());
    let incompat = Access::find(Structure::SuperBlock, "feature_incompat").expect("known");
    assert_eq!(
        (incompat.bit("64bit"), incompat.bit("extents"), incompat.bit("has_journal")),
        (Some(0x80), Some(0x40), None)
    );
    for set in [
        BitSet::Compat,
        BitSet::Incompat,
        BitSet::RoCompat,
        BitSet::Inode,
        BitSet::Group,
        BitSet::State,
        BitSet::MountOpts,
    ] {
        let mut all = 0;
        for (name, bit) in set.names() {
            assert_eq!(bit.count_ones(), 1, "{name}");
            assert_eq!((set.bit(name), all & bit), (Some(bit), 0), "{name}");
            all |= bit;
        }
    }
}

#[test]
fn numbers_are_read_as_in_c() {
    assert_eq!(["10", "0x10", "010", "0", "00"].map(parse_number), [Some(10), Some(16), Some(8), Some(0), Some(0)]);
    assert_eq!(["", "08", "-1", "+1", "0x", "1k", "0x+1"].map(parse_number), [Some(0); 7].map(|_: Option<u64>| None));
    assert_eq!(parse_uuid("00112233-4455-6677-8899-aabbccddeeff").map(|b| b[15]), Some(0xff));
    assert_eq!(parse_uuid("00112233-4455-6677-8899-aabbccddeef"), None);
}

#[test]
fn debugfs_times_are_understood() {
    for (text, seconds) in
        [("@5", 5), ("@-5", -5), ("@0x10", 16), ("19700102", 86_400), ("197001010001", 60), ("12", 12)]
    {
        assert_eq!(parse_time(text), Some(Timestamp { seconds, nanos: 0 }), "{text}");
    }
    for text in ["20230229", "2023-02-29T00:00:00Z", "now", "", "@", "2023-01-01T00:00:00", "2023-01-01T24:00:00Z"] {
        assert_eq!(parse_time(text), None, "{text}");
    }
}

#[test]
fn the_places_of_the_documentation_read_back() {
    let texts = [
        "super.s_inodes_count",
        "super:3.s_checksum",
        "group.3.bg_checksum",
        "group.3:1.bg_flags.INODE_ZEROED",
        "group.0/block_bitmap+0x10",
        "group.0/inode_bitmap",
        "inode:12",
        "inode:12.i_flags",
        "inode:12.i_flags.DAX",
        "inode.\"/a\".i_block[TIND]",
        "inode.\"/\\xff \\\"q\\\" \\\\\".i_size",
        "block:8193+0x40",
        "dir.\"/d\".entry.\"f\".inode",
        "dir:2/block:0/entry:24.rec_len",
        "dir:2/block:0/dx:3.hash",
        "dir:2/block:0.det_checksum",
        "journal.s_sequence",
        "journal/block:5.h_sequence",
        "inode:12/node",
        "inode:12/node:0.3.eh_entries",
        "inode:12/extent:0.3",
        "inode:12/extent:0.3.ee_len",
        "inode:12/map:12.5",
        "inode:12/block:7+0x1",
        "inode:12.xattr.\"user.a\".e_hash",
        "mmp.mmp_seq",
        "quota.user.dqi_bgrace",
        "quota.project/id:1000.dqb_curspace",
        "orphan/block:0.ob_magic",
    ];
    for text in texts {
        let place: Place = text.parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(place.to_string(), text);
        if let Some(f) = &place.field {
            let found = place.object.structures().iter().find_map(|s| Access::find(*s, &f.name));
            assert!(found.is_some(), "{text}: no such field");
        }
    }
}

#[test]
fn what_is_not_a_place_says_why() {
    for text in [
        "",
        "inode",
        "inode:",
        "inode:012",
        "inode:99999999999999999999",
        "inode.\"/a",
        "super.",
        "superx",
        "group",
        "group.1.",
        "block:1+4",
        "block:1+0x",
        "dir:2",
        "dir:2/blk",
        "quota.none",
        "inode:1.i_flags.",
        "inode:1.i_block[3",
        "block:1 ",
        "super..x",
    ] {
        let e = text.parse::<Place>().expect_err(text);
        assert!(!e.reason.is_empty() && e.text == text);
    }
}

fn inode_ref() -> impl Strategy<Value = InodeRef> {
    prop_oneof![
        any::<u64>().prop_map(InodeRef::Number),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(InodeRef::Path)
    ]
}

fn object() -> impl Strategy<Value = Object> {
    let name = || proptest::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        any::<Option<u32>>().prop_map(|copy| Object::Super { copy }),
        any::<(u32, Option<u32>)>().prop_map(|(group, copy)| Object::Group { group, copy }),
        any::<u32>().prop_map(Object::BlockBitmap),
        any::<u32>().prop_map(Object::InodeBitmap),
        inode_ref().prop_map(Object::Inode),
        (inode_ref(), proptest::collection::vec(any::<u16>(), 0..4)).prop_map(|(i, p)| Object::Node(i, p)),
        (inode_ref(), proptest::collection::vec(any::<u16>(), 1..4)).prop_map(|(i, p)| Object::Extent(i, p)),
        (inode_ref(), proptest::collection::vec(any::<u32>(), 1..4)).prop_map(|(i, p)| Object::Map(i, p)),
        (inode_ref(), any::<u64>()).prop_map(|(i, l)| Object::FileBlock(i, l)),
        (inode_ref(), name()).prop_map(|(i, n)| Object::Xattr(i, n)),
        (inode_ref(), name()).prop_map(|(i, n)| Object::Entry(i, n)),
        (inode_ref(), any::<(u64, u32)>()).prop_map(|(i, (l, o))| Object::EntryAt(i, l, o)),
        (inode_ref(), any::<(u64, u32)>()).prop_map(|(i, (l, o))| Object::Dx(i, l, o)),
        (inode_ref(), any::<u64>()).prop_map(|(i, l)| Object::DirBlock(i, l)),
        any::<u64>().prop_map(Object::Block),
        Just(Object::Journal),
        any::<u64>().prop_map(Object::JournalBlock),
        Just(Object::Mmp),
        (prop::sample::select(QuotaKind::ALL.to_vec()), any::<Option<u32>>()).prop_map(|(k, id)| Object::Quota(k, id)),
        any::<u64>().prop_map(Object::Orphan),
    ]
}

fn field() -> impl Strategy<Value = FieldRef> {
    let word = || "[a-z_][a-z0-9_]{0,8}";
    (word(), proptest::option::of("[0-9]{1,3}|IND"), proptest::option::of(word()))
        .prop_map(|(name, index, bit)| FieldRef { name, index, bit })
}

proptest! {
    #[test]
    fn every_place_reads_back(object in object(), field in proptest::option::of(field()), offset in any::<u64>()) {
        let place = Place { object, field, offset };
        prop_assert_eq!(place.to_string().parse(), Ok(place));
    }

    #[test]
    fn any_text_is_a_place_or_an_error(text in "(super|group|inode|dir|block|journal|quota|mmp)?[:./0-9a-z\"\\\\+\\[\\]]{0,30}") {
        if let Ok(place) = text.parse::<Place>() {
            prop_assert_eq!(place.to_string().parse(), Ok(place));
        }
    }

    #[test]
    fn any_bytes_can_be_quoted(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let text = quote(&bytes) + "rest";
        prop_assert_eq!(unquote(&text), Some((bytes, "rest")));
        prop_assert!(!text.contains(|c: char| c.is_control()));
    }

    #[test]
    fn any_time_reads_back(seconds in any::<i64>(), near in -70_000_000_000i64..300_000_000_000, nanos in any::<u32>()) {
        for seconds in [seconds, near] {
            let t = Timestamp { seconds, nanos };
            prop_assert_eq!(parse_time(&format_time(t)), Some(t));
        }
    }
}
