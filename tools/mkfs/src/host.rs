//! What only a binary may ask the host: the clock, chance, the caller, the environment, the processors.

use anyhow::{Context, Result, bail};
use daxkit_build::source::{AclIds, Attributes};
use daxkit_format::ext4::inode::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The time. A clock before 1970 counts as 1970.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: since.as_secs().cast_signed(), nanos: since.subsec_nanos() }
}

/// Random bytes.
pub(crate) fn random() -> Result<[u8; 16]> {
    daxkit_cli::chance::random().context("the host has no random bytes")
}

/// User and group of the caller.
pub(crate) fn caller() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

/// Nobody: the owner of a root directory that nothing describes.
pub(crate) fn nobody() -> Attributes {
    let time = Timestamp::default();
    Attributes { mode: 0o755, uid: 0, gid: 0, atime: time, ctime: time, mtime: time }
}

/// Users and groups by name, as `/etc/passwd` and `/etc/group` have them: for ACLs that archives keep by name. A reproducible image
/// knows none but the superuser's, whose number is the same everywhere.
pub(crate) fn acl_ids(reproducible: bool) -> Arc<dyn AclIds> {
    let read = |path| if reproducible { Vec::new() } else { std::fs::read(path).unwrap_or_default() };
    Arc::new(Names { users: numbers(&read("/etc/passwd")), groups: numbers(&read("/etc/group")) })
}

struct Names {
    users: HashMap<Vec<u8>, u32>,
    groups: HashMap<Vec<u8>, u32>,
}

impl AclIds for Names {
    fn user(&self, name: &[u8]) -> Option<u32> {
        self.users.get(name).copied().or((name == b"root").then_some(0))
    }

    fn group(&self, name: &[u8]) -> Option<u32> {
        self.groups.get(name).copied().or((name == b"root").then_some(0))
    }
}

/// Name and number of each line: the first and the third field.
fn numbers(file: &[u8]) -> HashMap<Vec<u8>, u32> {
    let entry = |line: &[u8]| {
        let mut fields = line.split(|b| *b == b':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        Some((name.to_vec(), std::str::from_utf8(number).ok()?.parse().ok()?))
    };
    file.split(|b| *b == b'\n').filter_map(entry).collect()
}

/// Processors this process may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `SOURCE_DATE_EPOCH`: seconds since 1970, where set.
pub(crate) fn source_date_epoch() -> Result<Option<i64>> {
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    let text = value.to_string_lossy();
    match text.parse::<i64>() {
        Ok(seconds) if (0..=Timestamp::MAX_SECONDS).contains(&seconds) => Ok(Some(seconds)),
        _ => bail!("SOURCE_DATE_EPOCH={text}: wants seconds since 1970"),
    }
}
