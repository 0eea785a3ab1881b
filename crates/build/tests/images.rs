//! Images of many shapes, made from parameters and judged by `e2fsck -fn`.

mod common;

use common::{DEFAULT, params};
use daxkit_build::params::Params;
use daxkit_build::plan::Plan;
use daxkit_build::progress::NoProgress;
use daxkit_build::source::{ScanOptions, Source, Tree, scan};
use daxkit_build::write::write_image;
use daxkit_device::{BlockDevice, FileDevice};
use std::path::Path;
use std::process::Command;

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
    let source = match root {
        Some(root) => Source::directory(tree.clone(), root),
        None => Source::empty(tree.clone()),
    };
    write_image(&plan, &source, &device, &NoProgress).map_err(|e| e.to_string())?;
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
