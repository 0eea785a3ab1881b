//! Images at the limits: many files, large directories, many extents, attributes of every size, a real `/usr`, and writes by
//! the kernel afterwards.

use super::oracle::{self, Mounted};
use super::snapshot::{self, set_xattr};
use super::tools::{dax_mkfs, note, output, succeed, system, told};
use super::tree_compare::{Allow, compare};
use super::{fixtures, readers};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// Runs `dax-mkfs`; the most memory it had, in bytes.
fn make(command: &mut Command) -> u64 {
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("it runs");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("a child").is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let kib = text.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        std::thread::yield_now();
    }
    let out = child.wait_with_output().expect("a child");
    assert!(out.status.success(), "{}", told(command, &out));
    peak
}

#[test]
fn a_million_files() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let source = tempfile::tempdir_in("/dev/shm").expect("a directory on the tmpfs at /dev/shm");
    std::thread::scope(|scope| {
        for half in 0..2 {
            let root = source.path();
            scope.spawn(move || {
                for d in (half..1000).step_by(2) {
                    let dir = root.join(format!("directory-{d:03}"));
                    fs::create_dir(&dir).expect("mkdir");
                    for f in 0..1000 {
                        let path = dir.join(format!("file-{d:03}-{f:03}"));
                        fs::write(path, if f % 10 == 0 { b"ten bytes\n" as &[u8] } else { b"" }).expect("write");
                    }
                }
            });
        }
    });
    let image = scratch.path().join("image");
    let peak = make(dax_mkfs().arg("-q").arg("-d").arg(source.path()).arg(&image).arg("2G"));
    note(format!("a million files: {} MiB of memory", peak >> 20));
    assert!(peak > 0 && peak < 1_001_001 * 200 + (64 << 20), "{peak} bytes of memory");
    oracle::e2fsck(&image).expect("clean");
    let told = oracle::dumpe2fs(&image).expect("a superblock");
    let number = |field: &str| told[field].parse::<u64>().expect("a number");
    // Ten reserved inodes, the root among them; lost+found; 1,000 directories and a million files.
    assert_eq!(number("Inode count") - number("Free inodes"), 10 + 1 + 1000 + 1_000_000);
    let mounted = Mounted::new(&image, &scratch.path().join("mnt"), "ro").expect("mounted");
    let mut names = 0;
    for dir in fs::read_dir(mounted.path()).expect("list") {
        let dir = dir.expect("entry");
        if dir.file_name() != "lost+found" {
            names += fs::read_dir(dir.path()).expect("list").count();
        }
    }
    assert_eq!(names, 1_000_000);
    assert_eq!(fs::read(mounted.path().join("directory-123/file-123-450")).expect("there"), b"ten bytes\n");
    mounted.unmount().expect("unmounted");
}

#[test]
fn a_directory_of_200_000_names() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let source = tempfile::tempdir_in("/dev/shm").expect("a directory on the tmpfs at /dev/shm");
    fs::write(source.path().join("0"), b"").expect("write");
    let name = |i: u32| format!("{i}-{}", "n".repeat((i % 180) as usize));
    // Names of few inodes: the directory is what is tested.
    for i in 1..200_000u32 {
        let target = source.path().join(if i % 50_000 == 0 { "0".to_owned() } else { name(i - i % 50_000) });
        let path = source.path().join(name(i));
        if i % 50_000 == 0 || i < 50_000 {
            fs::write(path, b"").expect("write")
        } else {
            fs::hard_link(target, path).expect("link")
        }
    }
    for block in ["1024", "4096"] {
        let image = scratch.path().join("image");
        let _ = fs::remove_file(&image);
        make(dax_mkfs().args(["-q", "-b", block, "-O", "large_dir", "-d"]).arg(source.path()).arg(&image).arg("600M"));
        oracle::e2fsck(&image).expect("clean");
        let mounted = Mounted::new(&image, &scratch.path().join("mnt"), "ro").expect("mounted");
        assert_eq!(fs::read_dir(mounted.path()).expect("list").count(), 200_001);
        // Through the index, from its first leaf to its last.
        for i in (1..200_000).step_by(7) {
            fs::symlink_metadata(mounted.path().join(name(i))).unwrap_or_else(|e| panic!("{}: {e}", name(i)));
        }
        assert!(fs::symlink_metadata(mounted.path().join("not-there")).is_err());
        mounted.unmount().expect("unmounted");
    }
}

#[test]
fn a_hundred_gigabytes_with_50_000_extents() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let source = scratch.path().join("source");
    fs::create_dir(&source).expect("mkdir");
    let file = File::create(source.join("sparse")).expect("create");
    file.set_len(100 << 30).expect("length");
    let stride = (100u64 << 30) / 50_000 / 4096 * 4096;
    for i in 0..50_000u64 {
        file.write_all_at(&i.to_le_bytes(), i * stride).expect("write");
    }
    file.sync_all().expect("sync");
    let expected = snapshot::settled(&source).expect("readable");
    assert_eq!(expected[&b"/sparse"[..]].data.as_ref().map(Vec::len), Some(50_000));
    for (args, unit) in [(&["-b", "4096"][..], 4096), (&["-b", "1024"], 4096), (&["-O", "^extent,^64bit"], 4096)] {
        let image = scratch.path().join("image");
        let _ = fs::remove_file(&image);
        make(dax_mkfs().arg("-q").args(args).arg("-d").arg(&source).arg(&image).arg("1G"));
        oracle::e2fsck(&image).expect("clean");
        let allow = Allow::nothing(256, unit);
        compare("the kernel", &expected, &readers::kernel(&image, scratch.path()).expect("readable"), allow)
            .expect("the same");
        compare("daxkit-volume", &expected, &readers::volume(&image).expect("readable"), allow).expect("the same");
    }
}

#[test]
fn attributes_at_every_limit() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    // tmpfs takes attributes of every size.
    let source = tempfile::tempdir_in("/dev/shm").expect("a directory on the tmpfs at /dev/shm");
    let file = source.path().join("file");
    let image = scratch.path().join("image");
    let run = |len: usize, args: &[&str]| -> Result<(), String> {
        fs::write(&file, b"").expect("write");
        set_xattr(&file, "trusted.x", &fixtures::bytes(len as u64, len));
        let expected = snapshot::settled(source.path())?;
        let _ = fs::remove_file(&image);
        let mut command = dax_mkfs();
        command.arg("-q").args(args).arg("-d").arg(source.path()).arg(&image).arg("16M");
        let out = output(&mut command);
        if !out.status.success() {
            assert!(!image.exists());
            return Err(String::from_utf8_lossy(&out.stderr).into_owned());
        }
        oracle::e2fsck(&image)?;
        let allow = Allow::nothing(256, 4096);
        compare("the kernel", &expected, &readers::kernel(&image, scratch.path())?, allow)?;
        compare("daxkit-volume", &expected, &readers::volume(&image)?, allow)?;
        compare("debugfs", &expected, &readers::debugfs(&image, scratch.path())?, allow)
    };
    // The entry takes 20 bytes. An inode of 256 has 96 bytes behind its fields, less 8; a block of n has n less 36.
    for len in [0, 1, 64, 67, 68, 69, 4036, 4039, 4040] {
        run(len, &["-b", "4096"]).unwrap_or_else(|e| panic!("{len}: {e}"));
    }
    for len in [4041, 4044, 65_536] {
        let told = run(len, &["-b", "4096"]).expect_err("too large without ea_inode");
        assert!(told.lines().count() == 1 && told.contains("/file"), "{told}");
    }
    for len in [967, 968] {
        run(len, &["-b", "1024"]).unwrap_or_else(|e| panic!("{len}: {e}"));
    }
    assert!(run(969, &["-b", "1024"]).is_err());
    for len in [68, 4040, 4041, 4096, 4097, 65_535, 65_536] {
        run(len, &["-b", "4096", "-O", "ea_inode"]).unwrap_or_else(|e| panic!("{len}: {e}"));
    }
}

/// Bytes a directory tree takes, as far as one can look.
fn bytes_of(path: &Path) -> u64 {
    let text = output(system("du").args(["-sxk"]).arg(path)).stdout;
    String::from_utf8_lossy(&text)
        .split_whitespace()
        .next()
        .and_then(|n| n.parse::<u64>().ok())
        .expect("du tells a size")
        << 10
}

#[test]
fn the_usr_of_this_machine() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let space = rustix::fs::statvfs(scratch.path()).expect("statvfs");
    let room = (space.f_bavail * space.f_frsize / 3).min(6 << 30);
    let mut candidates: Vec<(u64, std::path::PathBuf)> = ["/usr", "/usr/lib", "/usr/share", "/usr/bin", "/usr/include"]
        .iter()
        .map(Path::new)
        .filter(|p| p.is_dir())
        .map(|p| (bytes_of(p), p.to_path_buf()))
        .filter(|(size, _)| *size < room)
        .collect();
    candidates.sort();
    let (size, source) = candidates.pop().expect("a part of /usr fits");
    note(format!("{} holds {} MiB", source.display(), size >> 20));
    let image = scratch.path().join("image");
    let length = (size + size / 4 + (256 << 20)) >> 20;
    let peak = make(dax_mkfs().arg("-q").arg("-d").arg(&source).arg(&image).arg(format!("{length}M")));
    note(format!("{} MiB of memory", peak >> 20));
    oracle::e2fsck(&image).expect("clean");
    let expected = snapshot::of_directory(&source).expect("readable");
    let unit = 4096;
    // Others may look at these files while the test runs.
    let mut allow = Allow::nothing(256, unit);
    allow.other_access_times = true;
    compare("daxkit-volume", &expected, &readers::volume(&image).expect("readable"), allow).expect("the same");
    compare("the kernel", &expected, &readers::kernel(&image, scratch.path()).expect("readable"), allow)
        .expect("the same");
}

#[test]
fn the_kernel_can_write_to_images_and_they_stay_clean() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let source = scratch.path().join("source");
    let copied = system("cp").args(["-a"]).arg(&fixtures::source("small").path).arg(&source).status();
    assert!(copied.expect("cp").success());
    let many = system("cp").args(["-a"]).arg(&fixtures::source("many").path).arg(source.join("many")).status();
    assert!(many.expect("cp").success());
    let kinds: [&[&str]; 9] = [
        &[],
        &["-b", "1024"],
        &["-t", "ext2"],
        &["-t", "ext3"],
        &["-O", "inline_data,ea_inode"],
        &["-C", "8192", "-O", "bigalloc,^resize_inode,orphan_file,metadata_csum_seed"],
        &["-O", "quota,project"],
        &["-O", "^metadata_csum,uninit_bg,^flex_bg,fast_commit"],
        &["-O", "^has_journal,meta_bg,^resize_inode", "-b", "2048", "-I", "128"],
    ];
    for args in kinds {
        let image = scratch.path().join("image");
        let _ = fs::remove_file(&image);
        succeed(dax_mkfs().args(["-q", "-N", "16384"]).args(args).arg("-d").arg(&source).arg(&image).arg("128M"))
            .unwrap_or_else(|e| panic!("{args:?}: {e}"));
        let at = scratch.path().join("mnt");
        let mounted = match Mounted::new(&image, &at, "rw") {
            Ok(mounted) => mounted,
            Err(_) if args.contains(&"quota,project") && !kernel_writes_quota(scratch.path()) => {
                note("the kernel was not asked to write to an image with quota: it cannot with mke2fs's either");
                continue;
            }
            Err(e) => panic!("{args:?}: {e}"),
        };
        change(&at);
        mounted.unmount().expect("unmounted");
        oracle::e2fsck(&image).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        let mounted = Mounted::new(&image, &at, "ro").unwrap_or_else(|e| panic!("{args:?}: {e}"));
        verify(&at);
        mounted.unmount().expect("unmounted");
    }
}

/// Whether the kernel mounts an image of mke2fs with quota for writing: it may be built without.
fn kernel_writes_quota(scratch: &Path) -> bool {
    let image = scratch.join("by-mke2fs");
    succeed(system("mke2fs").args(["-q", "-F", "-t", "ext4", "-O", "quota"]).arg(&image).arg("32M")).expect("an image");
    Mounted::new(&image, &scratch.join("by-mke2fs-mnt"), "rw").is_ok()
}

/// Does to a mounted image whatever touches what mkfs laid out: directories grow and shrink, files too, blocks and inodes are
/// freed and taken, attributes come and go.
fn change(at: &Path) {
    for i in 0..3000 {
        fs::write(at.join(format!("many/files/new-{i}")), fixtures::bytes(i, 100)).expect("a new file");
    }
    for i in (0..2500).step_by(3) {
        fs::remove_file(at.join(format!("many/files/entry-{i:05}-with-a-name-of-some-length"))).expect("unlink");
    }
    fs::remove_dir_all(at.join("many/dirs")).expect("rmdir");
    fs::remove_file(at.join("many/links/0")).expect("unlink");
    fs::rename(at.join("f65536"), at.join("a/b/renamed")).expect("rename");
    let grown = File::options().append(true).open(at.join("f4097")).expect("open");
    std::io::Write::write_all(&mut &grown, &fixtures::bytes(4, 3 << 20)).expect("append");
    File::options().write(true).open(at.join("f70000")).and_then(|f| f.set_len(10)).expect("truncate");
    File::options().write(true).open(at.join("f1")).and_then(|f| f.write_all_at(b"far", 50 << 20)).expect("a hole");
    set_xattr(&at.join("f0"), "user.new", &fixtures::bytes(5, 300));
    set_xattr(&at.join("f59"), "user.new", &fixtures::bytes(6, 20));
    symlink("x".repeat(500), at.join("a/new-link")).expect("symlink");
    fs::set_permissions(at.join("f60"), fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::create_dir_all(at.join("lost+found/../deep/er")).expect("mkdir");
}

fn verify(at: &Path) {
    assert_eq!(fs::read_dir(at.join("many/files")).expect("list").count(), 2500 - 834 + 3000);
    for i in (0..3000).step_by(17) {
        assert_eq!(fs::read(at.join(format!("many/files/new-{i}"))).expect("there"), fixtures::bytes(i, 100));
    }
    assert_eq!(fs::read(at.join("many/links/149")).expect("there"), b"many names");
    assert_eq!(fs::read(at.join("a/b/renamed")).expect("there"), fixtures::bytes(65_536, 65_536));
    let grown = fs::read(at.join("f4097")).expect("there");
    assert!(grown[..4097] == fixtures::bytes(4097, 4097) && grown[4097..] == fixtures::bytes(4, 3 << 20));
    assert_eq!(fs::read(at.join("f70000")).expect("there"), fixtures::bytes(70_000, 70_000)[..10]);
    assert_eq!(fs::metadata(at.join("f1")).expect("there").len(), (50 << 20) + 3);
}
