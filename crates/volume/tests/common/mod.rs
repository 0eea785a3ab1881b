//! What the tests of this crate share: making images with the real tools, and looking at them.
#![allow(dead_code, unreachable_pub)]

pub mod edit;
#[path = "../../../../tests/shared/judge.rs"]
pub mod judge;

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use daxkit_device::{BlockDevice, FileDevice, FileOptions, MemoryDevice};
use daxkit_volume::{OpenOptions, Volume, VolumeError};

/// Runs a tool that must be there and must succeed; its output as text.
pub fn run(program: &str, args: &[&dyn AsRef<OsStr>]) -> String {
    let out = output(program, args);
    assert!(
        out.status.success(),
        "{program} {:?}: {}\n{}{}",
        args.iter().map(|a| a.as_ref().to_owned()).collect::<Vec<_>>(),
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Runs a tool that must be there.
pub fn output(program: &str, args: &[&dyn AsRef<OsStr>]) -> Output {
    Command::new(program)
        .args(args.iter().map(|a| a.as_ref()))
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .env("MKE2FS_DEVICE_PHYS_SECTSIZE", "512")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("this test needs {program}, which cannot be run: {e}"))
}

/// A directory that is removed at the end.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a scratch directory")
}

/// `mke2fs` with these arguments (one string, split at spaces) over an image of `size`, a number of mke2fs.
pub fn mke2fs(dir: &Path, name: &str, args: &str, source: Option<&Path>, size: &str) -> PathBuf {
    let image = dir.join(name);
    let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"-q", &"-F"];
    let split: Vec<&str> = args.split_whitespace().collect();
    all.extend(split.iter().map(|a| a as &dyn AsRef<OsStr>));
    if let Some(source) = &source {
        all.push(&"-d");
        all.push(source);
    }
    all.push(&image);
    all.push(&size);
    run("mke2fs", &all);
    image
}

/// Opens an image file.
pub fn open(image: &Path) -> Volume {
    try_open(image, &OpenOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", image.display()))
}

/// Opens an image file, perhaps.
pub fn try_open(image: &Path, options: &OpenOptions) -> Result<Volume, VolumeError> {
    let device = FileDevice::open(image, FileOptions::read_only()).expect("image opens");
    Volume::open(Arc::new(device), options)
}

/// Opens an image in memory.
pub fn open_bytes(bytes: &[u8], options: &OpenOptions) -> Result<Volume, VolumeError> {
    let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(bytes));
    Volume::open(device, options)
}

/// `debugfs` with one command for reading.
pub fn debugfs(image: &Path, command: &str) -> String {
    run("debugfs", &[&"-R", &command, &image])
}

/// `debugfs -w` with commands.
pub fn debugfs_write(image: &Path, commands: &str) -> String {
    let script = image.with_extension("debugfs");
    std::fs::write(&script, commands).expect("script");
    run("debugfs", &[&"-w", &"-f", &script, &image])
}

/// The image must be clean to `dax-fsck -n` and `e2fsck -fn`.
pub fn assert_clean(image: &Path) {
    judge::assert_clean(image, "this image");
}

/// A loop mount; unmounted at the end.
pub struct Mount {
    pub path: PathBuf,
}

impl Mount {
    pub fn new(image: &Path, at: &Path, options: &str) -> Self {
        std::fs::create_dir_all(at).expect("mount point");
        let options = if options.is_empty() { "loop".to_owned() } else { format!("loop,{options}") };
        run("mount", &[&"-t", &"ext4", &"-o", &options, &image, &at]);
        Self { path: at.to_owned() }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A process that another test is just starting holds our open files until it is another program: busy for a moment.
        let gone = (0..100).any(|_| output("umount", &[&self.path]).status.success());
        assert!(gone || std::thread::panicking(), "umount {}", self.path.display());
    }
}

/// A small generator (xorshift64*), so that every run tests the same.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }
}

/// Copies a file while keeping its holes.
pub fn copy(from: &Path, to: &Path) {
    run("cp", &[&"--sparse=always", &from, &to]);
}

/// Writes all of a device into a file.
pub fn materialise(device: &dyn BlockDevice, to: &Path) {
    use std::os::unix::fs::FileExt;
    let file = File::create(to).expect("target");
    file.set_len(device.len()).expect("length");
    let mut buf = vec![0; 1 << 20];
    let mut at = 0;
    while at < device.len() {
        let n = ((device.len() - at) as usize).min(buf.len());
        device.read_at(at, &mut buf[..n]).expect("device reads");
        if buf[..n].iter().any(|b| *b != 0) {
            file.write_all_at(&buf[..n], at).expect("target writes");
        }
        at += n as u64;
    }
}
