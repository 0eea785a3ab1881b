//! Damaged images: every command says what is wrong and ends, none dies.
//!
//! Images are damaged with a seeded generator (the seed is in every message), and those of DAXKIT_CORPUS are read where it
//! is set.

mod common;

use common::{Scratch, run, spawn, tool};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SCRIPT: &str = "\
params\nstats\nfeatures\nls -l /\nls -c /\nls -d sub\npwd\nncheck -c 2 11 12 13 14 15 20\nicheck 1 10 100 300 1000 2000 2500\n\
stat <2>\nstat <8>\nstat hello\nex sub/data\nex -n <8>\nblocks sub/data\nblocks <7>\nbmap sparse 400\nbmap sparse\n\
imap hello\nfilefrag -dvr /\nfilefrag -vr /\nfreefrag -c 64\nfreesp -b\ntestb 1 100\ntesti hello\nffb 5\nffi\n\
dirsearch many \"name 7\"\nhtree many\nidump hello\nidump -x hello\nbdump 30\nbdump -x 30\nea_list hello\nea_get hello user.text\n\
dump_mmp\nlq user\nlq project\nlsdel\norphan_inodes\nlogdump\nlogdump -a\nlogdump -O\nlogdump -S\nlogdump -s\n\
locate inode./hello.i_flags\nprint /node\nlocate dir:2.entry.hello\nprint group.0\nlocate block:300\nsums group.1\nsums -a\n\
convert byte 300000\ndax hello\ndax sub/data\npmd sub/data\ninherit /\nlsattr -R /\ncat sub/data\nhistory\n";

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % limit
    }
}

fn read(image: &Path, what: &str, options: &[&str]) {
    let begin = Instant::now();
    let mut args = options.to_vec();
    args.extend(["--keep-going", image.to_str().unwrap()]);
    let output = tool(&args, SCRIPT.as_bytes());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{what} {options:?}: {:?}: {errors}", output.status);
    for line in errors.lines() {
        assert!(line.starts_with("dax-debugfs: "), "{what} {options:?}: {line}");
    }
    assert!(begin.elapsed() < Duration::from_secs(30), "{what} {options:?}: {:?}", begin.elapsed());
}

fn image(scratch: &Scratch, name: &str, args: &[&str]) -> PathBuf {
    std::fs::create_dir_all(scratch.path("tree/many")).unwrap();
    for nr in 0..200 {
        std::fs::write(scratch.path(&format!("tree/many/name {nr}")), format!("{nr}\n")).unwrap();
    }
    let image = scratch.image(name, "8M", args);
    spawn("e2fsck", &["-fyD", image.to_str().unwrap()], b"");
    image
}

#[test]
fn a_copy_of_the_superblock_is_found() {
    let scratch = Scratch::new();
    for (size, args) in [("16M", ["-b", "1024", "-s", "8193"]), ("256M", ["-b", "4096", "-s", "32768"])] {
        let image = scratch.image("image", size, &["-t", "ext4", "-b", args[1]]);
        let sound = common::ours(&image, "ls -p /");
        let mut bytes = std::fs::read(&image).unwrap();
        bytes[1024..2048].fill(0);
        std::fs::write(&image, bytes).unwrap();
        let text = image.to_str().unwrap();
        let said = common::fails(&["-R", "ls -p /", text]);
        assert!(said.contains("no magic number") && said.contains(&args.join(" ")), "{said}");
        for how in [&args[..], &["-c"]] {
            let output = tool(&[how, &["-R", "ls -p /", text]].concat(), b"");
            assert_eq!(String::from_utf8_lossy(&output.stdout), sound, "{how:?}: {}", common::stderr(&output));
            assert_eq!(common::stderr(&output).contains("opened by the copy"), how == ["-c"]);
        }
    }
}

#[test]
fn every_command_survives_damage() {
    let scratch = Scratch::new();
    std::fs::remove_file(scratch.path("tree/sparse")).unwrap();
    let sums =
        image(&scratch, "sums", &["-t", "ext4", "-b", "1024", "-O", "metadata_csum,mmp,quota,project,orphan_file"]);
    let plain = image(&scratch, "plain", &["-t", "ext2", "-b", "1024"]);
    let inline =
        image(&scratch, "inline", &["-t", "ext4", "-b", "1024", "-I", "512", "-O", "inline_data,^metadata_csum"]);
    let damaged = scratch.path("damaged");
    for (number, image) in [sums, plain, inline].iter().enumerate() {
        let sound = std::fs::read(image).unwrap();
        // Metadata lies in the first part; a directory, a map or an inode is hit often enough there.
        let reach = 3 << 20;
        for seed in 1..=12u64 {
            let mut random = Random(seed * 1_000_003 + number as u64);
            let mut bytes = sound.clone();
            for _ in 0..1 << (seed % 8 + 3) {
                let at = usize::try_from(random.below(reach)).unwrap();
                bytes[at] = u8::try_from(random.below(256)).unwrap();
            }
            // The superblock stays, or there is nothing to look at.
            bytes[1024..2048].copy_from_slice(&sound[1024..2048]);
            std::fs::write(&damaged, bytes).unwrap();
            let what = format!("{} with seed {seed}", image.display());
            read(&damaged, &what, if seed % 3 == 0 { &["-c"] } else { &[] });
            if seed % 4 == 0 {
                read(&damaged, &what, &["--json"]);
            }
        }
    }
}

#[test]
fn backup_superblocks_are_taken() {
    let scratch = Scratch::new();
    let image = scratch.image("backup", "32M", &["-t", "ext4", "-b", "1024"]);
    let text = image.to_str().unwrap();
    run("dd", &["if=/dev/zero", &format!("of={text}"), "bs=1024", "seek=1", "count=1", "conv=notrunc", "status=none"]);
    assert_eq!(tool(&["-R", "ls", text], b"").status.code(), Some(1));
    let found = tool(&["-b", "1024", "-s", "8193", "-R", "icheck 100", "-R", "ncheck 12", "-R", "stats", text], b"");
    assert_eq!(found.status.code(), Some(0), "{}", String::from_utf8_lossy(&found.stderr));
    let close = format!("close\nopen -s 8193 -b 1024 {text}\nls -p /\n");
    let opened = tool(&["-s", "8193", "-b", "1024", text], close.as_bytes());
    assert!(String::from_utf8_lossy(&opened.stdout).contains("/hello/"));
}

#[test]
fn images_of_others_are_survived() {
    let Some(corpus) = std::env::var_os("DAXKIT_CORPUS").map(PathBuf::from) else {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "DAXKIT_CORPUS is unset, and CI wants it");
        eprintln!("DAXKIT_CORPUS is unset: no damaged images are read");
        return;
    };
    let dir = if corpus.join("ext4").is_dir() { corpus.join("ext4") } else { corpus };
    let mut images: Vec<PathBuf> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    images.retain(|p| p.to_string_lossy().ends_with(".img.gz"));
    images.sort();
    assert!(!images.is_empty(), "{} holds no images", dir.display());
    let scratch = Scratch::new();
    let image = scratch.path("image");
    for path in images {
        let unpacked = spawn("gzip", &["-dc", path.to_str().unwrap()], b"");
        std::fs::write(&image, unpacked.stdout).unwrap();
        read(&image, &path.display().to_string(), &[]);
        read(&image, &path.display().to_string(), &["-c"]);
    }
}
