//! What e2fsck says of the same image.

use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

/// A second opinion.
#[derive(Debug, Clone)]
pub(crate) struct Opinion {
    /// Its exit status.
    pub(crate) status: u8,
    /// What it found, a line each.
    pub(crate) problems: Vec<String>,
}

impl Opinion {
    /// Whether it found errors.
    pub(crate) fn is_clean(&self) -> bool {
        self.status & 4 == 0
    }
}

/// Asks e2fsck, which must be there.
pub(crate) fn ask(image: &Path, offset: u64) -> Result<Opinion> {
    let mut name = image.as_os_str().to_owned();
    if offset > 0 {
        name.push(format!("?offset={offset}"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut path = path.to_string_lossy().into_owned();
    path.push_str(":/usr/sbin:/sbin");
    let out = Command::new("e2fsck")
        .arg("-fn")
        .arg(name)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .output()
        .context("--second-opinion: e2fsck (package e2fsprogs)")?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let said = |line: &&str| {
        !line.is_empty() && !line.starts_with("Pass ") && !line.contains(" files (") && !line.contains("WARNING")
    };
    let problems = text.lines().map(str::trim).filter(said).map(str::to_owned).collect();
    Ok(Opinion { status: out.status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(8), problems })
}
