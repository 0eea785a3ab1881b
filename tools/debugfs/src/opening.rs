//! How an image is opened, and what for.

use crate::output;
use crate::signals::{self, Interruptible};
use anyhow::{Context, Result, bail};
use daxkit_cli::message::Messages;
use daxkit_device::rollback::honour;
use daxkit_device::{BlockDevice, FileDevice, FileOptions, MemoryDevice, UndoDevice, UndoOptions};
use daxkit_format::ext4::super_block::{MAGIC, SUPER_BLOCK_OFFSET, SuperBlock};
use daxkit_format::{BlockNr, OnDisk};
use daxkit_volume::{OpenOptions, Unsupported, Volume, VolumeError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// How to open the image.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opening {
    /// `None`: no image yet.
    pub(crate) image: Option<PathBuf>,
    pub(crate) offset: u64,
    pub(crate) writable: bool,
    pub(crate) catastrophic: bool,
    pub(crate) ignore_checksums: bool,
    pub(crate) superblock: Option<u64>,
    pub(crate) block_size: Option<u32>,
    pub(crate) replay: bool,
    /// Past the host's page cache.
    pub(crate) direct: bool,
    /// Nothing is to be written, whatever is edited.
    pub(crate) dry_run: bool,
    /// Where to keep what is overwritten, for e2undo.
    pub(crate) undo: Option<PathBuf>,
}

impl Opening {
    /// The image's path; empty without an image.
    pub(crate) fn path(&self) -> &Path {
        self.image.as_deref().unwrap_or(Path::new(""))
    }
}

/// An open image.
pub(crate) struct Opened {
    pub(crate) device: Arc<dyn BlockDevice>,
    pub(crate) volume: Volume,
    pub(crate) target: Target,
}

/// Where edits go when they are committed.
pub(crate) enum Target {
    /// Nowhere: the image is open for reading only.
    ReadOnly,
    /// Nowhere: they are shown, as they differ from the image.
    DryRun(Arc<dyn BlockDevice>),
    /// The image.
    Image(Arc<dyn BlockDevice>),
    /// The image, what is overwritten into an undo file first.
    Undo(Box<Undo>),
}

/// An image and the undo file of what happens to it, which is made with the first change.
pub(crate) struct Undo {
    image: Arc<dyn BlockDevice>,
    path: PathBuf,
    offset: u64,
    made: Option<UndoDevice<Arc<dyn BlockDevice>>>,
}

impl Undo {
    /// The device to write the edits of `volume` to. What they will overwrite is in the undo file already, so that it is made
    /// durable once and not write by write.
    pub(crate) fn device(&mut self, volume: &Volume) -> Result<&UndoDevice<Arc<dyn BlockDevice>>> {
        let undo = match self.made.take() {
            Some(undo) => undo,
            None => {
                let options = UndoOptions { fs_offset: self.offset, ..UndoOptions::default() };
                UndoDevice::create(Arc::clone(&self.image), &self.path, options)
                    .with_context(|| format!("-z {}", self.path.display()))?
            }
        };
        let undo = self.made.insert(undo);
        undo.save(&volume.places_of_commit()).with_context(|| format!("-z {}", self.path.display()))?;
        Ok(undo)
    }

    /// The undo file, if there is one.
    pub(crate) fn made(&self) -> Option<&Path> {
        self.made.as_ref().map(|_| self.path.as_path())
    }
}

/// Opens the device and the volume on it.
pub(crate) fn open(opening: &Opening, messages: &Messages) -> Result<Opened> {
    let image = opening.path();
    // As in debugfs: what is that damaged is for looking at.
    let writable = opening.writable && !opening.catastrophic;
    if writable != opening.writable {
        messages.note("-c: the image is open for reading only");
    }
    if opening.undo.is_some() && !writable {
        bail!("-z: an image that is open for reading only has nothing to undo");
    }
    if let Some(path) = &opening.undo
        && std::fs::symlink_metadata(path).is_ok()
    {
        bail!("-z {}: exists already", path.display());
    }
    // A dry run changes nothing, not even back.
    let write = writable && !opening.dry_run;
    let how = if write { FileOptions::read_write() } else { FileOptions::read_only() };
    let how = if opening.direct { how.direct() } else { how };
    let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open(image, how.offset(opening.offset))?);
    if !write && let Some(how) = daxkit_device::lock::in_use(image) {
        messages.warning(format_args!("{}: {how}; what is shown may be half changed", image.display()));
    }
    let device = as_it_was(opening, device, write, messages)?;
    // Whoever types may stop a command; a roll-back is none.
    let device = if signals::is_typed() { Arc::new(Interruptible(device)) } else { device };
    let options = OpenOptions {
        super_block: opening.superblock.map(BlockNr),
        block_size: opening.block_size,
        ignore_checksums: opening.ignore_checksums,
        catastrophic: opening.catastrophic,
        replay: opening.replay,
        writable,
        ..OpenOptions::default()
    };
    let volume = Volume::open(Arc::clone(&device), &options)
        .or_else(|error| otherwise(error, opening, &device, &options, messages))
        .with_context(|| output::shown(image.as_os_str().as_encoded_bytes()))?;
    if writable && !opening.replay && volume.needs_recovery() {
        messages.warning("the journal is not replayed: what it holds will be written over what is edited, when it is (journal_run does it now)");
    }
    if volume.replay_overlay().is_some() {
        let how = if writable {
            "the journal is replayed; that is written with the first change"
        } else {
            "the journal is replayed in memory (--no-replay shows the image as it lies)"
        };
        messages.note(how);
    }
    if !writable {
        return Ok(Opened { device, volume, target: Target::ReadOnly });
    }
    let target = match &opening.undo {
        _ if opening.dry_run => Target::DryRun(device),
        None => Target::Image(device),
        Some(path) => {
            Target::Undo(Box::new(Undo { image: device, path: path.clone(), offset: opening.offset, made: None }))
        }
    };
    Ok(Opened { device: Arc::clone(volume.device()), volume, target })
}

/// An image that cannot be opened as it is wanted: with `-c` by a copy of its superblock, else with a word on what would help.
fn otherwise(
    error: VolumeError,
    opening: &Opening,
    device: &Arc<dyn BlockDevice>,
    options: &OpenOptions,
    messages: &Messages,
) -> Result<Volume> {
    if matches!(error, VolumeError::Unsupported(Unsupported::ExternalJournal)) {
        let hint = "--no-replay opens it as it lies, journal_run -f DEVICE replays it then";
        return Err(anyhow::Error::from(error).context(hint));
    }
    let is_damage = matches!(error, VolumeError::NotExt4 { .. } | VolumeError::Corrupt { .. });
    if !is_damage || opening.superblock.is_some() {
        return Err(error.into());
    }
    // The second group of a file system of the usual shape.
    for size in (0..=6).map(|log| 1024u32 << log) {
        let block = u64::from(size) * 8 + u64::from(size == 1024);
        let by_copy = OpenOptions {
            super_block: Some(BlockNr(block)),
            block_size: Some(size),
            catastrophic: true,
            replay: false,
            writable: false,
            ..options.clone()
        };
        let Ok(volume) = Volume::open(Arc::clone(device), &by_copy) else { continue };
        if volume.block_size() != size {
            continue;
        }
        if !opening.catastrophic {
            return Err(anyhow::Error::from(error)
                .context(format!("-b {size} -s {block} opens it by a copy of its superblock")));
        }
        messages.warning(format_args!("{error}; opened by the copy of the superblock in block {block}"));
        return Ok(volume);
    }
    Err(error.into())
}

/// The image as it was before a change that was cut short, if there was one. Who only looks is shown the image in any case.
fn as_it_was(
    opening: &Opening,
    device: Arc<dyn BlockDevice>,
    write: bool,
    messages: &Messages,
) -> Result<Arc<dyn BlockDevice>> {
    let image = opening.path();
    match honour(image, opening.offset, Arc::clone(&device)) {
        Ok((device, false)) => Ok(device),
        Ok((device, true)) => {
            let how = if write { "was" } else { "is, in memory," };
            messages.note(format_args!("{}: a change that was cut short {how} rolled back", image.display()));
            Ok(device)
        }
        Err(error) if write => Err(error).with_context(|| image.display().to_string()),
        Err(error) => {
            messages.warning(format_args!("{}: half changed: {error}", image.display()));
            Ok(device)
        }
    }
}

/// Whether two names lead to one file.
pub(crate) fn is_same_file(a: &Path, b: &Path) -> bool {
    match (a.metadata(), b.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// What stands for an image where there is none: the smallest file system there can be. No command looks at it.
pub(crate) fn nothing() -> Result<Opened> {
    let mut sb = SuperBlock::zeroed();
    sb.s_magic.set(MAGIC);
    sb.s_first_data_block.set(1);
    sb.s_blocks_per_group.set(8192);
    sb.s_inodes_per_group.set(8);
    sb.s_inodes_count.set(8);
    sb.set_blocks_count(64);
    let memory = MemoryDevice::new(64 << 10);
    memory.write_at(SUPER_BLOCK_OFFSET, sb.as_bytes())?;
    let device: Arc<dyn BlockDevice> = Arc::new(memory);
    let volume = Volume::open(Arc::clone(&device), &OpenOptions::default())?;
    Ok(Opened { device, volume, target: Target::ReadOnly })
}
