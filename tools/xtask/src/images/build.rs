//! Making an image of a recipe, twice, and what `dax-mkfs` says of it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process;

/// An image that was made.
pub(super) struct Built {
    pub(super) image: PathBuf,
    /// Its length in bytes.
    pub(super) len: u64,
    /// Time of one run.
    pub(super) time: Duration,
    pub(super) features: Vec<String>,
    /// What the defects did, in the order of the recipe.
    pub(super) defects: Vec<Applied>,
    /// What of image and manifest differed between two runs.
    pub(super) differs: Vec<&'static str>,
}

/// A defect, as `dax-mkfs --json` tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Applied {
    /// What stands there now.
    pub(super) after: String,
}

/// Part of what `dax-mkfs --json` prints.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    defects: Vec<Applied>,
}

/// Part of a manifest; its entries may be many.
#[derive(Debug, Deserialize)]
struct Manifest {
    image: Image,
}

#[derive(Debug, Deserialize)]
struct Image {
    features: Vec<String>,
}

/// Image and manifest below `dir`: `NAME.img`, `NAME.json`.
fn paths(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    (dir.join(format!("{name}.img")), dir.join(format!("{name}.json")))
}

/// Makes the image, and once more to compare.
pub(super) fn twice(mkfs: &Path, recipe: &Path, dir: &Path, name: &str) -> Result<Built> {
    let (image, manifest) = paths(dir, name);
    let (again, manifest_again) = paths(dir, &format!("{name}.again"));
    if let Some(parent) = image.parent() {
        fs::create_dir_all(parent)?;
    }
    let start = Instant::now();
    let printed = make(mkfs, recipe, &image, &manifest)?;
    let time = start.elapsed();
    let document: Document = serde_json::from_slice(&printed).context("dax-mkfs --json gave an unexpected answer")?;
    make(mkfs, recipe, &again, &manifest_again)?;
    let mut differs = Vec::new();
    for (what, a, b) in [("image", &image, &again), ("manifest", &manifest, &manifest_again)] {
        if !same_bytes(a, b)? {
            differs.push(what);
        }
        fs::remove_file(b)?;
    }
    let read: Manifest = serde_json::from_slice(&fs::read(&manifest)?).context("a manifest of an unexpected form")?;
    let len = fs::metadata(&image)?.len();
    Ok(Built { image, len, time, features: read.image.features, defects: document.defects, differs })
}

fn make(mkfs: &Path, recipe: &Path, image: &Path, manifest: &Path) -> Result<Vec<u8>> {
    let mut command = process::command(mkfs);
    // What depends on recipe and sources alone must not see a time in the environment either.
    command.env_remove("SOURCE_DATE_EPOCH").args(["-F", "--json", "--recipe"]).arg(recipe);
    process::output(command.arg("--manifest").arg(manifest).arg(image))
}

/// Compares two files without holding them in memory.
fn same_bytes(a: &Path, b: &Path) -> Result<bool> {
    let (mut a, mut b) = (fs::File::open(a)?, fs::File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = a.read(&mut left)?;
        if count == 0 {
            return Ok(true);
        }
        let (Some(left), Some(right)) = (left.get(..count), right.get_mut(..count)) else {
            bail!("more was read than there is room for");
        };
        b.read_exact(right)?;
        if left != right {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_the_same_when_every_byte_is() {
        let dir = std::env::temp_dir();
        let path = |which: &str| dir.join(format!("daxkit-same-{}-{which}", std::process::id()));
        let (a, b) = (path("a"), path("b"));
        let mut bytes = vec![7u8; 200_000];
        fs::write(&a, &bytes).expect("a file");
        for (change, same) in [(None, true), (Some(199_999), false), (Some(0), false)] {
            if let Some(at) = change {
                bytes[at] ^= 1;
            }
            fs::write(&b, &bytes).expect("a file");
            assert_eq!(same_bytes(&a, &b).expect("both can be read"), same, "{change:?}");
        }
        fs::write(&b, &bytes[1..]).expect("a file");
        assert!(!same_bytes(&a, &b).expect("both can be read"));
        let _ = (fs::remove_file(a), fs::remove_file(b));
    }
}
