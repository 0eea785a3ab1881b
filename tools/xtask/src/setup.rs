//! What the tests need from the machine beside Rust, and the Debian packages that bring it.
//!
//! Everything here is an oracle (e2fsprogs, the kernel's mount) or makes sources that an oracle can be asked about.

mod debs;

use std::process::Command;

use anyhow::{Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// A program and the Debian package that has it.
const NEEDED: [(&str, &str); 33] = [
    ("cc", "gcc"),
    ("mke2fs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("dumpe2fs", "e2fsprogs"),
    ("tune2fs", "e2fsprogs"),
    ("resize2fs", "e2fsprogs"),
    ("e2undo", "e2fsprogs"),
    ("chattr", "e2fsprogs"),
    ("lsattr", "e2fsprogs"),
    ("filefrag", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("losetup", "mount"),
    ("blkid", "util-linux"),
    ("getfattr", "attr"),
    ("setfattr", "attr"),
    ("getfacl", "acl"),
    ("setfacl", "acl"),
    ("getcap", "libcap2-bin"),
    ("setcap", "libcap2-bin"),
    ("tar", "tar"),
    ("bsdtar", "libarchive-tools"),
    ("python3", "python3"),
    ("gzip", "gzip"),
    ("zstd", "zstd"),
    ("xz", "xz-utils"),
    ("dpkg", "dpkg"),
    ("dpkg-deb", "dpkg"),
    ("tee", "coreutils"),
    ("cmp", "diffutils"),
    ("git", "git"),
];

/// What the machine lacks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) programs: Vec<&'static str>,
    packages: Vec<&'static str>,
}

impl Missing {
    fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "missing {}; on Debian: apt-get install {}", self.programs.join(", "), self.packages.join(" "))
    }
}

/// Whether this runs in continuous integration, where nothing may be missing.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false")
}

/// Looks for every program.
pub(crate) fn missing() -> Missing {
    missing_where(|program| process::find_program(program).is_some())
}

fn missing_where(installed: impl Fn(&str) -> bool) -> Missing {
    let mut missing = Missing { programs: Vec::new(), packages: Vec::new() };
    for (program, package) in NEEDED {
        if !installed(program) {
            missing.programs.push(program);
            if !missing.packages.contains(&package) {
                missing.packages.push(package);
            }
        }
    }
    missing
}

fn apt() -> Command {
    let mut apt = process::command("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-o", "Acquire::Retries=3"]);
    apt
}

/// Brings the lists of packages up to date.
fn update() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("only root may bring apt's lists of packages up to date (apt-get update)");
    }
    process::run(apt().arg("update"))
}

/// Installs and downloads what is missing when root on Debian.
///
/// # Errors
/// Something is still missing; the message says what, and which packages have it.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    programs()?;
    debs::ensure(&workspace.target, update)
}

fn programs() -> Result<()> {
    let found = missing();
    if found.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() || process::find_program("apt-get").is_none() {
        bail!("{found}");
    }
    eprintln!("{found}");
    update()?;
    process::run(apt().args(["install", "-y", "--no-install-recommends"]).args(&found.packages))?;
    let still = missing();
    if !still.is_empty() {
        bail!("after installing: {still}");
    }
    Ok(())
}

/// `cargo xtask setup`.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    ensure(workspace)?;
    println!(
        "Everything the tests need is here: {} programs, and Debian packages in {}.",
        NEEDED.len(),
        debs::place(&workspace.target).display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_is_named_once() {
        let found = missing_where(|program| !["mke2fs", "e2fsck", "setfacl"].contains(&program));
        assert_eq!(found.to_string(), "missing mke2fs, e2fsck, setfacl; on Debian: apt-get install e2fsprogs acl");
    }

    #[test]
    fn nothing_missing_is_empty() {
        assert!(missing_where(|_| true).is_empty());
    }
}
