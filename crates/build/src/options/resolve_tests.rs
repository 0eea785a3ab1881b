//! What a request resolves to, option by option.

use super::*;
use crate::options::error::Level;
use crate::options::request::{Content, JournalDevice, PmemAlign, Target};
use crate::params::{Identity, Journal};
use daxkit_format::ext4::inode::Timestamp;

const NOW: Timestamp = Timestamp { seconds: 1000, nanos: 5 };

fn facts() -> Facts {
    Facts {
        target: None,
        sector_size: 512,
        content: None,
        now: NOW,
        random_uuid: [0xff; 16],
        random_seed: [0; 16],
        caller: (7, 8),
        journal_device: None,
        processors: 2,
    }
}

fn sized(size: &str) -> Request {
    Request { size: Some(size.to_owned()), ..Request::default() }
}

fn made(request: &Request) -> Resolved {
    resolve(request, &facts()).expect("a request that can be met")
}

fn refused(request: &Request, facts: &Facts) -> String {
    let text = resolve(request, facts).expect_err("a request that cannot be met").to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn the_defaults_are_those_for_persistent_memory() {
    let r = made(&sized("64M"));
    let p = &r.params;
    assert_eq!((p.block_size, p.cluster_size, p.blocks_count), (4096, 4096, 16384));
    assert_eq!((p.inode_size, p.desc_size, p.flex_bg_size, p.revision), (256, 64, 16, 1));
    assert_eq!(p.inodes, InodeCount::Ratio(4096));
    assert_eq!(p.reserved_blocks, 819);
    assert_eq!(p.journal, Some(Journal::Internal { blocks: None, fast_commit_blocks: 0, location: None }));
    assert_eq!(p.metadata, MetadataPlace::Packed);
    assert_eq!(p.default_mount_opts, 0x0c);
    assert_eq!((p.time, p.threads, p.reproducible), (NOW, 2, false));
    assert_eq!(r.image_len, 64 << 20);
    assert!(r.notices.is_empty(), "{:?}", r.notices);
    let uuid = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x4f, 0xff, 0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let mut hash_seed = [0; 16];
    (hash_seed[6], hash_seed[8]) = (0x40, 0x80);
    assert_eq!(p.identity, Identity::Given { uuid, hash_seed });
}

#[test]
fn a_new_file_gets_a_length_pmem_can_have_and_the_user_is_told() {
    let r = made(&sized("9M"));
    assert_eq!((r.params.blocks_count, r.image_len), (2304, 10 << 20));
    assert_eq!(r.notices.len(), 1);
    assert!(r.notices[0].text.contains("10485760 bytes instead of 9437184"), "{}", r.notices[0]);
    for (align, len) in [(PmemAlign::None, 9 << 20), (PmemAlign::Mib16, 16 << 20), (PmemAlign::Mib128, 128 << 20)] {
        assert_eq!(made(&Request { pmem_align: Some(align), ..sized("9M") }).image_len, len);
    }
}

#[test]
fn an_existing_target_keeps_its_length() {
    let target = |len, can_grow| Facts { target: Some(Target { len, can_grow }), ..facts() };
    let r = resolve(&Request::default(), &target(9 << 20, true)).unwrap();
    assert_eq!((r.params.blocks_count, r.image_len), (2304, 9 << 20));
    assert_eq!(r.notices[0].level, Level::Note);
    let r = resolve(&sized("8M"), &target(64 << 20, false)).unwrap();
    assert_eq!((r.params.blocks_count, r.image_len), (2048, 64 << 20));
    assert_eq!(resolve(&sized("9M"), &target(0, true)).unwrap().image_len, 10 << 20);
    assert!(refused(&sized("9M"), &target(8 << 20, false)).contains("the device has 8388608 bytes"));
    assert!(refused(&Request::default(), &target(0, true)).contains("SIZE is needed"));
    assert!(refused(&Request::default(), &facts()).contains("SIZE is needed"));
    assert!(refused(&Request::default(), &target(100, true)).contains("no block"));
}

#[test]
fn an_offset_is_counted_in() {
    let request = Request { extended: vec!["offset=1048576".to_owned()], ..sized("8M") };
    let r = made(&request);
    assert_eq!((r.offset, r.params.data_offset, r.image_len), (1 << 20, 1 << 20, 10 << 20));
    let target = Facts { target: Some(Target { len: 8 << 20, can_grow: true }), ..facts() };
    let r = resolve(&Request { size: None, ..request }, &target).unwrap();
    assert_eq!(r.params.blocks_count, 1792);
    assert_eq!(r.notices[0].level, Level::Warning);
    let odd = Request { extended: vec!["offset=100".to_owned()], ..sized("8M") };
    assert!(refused(&odd, &facts()).contains("sector"));
}

#[test]
fn reproducible_images_know_neither_clock_nor_chance() {
    let newest = Timestamp { seconds: 77, nanos: 9 };
    let with = Facts { content: Some(Content { inodes: 1, bytes: 0, newest: Some(newest) }), ..facts() };
    let request = Request { reproducible: true, ..sized("64M") };
    let p = resolve(&request, &with).unwrap().params;
    assert_eq!(p.identity, Identity::FromContent { uuid: None, hash_seed: None });
    assert_eq!((p.time, p.reproducible), (newest, true));
    assert_eq!(resolve(&request, &facts()).unwrap().params.time, Timestamp { seconds: 0, nanos: 0 });
    let epoch = Request { source_date_epoch: Some(5), ..sized("64M") };
    let p = resolve(&epoch, &with).unwrap().params;
    assert_eq!((p.time, p.reproducible), (Timestamp { seconds: 5, nanos: 0 }, true));
    for bad in ["random", "time"] {
        assert!(refused(&Request { uuid: Some(bad.to_owned()), ..request.clone() }, &facts()).contains("reproducible"));
    }
    let owner = Request { extended: vec!["root_owner".to_owned()], ..request };
    assert!(refused(&owner, &facts()).contains("who makes it"));
}

#[test]
fn small_file_systems_get_no_journal() {
    let r = made(&sized("4M"));
    assert!(!r.params.features.compat.contains(Compat::HAS_JOURNAL));
    assert_eq!(r.params.journal, None);
    assert!(r.notices[0].text.contains("no journal"));
    let orphan = Request { features: vec!["orphan_file".to_owned()], ..sized("4M") };
    assert!(refused(&orphan, &facts()).contains("needs a journal"));
    let fast = Request { features: vec!["fast_commit".to_owned()], ..sized("4M") };
    assert!(!made(&fast).params.features.compat.contains(Compat::FAST_COMMIT));
}

#[test]
fn journals_have_the_sizes_asked_for() {
    let journal = |words: &str, features: &str| {
        let request = Request { journal: vec![words.to_owned()], features: vec![features.to_owned()], ..sized("256M") };
        resolve(&request, &facts()).map(|r| r.params.journal.expect("a journal")).map_err(|e| e.to_string())
    };
    let internal =
        |blocks, fast_commit_blocks, location| Ok(Journal::Internal { blocks, fast_commit_blocks, location });
    assert_eq!(journal("size=8", ""), internal(Some(2048), 0, None));
    assert_eq!(journal("size=8", "fast_commit"), internal(Some(2080), 32, None));
    assert_eq!(journal("size=8,fast_commit_size=64", "fast_commit"), internal(Some(2064), 16, None));
    assert_eq!(journal("size=0", "fast_commit"), internal(None, 64, None));
    assert_eq!(journal("location=16M", ""), internal(None, 0, Some(4096)));
    for bad in ["size=2", "size=128", "location=1G", "location=x"] {
        assert!(journal(bad, "").is_err(), "{bad}");
    }
    assert!(journal("device=/dev/nothing", "").is_err());
}

#[test]
fn an_external_journal_decides_the_block_size() {
    let device = JournalDevice { uuid: [9; 16], block_size: 1024, number: 0x700 };
    let with = Facts { journal_device: Some(device), ..facts() };
    let request = Request { journal: vec!["device=/j".to_owned()], ..sized("8192") };
    let p = resolve(&request, &with).unwrap().params;
    assert_eq!((p.block_size, p.blocks_count), (1024, 8192));
    assert_eq!(p.journal, Some(Journal::External { uuid: [9; 16], device_number: 0x700 }));
    let other = Request { block_size: Some("4096".to_owned()), ..request };
    assert!(refused(&other, &with).contains("blocks of 1024 bytes"));
}

#[test]
fn a_journal_device_is_nothing_else() {
    let request = Request { features: vec!["journal_dev".to_owned()], ..sized("8M") };
    let p = made(&request).params;
    assert_eq!(p.features.to_string(), "journal_dev metadata_csum");
    assert_eq!((p.journal, p.reserved_blocks), (None, 0));
    assert!(refused(&Request { dax_paths: vec![b"/a".to_vec()], ..request.clone() }, &facts()).contains("--dax"));
    assert!(refused(&Request { size: Some("1M".to_owned()), ..request }, &facts()).contains("at least 1024"));
}

#[test]
fn dax_is_refused_with_the_reason_or_warned_about() {
    let with = |block: &str, features: &str, offset: &str, dax: bool| Request {
        block_size: Some(block.to_owned()),
        features: vec![features.to_owned()],
        extended: vec![format!("offset={offset}")],
        dax_paths: if dax { vec![b"/data".to_vec()] } else { Vec::new() },
        ..sized("64M")
    };
    for (request, reason) in [
        (with("1024", "", "0", true), "blocks of 1024 bytes, but pages of 4096"),
        (with("4096", "", "512", true), "not a multiple of the page size"),
        (with("4096", "bigalloc", "4096", true), "does not lie on a cluster of 64 KiB"),
    ] {
        assert!(refused(&request, &facts()).contains(reason), "{reason}");
        let notices = made(&Request { dax_paths: Vec::new(), ..request }).notices;
        assert!(notices.iter().any(|n| n.level == Level::Warning && n.text.contains(reason)), "{notices:?}");
    }
    for feature in ["inline_data", "encrypt", "verity"] {
        let notices = made(&with("4096", feature, "0", true)).notices;
        assert!(notices.iter().any(|n| n.text.starts_with(feature)), "{notices:?}");
    }
    let relative = Request { dax_paths: vec![b"data".to_vec()], ..sized("64M") };
    assert!(refused(&relative, &facts()).contains("absolute"));
}

#[test]
fn other_machines_have_other_pages() {
    let p = made(&Request { page_size: Some("64k".to_owned()), ..sized("256M") }).params;
    assert_eq!((p.page_size, p.block_size), (65536, 65536));
    assert!(refused(&Request { page_size: Some("3000".to_owned()), ..sized("1M") }, &facts()).contains("power of two"));
}

#[test]
fn revision_0_has_no_features_and_small_inodes() {
    let p = made(&Request { revision: Some("0".to_owned()), ..sized("8M") }).params;
    assert_eq!((p.features, p.inode_size, p.revision, p.default_mount_opts), (Features::default(), 128, 0, 0));
    for bad in [
        Request { features: vec!["extent".to_owned()], ..sized("8M") },
        Request { with_journal: true, ..sized("8M") },
        Request { inode_size: Some("256".to_owned()), ..sized("8M") },
        Request { extended: vec!["resize=1T".to_owned()], ..sized("8M") },
    ] {
        assert!(resolve(&Request { revision: Some("0".to_owned()), ..bad }, &facts()).is_err());
    }
}

#[test]
fn huge_file_systems_are_planned_up_to_the_limit_of_the_format() {
    let p = made(&Request { pmem_align: Some(PmemAlign::None), ..sized("17T") }).params;
    assert!(!p.features.compat.contains(Compat::RESIZE_INODE));
    assert_eq!(p.inodes, InodeCount::Ratio(65536));
    assert!(refused(&Request { features: vec!["^64bit".to_owned()], ..sized("17T") }, &facts()).contains("32 bits"));
    assert_eq!(made(&sized("524287T")).params.blocks_count, 524_287 << 28);
    assert!(refused(&sized("524288T"), &facts()).contains("limit"));
    assert!(refused(&sized("99999999T"), &facts()).contains("SIZE"));
}

#[test]
fn labels_are_cut_and_told() {
    let r = made(&Request { label: Some(b"12345678901234567".to_vec()), ..sized("64M") });
    assert_eq!(r.params.label, b"1234567890123456");
    assert_eq!(r.notices[0].level, Level::Warning);
    assert!(refused(&Request { label: Some(b"a\0b".to_vec()), ..sized("64M") }, &facts()).contains("-L"));
}

#[test]
fn hurd_gets_what_it_can_read() {
    let p = made(&Request { creator_os: Some("hurd".to_owned()), ..sized("64M") }).params;
    assert_eq!((p.creator_os, p.inode_size), (1, 128));
    assert_eq!(p.features.to_string(), "ext_attr resize_inode dir_index sparse_super large_file");
    let asked = Request { creator_os: Some("hurd".to_owned()), features: vec!["filetype".to_owned()], ..sized("64M") };
    assert!(refused(&asked, &facts()).contains("Hurd"));
}

#[test]
fn quota_projects_and_encodings_imply_each_other() {
    let with = |features: &str, extended: &str| {
        made(&Request { features: vec![features.to_owned()], extended: vec![extended.to_owned()], ..sized("64M") })
            .params
    };
    let kinds = |user, group, project| QuotaKinds { user, group, project };
    assert_eq!(with("quota", "").quota, kinds(true, true, false));
    assert_eq!(with("quota,project", "").quota, kinds(true, true, true));
    assert_eq!(with("quota", "quotatype=prjquota").quota, kinds(false, false, true));
    assert!(with("", "quotatype=prjquota").features.ro_compat.contains(RoCompat::PROJECT));
    assert_eq!(with("project", "").quota, kinds(false, false, false));
    let p = with("", "encoding=utf8,encoding_flags=strict");
    assert!(p.features.incompat.contains(Incompat::CASEFOLD));
    assert_eq!((p.encoding, p.encoding_flags), (1, 1));
    assert_eq!(with("casefold", "").encoding, 1);
}
