//! Runs the built `dax-mkfs` in a directory of its own.
#![allow(dead_code, reason = "each test program uses its part")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A scratch directory and the tool.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
}

/// What a run came to.
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The tool with the scratch directory as working directory, and nothing of the caller's environment that it reads.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dax-mkfs"));
        command.current_dir(self.dir.path()).env_remove("SOURCE_DATE_EPOCH").env("NO_COLOR", "1");
        command.args(args).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        Run::of(self.command(args).output().expect("the tool runs"))
    }

    /// A run that must succeed.
    pub(crate) fn ok(&self, args: &[&str]) -> Run {
        let run = self.run(args);
        assert_eq!(run.status, 0, "{args:?}: {}", run.stderr);
        run
    }

    /// A run that must fail as promised: status 1, nothing on standard output, one line on standard error. Returns the line.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let run = self.run(args);
        assert_eq!(run.status, 1, "{args:?} must fail; it said: {}{}", run.stdout, run.stderr);
        assert_eq!(run.stdout, "", "{args:?}");
        let lines: Vec<&str> =
            run.stderr.lines().filter(|l| !l.contains(": warning: ") && !l.contains(": note: ")).collect();
        assert_eq!(lines.len(), 1, "{args:?}: {}", run.stderr);
        let line = lines[0].strip_prefix("dax-mkfs: error: ").expect(lines[0]);
        line.to_owned()
    }

    /// A sparse file.
    pub(crate) fn file(&self, name: &str, len: u64) -> PathBuf {
        let path = self.path(name);
        let file = fs::File::create(&path).expect("a file");
        file.set_len(len).expect("its length");
        path
    }

    /// Names in the scratch directory, hidden ones too.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path())
            .expect("the scratch directory")
            .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a program of e2fsprogs or util-linux. Its absence is a failure that names it.
pub(crate) fn oracle(program: &str, args: &[&str]) -> Run {
    let output = Command::new(program).env("LC_ALL", "C").args(args).stdin(Stdio::null()).output();
    Run::of(output.unwrap_or_else(|e| panic!("the oracle {program} must be there: {e}")))
}

/// e2fsck finds nothing to say.
pub(crate) fn assert_clean(path: &Path) {
    let run = oracle("e2fsck", &["-fn", path.to_str().expect("a UTF-8 path")]);
    assert_eq!(run.status, 0, "e2fsck: {}{}", run.stdout, run.stderr);
}

/// A line of `dumpe2fs -h`.
pub(crate) fn dumpe2fs(path: &Path, field: &str) -> String {
    let run = oracle("dumpe2fs", &["-h", path.to_str().expect("a UTF-8 path")]);
    let line = run.stdout.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("dumpe2fs says nothing of {field}: {}{}", run.stdout, run.stderr)).trim().to_owned()
}

/// Offsets of everything that looks like a superblock of ext4, at block boundaries of 1 KiB.
pub(crate) fn superblocks(path: &Path) -> Vec<u64> {
    let file = fs::File::open(path).expect("the image");
    let len = file.metadata().expect("its length").len();
    let mut magic = [0; 2];
    (0..len / 1024)
        .map(|kib| kib * 1024)
        .filter(|at| file.read_exact_at(&mut magic, at + 0x38).is_ok() && magic == [0x53, 0xef])
        .collect()
}

/// Polls until `done`, for as long as a test may reasonably take.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < deadline, "waited for {what} in vain");
        std::thread::yield_now();
    }
}
