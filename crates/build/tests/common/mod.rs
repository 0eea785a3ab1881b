//! Parameters for images, as a test wants them: by the names of features; content by a recipe; `e2fsck`.
#![allow(dead_code, unreachable_pub)]

use daxkit_build::params::{Holes, Identity, InodeCount, Journal, MetadataPlace, Params, QuotaKinds};
use daxkit_build::recipe::{self, Surroundings};
use daxkit_build::source::{Layers, OwnerPolicy, Source, exclude_set};
use daxkit_format::ext4::features::{Feature, Features};
use daxkit_format::ext4::hash::HashVersion;
use daxkit_format::ext4::inode::Timestamp;
use std::path::Path;
use std::process::Command;

pub const DEFAULT: &str = "has_journal ext_attr resize_inode dir_index filetype extent 64bit flex_bg sparse_super large_file \
                       huge_file dir_nlink extra_isize metadata_csum";

pub fn features(words: &str) -> Features {
    let mut f = Features::default();
    for w in words.split_whitespace() {
        let (name, on) = w.strip_prefix('^').map_or((w, true), |n| (n, false));
        f.set(Feature::by_name(name).expect("a feature"), on);
    }
    f
}

pub fn params(words: &str, block_size: u32, bytes: u64) -> Params {
    let f = features(words);
    let has = |n: &str| f.has(Feature::by_name(n).expect("a feature"));
    Params {
        block_size,
        cluster_size: if has("bigalloc") { block_size * 16 } else { block_size },
        blocks_count: bytes / u64::from(block_size),
        features: f,
        revision: 1,
        inode_size: if has("extra_isize") { 256 } else { 128 },
        inodes: InodeCount::Content { ratio: 16384 },
        blocks_per_group: None,
        flex_bg_size: 16,
        metadata: MetadataPlace::Packed,
        num_backup_sb: 2,
        desc_size: if has("64bit") { 64 } else { 32 },
        reserved_blocks: 0,
        resize_max: None,
        journal: has("has_journal").then_some(Journal::Internal {
            blocks: None,
            fast_commit_blocks: 0,
            location: None,
        }),
        label: b"test".to_vec(),
        identity: Identity::FromContent { uuid: None, hash_seed: None },
        last_mounted: Vec::new(),
        creator_os: 0,
        errors: 1,
        hash_version: HashVersion::HalfMd4,
        default_mount_opts: 0xC,
        mount_opts: Vec::new(),
        stride: 0,
        stripe_width: 0,
        mmp_interval: 5,
        orphan_file_size: None,
        encoding: u16::from(has("casefold")),
        encoding_flags: 0,
        encrypt_pw_salt: [0; 16],
        quota: QuotaKinds { user: has("quota"), group: has("quota"), project: has("project") },
        root_owner: (0, 0),
        root_perms: None,
        root_selinux: None,
        test_fs: false,
        lazy_itable_init: true,
        lazy_journal_init: false,
        data_offset: 0,
        time: Timestamp { seconds: 1_700_000_000, nanos: 0 },
        reproducible: true,
        page_size: 4096,
        holes: Holes::Host,
        dax_paths: Vec::new(),
        order: Vec::new(),
        sized_by_content: false,
        threads: 2,
    }
}

/// What a recipe comes to on nothing.
pub fn recipe_source(text: &str, block_size: u32) -> Source {
    let recipe = recipe::parse(text, Path::new("/nowhere")).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let none = exclude_set::<&str>([]).expect("no pattern");
    let mut layers = Layers::new(none, OwnerPolicy::AsIs);
    let surroundings = Surroundings { time: Timestamp { seconds: 1_000_000_000, nanos: 0 }, block_size };
    recipe::apply(&recipe, &mut layers, surroundings).unwrap_or_else(|e| panic!("{e}\n{text}"));
    layers.finish().expect("a tree")
}

/// What `e2fsck -fn` has nothing to say about.
pub fn e2fsck_clean(image: &Path, what: &str) {
    let out = Command::new("e2fsck").arg("-fn").arg(image).output().expect("e2fsck (package e2fsprogs) is needed");
    assert_eq!(out.status.code(), Some(0), "{what}: e2fsck -fn:\n{}", String::from_utf8_lossy(&out.stdout));
}
