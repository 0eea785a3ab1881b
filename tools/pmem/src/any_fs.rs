//! The file system under a mount, as a case asks for it.

use anyhow::{Context as _, bail};
use daxkit_mount::fs::mem::{MemFs, MemOptions};
use daxkit_scenario::ast::{Feature, Source};
use daxkit_scenario::case::FileSystem as Spec;
use daxkit_scenario::words::Rules;

/// Most bytes of a file system in memory: only what is stored takes room, but its tables grow with it.
const MOST: u64 = 16 << 30;
/// Pmem devices are whole 2 MiB.
const UNIT: u64 = 2 << 20;

/// Makes the file system that a case declares.
///
/// # Errors
/// A source, size or feature that cannot be had, in words.
pub(crate) fn for_case(spec: &Spec<'_>) -> anyhow::Result<MemFs> {
    let size = match spec.source {
        Source::Mem(size) => *size,
        Source::Image(path) => bail!("image {path}: images cannot be mounted yet, only `mem`"),
        Source::Given => bail!("the image of the command line cannot be mounted yet, only `mem`"),
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
    MemFs::new(options).context("pmem")
}

fn set(options: &mut MemOptions, feature: &Feature) -> anyhow::Result<()> {
    match feature.name.as_str() {
        "inline_data" => options.inline_data = !feature.off,
        "has_journal" => options.has_journal = !feature.off,
        "reflink" => options.reflink = !feature.off,
        other => bail!("feature {other} cannot be had on a file system in memory"),
    }
    Ok(())
}
