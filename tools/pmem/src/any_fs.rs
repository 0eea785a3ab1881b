//! The file system under a mount, as a case asks for it.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use daxkit_device::pmem::Persistence;
use daxkit_mount::fs::mem::{MemFs, MemOptions};
use daxkit_scenario::ast::{Feature, Source};
use daxkit_scenario::case::FileSystem as Spec;
use daxkit_scenario::words::Rules;

/// Most bytes of a file system in memory: only what is stored takes room, but its tables grow with it.
const MOST: u64 = 16 << 30;
/// Pmem devices are whole 2 MiB.
const UNIT: u64 = 2 << 20;

/// What is under every mount of a run. The volume of an image joins here: then this is an enum of the two, and [`Base::open`]
/// gives the other one.
pub(crate) type AnyFs = MemFs<Persistence>;

/// The IMAGE of the command line: what scenarios that say `given` run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// `none`: there is no image.
    None,
    /// An image.
    Image(PathBuf),
}

impl From<std::ffi::OsString> for Base {
    fn from(text: std::ffi::OsString) -> Self {
        if text == "none" { Self::None } else { Self::Image(text.into()) }
    }
}

impl Base {
    /// Opens the image, if there is one.
    ///
    /// # Errors
    /// It cannot be mounted: so far, none can.
    pub(crate) fn open(&self) -> anyhow::Result<Option<AnyFs>> {
        match self {
            Self::None => Ok(None),
            Self::Image(path) => open_image(path),
        }
    }
}

/// The one place where an image becomes a file system.
fn open_image(path: &std::path::Path) -> anyhow::Result<Option<AnyFs>> {
    let here = if path.exists() { "" } else { "there is no such file, and " };
    bail!("{}: {here}images cannot be mounted yet: `none` runs scenarios on file systems in memory", path.display())
}

/// Makes the file system that a case declares; `given` is the image of the command line.
///
/// # Errors
/// A source, size or feature that cannot be had, in words.
pub(crate) fn for_case(spec: &Spec<'_>, given: Option<&AnyFs>) -> anyhow::Result<AnyFs> {
    let size = match spec.source {
        Source::Mem(size) => *size,
        Source::Image(path) => match open_image(path.as_ref())? {
            Some(fs) => return Ok(fs),
            None => bail!("{path}: there is nothing in it"),
        },
        Source::Given => return given.cloned().context("the scenario runs on a given image, and IMAGE is `none`"),
    };
    if size == 0 || size > MOST {
        bail!("{size} bytes of memory: more than nothing and at most {MOST}");
    }
    let mut options = MemOptions {
        size: size.next_multiple_of(UNIT),
        xfs: spec.rules == Rules::Xfs,
        block_size: u32::try_from(spec.block).context("block size")?,
        reflink: spec.rules == Rules::Xfs,
        ..MemOptions::default()
    };
    for feature in spec.features {
        set(&mut options, feature)?;
    }
    MemFs::watched(options, Persistence::default()).context("pmem")
}

fn set(options: &mut MemOptions, feature: &Feature) -> anyhow::Result<()> {
    match feature.name.as_str() {
        "verity" => options.verity = !feature.off,
        "encrypt" => options.encrypt = !feature.off,
        // Owners of blocks are always known.
        "rmapbt" => {}
        "inline_data" => options.inline_data = !feature.off,
        "has_journal" => options.has_journal = !feature.off,
        "reflink" => options.reflink = !feature.off,
        // Shared blocks need the format with checksums.
        "crc" => {
            options.crc = !feature.off;
            options.reflink &= options.crc;
        }
        other => bail!("feature {other} cannot be had on a file system in memory"),
    }
    Ok(())
}
