//! What only a binary may ask the host: the clock, chance, the caller, the environment, the processors.

use anyhow::{Context, Result, bail};
use daxkit_format::ext4::inode::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// The time. A clock before 1970 counts as 1970.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: since.as_secs().cast_signed(), nanos: since.subsec_nanos() }
}

/// Random bytes.
pub(crate) fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let got = rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty());
        filled += got.context("the host has no random bytes")?;
    }
    Ok(bytes)
}

/// User and group of the caller.
pub(crate) fn caller() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
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
