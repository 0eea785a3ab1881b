//! The file system under a mount, as a case asks for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use daxkit_device::pmem::{Persistence, Pmem, PmemAlign, PmemOptions, Resident};
use daxkit_device::{FileDevice, FileOptions, rollback};
use daxkit_mount::fs::either::Either;
use daxkit_mount::fs::ext4::Ext4Fs;
use daxkit_mount::fs::mem::{MemFs, MemOptions};
use daxkit_mount::ids::PAGE_SIZE;
use daxkit_scenario::ast::{Feature, Source};
use daxkit_scenario::case::FileSystem as Spec;
use daxkit_scenario::words::Rules;

/// Most bytes of a file system in memory: only what is stored takes room, but its tables grow with it.
const MOST: u64 = 16 << 30;
/// Pmem devices are whole 2 MiB.
const UNIT: u64 = 2 << 20;

/// What is under a mount: a file system in memory, or the volume of an image.
pub(crate) type AnyFs = Either<MemFs<Persistence>, Ext4Fs<Persistence>>;

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
    /// It cannot be read, or not be mounted.
    pub(crate) fn open(&self) -> anyhow::Result<Option<AnyFs>> {
        match self {
            Self::None => Ok(None),
            Self::Image(path) => open_image(path).map(Some),
        }
    }
}

/// The volume of an image, as a mount finds it. The image is read into memory, and never written.
fn open_image(path: &Path) -> anyhow::Result<AnyFs> {
    let of = || path.display().to_string();
    let file = FileDevice::open(path, FileOptions::read_only())?;
    let (device, _) = rollback::honour(path, 0, Arc::new(file)).with_context(of)?;
    let content = Resident::read(&*device).with_context(of)?;
    let options = PmemOptions { align: PmemAlign::None, ..PmemOptions::default() };
    let memory = Pmem::new(Arc::new(content), options, Persistence::default()).with_context(of)?;
    match Ext4Fs::mount(memory, false, 0) {
        Ok(fs) => Ok(Either::Right(fs)),
        Err(error) => bail!("{}: mount: {}: {error}", of(), error.errno()),
    }
}

/// What cases get their file systems from.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// The image of the command line.
    pub(crate) given: Option<AnyFs>,
    /// Where a case wants ext4 in memory it gets a volume, with everything that lies on a disk.
    pub(crate) volumes: bool,
}

/// Makes the file system that a case declares.
///
/// # Errors
/// A source, size or feature that cannot be had, in words.
pub(crate) fn for_case(spec: &Spec<'_>, ground: &Ground) -> anyhow::Result<AnyFs> {
    let size = match spec.source {
        Source::Mem(size) => *size,
        Source::Image(path) => return open_image(path.as_ref()),
        Source::Given => {
            return ground.given.clone().context("the scenario runs on a given image, and IMAGE is `none`");
        }
    };
    if size == 0 || size > MOST {
        bail!("{size} bytes of memory: more than nothing and at most {MOST}");
    }
    let size = size.next_multiple_of(UNIT);
    if ground.volumes && spec.rules == Rules::Ext4 && spec.block == PAGE_SIZE {
        // What only XFS has an ext4 volume is without, whether or not that is said.
        let lacks = |feature: &&Feature| !(feature.off && matches!(&*feature.name, "reflink" | "rmapbt" | "crc"));
        let features: Vec<_> = spec.features.iter().filter(lacks).cloned().collect();
        return Ok(Either::Right(crate::volume::make(size, &features)?));
    }
    let mut options = MemOptions {
        size,
        xfs: spec.rules == Rules::Xfs,
        block_size: u32::try_from(spec.block).context("block size")?,
        reflink: spec.rules == Rules::Xfs,
        rmap: spec.rules == Rules::Xfs,
        ..MemOptions::default()
    };
    for feature in spec.features {
        set(&mut options, feature)?;
    }
    Ok(Either::Left(MemFs::watched(options, Persistence::default()).context("pmem")?))
}

fn set(options: &mut MemOptions, feature: &Feature) -> anyhow::Result<()> {
    match feature.name.as_str() {
        "verity" => options.verity = !feature.off,
        "encrypt" => options.encrypt = !feature.off,
        "rmapbt" => options.rmap = !feature.off,
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
