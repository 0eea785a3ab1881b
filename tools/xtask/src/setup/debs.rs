//! Debian packages as test data: real archives of a root file system, downloaded and not installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process;

/// The packages: the root of a small system, and the largest source there is.
const PACKAGES: [&str; 40] = [
    "base-files",
    "base-passwd",
    "bash",
    "bsdutils",
    "coreutils",
    "dash",
    "debconf",
    "debianutils",
    "diffutils",
    "dpkg",
    "e2fsprogs",
    "findutils",
    "gcc-12-base",
    "grep",
    "gzip",
    "hostname",
    "init-system-helpers",
    "libc-bin",
    "libc6",
    "libcrypt1",
    "libpam-modules",
    "libssl3",
    "libsystemd0",
    "linux-source-6.1",
    "login",
    "mawk",
    "mount",
    "ncurses-base",
    "ncurses-bin",
    "passwd",
    "perl-base",
    "perl-modules-5.36",
    "procps",
    "sed",
    "systemd",
    "sysvinit-utils",
    "tar",
    "tzdata",
    "util-linux",
    "zlib1g",
];

/// Where they are kept, below the directory of everything built.
pub(super) fn place(target: &Path) -> PathBuf {
    target.join("debs")
}

/// The packages of which there is no file yet.
fn missing(at: &Path) -> Result<Vec<&'static str>> {
    let mut have = BTreeSet::new();
    if at.is_dir() {
        for file in fs::read_dir(at).with_context(|| at.display().to_string())? {
            let name = file?.file_name();
            have.extend(name.to_string_lossy().split_once('_').map(|(package, _)| package.to_owned()));
        }
    }
    Ok(PACKAGES.into_iter().filter(|p| !have.contains(*p)).collect())
}

/// Downloads what is not there. `update` brings the lists of packages up to date, where that is allowed.
///
/// # Errors
/// A package cannot be downloaded.
pub(super) fn ensure(target: &Path, update: impl FnOnce() -> Result<()>) -> Result<()> {
    let at = place(target);
    let wanted = missing(&at)?;
    if wanted.is_empty() {
        return Ok(());
    }
    if process::find_program("apt-get").is_none() {
        bail!("{} Debian packages are missing in {}, and there is no apt-get", wanted.len(), at.display());
    }
    // Nothing that was cut short gets the name of a whole package.
    let new = at.join("new");
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| new.display().to_string())?;
    }
    fs::create_dir_all(&new).with_context(|| new.display().to_string())?;
    let download = || {
        let mut apt = process::command("apt-get");
        apt.args(["-qq", "-o", "Acquire::Retries=3", "-o", "APT::Sandbox::User=root", "download"]);
        process::run(apt.args(&wanted).current_dir(&new))
    };
    if download().is_err() {
        update()?;
        download()?;
    }
    for file in fs::read_dir(&new).with_context(|| new.display().to_string())? {
        let file = file?;
        fs::rename(file.path(), at.join(file.file_name())).with_context(|| file.path().display().to_string())?;
    }
    fs::remove_dir(&new).with_context(|| new.display().to_string())?;
    let still = missing(&at)?;
    if !still.is_empty() {
        bail!("after downloading: {} are not in {}", still.join(", "), at.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_known_by_its_file() {
        let dir = std::env::temp_dir().join(format!("daxkit-debs-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("mkdir");
        for name in ["bash_5.2.15-2+b8_amd64.deb", "base-files_12.4_amd64.deb", "new"] {
            fs::write(dir.join(name), b"").expect("write");
        }
        let wanted = missing(&dir).expect("a list");
        fs::remove_dir_all(&dir).expect("remove");
        assert_eq!(wanted.len(), PACKAGES.len() - 2);
        assert!(!wanted.contains(&"bash") && wanted.contains(&"bsdutils"));
        assert_eq!(missing(Path::new("/no/such/place")).expect("nothing there").len(), PACKAGES.len());
    }
}
