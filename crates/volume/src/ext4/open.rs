//! Opening a volume: superblock, geometry, what the features allow, and the journal.
//!
//! Nothing is written to the device, ever: a journal is replayed into an overlay that the volume reads through.

use std::sync::Arc;

use daxkit_device::{BlockDevice, RangeSet};
use daxkit_format::BlockNr;
use daxkit_format::ext4::features::{Compat, Feature, Features, Incompat, RoCompat};
use daxkit_format::ext4::super_block::{CHECKSUM_CRC32C, SUPER_BLOCK_OFFSET, SuperBlock};

use super::blocks::BlockCache;
use super::edit::Hints;
use super::error::{Place, Unsupported, VolumeError};
use super::geometry::{Geometry, GeometryError};
use super::journal::{self, ReplayOverlay, ReplayReport};
use super::known::Known;
use super::super_blocks;

/// Most bytes of edits that are kept in memory; what is more waits in a file.
pub(crate) const EDITS_IN_MEMORY: u64 = 256 << 20;

/// Incompatible features that can be read.
pub(crate) const READABLE_INCOMPAT: Incompat = Incompat::FILETYPE
    .union(Incompat::RECOVER)
    .union(Incompat::META_BG)
    .union(Incompat::EXTENTS)
    .union(Incompat::BIT64)
    .union(Incompat::MMP)
    .union(Incompat::FLEX_BG)
    .union(Incompat::EA_INODE)
    .union(Incompat::CSUM_SEED)
    .union(Incompat::LARGEDIR)
    .union(Incompat::INLINE_DATA)
    .union(Incompat::ENCRYPT)
    .union(Incompat::CASEFOLD);

/// Read-only-compatible features under which a volume may be changed.
pub(crate) const WRITABLE_RO_COMPAT: RoCompat = RoCompat::SPARSE_SUPER
    .union(RoCompat::LARGE_FILE)
    .union(RoCompat::BTREE_DIR)
    .union(RoCompat::HUGE_FILE)
    .union(RoCompat::GDT_CSUM)
    .union(RoCompat::DIR_NLINK)
    .union(RoCompat::EXTRA_ISIZE)
    .union(RoCompat::QUOTA)
    .union(RoCompat::BIGALLOC)
    .union(RoCompat::METADATA_CSUM)
    .union(RoCompat::PROJECT)
    .union(RoCompat::VERITY)
    .union(RoCompat::ORPHAN_PRESENT);

/// How a volume is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Byte of the device at which the file system begins.
    pub offset: u64,
    /// Take the superblock from this block instead of the primary one, and the descriptors behind it.
    pub super_block: Option<BlockNr>,
    /// The block size with which [`OpenOptions::super_block`] counts; without it every size is tried.
    pub block_size: Option<u32>,
    /// Take metadata whose checksum does not match.
    pub ignore_checksums: bool,
    /// Open what is badly damaged: descriptors and bitmaps are not trusted to be there, a device may be too short, and the
    /// journal is not replayed.
    pub catastrophic: bool,
    /// Replay the journal if it wants to be, so that what is read is what a mount would show.
    pub replay: bool,
    /// Keep changes in an overlay over the device, so that the volume can be edited ([`Volume::change`]). A journal is replayed
    /// into the same overlay. With [`OpenOptions::super_block`] that copy of the superblock, and the descriptors behind it, stand there in place of
    /// the primary ones, and become them with the first change that is committed; no journal is replayed then.
    pub writable: bool,
    /// The external journal, when the file system has one.
    pub journal: Option<Arc<dyn BlockDevice>>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            offset: 0,
            super_block: None,
            block_size: None,
            ignore_checksums: false,
            catastrophic: false,
            replay: true,
            writable: false,
            journal: None,
        }
    }
}

/// An open file system. Reads take `&self`; any number of threads may share one.
#[derive(Debug)]
pub struct Volume {
    device: Arc<dyn BlockDevice>,
    base: u64,
    super_block: SuperBlock,
    super_offset: u64,
    geometry: Geometry,
    /// What all checksums are computed from. An edit of the superblock's fields that it is made of does not change it: what lies
    /// in the image was sealed with it.
    seed: u32,
    verifies: bool,
    read_only_features: Vec<Feature>,
    catastrophic: bool,
    ignore_checksums: bool,
    cache: BlockCache,
    known: Known,
    overlay: Option<Arc<ReplayOverlay>>,
    replay: Option<ReplayReport>,
    /// What edits go into: the overlay that the volume reads through.
    edits: Option<Arc<ReplayOverlay>>,
    hints: Hints,
    /// Blocks that were given back since the last commit and are not to be taken before the next one; `None` when they may be
    /// taken at once.
    held: Option<RangeSet>,
}

impl Volume {
    /// Opens the file system on `device`.
    ///
    /// # Errors
    /// No file system; one with an incompatible feature that is not known, which is named; one whose numbers contradict
    /// each other or the device; a journal that should be replayed and cannot be.
    pub fn open(device: Arc<dyn BlockDevice>, options: &OpenOptions) -> Result<Self, VolumeError> {
        let volume = Self::open_without_replay(Arc::clone(&device), options)?;
        if options.writable && volume.super_offset != SUPER_BLOCK_OFFSET {
            return volume.in_place_of_the_primary(device, options);
        }
        if options.replay
            && !options.catastrophic
            && volume.needs_recovery()
            && let Some(done) = journal::replay(&volume, &device, options)?
        {
            let edits = options.writable.then(|| Arc::clone(&done.overlay));
            return Ok(Self { overlay: Some(done.overlay), replay: Some(done.report), edits, ..done.volume });
        }
        if !options.writable {
            return Ok(volume);
        }
        let overlay = Arc::new(ReplayOverlay::spilling(device, EDITS_IN_MEMORY));
        let volume = Self { device: Arc::<ReplayOverlay>::clone(&overlay), ..volume };
        Ok(Self { edits: Some(overlay), ..volume })
    }

    /// Opens the file system as it lies on the device.
    pub(crate) fn open_without_replay(
        device: Arc<dyn BlockDevice>,
        options: &OpenOptions,
    ) -> Result<Self, VolumeError> {
        let base = options.offset;
        let found = super_blocks::find(&*device, base, options.super_block, options.block_size)?;
        let place = Place::SuperBlock { offset: base.saturating_add(found.offset) };
        let sb = found.super_block;
        let lenient = options.ignore_checksums || options.catastrophic;

        if sb.s_rev_level.get() > 1 {
            return Err(VolumeError::Unsupported(Unsupported::Revision(sb.s_rev_level.get())));
        }
        if sb.incompat().contains(Incompat::JOURNAL_DEV) {
            return Err(VolumeError::Unsupported(Unsupported::JournalDevice));
        }
        let unknown = sb.incompat().difference(READABLE_INCOMPAT);
        if !unknown.is_empty() {
            let names = Features { incompat: unknown, ..Features::default() };
            return Err(VolumeError::Unsupported(Unsupported::Features(names.iter().collect())));
        }
        if sb.has_metadata_csum() && !lenient {
            if sb.s_checksum_type != CHECKSUM_CRC32C {
                return Err(VolumeError::corrupt(
                    place,
                    GeometryError::Mismatch {
                        field: "s_checksum_type",
                        value: sb.s_checksum_type.into(),
                        expected: CHECKSUM_CRC32C.into(),
                    },
                ));
            }
            if !sb.verify() {
                return Err(VolumeError::corrupt(place, super::error::Corruption::Checksum));
            }
        }
        let device_len = device.len().saturating_sub(base);
        let geometry =
            Geometry::check(&sb, device_len, options.catastrophic).map_err(|why| VolumeError::corrupt(place, why))?;
        if options.block_size.is_some_and(|size| size != geometry.block_size) {
            let why = GeometryError::Mismatch {
                field: "s_log_block_size",
                value: sb.s_log_block_size.get().into(),
                expected: options.block_size.unwrap_or(1024).checked_ilog2().unwrap_or(10).saturating_sub(10).into(),
            };
            return Err(VolumeError::corrupt(place, why));
        }
        let read_only = Features { ro_compat: sb.ro_compat().difference(WRITABLE_RO_COMPAT), ..Features::default() };
        Ok(Self {
            seed: sb.checksum_seed(),
            verifies: sb.has_metadata_csum() && !lenient,
            read_only_features: read_only.iter().collect(),
            cache: BlockCache::new(geometry.block_size),
            known: Known::default(),
            super_offset: found.offset,
            overlay: None,
            replay: None,
            edits: None,
            hints: Hints::default(),
            held: None,
            super_block: sb,
            catastrophic: options.catastrophic,
            ignore_checksums: lenient,
            geometry,
            base,
            device,
        })
    }

    /// What the volume reads from: the device, or the overlay over it when a journal was replayed.
    #[must_use]
    pub fn device(&self) -> &Arc<dyn BlockDevice> {
        &self.device
    }

    /// The overlay with what the journal held, when it was replayed. Applied to the device it does there what a mount does.
    #[must_use]
    pub fn replay_overlay(&self) -> Option<&Arc<ReplayOverlay>> {
        self.overlay.as_ref()
    }

    /// What the replay of the journal came to, when there was one.
    #[must_use]
    pub fn replay_report(&self) -> Option<&ReplayReport> {
        self.replay.as_ref()
    }

    /// Byte of the device at which the file system begins.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The superblock as read (or as the replayed journal left it).
    #[must_use]
    pub fn super_block(&self) -> &SuperBlock {
        &self.super_block
    }

    /// Where that superblock lies, in bytes from the start of the file system.
    #[must_use]
    pub fn super_block_offset(&self) -> u64 {
        self.super_offset
    }

    /// The checked numbers.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.geometry.block_size
    }

    /// The features.
    #[must_use]
    pub fn features(&self) -> Features {
        Features::of(&self.super_block)
    }

    /// True when the compatible feature is on.
    #[must_use]
    pub fn has_compat(&self, feature: Compat) -> bool {
        self.super_block.compat().contains(feature)
    }

    /// True when the incompatible feature is on.
    #[must_use]
    pub fn has_incompat(&self, feature: Incompat) -> bool {
        self.super_block.incompat().contains(feature)
    }

    /// True when the read-only-compatible feature is on.
    #[must_use]
    pub fn has_ro_compat(&self, feature: RoCompat) -> bool {
        self.super_block.ro_compat().contains(feature)
    }

    /// The features because of which this volume must not be changed.
    #[must_use]
    pub fn read_only_features(&self) -> &[Feature] {
        &self.read_only_features
    }

    /// True when what is read is older than what the journal holds.
    #[must_use]
    pub fn needs_recovery(&self) -> bool {
        self.has_incompat(Incompat::RECOVER)
    }

    /// The seed of metadata checksums where they are verified: with `metadata_csum`, and not told to ignore them.
    #[must_use]
    pub fn verify_seed(&self) -> Option<u32> {
        self.seal_seed().filter(|_| self.verifies)
    }

    /// The seed of all checksums, when there are any. Unlike [`Volume::verify_seed`] it is there when they are to be ignored.
    #[must_use]
    pub fn seal_seed(&self) -> Option<u32> {
        self.super_block.has_metadata_csum().then_some(self.seed)
    }

    /// True when opened for rescue; see [`OpenOptions::catastrophic`].
    #[must_use]
    pub fn is_catastrophic(&self) -> bool {
        self.catastrophic
    }

    /// The overlay that edits go into, when the volume was opened for that.
    #[must_use]
    pub fn edits(&self) -> Option<&Arc<ReplayOverlay>> {
        self.edits.as_ref()
    }

    /// This volume over another overlay with the same content.
    pub(crate) fn over(&self, overlay: Arc<ReplayOverlay>) -> Self {
        Self {
            device: Arc::<ReplayOverlay>::clone(&overlay),
            base: self.base,
            super_block: self.super_block,
            super_offset: self.super_offset,
            geometry: self.geometry,
            seed: self.seed,
            verifies: self.verifies,
            read_only_features: self.read_only_features.clone(),
            catastrophic: self.catastrophic,
            ignore_checksums: self.ignore_checksums,
            cache: BlockCache::new(self.geometry.block_size),
            known: Known::default(),
            overlay: None,
            replay: None,
            edits: Some(overlay),
            hints: Hints::default(),
            held: self.held.clone(),
        }
    }

    pub(crate) fn held(&self) -> Option<&RangeSet> {
        self.held.as_ref()
    }

    pub(crate) fn held_mut(&mut self) -> &mut Option<RangeSet> {
        &mut self.held
    }

    pub(crate) fn hints_mut(&mut self) -> &mut Hints {
        &mut self.hints
    }

    /// Takes another superblock for the one that was read; the geometry stays.
    pub(crate) fn set_super_block(&mut self, sb: SuperBlock) {
        let features = |sb: &SuperBlock| (sb.compat(), sb.incompat(), sb.ro_compat());
        // What names mean depends on them.
        if features(&sb) != features(&self.super_block) {
            self.known.forget();
        }
        self.super_block = sb;
    }

    pub(crate) fn ignores_checksums(&self) -> bool {
        self.ignore_checksums
    }

    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    pub(crate) fn cache(&self) -> &BlockCache {
        &self.cache
    }
}
