//! The manifest of an image: what a test of a kernel module compares with. Every fact about an inode is read back from the
//! finished image, by our own reader; only where a DAX flag comes from is known to the plan alone.
//!
//! Entries are written one by one as they are read, so that a manifest of a million files needs no memory for them.

mod entry;
mod hash;

pub use entry::{Dax, DaxOrigin, Decision, Entry, Extent, Modes, Pmd, Xattr};

use crate::plan::{ImagePath, Plan};
use crate::progress::Progress;
use crate::report::uuid_text;
use crate::source::Tree;
use crate::write::{WriteError, Written};
use daxkit_device::BlockDevice;
use daxkit_format::dax::DaxMode;
use daxkit_format::dax::ext4::{DataMode, MountInputs, mount};
use daxkit_format::ext4::features::Incompat;
use daxkit_volume::{OpenOptions, Volume, VolumeError};
use schemars::JsonSchema;
use serde::ser::{Error as _, SerializeSeq};
use serde::{Serialize, Serializer};
use std::cell::RefCell;
use std::io;
use std::sync::Arc;

/// Version of the manifest's form.
pub const SCHEMA_VERSION: u32 = 1;

/// The manifest, as its schema describes it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "dax-mkfs --manifest")]
pub struct Manifest {
    /// Everything but the entries.
    #[serde(flatten)]
    pub head: Head,
    /// Every name of the image in the order of the tree: directories breadth first, names by their bytes; the second name of
    /// an inode repeats its facts. The `lost+found` that every image has is not among them where no source brings one.
    pub entries: Vec<Entry>,
}

/// What holds for the whole image.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Head {
    /// Version of this document's form.
    pub schema_version: u32,
    /// The image.
    pub image: Image,
    /// Under what the decisions below were made.
    pub assumptions: Assumptions,
    /// Whether the kernel mounts it with each option, by the assumptions.
    pub mounts: Mounts,
    /// Places that were changed behind the back of the file system after this was written down.
    pub defects: Vec<String>,
}

/// The image.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Image {
    /// UUID of the file system.
    pub uuid: String,
    /// Seed of directory hashes.
    pub hash_seed: String,
    /// Volume name.
    pub label: String,
    /// Bytes in a block; extents below count blocks.
    pub block_size: u32,
    /// Blocks in the file system.
    pub blocks: u64,
    /// Bytes between the start of the file and the file system.
    pub offset: u64,
    /// Features by name, in dumpe2fs's order.
    pub features: Vec<String>,
}

/// Under what the decisions were made.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Assumptions {
    /// The device can be accessed directly, and it begins and ends with a page.
    pub dax_device: bool,
    /// Bytes of a page of the machine that mounts.
    pub page_size: u32,
    /// Bytes that one PMD maps.
    pub pmd_size: u64,
    /// Mount option `data=`.
    pub data: &'static str,
    /// Allocation is delayed, as it is without mount options.
    pub delalloc: bool,
    /// Whose rules: `ext4_should_enable_dax` of this kernel.
    pub rules: &'static str,
}

/// Whether a mount works; the reason where it does not.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Mounts {
    /// `dax=always`.
    pub always: Mounted,
    /// `dax=inode`.
    pub inode: Mounted,
    /// `dax=never`.
    pub never: Mounted,
}

/// Whether one mount works.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Mounted {
    /// It does.
    pub works: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The image cannot be read back.
    #[error("reading {path} back: {source}")]
    Read {
        /// Which file.
        path: ImagePath,
        /// Why not.
        source: VolumeError,
    },
    /// The image cannot be opened.
    #[error("opening the image again: {0}")]
    Open(#[from] VolumeError),
    /// It was cancelled, or a thread failed.
    #[error(transparent)]
    Work(#[from] WriteError),
    /// The manifest cannot be written.
    #[error("writing the manifest: {0}")]
    Write(#[from] io::Error),
}

/// Writes the manifest of a written image as JSON. `defects` are places that will be changed later.
///
/// # Errors
/// See [`ManifestError`].
pub fn write(
    out: &mut dyn io::Write,
    plan: &Plan,
    tree: &Tree,
    written: &Written,
    device: &Arc<dyn BlockDevice>,
    defects: Vec<String>,
    progress: &dyn Progress,
) -> Result<(), ManifestError> {
    let volume = Volume::open(Arc::clone(device), &OpenOptions { replay: false, ..OpenOptions::default() })?;
    let hashes = hash::all(&volume, plan, tree, progress)?;
    let error = RefCell::new(None);
    let document = Streamed {
        head: head(plan, written, defects),
        entries: Entries { plan, tree, volume: &volume, hashes: &hashes, progress, error: &error },
    };
    let mut out = io::BufWriter::with_capacity(1 << 16, out);
    let done = serde_json::to_writer_pretty(&mut out, &document);
    if let Some(error) = error.into_inner() {
        return Err(error);
    }
    done.map_err(io::Error::from)?;
    io::Write::write_all(&mut out, b"\n")?;
    Ok(io::Write::flush(&mut out)?)
}

fn head(plan: &Plan, written: &Written, defects: Vec<String>) -> Head {
    let p = &plan.params;
    let mounted = |option| {
        let inputs = MountInputs {
            option: Some(option),
            device: true,
            block_size: p.block_size,
            page_size: p.page_size,
            inline_data: p.features.incompat.contains(Incompat::INLINE_DATA),
            data: DataMode::Ordered,
        };
        match mount(&inputs) {
            Ok(_) => Mounted { works: true, refused: None },
            Err(reason) => Mounted { works: false, refused: Some(reason.to_string()) },
        }
    };
    Head {
        schema_version: SCHEMA_VERSION,
        image: Image {
            uuid: uuid_text(&written.uuid),
            hash_seed: uuid_text(&written.hash_seed),
            label: String::from_utf8_lossy(&p.label).into_owned(),
            block_size: p.block_size,
            blocks: plan.geometry.blocks_count,
            offset: p.data_offset,
            features: p.features.iter().map(|f| f.name()).collect(),
        },
        assumptions: Assumptions {
            dax_device: true,
            page_size: p.page_size,
            pmd_size: daxkit_format::pmd::PMD_SIZE,
            data: "ordered",
            delalloc: true,
            rules: "Linux 6.12",
        },
        mounts: Mounts {
            always: mounted(DaxMode::Always),
            inode: mounted(DaxMode::Inode),
            never: mounted(DaxMode::Never),
        },
        defects,
    }
}

/// [`Manifest`], with entries that are made as they are written.
#[derive(Serialize)]
struct Streamed<'a> {
    #[serde(flatten)]
    head: Head,
    entries: Entries<'a>,
}

struct Entries<'a> {
    plan: &'a Plan,
    tree: &'a Tree,
    volume: &'a Volume,
    hashes: &'a hash::Hashes,
    progress: &'a dyn Progress,
    /// What stopped the writing, for the caller: a serializer's own error is text only.
    error: &'a RefCell<Option<ManifestError>>,
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.progress.stage("writing the manifest", self.tree.len() as u64);
        let mut seq = serializer.serialize_seq(Some(self.tree.len()))?;
        for id in self.tree.ids() {
            if self.progress.cancelled() {
                *self.error.borrow_mut() = Some(WriteError::Cancelled.into());
                return Err(S::Error::custom("cancelled"));
            }
            let made = entry::of(self.plan, self.tree, self.volume, id, self.hashes.get(self.tree, id));
            let entry = made.map_err(|source| {
                let path = ImagePath(self.tree.path(id));
                *self.error.borrow_mut() = Some(ManifestError::Read { path, source });
                S::Error::custom("an entry cannot be read back")
            })?;
            seq.serialize_element(&entry)?;
            self.progress.advance(1);
        }
        seq.end()
    }
}
