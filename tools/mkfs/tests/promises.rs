//! What is promised about targets: a new file appears whole or not at all; data is not overwritten unasked; who uses a target
//! keeps it; a failed or interrupted run over an old target leaves nothing that can be taken for a file system.

mod common;

use common::{Bench, Run, assert_clean, oracle, superblocks, wait_until};
use std::fs;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

#[test]
fn data_is_overwritten_only_when_asked_for() {
    let bench = Bench::new();
    for (name, at, bytes, what) in [
        ("xfs", 0u64, &b"XFSB"[..], "an XFS file system"),
        ("swap", 4086, b"SWAPSPACE2", "a swap area"),
        ("text", 5 << 20, b"hello", "data"),
        ("end", (8 << 20) - 5, b"hello", "data"),
    ] {
        let path = bench.file(name, 8 << 20);
        fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(bytes, at).unwrap();
        let before = fs::read(&path).unwrap();
        let line = bench.refused(&[name]);
        assert!(line.ends_with(&format!("holds {what}; -F overwrites it")), "{line}");
        assert!(fs::read(&path).unwrap() == before, "{name} changed");
        bench.ok(&["-F", name]);
        assert_clean(&path);
    }
    bench.ok(&["-L", "mine", "new", "8M"]);
    assert!(bench.refused(&["new"]).contains("an ext4 file system labelled 'mine'"));
    bench.file("zeroes", 8 << 20);
    fs::write(bench.path("zeroes"), vec![0; 8 << 20]).unwrap();
    bench.ok(&["zeroes"]);
}

#[test]
fn only_the_window_behind_an_offset_counts_and_changes() {
    let bench = Bench::new();
    let path = bench.file("disk", 16 << 20);
    let disk = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    disk.write_all_at(&[0xaa; 4096], 0).unwrap();
    bench.ok(&["-E", "offset=2097152", "disk", "8M"]);
    let mut head = [0; 4096];
    disk.read_exact_at(&mut head, 0).unwrap();
    assert_eq!(head, [0xaa; 4096]);
    assert_eq!(superblocks(&path)[0], (2 << 20) + 1024);
    let inside = format!("{}?offset=2097152", path.display());
    let run = oracle("e2fsck", &["-fn", &inside]);
    assert_eq!(run.status, 0, "{}{}", run.stdout, run.stderr);
}

#[test]
fn copies_of_an_old_superblock_do_not_survive() {
    let bench = Bench::new();
    for extra in [&["-E", "nodiscard"][..], &["-z", "undo"]] {
        let _ = fs::remove_file(bench.path("image"));
        bench.ok(&["-q", "-b", "1024", "-g", "2048", "image", "32M"]);
        let old = superblocks(&bench.path("image"));
        assert!(old.len() > 5);
        bench.ok(&[&["-q", "-F"], extra, &["image"]].concat());
        assert_eq!(superblocks(&bench.path("image")), [1024], "{extra:?}");
        assert_clean(&bench.path("image"));
    }
}

#[test]
fn an_undo_file_leads_back() {
    let bench = Bench::new();
    bench.ok(&["-L", "before", "image", "16M"]);
    let before = fs::read(bench.path("image")).unwrap();
    let run = bench.ok(&["-F", "-z", "undo", "-L", "after", "image"]);
    assert!(run.stderr.contains("e2undo undo image"), "{}", run.stderr);
    assert_clean(&bench.path("image"));
    assert!(bench.refused(&["-F", "-z", "undo", "image"]).contains("-z undo"));
    let (undo, image) = (bench.path("undo"), bench.path("image"));
    let run = oracle("e2undo", &[undo.to_str().unwrap(), image.to_str().unwrap()]);
    assert_eq!(run.status, 0, "{}{}", run.stdout, run.stderr);
    assert!(fs::read(&image).unwrap() == before);
}

#[test]
fn a_locked_target_is_refused_by_name() {
    let bench = Bench::new();
    let path = bench.file("image", 8 << 20);
    let mut holder = Command::new("flock")
        .args(["--exclusive", "--no-fork"])
        .arg(&path)
        .args(["sh", "-c", "echo ready; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the oracle flock (package util-linux) must be there");
    let mut ready = [0; 6];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let line = bench.refused(&["-F", "image"]);
    assert!(line.starts_with("image: locked by"), "{line}");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    bench.ok(&["image"]);
}

/// A loop device over an image; detached at the end.
struct Loop(String);

impl Loop {
    fn over(path: &std::path::Path) -> Self {
        let run = oracle("losetup", &["--find", "--show", path.to_str().unwrap()]);
        assert_eq!(run.status, 0, "losetup (needs root and a loop device): {}", run.stderr);
        Self(run.stdout.trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        oracle("losetup", &["--detach", &self.0]);
    }
}

#[test]
fn a_target_behind_a_loop_device_is_refused_and_the_device_itself_can_be_one() {
    let bench = Bench::new();
    let path = bench.file("image", 8 << 20);
    let device = Loop::over(&path);
    let line = bench.refused(&["-F", "image"]);
    assert!(line.starts_with("image: behind loop device"), "{line}");
    let run = bench.ok(&["-q", &device.0]);
    assert_eq!(run.stdout, "");
    assert!(bench.refused(&[&device.0]).contains("holds an ext4 file system"));
    assert!(bench.refused(&["-F", &device.0, "16M"]).contains("the device has 8388608 bytes"));
    drop(device);
    assert_clean(&path);
}

/// A source that takes a while to copy.
fn large_source(bench: &Bench) {
    fs::create_dir(bench.path("src")).unwrap();
    let piece: Vec<u8> = (0..1u32 << 20).map(|i| (i % 251) as u8).collect();
    for n in 0..4 {
        let file = fs::File::create(bench.path(&format!("src/{n}"))).unwrap();
        for at in 0..128 {
            file.write_all_at(&piece, at << 20).unwrap();
        }
    }
}

fn begin(bench: &Bench, args: &[&str]) -> Child {
    bench.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the tool runs")
}

/// Interrupts the tool once, and expects it to end as promised.
fn interrupt(child: Child, signal: &str) -> Run {
    let run = oracle("kill", &[signal, &child.id().to_string()]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!(run.status, 1, "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.ends_with("interrupted\n"), "{}", run.stderr);
    assert_eq!(run.stdout, "");
    run
}

/// Whether the process has a file without a name open that holds data already.
fn writes_nameless_file(child: &Child) -> bool {
    let Ok(fds) = fs::read_dir(format!("/proc/{}/fd", child.id())) else { return false };
    fds.filter_map(Result::ok).any(|fd| {
        fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().ends_with("(deleted)"))
            && fs::metadata(fd.path()).is_ok_and(|meta| std::os::unix::fs::MetadataExt::blocks(&meta) > 0)
    })
}

#[test]
fn an_interrupted_run_leaves_no_new_file() {
    let bench = Bench::new();
    large_source(&bench);
    for signal in ["-INT", "-TERM", "-HUP"] {
        let child = begin(&bench, &["-d", "src", "image", "1G"]);
        wait_until("the first block", || writes_nameless_file(&child));
        interrupt(child, signal);
        assert_eq!(bench.names(), ["src"]);
    }
}

#[test]
fn an_interrupted_run_over_an_old_target_leaves_no_file_system() {
    let bench = Bench::new();
    large_source(&bench);
    bench.ok(&["-q", "image", "1G"]);
    let file = fs::File::open(bench.path("image")).unwrap();
    let child = begin(&bench, &["-F", "-d", "src", "image"]);
    wait_until("the old superblock to go", || {
        let mut magic = [0; 2];
        file.read_exact_at(&mut magic, 1024 + 0x38).unwrap();
        magic == [0, 0]
    });
    interrupt(child, "-INT");
    assert_eq!(superblocks(&bench.path("image")), Vec::<u64>::new());
    assert_eq!(fs::metadata(bench.path("image")).unwrap().len(), 1 << 30);
    let image = bench.path("image");
    assert_eq!(oracle("e2fsck", &["-fn", image.to_str().unwrap()]).status, 8);
    bench.ok(&["-q", "image"]);
    assert_clean(&image);
}

#[test]
fn a_failed_run_over_an_old_target_says_so_before_it_is_touched() {
    let bench = Bench::new();
    fs::create_dir(bench.path("src")).unwrap();
    fs::write(bench.path("src/file"), vec![7; 9 << 20]).unwrap();
    bench.ok(&["-q", "image", "8M"]);
    let before = fs::read(bench.path("image")).unwrap();
    assert!(bench.refused(&["-F", "-d", "src", "image"]).contains("no space"));
    assert!(fs::read(bench.path("image")).unwrap() == before);
}

#[test]
fn a_full_host_leaves_no_new_file() {
    let bench = Bench::new();
    fs::create_dir(bench.path("src")).unwrap();
    fs::write(bench.path("src/file"), vec![7; 4 << 20]).unwrap();
    // The limit of the shell's file size stands in for a full disk; the signal that comes with it is ignored.
    let script = format!("trap '' XFSZ; ulimit -f 2048; exec '{}' -d src image 64M", env!("CARGO_BIN_EXE_dax-mkfs"));
    let output = Command::new("bash").args(["-c", &script]).current_dir(bench.path("")).output().expect("bash");
    let run = Run::of(output);
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert_eq!(bench.names(), ["src"]);
}

#[test]
fn on_a_terminal_it_asks() {
    let bench = Bench::new();
    bench.ok(&["-q", "-L", "first", "image", "8M"]);
    let image = bench.path("image");
    let answer = |answer: &str| {
        let command = format!("{} -L second image", env!("CARGO_BIN_EXE_dax-mkfs"));
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .current_dir(bench.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the oracle script (package bsdutils) must be there");
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, answer.as_bytes()).unwrap();
        let run = Run::of(child.wait_with_output().unwrap());
        drop(stdin);
        assert!(
            run.stdout.contains("holds an ext4 file system labelled 'first'. Proceed anyway? (y,N)"),
            "{}",
            run.stdout
        );
        run.status
    };
    assert_eq!(answer("n\n"), 1);
    assert_eq!(common::dumpe2fs(&image, "Filesystem volume name"), "first");
    assert_eq!(answer("y\n"), 0);
    assert_eq!(common::dumpe2fs(&image, "Filesystem volume name"), "second");
}
