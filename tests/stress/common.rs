//! What the tests of this program share: making an image and measuring it, scratch space, opening a volume.

use super::tools::{dax_mkfs, output, told};
use daxkit_device::{FileDevice, FileOptions};
use daxkit_volume::{OpenOptions, Volume};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use wait4::Wait4;

/// What a run took.
pub(crate) struct Measured {
    pub(crate) elapsed: Duration,
    /// Most memory at any time, in bytes.
    pub(crate) memory: u64,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} s, {} MiB", self.elapsed.as_secs_f64(), self.memory >> 20)
    }
}

/// Where [`measure`] tells its helper what to run.
const TOLD: &str = "DAXKIT_MEASURE";

/// Runs a command that must succeed, and measures it. A program inherits the largest memory of the process that starts it, in
/// Linux's count, and this one is large: so the start is left to this test program, run anew with nothing else to do.
pub(crate) fn measure(command: &Command) -> Measured {
    let words: Vec<&OsStr> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let told = scratch();
    let list = told.path().join("command");
    std::fs::write(&list, words.join(OsStr::new("\0")).as_bytes()).expect("written");
    let mut helper = Command::new(std::env::current_exe().expect("a test knows where it is"));
    helper.args(["--exact", "common::a_command_is_measured", "--nocapture"]).env(TOLD, &list);
    let out = output(&mut helper);
    let text = String::from_utf8_lossy(&out.stdout);
    let measured = text.lines().find_map(|l| {
        let (memory, elapsed) = l.strip_prefix("measured ")?.split_once(' ')?;
        Some(Measured { memory: memory.parse().ok()?, elapsed: Duration::from_nanos(elapsed.parse().ok()?) })
    });
    measured.unwrap_or_else(|| panic!("{}", super::tools::told(command, &out)))
}

/// The helper of [`measure`], and by itself a test of what it measures.
#[test]
fn a_command_is_measured() {
    let (words, helps) = match std::env::var_os(TOLD) {
        Some(list) => (std::fs::read(list).expect("a command"), true),
        None => (b"head\0-c20000000\0/dev/zero".to_vec(), false),
    };
    let mut words = words.split(|b| *b == 0).map(OsStr::from_bytes);
    let mut command = Command::new(words.next().expect("a program"));
    let begin = Instant::now();
    let child = command.args(words).env_remove(TOLD).stdout(Stdio::null()).spawn().expect("the tool runs");
    let used = child.wait4().expect("the tool ends");
    let elapsed = begin.elapsed();
    assert!(used.status.success(), "{command:?}: {}", used.status);
    assert!(used.rusage.maxrss > 100_000 && elapsed > Duration::ZERO);
    if helps {
        println!("\nmeasured {} {}", used.rusage.maxrss, elapsed.as_nanos());
    }
}

/// Makes an image, which must succeed.
pub(crate) fn make<S: AsRef<OsStr>>(args: &[S], image: &Path, size: &str) {
    let mut command = dax_mkfs();
    command.arg("-q").args(args).arg(image).arg(size);
    let out = output(&mut command);
    assert!(out.status.success(), "{}", told(&command, &out));
}

/// A command line that must be refused with one line and exit 1, leaving no image. The line.
pub(crate) fn refused<S: AsRef<OsStr>>(args: &[S], image: &Path, size: &str) -> String {
    let mut command = dax_mkfs();
    command.arg("-q").args(args).arg(image).arg(size);
    let out = output(&mut command);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{}", told(&command, &out));
    assert!(!image.exists(), "an image is left by a run that failed: {text}");
    let errors: Vec<&str> = text.lines().filter(|l| !l.contains(": warning: ")).collect();
    assert_eq!(errors.len(), 1, "one line: {text}");
    errors[0].to_owned()
}

/// A directory on disk.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A directory in memory: quick, and it holds large attributes.
pub(crate) fn memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a directory on the tmpfs at /dev/shm")
}

/// Opens an image with daxkit's own reader.
pub(crate) fn open(image: &Path) -> Volume {
    let device = FileDevice::open(image, FileOptions::default()).expect("a readable image");
    Volume::open(Arc::new(device), &OpenOptions::default()).expect("a sound image")
}

/// The machine must be able to do what is compared; ends the test with what the oracle says.
#[track_caller]
pub(crate) fn holds<T>(outcome: Result<T, String>) -> T {
    outcome.unwrap_or_else(|told| panic!("{told}"))
}

/// Numbers that look like chance, the same in every run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
