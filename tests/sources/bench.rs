//! A scratch directory with the tool and everybody who is asked about what it makes.

use super::snapshot::Snapshot;
use super::tools::{Failure, dax_mkfs, output, told};
use super::tree_compare::{Allow, compare};
use super::{oracle, readers};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A scratch directory on disk.
pub(crate) struct Bench {
    dir: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Names in the scratch directory, hidden ones too.
    pub(crate) fn names(&self) -> Vec<OsString> {
        let list = fs::read_dir(self.dir.path()).expect("the scratch directory");
        let mut names: Vec<OsString> = list.map(|e| e.expect("an entry").file_name()).collect();
        names.sort();
        names
    }

    /// The tool, silent, with the scratch directory as working directory.
    pub(crate) fn mkfs(&self, args: &[&str]) -> Command {
        let mut command = dax_mkfs();
        command.current_dir(self.dir.path()).arg("-q").args(args);
        command
    }

    /// Makes the file `image` anew and gives back its path. The tool must have nothing to say.
    pub(crate) fn image(&self, args: &[&str]) -> PathBuf {
        let image = self.path("image");
        let _ = fs::remove_file(&image);
        let mut command = self.mkfs(args);
        let out = output(command.arg("image"));
        assert!(out.status.success() && out.stderr.is_empty(), "{}", told(&command, &out));
        image
    }

    /// `e2fsck` finds nothing, and every reader sees the same tree: daxkit's own, debugfs and the kernel.
    pub(crate) fn check(&self, image: &Path, tree: &Snapshot, allow: Allow) -> Result<(), Failure> {
        oracle::clean(image)?;
        let scratch = self.dir.path();
        let found = [
            ("daxkit-volume", readers::volume(image)),
            ("debugfs", readers::debugfs(image, scratch)),
            ("the kernel", readers::kernel(image, scratch)),
        ];
        let failures: Vec<Failure> = found
            .into_iter()
            .filter_map(|(reader, found)| found.and_then(|found| compare(reader, tree, &found, allow)).err())
            .collect();
        if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
    }
}

/// The hash of a file's bytes, its holes included.
pub(crate) fn digest(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut File::open(path).expect("the file"), &mut hasher).expect("a readable file");
    hasher.finalize()
}
