//! Readable goldens: small images over the variety of features, pinned by their text dump, in which every byte of the image
//! appears once. A change of any byte that `dax-mkfs` writes shows here as a difference that can be read.
//!
//! `DAXKIT_BLESS=1 cargo test -p daxkit-tests --test goldens` writes the texts anew; what changed is then for the reviewer.

#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

mod diff;
mod tree;

use daxkit_build::dump::{Data, DumpOptions, dump_to_string};
use daxkit_build::restore::restore;
use daxkit_device::{BlockDevice, FileDevice, FileOptions, MemoryDevice};
use shared::{oracle, tools};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The time of all images, later than all files.
const EPOCH: &str = "1700000000";

/// Longest text.
const MOST: usize = 60_000;

/// An image: its name, what it is made from, its options, its size.
struct Golden {
    name: &'static str,
    tree: fn(&Path),
    args: &'static [&'static str],
    size: &'static str,
}

const GOLDENS: &[Golden] = &[
    Golden { name: "default", tree: tree::small, args: &[], size: "8M" },
    Golden { name: "empty", tree: |_| {}, args: &["-L", "nothing", "-e", "remount-ro", "-m", "1"], size: "1M" },
    Golden { name: "ext2", tree: tree::small, args: &["-t", "ext2", "-b", "1024", "-I", "128"], size: "1M" },
    Golden { name: "ext3", tree: tree::small, args: &["-t", "ext3", "-b", "1024"], size: "4M" },
    Golden {
        name: "uninit_bg",
        tree: tree::small,
        args: &["-b", "1024", "-O", "^metadata_csum,uninit_bg,^64bit"],
        size: "1M",
    },
    Golden { name: "bigalloc", tree: tree::small, args: &["-O", "bigalloc,^resize_inode", "-C", "16384"], size: "4M" },
    Golden { name: "inline_data", tree: tree::tiny, args: &["-O", "inline_data"], size: "1M" },
    Golden {
        name: "ea_inode",
        tree: tree::attributes,
        args: &["-b", "1024", "-O", "ea_inode,metadata_csum_seed"],
        size: "1M",
    },
    Golden { name: "quota", tree: tree::small, args: &["-O", "quota,project", "--owner", "1000:100"], size: "4M" },
    Golden { name: "orphan_file", tree: tree::tiny, args: &["-O", "orphan_file,fast_commit"], size: "16M" },
    Golden {
        name: "meta_bg",
        tree: tree::small,
        args: &["-b", "1024", "-g", "256", "-O", "meta_bg,^resize_inode,^flex_bg,mmp"],
        size: "5M",
    },
    Golden { name: "htree", tree: tree::wide, args: &["-b", "1024", "-O", "large_dir"], size: "2M" },
    Golden { name: "sparse", tree: tree::sparse, args: &["--holes", "zero-blocks"], size: "4M" },
    Golden {
        name: "sparse_indirect",
        tree: tree::sparse,
        args: &["-t", "ext2", "-b", "1024", "--holes", "zero-blocks"],
        size: "2M",
    },
    Golden { name: "dax", tree: tree::dax, args: &["--dax", "/persistent", "--dax", "/one/file"], size: "12M" },
    Golden { name: "blocks_64k", tree: tree::small, args: &["-b", "65536", "--page-size", "65536"], size: "4M" },
    Golden { name: "casefold", tree: tree::tiny, args: &["-O", "casefold,encrypt,verity,stable_inodes"], size: "1M" },
];

/// Makes the image; its text.
fn text(golden: &Golden, scratch: &Path) -> String {
    let source = scratch.join("source");
    fs::create_dir(&source).expect("mkdir");
    (golden.tree)(&source);
    tree::settle(&source);
    let image = scratch.join("image");
    let mut command = tools::dax_mkfs();
    command.env("SOURCE_DATE_EPOCH", EPOCH);
    command.args(["-q", "--reproducible", "--pmem-align", "none"]).args(golden.args);
    if !golden.args.contains(&"--owner") {
        command.args(["--owner", "0:0"]);
    }
    let out = tools::output(command.arg("-d").arg(&source).arg(&image).arg(golden.size));
    assert!(out.status.success(), "{}", tools::told(&command, &out));
    oracle::clean(&image).unwrap_or_else(|told| panic!("{told}"));
    let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open(&image, FileOptions::default()).expect("readable"));
    comes_back(golden.name, &device, &fs::read(&image).expect("readable"));
    dump_to_string(&device, &DumpOptions::default()).expect("a dump")
}

/// The image that its text with all data stands for is it, to the byte.
fn comes_back(name: &str, device: &Arc<dyn BlockDevice>, image: &[u8]) {
    let full = DumpOptions { data: Data::Full };
    let text = dump_to_string(device, &full).expect("a dump");
    let mut make = |len| -> io::Result<Arc<dyn BlockDevice>> { Ok(Arc::new(MemoryDevice::new(len))) };
    let built = restore(&mut text.as_bytes(), &mut make).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut again = vec![0; image.len()];
    assert_eq!(built.len(), again.len() as u64, "{name}");
    built.read_at(0, &mut again).expect("memory is readable");
    let first = image.iter().zip(&again).position(|(a, b)| a != b);
    assert_eq!(first, None, "{name}: the first byte that differs from the image built from its text");
}

/// Where the texts lie.
fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens").join(format!("{name}.txt"))
}

#[test]
fn images_are_what_their_texts_say() {
    let bless = std::env::var_os("DAXKIT_BLESS").is_some_and(|v| v == "1");
    let mut wrong = Vec::new();
    for golden in GOLDENS {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let found = text(golden, scratch.path());
        assert!(found.len() < MOST, "{}: {} bytes of text: choose a smaller image", golden.name, found.len());
        let path = place(golden.name);
        if bless {
            fs::write(&path, &found).expect("written");
            continue;
        }
        let expected =
            fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e} (DAXKIT_BLESS=1 writes it)", path.display()));
        if expected != found {
            wrong.push(format!("--- goldens/{}.txt\n+++ found\n{}", golden.name, diff::lines(&expected, &found)));
        }
    }
    assert!(wrong.is_empty(), "{}\nIf this is what is wanted: DAXKIT_BLESS=1", wrong.join("\n"));
}

#[test]
fn every_text_belongs_to_an_image() {
    let mut texts: Vec<String> = fs::read_dir(place("x").parent().expect("a directory"))
        .expect("the goldens are there")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "txt"))
        .map(|p| p.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    texts.sort();
    let mut names: Vec<&str> = GOLDENS.iter().map(|g| g.name).collect();
    names.sort_unstable();
    assert_eq!(texts, names);
}
