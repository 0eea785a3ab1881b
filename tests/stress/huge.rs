//! 15 TiB in a sparse file, and plans up to the format's limit.

use super::common::{holds, measure, scratch};
use super::oracle::{self, Mounted};
use super::tools::{dax_mkfs, note, output};
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

#[test]
fn fifteen_tebibytes() {
    let scratch = scratch();
    let source = scratch.path().join("source");
    std::fs::create_dir(&source).expect("mkdir");
    std::fs::write(source.join("file"), b"in a large place").expect("write");
    let image = scratch.path().join("image");
    let mut command = dax_mkfs();
    let used = measure(command.args(["-q", "-d"]).arg(&source).arg(&image).arg("15T"));
    let meta = std::fs::metadata(&image).expect("made");
    let disk = meta.blocks() * 512;
    assert_eq!(meta.len(), 15 << 40);
    assert!(disk < 300 << 20, "{disk} bytes of disk used");
    assert!(used.memory < 64 << 20, "{used}: memory must not depend on the size");
    let begin = Instant::now();
    holds(oracle::clean(&image));
    let checked = begin.elapsed();
    let mounted = holds(Mounted::new(&image, &scratch.path().join("mnt"), "rw"));
    assert_eq!(std::fs::read(mounted.path().join("file")).expect("readable"), b"in a large place");
    std::fs::write(mounted.path().join("another"), vec![1; 1 << 20]).expect("the kernel writes");
    holds(mounted.unmount());
    note(format!(
        "15 TiB: dax-mkfs took {used}; {} MiB of disk used; e2fsck {:.1} s",
        disk >> 20,
        checked.as_secs_f64()
    ));
}

/// What a plan says: blocks and groups, or the message of a refusal.
fn plan(args: &[&str]) -> Result<(u64, u64), String> {
    let scratch = scratch();
    let image = scratch.path().join("image");
    let (size, options) = args.split_last().expect("a size");
    let mut command = dax_mkfs();
    let out = output(command.arg("-n").args(options).arg(&image).arg(size));
    assert!(!image.exists(), "-n writes nothing");
    if !out.status.success() {
        assert_eq!(out.status.code(), Some(1));
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let before = |word: &str| -> u64 {
        let head = text.split(word).next().expect("text");
        let number = head.rsplit(|c: char| !c.is_ascii_digit()).find(|n| !n.is_empty());
        number.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no number before {word:?}: {text}"))
    };
    Ok((before(" blocks ("), before(" block groups")))
}

#[test]
fn plans_reach_the_limit_of_the_format() {
    const T: u64 = 1 << 40;
    // 2^32 - 1 inodes, of which every group wants at least eight.
    for (args, bytes) in [
        (&["16T"][..], 16 * T),
        (&["1000T"], 1000 * T),
        (&["-i", "16777216", "32767T"], 32_767 * T),
        (&["-I", "4096", "-i", "67108864", "65535T"], 65_535 * T),
        (&["-b", "65536", "-i", "67108864", "65000T"], 65_000 * T),
        (&["-O", "^64bit", "15T"], 15 * T),
    ] {
        let begin = Instant::now();
        let block = if args.contains(&"65536") { 65_536 } else { 4096 };
        let (blocks, groups) = plan(args).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        assert_eq!(blocks, bytes / block, "{args:?}");
        note(format!("planned {}: {groups} groups in {:.2} s", args.join(" "), begin.elapsed().as_secs_f64()));
        assert!(begin.elapsed().as_secs() < 30, "a plan takes no time");
    }
    for (args, why) in [
        (&["-i", "16777216", "65536T"][..], "inodes"),
        (&["1048576T"], "limit"),
        (&["-O", "^64bit", "16T"], "64bit"),
        (&["-t", "ext3", "16T"], "64bit"),
    ] {
        let line = plan(args).expect_err("beyond the limit");
        assert!(line.contains(why) && line.lines().count() == 1, "{args:?}: {line}");
    }
}
