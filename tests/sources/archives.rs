//! Archives of a tree as different programs write them, and what each can hold.

use super::snapshot::{Snapshot, Time};
use super::tools::{Failure, output, succeed, system, told};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// A program and the form it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// GNU tar, `--format=posix`, with everything it can store.
    GnuPosix,
    /// GNU tar, `--format=gnu`.
    Gnu,
    /// GNU tar, `--format=ustar`.
    Ustar,
    /// GNU tar, `--format=v7`.
    V7,
    /// libarchive's tar, `--format=pax`, with everything it can store.
    Bsd,
    /// Python's `tarfile` with PAX records.
    Python,
}

impl Writer {
    /// Archives `tree` into the file `to`.
    pub(crate) fn write(self, tree: &Path, to: &Path) -> Result<(), Failure> {
        succeed(&mut self.command(tree, to)).map(drop)
    }

    fn command(self, tree: &Path, to: &Path) -> Command {
        let gnu = |format: &str, more: &[&str]| {
            let mut tar = system("tar");
            tar.args([&format!("--format={format}"), "--sort=name", "--numeric-owner", "--atime-preserve=system"]);
            tar.args(more).arg("-C").arg(tree).arg("-cf").arg(to).arg(".");
            tar
        };
        match self {
            Self::GnuPosix => gnu("posix", &["--sparse", "--xattrs", "--xattrs-include=*", "--acls"]),
            Self::Gnu => gnu("gnu", &["--sparse"]),
            Self::Ustar => gnu("ustar", &[]),
            Self::V7 => gnu("v7", &[]),
            Self::Bsd => {
                let mut tar = system("bsdtar");
                tar.args(["--format=pax", "--xattrs", "--acls", "--fflags", "--numeric-owner"]);
                tar.arg("-C").arg(tree).arg("-cf").arg(to).arg(".");
                tar
            }
            Self::Python => {
                let mut python = system("python3");
                python.args(["-c", include_str!("pax.py")]).arg(tree).arg(to);
                python
            }
        }
    }

    /// What of a tree comes through an archive of this writer.
    pub(crate) fn keeps(self, tree: &Snapshot) -> Snapshot {
        let mut kept = tree.clone();
        // No form of tar has sockets.
        kept.retain(|_, e| e.kind() != 0o140_000);
        let old = matches!(self, Self::Gnu | Self::Ustar | Self::V7);
        if self == Self::Bsd {
            // libarchive 3.6.2 writes whole seconds and nanoseconds beside each other, also of what counts back from 1970.
            let written = |(seconds, nanos): Time| match (seconds, nanos) {
                (..0, 1..) => (seconds - 1, 1_000_000_000 - nanos),
                other => other,
            };
            for entry in kept.values_mut() {
                entry.mtime = written(entry.mtime);
                (entry.atime, entry.ctime) = (entry.atime.map(written), entry.ctime.map(written));
            }
        }
        for entry in kept.values_mut().filter(|_| old) {
            entry.mtime.1 = 0;
            // An archive that has one time means all of them.
            (entry.atime, entry.ctime) = (Some(entry.mtime), Some(entry.mtime));
            entry.xattrs = Some(Default::default());
        }
        kept
    }

    /// Whether holes come through.
    pub(crate) fn keeps_holes(self) -> bool {
        matches!(self, Self::GnuPosix | Self::Gnu | Self::Bsd)
    }
}

/// Runs a file through a program that compresses standard input, into another file.
pub(crate) fn compress(program: &[&str], from: &Path, to: &Path) {
    let [program, args @ ..] = program else { panic!("a program") };
    let mut command = system(program);
    command.args(args).stdin(File::open(from).expect("the archive")).stdout(File::create(to).expect("create"));
    let out = output(&mut command);
    assert!(out.status.success(), "{}", told(&command, &out));
}

/// Has `to` read what `from` writes; both must succeed. The standard error of `to`.
pub(crate) fn pipe(from: &mut Command, to: &mut Command) -> Result<String, Failure> {
    let mut writer = from.stdout(Stdio::piped()).spawn().unwrap_or_else(|e| panic!("this test needs {from:?}: {e}"));
    let out = output(to.stdin(writer.stdout.take().expect("piped")));
    let written = writer.wait().expect("a child");
    if out.status.success() && written.success() {
        return Ok(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    Err(format!("{from:?}: {written}\n{}", told(to, &out)))
}
