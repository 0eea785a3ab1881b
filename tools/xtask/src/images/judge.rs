//! One image: made, and asked about.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result};
use daxkit_build::recipe::E2fsckVerdict;

use super::build::{self, Built};
use super::field::{self, Shown};
use super::{Oracles, Recipe};
use crate::process;

/// What came out.
pub(super) struct Judged {
    pub(super) built: Built,
    /// Exit status of e2fsck.
    pub(super) e2fsck: Option<i32>,
    /// Why e2fsck does not see what is wrong, by the recipe.
    pub(super) blind: bool,
    /// Whether the kernel mounts it.
    pub(super) mounts: Option<bool>,
    /// Defects whose field debugfs shows, of all.
    pub(super) shown: (usize, usize),
    /// What is not as expected.
    pub(super) differs: Vec<String>,
    /// What could not be asked, and why.
    pub(super) notes: Vec<String>,
}

/// Makes the image of a recipe and asks everybody.
pub(super) fn judge(recipe: &Recipe, oracles: &Oracles, mkfs: &Path, dir: &Path) -> Result<Judged> {
    let built = build::twice(mkfs, &recipe.path, dir, &recipe.name)?;
    let mut differs: Vec<String> =
        built.differs.iter().map(|what| format!("two runs gave a different {what}")).collect();
    let mut notes = Vec::new();
    let expect = &recipe.what.expect;
    let verdict = expect.e2fsck.clone().unwrap_or_default();
    if recipe.name.starts_with("defects/") && verdict.says.is_empty() && verdict.blind.is_none() {
        differs.push("[expect] says neither what e2fsck prints nor why it is blind".to_owned());
    }
    let (mut e2fsck, mut shown) = (None, 0);
    if oracles.e2fsprogs.is_none() {
        let (status, differences) = check(&built.image, &verdict)?;
        e2fsck = Some(status);
        differs.extend(differences);
        if built.defects.len() != recipe.what.defects.len() {
            differs.push(format!("dax-mkfs tells {} of {} defects", built.defects.len(), recipe.what.defects.len()));
        }
        for (defect, applied) in recipe.what.defects.iter().zip(&built.defects) {
            match field::look(&built.image, defect, &applied.after)? {
                Shown::Same => shown += 1,
                Shown::Nowhere => {}
                Shown::Other(text) => differs.push(text),
            }
        }
    }
    let mounts = match expect.mounts.filter(|_| oracles.mount.is_none()) {
        None => None,
        Some(expected) => match kernel_lacks(&built.features) {
            Some(feature) => {
                notes.push(format!("not mounted: this kernel is built without {feature}"));
                None
            }
            None => {
                let mounted = mounted(&built.image, dir)?;
                if mounted != expected {
                    let (is, should) = if mounted { ("mounts", "refuse") } else { ("refuses", "mount") };
                    differs.push(format!("the kernel {is} it and is expected to {should}"));
                }
                Some(mounted)
            }
        },
    };
    let shown = (shown, built.defects.len());
    Ok(Judged { built, e2fsck, blind: verdict.blind.is_some(), mounts, shown, differs, notes })
}

/// Asks e2fsck; what is not as the verdict has it.
fn check(image: &Path, verdict: &E2fsckVerdict) -> Result<(i32, Vec<String>)> {
    let mut command = process::command("e2fsck");
    let output = command.arg("-fn").arg(image).output().context("cannot run e2fsck")?;
    // 128 and more is what a shell says of a signal.
    let status = output.status.code().unwrap_or(128);
    let said = text(&output);
    let mut differs = Vec::new();
    if status != verdict.exit {
        differs.push(format!("e2fsck -fn ends with {status}, expected {}; it says:\n{said}", verdict.exit));
    }
    for wanted in verdict.says.iter().filter(|wanted| !said.contains(wanted.as_str())) {
        differs.push(format!("e2fsck -fn does not say {wanted:?}; it says:\n{said}"));
    }
    Ok((status, differs))
}

/// Everything a program printed.
pub(super) fn text(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

/// A feature without which the running kernel cannot mount the image, where it was built without it. The others it either
/// knows or is expected to refuse.
fn kernel_lacks(features: &[String]) -> Option<&'static str> {
    let known = Path::new("/sys/fs/ext4/features");
    let optional = ["casefold"].into_iter().filter(|o| features.iter().any(|f| f == o));
    known.exists().then(|| optional.into_iter().find(|o| !known.join(o).exists())).flatten()
}

/// Whether the kernel mounts the image, which it does not get to write.
fn mounted(image: &Path, dir: &Path) -> Result<bool> {
    let at = dir.join("mnt");
    fs::create_dir_all(&at)?;
    let mut mount = process::command("mount");
    mount.args(["-t", "ext4", "-o", "ro,loop"]).arg(image).arg(&at);
    let mounted = mount.output().context("cannot run mount")?.status.success();
    if mounted {
        process::output(process::command("umount").arg(&at))?;
    }
    fs::remove_dir(&at)?;
    Ok(mounted)
}
