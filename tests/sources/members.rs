//! Archives made by hand: any members in any order, written by Python's `tarfile`, which does not ask what they mean.

use super::tools::{system, told};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// A member to be written; see `members.py` for its keys.
pub(crate) struct Member(Value);

impl Member {
    fn new(kind: &str, path: &str, mode: u32) -> Self {
        Self(json!({ "type": kind, "path": path, "mode": mode, "owner": [0, 0], "time": 1_000_000_000 }))
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }

    /// A mode other than the usual one.
    pub(crate) fn mode(self, mode: u32) -> Self {
        self.with("mode", mode.into())
    }

    /// An owner other than the superuser.
    pub(crate) fn owner(self, uid: u32, gid: u32) -> Self {
        self.with("owner", json!([uid, gid]))
    }

    /// A time of its own.
    pub(crate) fn time(self, seconds: i64) -> Self {
        self.with("time", seconds.into())
    }

    /// A record of an extended header.
    pub(crate) fn record(mut self, key: &str, value: &str) -> Self {
        self.0["records"][key] = value.into();
        self
    }
}

/// A file of mode 644 with this content.
pub(crate) fn file(path: &str, content: &str) -> Member {
    Member::new("file", path, 0o644).with("content", content.into())
}

/// A directory of mode 755.
pub(crate) fn dir(path: &str) -> Member {
    Member::new("dir", path, 0o755)
}

/// A symbolic link.
pub(crate) fn symlink(path: &str, target: &str) -> Member {
    Member::new("symlink", path, 0o777).with("target", target.into())
}

/// A hard link.
pub(crate) fn link(path: &str, target: &str) -> Member {
    Member::new("link", path, 0o644).with("target", target.into())
}

/// A character device.
pub(crate) fn device(path: &str, major: u32, minor: u32) -> Member {
    Member::new("char", path, 0o600).with("device", json!([major, minor]))
}

/// A named pipe.
pub(crate) fn fifo(path: &str) -> Member {
    Member::new("fifo", path, 0o600)
}

/// Writes an archive in one of the formats `pax`, `gnu`, `ustar`.
pub(crate) fn write(format: &str, members: &[Member], to: &Path) {
    let list: Vec<&Value> = members.iter().map(|m| &m.0).collect();
    let mut python = system("python3");
    python.args(["-c", include_str!("members.py"), format]).arg(to).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = python.spawn().unwrap_or_else(|e| panic!("this test needs python3 (package python3): {e}"));
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(&serde_json::to_vec(&list).expect("JSON")).expect("written");
    drop(stdin);
    let out = child.wait_with_output().expect("a child");
    assert!(out.status.success(), "{}", told(&python, &out));
}
