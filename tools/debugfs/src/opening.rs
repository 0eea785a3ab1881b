//! How an image is opened, and what for.

use crate::output;
use anyhow::{Context, Result, bail};
use daxkit_cli::message::Messages;
use daxkit_device::rollback::honour;
use daxkit_device::{BlockDevice, FileDevice, FileOptions, MemoryDevice, UndoDevice, UndoOptions};
use daxkit_format::ext4::super_block::{MAGIC, SUPER_BLOCK_OFFSET, SuperBlock};
use daxkit_format::{BlockNr, OnDisk};
use daxkit_volume::{OpenOptions, Volume};
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
    /// The image.
    Image(Arc<dyn BlockDevice>),
    /// The image, what is overwritten into an undo file first.
    Undo(Arc<UndoDevice<Arc<dyn BlockDevice>>>),
}

/// Opens the device and the volume on it.
pub(crate) fn open(opening: &Opening, messages: &Messages) -> Result<Opened> {
    let image = opening.path();
    if opening.writable && (opening.catastrophic || opening.superblock.is_some()) {
        bail!("-w: an image opened with -c or -s is for reading only");
    }
    if opening.undo.is_some() && !opening.writable {
        bail!("-z: an image that is open for reading only has nothing to undo");
    }
    let how = if opening.writable { FileOptions::read_write() } else { FileOptions::read_only() };
    let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open(image, how.offset(opening.offset))?);
    if !opening.writable
        && let Some(how) = daxkit_device::lock::in_use(image)
    {
        messages.warning(format_args!("{}: {how}; what is shown may be half changed", image.display()));
    }
    let (device, rolled_back) = honour(image, device)?;
    if rolled_back {
        let how = if opening.writable { "was" } else { "is, in memory," };
        messages.note(format_args!("a change that was cut short {how} rolled back"));
    }
    let options = OpenOptions {
        super_block: opening.superblock.map(BlockNr),
        block_size: opening.block_size,
        ignore_checksums: opening.ignore_checksums,
        catastrophic: opening.catastrophic,
        replay: opening.replay || opening.writable,
        writable: opening.writable,
        ..OpenOptions::default()
    };
    let volume = Volume::open(Arc::clone(&device), &options)
        .with_context(|| output::shown(image.as_os_str().as_encoded_bytes()))?;
    if volume.replay_overlay().is_some() {
        let how = if opening.writable {
            "the journal is replayed; that is written with the first change"
        } else {
            "the journal is replayed in memory (--no-replay shows the image as it lies)"
        };
        messages.note(how);
    }
    if !opening.writable {
        return Ok(Opened { device, volume, target: Target::ReadOnly });
    }
    let target = match &opening.undo {
        None => Target::Image(device),
        Some(path) => {
            let options = UndoOptions { fs_offset: opening.offset, ..UndoOptions::default() };
            let undo = UndoDevice::create(device, path, options).with_context(|| path.display().to_string())?;
            Target::Undo(Arc::new(undo))
        }
    };
    Ok(Opened { device: Arc::clone(volume.device()), volume, target })
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
