//! The images that are damaged: every structure in some configuration.

use crate::common::{DEFAULT, params};
use crate::tools::{assert_clean, debugfs_write, run};
use daxkit_build::params::Identity;
use daxkit_build::plan::Plan;
use daxkit_build::progress::NoProgress;
use daxkit_build::source::{ScanOptions, Source, scan};
use daxkit_build::write::write_image;
use daxkit_device::FileDevice;
use std::fmt::Write as _;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

/// A kind of image.
pub struct Kind {
    pub name: &'static str,
    /// On top of [`DEFAULT`].
    pub features: &'static str,
    pub block_size: u32,
    pub mib: u64,
    /// Commands for `debugfs -w` afterwards; `BLOCK` stands for a file of two blocks, `VALUE` for one of 6,000 bytes.
    pub after: &'static str,
}

/// Attributes in the inode, then more in a block.
const XATTRS: &str = "ea_set /files/plain user.small small\nea_set /files/plain user.block -f LONG\n\
                      ea_set /files/shared user.other -f LONG\n";

pub const KINDS: &[Kind] = &[
    Kind { name: "csum64", features: "", block_size: 4096, mib: 24, after: XATTRS },
    Kind { name: "1k", features: "orphan_file", block_size: 1024, mib: 24, after: XATTRS },
    Kind { name: "gdt32", features: "^metadata_csum ^64bit uninit_bg", block_size: 1024, mib: 24, after: XATTRS },
    Kind { name: "gdt64", features: "^metadata_csum uninit_bg", block_size: 4096, mib: 24, after: XATTRS },
    Kind { name: "plain", features: "^metadata_csum ^64bit", block_size: 1024, mib: 24, after: XATTRS },
    Kind { name: "seed", features: "metadata_csum_seed", block_size: 1024, mib: 24, after: XATTRS },
    Kind { name: "csum32", features: "^64bit", block_size: 2048, mib: 24, after: XATTRS },
    Kind { name: "indirect", features: "^extent ^64bit", block_size: 1024, mib: 24, after: XATTRS },
    Kind {
        name: "rare",
        features: "quota project orphan_file ea_inode",
        block_size: 1024,
        mib: 24,
        after: "ea_set /files/plain user.small small\nea_set /files/plain user.large -f VALUE\n",
    },
    // With mmp the tools that write wait for seconds first; those that only read do not.
    Kind { name: "mmp", features: "mmp", block_size: 1024, mib: 24, after: "" },
    Kind { name: "inline", features: "inline_data", block_size: 1024, mib: 24, after: "" },
    Kind { name: "bigalloc", features: "bigalloc ^resize_inode", block_size: 1024, mib: 200, after: XATTRS },
    Kind { name: "meta_bg", features: "meta_bg ^resize_inode", block_size: 1024, mib: 40, after: "" },
    Kind {
        name: "journal3",
        features: "",
        block_size: 1024,
        mib: 24,
        after: "jo -c\njw -b 20001,20002 BLOCK\njw -r 20003,20004\njc\n",
    },
    Kind {
        name: "journal2",
        features: "",
        block_size: 1024,
        mib: 24,
        after: "jo -c -v 2\njw -b 20001,20002 BLOCK\njw -r 20003,20004\njc\n",
    },
];

/// Fills a directory with what the images hold.
fn populate(root: &Path, inline: bool) {
    std::fs::create_dir_all(root.join("files")).unwrap();
    std::fs::write(root.join("files/plain"), "plain text\n".repeat(400)).unwrap();
    std::fs::write(root.join("files/shared"), "shared text\n".repeat(400)).unwrap();
    std::fs::write(root.join("files/empty"), "").unwrap();
    symlink("plain", root.join("files/fast")).unwrap();
    symlink("x".repeat(100), root.join("files/slow")).unwrap();
    std::fs::create_dir(root.join("small")).unwrap();
    std::fs::write(root.join("small/tiny"), "tiny\n").unwrap();
    std::fs::write(root.join("small/a name that needs the rest of the inode"), "x".repeat(100)).unwrap();
    if inline {
        return;
    }
    std::fs::create_dir(root.join("many")).unwrap();
    for i in 0..400 {
        std::fs::hard_link(
            root.join("files/empty"),
            root.join(format!("many/an entry with a rather long name {i:04}")),
        )
        .unwrap();
    }
    // As many extents as pieces: two levels of nodes in blocks of 1 KiB. As far as three levels of indirect blocks.
    let sparse = std::fs::File::create(root.join("files/sparse")).unwrap();
    for i in 0..400u64 {
        sparse.write_all_at(&[7; 4096], i * 8192).unwrap();
    }
    sparse.write_all_at(b"far away", 68 << 20).unwrap();
}

/// Makes an image of this kind in `dir`; it must be clean.
pub fn build(kind: &Kind, dir: &Path) -> PathBuf {
    let source = tempfile::tempdir().unwrap();
    populate(source.path(), kind.name == "inline");
    let mut p = params(&format!("{DEFAULT} {}", kind.features), kind.block_size, kind.mib << 20);
    p.identity = Identity::Given { uuid: [0x11; 16], hash_seed: [0x99; 16] };
    if kind.name == "meta_bg" {
        p.blocks_per_group = Some(512);
    }
    let (status, said) =
        run("find", &[source.path().to_str().unwrap(), "-exec", "touch", "-h", "-d", "@1700000000", "{}", "+"]);
    assert_eq!(status, 0, "{said}");
    let tree = scan(source.path(), &ScanOptions::default(), &NoProgress).unwrap().0;
    let image = dir.join(kind.name);
    let _ = std::fs::remove_file(&image);
    let plan = Plan::new(&p, &tree, Default::default()).unwrap_or_else(|e| panic!("{}: {e}", kind.name));
    let device = FileDevice::create(&image, kind.mib << 20).unwrap();
    write_image(&plan, &Source::directory(tree, source.path()), &device, &NoProgress).unwrap();
    drop(device);
    if !kind.after.is_empty() {
        let file = |name: &str, len: usize| {
            let path = dir.join(name);
            let mut text = String::new();
            (0..len / 8).for_each(|i| write!(text, "{i:07} ").unwrap());
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let long = file("long", kind.block_size as usize / 4);
        let commands = kind.after.replace("BLOCK", &file("block", kind.block_size as usize * 2));
        let commands = commands.replace("VALUE", &file("value", 6000)).replace("LONG", &long);
        debugfs_write(&image, &commands);
        if kind.features.contains("ea_inode") {
            // debugfs counts neither the blocks of the value nor what the quota files say of them.
            let (status, said) = run("e2fsck", &["-fy", image.to_str().unwrap()]);
            assert!(status <= 1, "{said}");
        }
    }
    assert_clean(&image);
    image
}

/// The kind of this name.
pub fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|k| k.name == name).unwrap()
}
