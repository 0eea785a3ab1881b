//! Images of many shapes, made from parameters and judged by `e2fsck -fn`.

use daxkit_build::params::{Holes, Identity, InodeCount, Journal, MetadataPlace, Params, QuotaKinds};
use daxkit_build::plan::Plan;
use daxkit_build::progress::NoProgress;
use daxkit_build::source::{ScanOptions, Tree, scan};
use daxkit_build::write::write_image;
use daxkit_device::{BlockDevice, FileDevice};
use daxkit_format::ext4::features::{Feature, Features};
use daxkit_format::ext4::hash::HashVersion;
use daxkit_format::ext4::inode::Timestamp;
use std::path::Path;
use std::process::Command;

const DEFAULT: &str = "has_journal ext_attr resize_inode dir_index filetype extent 64bit flex_bg sparse_super large_file \
                       huge_file dir_nlink extra_isize metadata_csum";

fn features(words: &str) -> Features {
    let mut f = Features::default();
    for w in words.split_whitespace() {
        let (name, on) = w.strip_prefix('^').map_or((w, true), |n| (n, false));
        f.set(Feature::by_name(name).expect("a feature"), on);
    }
    f
}

fn params(words: &str, block_size: u32, bytes: u64) -> Params {
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
        threads: 2,
    }
}

fn e2fsck(image: &Path) -> (i32, String) {
    let out =
        Command::new("/usr/sbin/e2fsck").arg("-fn").arg(image).output().expect("e2fsck (package e2fsprogs) is needed");
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code().unwrap_or(-1), text)
}

fn build(dir: &Path, p: &Params, tree: &Tree, root: Option<&Path>) -> Result<std::path::PathBuf, String> {
    let image = dir.join("image");
    let _ = std::fs::remove_file(&image);
    let plan = Plan::new(p, tree, Default::default()).map_err(|e| e.to_string())?;
    let device = FileDevice::create(&image, p.blocks_count * u64::from(p.block_size)).expect("an image file");
    write_image(&plan, tree, root, &device, &NoProgress).map_err(|e| e.to_string())?;
    device.flush().expect("durable");
    Ok(image)
}

fn clean(dir: &Path, p: &Params, tree: &Tree, root: Option<&Path>, what: &str, bad: &mut Vec<String>) {
    match build(dir, p, tree, root) {
        Err(e) => bad.push(format!("{what}: {e}")),
        Ok(image) => {
            let (status, text) = e2fsck(&image);
            if status != 0 {
                bad.push(format!("{what}: e2fsck -fn exits {status}\n{text}"));
            }
        }
    }
}

fn empty_tree() -> Tree {
    let dir = tempfile::tempdir().expect("a directory");
    scan(dir.path(), &ScanOptions::default(), &NoProgress).expect("scanned").0
}

#[test]
fn empty_images_of_every_feature_are_clean() {
    let dir = tempfile::tempdir().expect("a directory");
    let tree = empty_tree();
    let mut bad = Vec::new();
    for extra in [
        "",
        "^has_journal",
        "^resize_inode",
        "^resize_inode meta_bg",
        "^64bit",
        "^metadata_csum uninit_bg",
        "^metadata_csum",
        "^flex_bg",
        "bigalloc ^resize_inode",
        "bigalloc",
        "inline_data",
        "mmp",
        "quota",
        "quota project",
        "orphan_file",
        "metadata_csum_seed",
        "^sparse_super ^resize_inode sparse_super2",
        "^sparse_super",
        "casefold",
        "encrypt",
        "verity",
        "ea_inode",
        "large_dir",
        "stable_inodes",
        "fast_commit",
        "^extent ^64bit ^metadata_csum ^flex_bg ^huge_file ^dir_nlink",
        "^dir_index",
        "^filetype",
    ] {
        for block_size in [1024, 2048, 4096, 65536] {
            let p =
                params(&format!("{DEFAULT} {extra}"), block_size, if block_size > 4096 { 256 << 20 } else { 64 << 20 });
            clean(dir.path(), &p, &tree, None, &format!("{extra:?} {block_size}"), &mut bad);
        }
    }
    assert!(bad.is_empty(), "{} images are not clean:\n{}", bad.len(), bad.join("\n"));
}

fn populate(root: &Path) {
    use std::os::unix::fs::symlink;
    let w = |p: &str, n: usize| {
        let bytes: Vec<u8> = (0..n).map(|i| (i * 31 + n) as u8).collect();
        std::fs::write(root.join(p), bytes).expect("written");
    };
    std::fs::create_dir_all(root.join("a/b/c")).expect("made");
    std::fs::create_dir(root.join("many")).expect("made");
    for n in [0usize, 1, 59, 60, 61, 100, 128, 129, 1023, 1024, 4095, 4096, 4097, 60_000, 300_000, 3_000_000] {
        w(&format!("a/size{n}"), n);
    }
    for i in 0..600 {
        w(&format!("many/file with a longer name {i:05}"), i % 50);
    }
    symlink("short", root.join("fast")).expect("linked");
    symlink("x".repeat(59), root.join("link59")).expect("linked");
    symlink("x".repeat(60), root.join("link60")).expect("linked");
    symlink("x".repeat(800), root.join("link800")).expect("linked");
    std::fs::hard_link(root.join("a/size4097"), root.join("a/b/hard")).expect("linked");
    w("sparse", 0);
    let f = std::fs::OpenOptions::new().write(true).open(root.join("sparse")).expect("opened");
    use std::os::unix::fs::FileExt;
    for i in 0..40u64 {
        f.write_all_at(&[7; 4096], i * 3 * 65536).expect("written");
    }
    f.set_len(1 << 33).expect("set");
}

#[test]
fn populated_images_of_every_feature_are_clean() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = tempfile::tempdir().expect("a directory");
    populate(source.path());
    let tree = scan(source.path(), &ScanOptions::default(), &NoProgress).expect("scanned").0;
    let mut bad = Vec::new();
    for extra in [
        "",
        "^has_journal",
        "^resize_inode meta_bg",
        "^64bit",
        "^metadata_csum uninit_bg",
        "^metadata_csum",
        "^flex_bg",
        "bigalloc ^resize_inode",
        "inline_data",
        "quota project",
        "orphan_file",
        "metadata_csum_seed",
        "ea_inode large_dir",
        "^extent ^64bit ^metadata_csum ^flex_bg ^dir_nlink",
        "^dir_index",
        "^filetype",
    ] {
        for block_size in [1024, 2048, 4096, 65536] {
            let p =
                params(&format!("{DEFAULT} {extra}"), block_size, if block_size > 4096 { 4 << 30 } else { 256 << 20 });
            clean(dir.path(), &p, &tree, Some(source.path()), &format!("{extra:?} {block_size}"), &mut bad);
        }
    }
    assert!(bad.is_empty(), "{} images are not clean:\n{}", bad.len(), bad.join("\n"));
}
