//! An image that the kernel goes on to write to: it creates, renames, grows, truncates, unlinks and links over what was
//! laid out, splits the leaves of our directory indexes, and `e2fsck` finds nothing afterwards.

use super::common::{Numbers, make, scratch};
use super::oracle::{self, Mounted};
use super::snapshot;
use super::tools::{note, output, succeed, system, told};
use super::tree_compare::{Allow, compare};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::Instant;

/// Entries of the large directory, of a source, so that its index has leaves to split.
const ENTRIES: usize = 3000;

fn plant(at: &Path) {
    fs::create_dir_all(at.join("wide")).expect("mkdir");
    for i in 0..ENTRIES {
        fs::write(at.join(format!("wide/entry-{i:05}-of-some-length")), b"").expect("write");
    }
    fs::create_dir_all(at.join("deep/er/still")).expect("mkdir");
    let mut numbers = Numbers(3);
    for i in 0..60 {
        let content = vec![i as u8; numbers.below(40_000) as usize];
        fs::write(at.join(format!("deep/file{i}")), content).expect("write");
    }
    fs::write(at.join("large"), vec![5; 6 << 20]).expect("write");
    let file = File::create(at.join("sparse")).expect("create");
    file.set_len(8 << 20).expect("length");
    for i in 0..300 {
        file.write_all_at(&[9; 4096], i * 3 * 8192).expect("write");
    }
    for len in [0, 20, 60, 100, 150] {
        fs::write(at.join(format!("tiny{len}")), vec![1; len]).expect("write");
    }
    fs::hard_link(at.join("large"), at.join("deep/large-too")).expect("link");
    std::os::unix::fs::symlink("t".repeat(200), at.join("slow")).expect("symlink");
    for i in 0..5 {
        let path = at.join(format!("attributes{i}"));
        fs::write(&path, b"").expect("write");
        snapshot::set_xattr(&path, "security.shared", &[7; 300]);
    }
}

/// Does to the mounted tree what programs do.
fn change(at: &Path) {
    let wide = at.join("wide");
    // Into leaves that are full, and out of them.
    for i in 0..2000 {
        fs::write(wide.join(format!("added-{i}-{}", "x".repeat(i % 90))), b"new").expect("create in a full leaf");
    }
    for i in (0..ENTRIES).step_by(3) {
        fs::remove_file(wide.join(format!("entry-{i:05}-of-some-length"))).expect("unlink");
    }
    for i in (1..ENTRIES).step_by(30) {
        let (from, to) = (format!("entry-{i:05}-of-some-length"), format!("renamed-{i}"));
        fs::rename(wide.join(from), wide.join(to)).expect("rename");
    }
    for i in 0..300 {
        fs::create_dir(wide.join(format!("dir{i}"))).expect("mkdir");
        fs::create_dir(wide.join(format!("dir{i}/below"))).expect("mkdir");
    }
    for i in 0..150 {
        fs::remove_dir_all(wide.join(format!("dir{i}"))).expect("rmdir");
    }
    // A directory that had no index gets one.
    for i in 0..600 {
        fs::write(at.join(format!("deep/er/still/{i}-{}", "y".repeat(40))), b"").expect("create");
    }
    fs::rename(at.join("deep/er"), at.join("elsewhere")).expect("rename of a directory");

    let write = |name: &str, offset: u64, len: usize| {
        let file = File::options().write(true).open(at.join(name)).expect("open");
        file.write_all_at(&vec![0xa5; len], offset).expect("write");
    };
    write("large", (6 << 20) - 100, 3 << 20);
    write("large", 12 << 20, 4096);
    let file = File::options().write(true).open(at.join("large")).expect("open");
    file.set_len(7 << 20).expect("truncate");
    for i in 0..300 {
        // Between what is there, and over it.
        write("sparse", i * 3 * 8192 + 4096 * (i % 3), 5000);
    }
    let file = File::options().write(true).open(at.join("sparse")).expect("open");
    file.set_len(1 << 20).expect("truncate");
    file.set_len(30 << 20).expect("grow");
    for len in [0, 20, 60, 100, 150] {
        write(&format!("tiny{len}"), len as u64, 50 * len + 3);
    }
    for i in 0..60 {
        let path = at.join(format!("deep/file{i}"));
        match i % 4 {
            0 => fs::remove_file(&path).expect("unlink"),
            1 => fs::write(&path, vec![3; 100_000]).expect("overwrite"),
            2 => File::options().write(true).open(&path).expect("open").set_len(10).expect("truncate"),
            _ => fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod"),
        }
    }
    fs::remove_file(at.join("deep/large-too")).expect("unlink");
    fs::hard_link(at.join("slow"), at.join("slow-too")).expect("link of a symlink");
    for i in 0..5 {
        let path = at.join(format!("attributes{i}"));
        match i {
            0 => fs::remove_file(&path).expect("unlink"),
            1 => snapshot::set_xattr(&path, "security.shared", &[8; 310]),
            2 => snapshot::set_xattr(&path, "security.another", &[8; 50]),
            3 => rustix::fs::lremovexattr(&path, "security.shared").expect("removexattr"),
            _ => {}
        }
    }
    // Durable in the middle: what fast commits are for.
    for i in 0..20 {
        let path = at.join(format!("elsewhere/synced{i}"));
        fs::write(&path, vec![1; 3000]).expect("write");
        File::open(&path).expect("open").sync_all().expect("fsync");
    }
}

struct Shape {
    name: &'static str,
    args: &'static [&'static str],
    /// Of inodes and the unit of holes.
    inode_size: u32,
    unit: u64,
    /// Whether files may have the DAX flag.
    dax_flag: bool,
}

const fn shape(name: &'static str, args: &'static [&'static str]) -> Shape {
    Shape { name, args, inode_size: 256, unit: 4096, dax_flag: true }
}

const SHAPES: &[Shape] = &[
    shape("default", &[]),
    Shape { dax_flag: false, ..shape("1k", &["-b", "1024"]) },
    shape("^has_journal", &["-O", "^has_journal"]),
    Shape { unit: 16_384, ..shape("bigalloc", &["-O", "bigalloc,^resize_inode", "-C", "16384"]) },
    // Neither files in inodes nor blocks smaller than a page go with DAX.
    Shape { dax_flag: false, ..shape("inline_data", &["-O", "inline_data"]) },
    shape("orphan_file", &["-O", "orphan_file"]),
    shape("fast_commit", &["-O", "fast_commit"]),
    shape("quota", &["-O", "quota,project"]),
    shape("meta_bg", &["-O", "meta_bg,^resize_inode", "-g", "4096"]),
    shape("uninit_bg", &["-O", "^metadata_csum,uninit_bg"]),
    shape("seed", &["-O", "metadata_csum_seed,ea_inode,large_dir"]),
    Shape { inode_size: 128, dax_flag: false, ..shape("ext2", &["-t", "ext2", "-b", "1024", "-I", "128"]) },
    Shape { inode_size: 128, dax_flag: false, ..shape("ext3", &["-t", "ext3", "-b", "1024", "-I", "128"]) },
    shape("stride", &["-E", "stride=16,stripe_width=64", "-O", "^flex_bg"]),
];

#[test]
fn images_survive_what_the_kernel_writes() {
    let scratch = scratch();
    let source = scratch.path().join("source");
    fs::create_dir(&source).expect("mkdir");
    plant(&source);
    snapshot::of_directory(&source).expect("readable");
    let expected = snapshot::of_directory(&source).expect("readable");
    let mut failures = Vec::new();
    for shape in SHAPES {
        let begin = Instant::now();
        let image = scratch.path().join("image");
        if shape.name == "quota" && !kernel_writes_quota(scratch.path()) {
            note("quota: the kernel was not asked to write: it does not mount an image of mke2fs with quota either");
            continue;
        }
        let args = [shape.args, &["-F", "-d", source.to_str().expect("a plain path"), "--dax", "/deep"]].concat();
        let args = if shape.dax_flag { &args[..] } else { &args[..args.len() - 2] };
        make(args, &image, "128M");
        match survive(shape, &image, scratch.path(), &expected) {
            Ok(()) => {
                note(format!("{}: survived the kernel's writes ({:.1} s)", shape.name, begin.elapsed().as_secs_f64()));
            }
            Err(told) => failures.push(format!("{}: {told}", shape.name)),
        }
        fs::remove_file(&image).expect("removed");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Whether the kernel mounts images with quota for writing; it may be built without.
fn kernel_writes_quota(scratch: &Path) -> bool {
    let image = scratch.join("by-mke2fs");
    let made = succeed(system("mke2fs").args(["-q", "-F", "-t", "ext4", "-O", "quota"]).arg(&image).arg("32M"));
    made.unwrap_or_else(|told| panic!("{told}"));
    Mounted::new(&image, &scratch.join("mnt"), "rw").is_ok()
}

fn survive(shape: &Shape, image: &Path, scratch: &Path, expected: &snapshot::Snapshot) -> Result<(), String> {
    oracle::clean(image)?;
    let mounted = Mounted::new(image, &scratch.join("mnt"), "rw")?;
    let at = mounted.path();
    let before = snapshot::of_directory(at)?;
    compare("the kernel", expected, &before, Allow::nothing(shape.inode_size, shape.unit))?;
    change(at);
    let flag = at.join("flag");
    fs::write(&flag, vec![1; 10_000]).map_err(|e| e.to_string())?;
    let mut command = system("chattr");
    let out = output(command.arg("+x").arg(&flag));
    if shape.dax_flag {
        if !out.status.success() {
            return Err(told(&command, &out));
        }
        for (path, has) in [(&flag, true), (&at.join("deep/file1"), true), (&at.join("large"), false)] {
            if lsattr(path)?.contains('x') != has {
                return Err(format!("{}: the flag is {}", path.display(), if has { "gone" } else { "there" }));
            }
        }
        // What the kernel makes below a directory of ours inherits from it.
        fs::write(at.join("deep/inherits"), b"").map_err(|e| e.to_string())?;
        if !lsattr(&at.join("deep/inherits"))?.contains('x') {
            return Err("a new file does not inherit the DAX flag".to_owned());
        }
    }
    // Before they are written out, files that have just left their inodes have no holes one could ask Linux for (6.18).
    rustix::fs::syncfs(File::open(at).map_err(|e| e.to_string())?).map_err(|e| format!("syncfs: {e}"))?;
    let after = snapshot::of_directory(at)?;
    mounted.unmount()?;
    oracle::clean(image)?;
    let mounted = Mounted::new(image, &scratch.join("mnt"), "ro")?;
    let again = snapshot::of_directory(mounted.path())?;
    mounted.unmount()?;
    // Delayed allocation may turn holes at the end into blocks, reading may move access times.
    let allow = Allow { any_holes: true, ..Allow::nothing(shape.inode_size, shape.unit) };
    let quiet = |all: snapshot::Snapshot| -> snapshot::Snapshot {
        all.into_iter().map(|(p, e)| (p, snapshot::Entry { atime: None, ..e })).collect()
    };
    compare("the kernel, mounting again,", &quiet(after), &quiet(again), allow)
}

/// The flags of a file, as letters.
fn lsattr(path: &Path) -> Result<String, String> {
    let text = succeed(system("lsattr").arg("-d").arg(path))?;
    Ok(String::from_utf8_lossy(&text).split_whitespace().next().unwrap_or_default().to_owned())
}
