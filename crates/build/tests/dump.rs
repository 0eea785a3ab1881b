//! The dump of images that mke2fs makes: readable, complete, injective.

use daxkit_build::dump::{Data, DumpOptions, dump_to_string};
use daxkit_device::{BlockDevice, MemoryDevice};
use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// A generator of numbers that are the same on every run.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Runs a tool of e2fsprogs; panics, naming it, when it is missing or fails.
fn run(tool: &str, args: &[&str]) -> String {
    let path = ["/usr/sbin", "/sbin"].iter().map(|d| format!("{d}/{tool}")).find(|p| Path::new(p).exists());
    let output = Command::new(path.as_deref().unwrap_or(tool))
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("oracle missing: cannot run {tool} (package e2fsprogs): {e}"));
    assert!(output.status.success(), "{tool} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A tree with a bit of everything that needs no root.
fn source(dir: &Path) {
    std::fs::create_dir(dir.join("sub")).unwrap();
    std::fs::write(dir.join("hello"), "hello, world\n").unwrap();
    std::fs::write(dir.join("sub/big"), vec![7u8; 70_000]).unwrap();
    std::fs::write(dir.join("sub/odd \"name\"\n\u{fffd}"), "x").unwrap();
    symlink("hello", dir.join("fast")).unwrap();
    symlink("x".repeat(100), dir.join("slow")).unwrap();
    for i in 0..80 {
        std::fs::write(dir.join(format!("sub/entry-with-a-long-name-{i:04}")), "").unwrap();
    }
}

/// An image of `size` made by mke2fs with these arguments from [`source`], its bytes.
fn image(size: &str, args: &[&str]) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    source(&tree);
    let image = scratch.path().join("image");
    let mut all = vec![
        "-q",
        "-F",
        "-U",
        "11111111-2222-3333-4444-555555555555",
        "-E",
        "hash_seed=99999999-2222-3333-4444-555555555555",
    ];
    all.extend(["-d", tree.to_str().unwrap()]);
    all.extend(args);
    all.extend([image.to_str().unwrap(), size]);
    run("mke2fs", &all);
    std::fs::read(image).unwrap()
}

fn text(bytes: &[u8], data: Data) -> String {
    let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(bytes));
    dump_to_string(&device, &DumpOptions { data }).unwrap()
}

/// The kinds of image the tests below look at.
const KINDS: [(&str, &[&str]); 7] = [
    ("1M", &["-t", "ext4", "-b", "1024", "-N", "128"]),
    ("1M", &["-t", "ext2", "-b", "1024", "-N", "128", "-I", "128"]),
    ("1M", &["-t", "ext4", "-b", "4096", "-N", "128", "-O", "inline_data,^has_journal,^64bit"]),
    ("3M", &["-t", "ext3", "-b", "1024", "-N", "128", "-O", "^sparse_super,^resize_inode"]),
    ("1M", &["-t", "ext4", "-b", "2048", "-N", "128", "-O", "mmp,quota,orphan_file,^metadata_csum,uninit_bg"]),
    ("4M", &["-t", "ext4", "-b", "1024", "-g", "512", "-N", "256", "-O", "meta_bg,^resize_inode,quota"]),
    ("2M", &["-t", "ext4", "-b", "1024", "-N", "128", "-O", "bigalloc,^resize_inode", "-C", "4096"]),
];

#[test]
fn a_small_image_reads_well() {
    let text = text(&image("1M", KINDS[0].1), Data::Hash);
    for wanted in [
        "daxkit-dump 2\nlength 1048576\ndata hash\nsuper\n  .s_inodes_count 128\n",
        "\n  .s_uuid 11111111-2222-3333-4444-555555555555\n",
        "\n  .s_checksum ok\n",
        "\ngroup.0\n  .bg_block_bitmap ",
        "\n  .bg_checksum ok\n",
        "inode:2 dir \"/\"\n",
        "  /entry:12 \"..\" inode 2 dir\n",
        " symlink \"/fast\"\n",
        "\n  .i_block \"hello\"\n",
        "  .det_checksum ok\n",
        "\nend\n",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
    }
    // The hash of a file without holes is the hash of its content.
    let hash = blake3::hash(b"hello, world\n").to_hex();
    assert!(text.contains(&format!("  data blake3:{hash} 13 bytes\n")), "{text}");
    assert!(text.contains("/block:0 \"xxxxx"), "{text}");
    assert!(!text.contains("i_checksum 0x"), "{text}");
}

#[test]
fn the_same_image_has_the_same_text_whatever_its_holes() {
    let bytes = image("1M", KINDS[0].1);
    let sparse = text(&bytes, Data::Full);
    let dense = MemoryDevice::new(bytes.len() as u64);
    // Written zeroes are data to this device.
    dense.write_at(0, &bytes).unwrap();
    let device: Arc<dyn BlockDevice> = Arc::new(dense);
    assert_eq!(dump_to_string(&device, &DumpOptions { data: Data::Full }).unwrap(), sparse);
}

/// Two thousand bytes, and as many bits of what is not zero, over all kinds of image.
#[test]
fn every_changed_byte_changes_the_text() {
    for (size, args) in KINDS {
        let mut bytes = image(size, args);
        let mut lcg = Lcg(42);
        let used: Vec<usize> = (0..bytes.len()).filter(|i| bytes[*i] != 0).collect();
        for data in [Data::Hash, Data::Full] {
            let before = text(&bytes, data);
            assert!(before.len() > 5_000);
            for round in 0..150 {
                let at = match round % 3 {
                    0 => lcg.below(bytes.len() as u64) as usize,
                    _ => used[lcg.below(used.len() as u64) as usize],
                };
                let bit = 1 << lcg.below(8);
                bytes[at] ^= bit;
                let after = text(&bytes, data);
                assert_ne!(after, before, "byte {at:#x} bit {bit:#x} of {args:?}");
                bytes[at] ^= bit;
            }
        }
    }
}

#[test]
fn no_bytes_make_it_panic_or_talk_without_end() {
    for (size, args) in KINDS {
        let good = image(size, args);
        let mut lcg = Lcg(7);
        let used: Vec<usize> = (0..good.len()).filter(|i| good[*i] != 0).collect();
        for round in 0..60 {
            let mut bytes = good.clone();
            for _ in 0..1 + round % 7 {
                let at = used[lcg.below(used.len() as u64) as usize];
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, lcg.below(256) as u8][lcg.below(6) as usize];
            }
            if round % 10 == 0 {
                bytes.truncate(lcg.below(bytes.len() as u64) as usize);
            }
            assert!(text(&bytes, Data::Hash).len() < 4 << 20);
        }
    }
    for len in [0, 1, 1023, 1024, 2047, 2048, 5000] {
        let all = text(&vec![0xff; len], Data::Full);
        assert!(all.ends_with("end\n"));
    }
}

/// Descriptor, data, commit and revoke blocks, written by debugfs.
#[test]
fn a_journal_in_use_is_read_and_every_changed_byte_shows() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("image");
    std::fs::write(&path, image("6M", &["-t", "ext4", "-b", "1024", "-N", "128", "-J", "size=1"])).unwrap();
    let block = scratch.path().join("block");
    std::fs::write(&block, [0xabu8; 2048]).unwrap();
    let script = scratch.path().join("script");
    let commands = format!("jo -c\njw -b 3333,3334 {}\njw -r 3333,3444\njc\n", block.display());
    std::fs::write(&script, commands).unwrap();
    run("debugfs", &["-w", "-f", script.to_str().unwrap(), path.to_str().unwrap()]);
    let mut bytes = std::fs::read(&path).unwrap();
    let before = text(&bytes, Data::Hash);
    for wanted in [
        " block 3333 ",
        " block 3334 ",
        "revoke 0 block 3333\n",
        "revoke 1 block 3444\n",
        ".t_checksum ok\n",
        ".h_chksum ok\n",
    ] {
        assert!(before.contains(wanted), "{wanted:?} is not in\n{before}");
    }
    let first = before.lines().find_map(|l| l.strip_prefix("journal @")).unwrap().parse::<usize>().unwrap() * 1024;
    let used: Vec<usize> = (first..first + 8192).filter(|i| bytes[*i] != 0).collect();
    let mut lcg = Lcg(3);
    for round in 0..300 {
        let at =
            if round % 4 == 0 { first + lcg.below(8192) as usize } else { used[lcg.below(used.len() as u64) as usize] };
        let bit = 1 << lcg.below(8);
        bytes[at] ^= bit;
        assert_ne!(text(&bytes, Data::Hash), before, "byte {at:#x} bit {bit:#x}");
        bytes[at] ^= bit;
    }
}

/// The places at the start of lines, with their section's place in front where they begin with `.`, `/` or `+`.
#[test]
fn the_places_in_the_text_are_places() {
    let mut found = 0;
    for (size, args) in KINDS {
        let mut section = String::new();
        for line in text(&image(size, args), Data::Hash).lines() {
            let mut all = String::new();
            match line.strip_prefix("  ") {
                None => {
                    section = line.split_whitespace().next().unwrap_or_default().to_owned();
                    continue;
                }
                // Ranges of words and names with blanks are for the reader.
                Some(rest)
                    if rest.starts_with(['.', '/', '+']) && !rest.starts_with("/map:") && !rest.contains('"') =>
                {
                    write!(all, "{section}{}", rest.split_whitespace().next().unwrap_or_default()).unwrap();
                }
                Some(_) => continue,
            }
            if all.ends_with(".xattr") {
                continue;
            }
            let place: daxkit_format::field::Place = all.parse().unwrap_or_else(|e| panic!("{e} in {line:?}"));
            assert_eq!(place.to_string(), all);
            found += 1;
        }
    }
    assert!(found > 5_000, "{found}");
}
