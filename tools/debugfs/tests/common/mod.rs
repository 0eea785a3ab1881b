//! Images, the tool under test, and debugfs as the oracle.
#![allow(dead_code, unreachable_pub)]

#[path = "../../../../tests/shared/judge.rs"]
pub mod judge;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Runs a program; panics, naming it, when it is missing.
pub fn spawn(program: &str, args: &[&str], input: &[u8]) -> Output {
    use std::io::Write;
    let path = ["/usr/sbin", "/sbin"].iter().map(|d| format!("{d}/{program}")).find(|p| Path::new(p).exists());
    let mut child = Command::new(path.as_deref().unwrap_or(program))
        .args(args)
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("oracle missing: cannot run {program}: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        // A program that does not read its input is no failure here.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

/// Runs a program that must succeed; returns what it printed.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = spawn(program, args, b"");
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The tool with these arguments.
pub fn tool(args: &[&str], input: &[u8]) -> Output {
    spawn(env!("CARGO_BIN_EXE_dax-debugfs"), args, input)
}

/// What one command of the tool prints; it must succeed.
pub fn ours(image: &Path, command: &str) -> String {
    let output = tool(&["-R", command, image.to_str().unwrap()], b"");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The line with which the tool fails.
pub fn fails(args: &[&str]) -> String {
    let output = tool(args, b"");
    let message = stderr(&output);
    assert_eq!((output.status.code(), message.lines().count()), (Some(1), 1), "{args:?}: {message}");
    message
}

/// What debugfs prints for the same command.
pub fn theirs(image: &Path, command: &str) -> String {
    let output = spawn("debugfs", &["-R", command, image.to_str().unwrap()], b"");
    // Values of attributes are printed as they are.
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A scratch directory with a source tree in it.
pub struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("sub/deeper")).unwrap();
        std::fs::write(tree.join("hello"), "hello, world\n").unwrap();
        std::fs::write(tree.join("two words"), "blank\n").unwrap();
        std::fs::write(tree.join("sub/deeper/quote\"d"), "quoted\n").unwrap();
        std::fs::write(tree.join("sub/data"), (0..200_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
        std::os::unix::fs::symlink("hello", tree.join("fast")).unwrap();
        std::os::unix::fs::symlink("y".repeat(120), tree.join("slow")).unwrap();
        std::fs::hard_link(tree.join("hello"), tree.join("sub/again")).unwrap();
        let sparse = std::fs::File::create(tree.join("sparse")).unwrap();
        use std::os::unix::fs::FileExt;
        sparse.write_all_at(&[1; 5000], 409_600).unwrap();
        sparse.write_all_at(&[2; 5000], 5_000_000).unwrap();
        sparse.set_len(9_000_000).unwrap();
        let some = |name: &str| tree.join(name).to_str().unwrap().to_owned();
        run("mkfifo", &[&some("fifo")]);
        run("setfattr", &["-n", "user.text", "-v", "a value", &some("hello")]);
        run("setfattr", &["-n", "user.bytes", "-v", "0x00ff80", &some("hello")]);
        run("setfattr", &["-n", "user.on-dir", "-v", "d", &some("sub")]);
        run("chmod", &["4711", &some("hello")]);
        run("chmod", &["1770", &some("sub")]);
        run("touch", &["-d", "2024-02-03T04:05:06.123456789Z", &some("hello")]);
        run("touch", &["-d", "1999-12-31T23:59:59Z", &some("sub")]);
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An image of the tree.
    pub fn image(&self, name: &str, size: &str, args: &[&str]) -> PathBuf {
        let image = self.path(name);
        let (tree, image_text) = (self.path("tree"), image.to_str().unwrap().to_owned());
        let mut all = vec!["-q", "-F", "-d", tree.to_str().unwrap()];
        all.extend(args);
        all.extend([&image_text, size]);
        run("mke2fs", &all);
        image
    }
}
