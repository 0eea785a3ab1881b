//! The whole layout of an image, decided before a byte is written.
//!
//! A plan is made from parameters and a tree and nothing else: the same two give the same plan on any machine. It holds a few
//! dozen bytes for each file whatever the content's size.

pub mod error;
pub(crate) mod extras;
pub mod identity;
pub mod inodes;
pub mod map;
pub mod needs;
pub mod place;
pub mod special;
pub mod verity;
pub mod xattrs;

pub use error::{ImagePath, PlanError};
pub use needs::{Demand, Needs};

use crate::geometry::{Geometry, MetadataMap};
use crate::params::Params;
use crate::source::{Kind, NodeId, Tree};
use crate::space::FreeSpace;
use daxkit_format::ext4::features::{Incompat, RoCompat};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::quota::QuotaKind;
use map::{BlockMap, Maps};
use place::{Content, MapRules};
use special::Special;
use std::collections::BTreeMap;
use std::ops::Range;

/// A symlink whose target is shorter than this lives in `i_block`.
pub const FAST_SYMLINK: u64 = 60;

/// A block of attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XattrBlock {
    /// Where it lies.
    pub block: u64,
    /// Which set it holds.
    pub set: u32,
    /// Inodes that share it.
    pub references: u32,
}

/// Data ranges (in bytes) that replace those of the source: what is left when blocks of zeroes become holes.
pub type RangeOverrides = BTreeMap<u32, Vec<Range<u64>>>;

/// A decided layout.
#[derive(Debug)]
pub struct Plan {
    /// The parameters; features as the geometry left them.
    pub params: Params,
    /// The shape.
    pub geometry: Geometry,
    /// Where bitmaps and inode tables lie.
    pub metadata: MetadataMap,
    /// What the content needs: inode numbers, attributes, shapes of directories.
    pub needs: Needs,
    /// Where content lies.
    pub maps: Maps,
    /// The map of `lost+found` where the source has none.
    pub lost_found: BlockMap,
    /// Blocks of attributes, in order of place.
    pub xattr_blocks: Vec<XattrBlock>,
    /// For each inode with a block of attributes: the node and the block.
    file_acl: Vec<(u32, u64)>,
    /// Where large attribute values lie.
    pub large: Vec<BlockMap>,
    /// The file system's own inodes.
    pub special: Special,
    /// What is left free.
    pub free: FreeSpace,
    /// Clusters taken by metadata that no file has (`s_overhead_clusters`).
    pub overhead_clusters: u64,
}

/// What a file system of these parameters has before any content: its shape, where its metadata lies, what it keeps for itself, and
/// what is free.
pub(crate) struct Ground {
    pub(crate) geometry: Geometry,
    pub(crate) metadata: MetadataMap,
    pub(crate) special: Special,
    pub(crate) free: FreeSpace,
    overhead: u64,
}

impl Ground {
    /// Lays it out. Blocks of `reserved` are kept for content whose place was named.
    pub(crate) fn new(
        params: &Params,
        tree: &Tree,
        inodes: &inodes::InodePlan,
        reserve: impl FnOnce(&mut FreeSpace) -> Result<(), PlanError>,
    ) -> Result<Self, PlanError> {
        let geometry = Geometry::new(params, inodes.needed())?;
        let have = u64::from(geometry.inodes_count());
        if u64::from(inodes.last) > have {
            return Err(PlanError::NoInodes { needed: u64::from(inodes.last), have });
        }
        let metadata = MetadataMap::new(&geometry, params)?;
        let mut free = free_space(&geometry, &metadata, params);
        let total = geometry.blocks_count - u64::from(geometry.first_data_block);
        let mut overhead = (total - free.free().min(total)) / u64::from(geometry.cluster_ratio);
        reserve(&mut free)?;
        let special = Special::place(params, &geometry, tree, inodes.project_quota, &mut free)?;
        if let Some(j) = &special.journal {
            overhead += u64::from(j.blocks.div_ceil(geometry.cluster_ratio));
        }
        Ok(Self { geometry, metadata, special, free, overhead })
    }
}

impl Plan {
    /// Decides the layout.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn new(params: &Params, tree: &Tree, overrides: RangeOverrides) -> Result<Self, PlanError> {
        Self::of_needs(params, tree, Needs::new(params, tree, overrides)?)
    }

    /// Decides the layout of content whose needs were worked out under parameters that differ from these in nothing but size.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn of_needs(params: &Params, tree: &Tree, needs: Needs) -> Result<Self, PlanError> {
        let mut params = params.clone();
        let ground = Ground::new(&params, tree, &needs.inodes, |free| place::take_fixed(&needs, tree, free))?;
        let Ground { mut geometry, metadata, special, free, overhead } = ground;
        params.features = geometry.features;
        params.blocks_count = geometry.blocks_count;
        let per_block = u64::from(geometry.block_size / 4);
        let resize_size = (12 + per_block + per_block * per_block) * u64::from(geometry.block_size);
        if special.resize_dind.is_some() && resize_size >= 1 << 31 {
            // The resize inode's size counts as a large file.
            params.features.ro_compat.insert(RoCompat::LARGE_FILE);
            geometry.features.ro_compat.insert(RoCompat::LARGE_FILE);
        }
        let mut plan = Self {
            maps: Maps::new(tree.len()),
            lost_found: BlockMap::default(),
            xattr_blocks: Vec::new(),
            file_acl: Vec::new(),
            large: Vec::new(),
            overhead_clusters: overhead,
            params,
            geometry,
            metadata,
            needs,
            special,
            free,
        };
        plan.place_dirs(tree)?;
        plan.place_xattrs(tree)?;
        plan.place_content(tree)?;
        Ok(plan)
    }

    fn place_dirs(&mut self, tree: &Tree) -> Result<(), PlanError> {
        if self.needs.inodes.lost_found.is_none() {
            let blocks = u64::from(self.needs.lost_found_blocks());
            let runs = place::take(&mut self.free, self.params.block_size, blocks, || "lost+found".to_owned())?;
            special::add_runs(&mut self.lost_found, runs);
            let rules = self.map_rules();
            let map = &mut self.lost_found;
            place::take_map_blocks(&mut self.free, rules, map, &|| b"/lost+found".to_vec(), 0)?;
        }
        for id in tree.dirs() {
            if self.needs.inodes.is_inline(id) {
                continue;
            }
            let blocks = self.needs.dir_blocks(id);
            let path = || tree.path(id);
            let what = || format!("directory {}", String::from_utf8_lossy(&path()));
            let runs = place::take(&mut self.free, self.params.block_size, u64::from(blocks), what)?;
            let mut map = BlockMap::default();
            special::add_runs(&mut map, runs);
            let size = u64::from(blocks) * u64::from(self.params.block_size);
            let rules = self.map_rules();
            place::take_map_blocks(&mut self.free, rules, &mut map, &path, size)?;
            self.maps.set(id.0, map, blocks.into());
        }
        Ok(())
    }

    fn place_xattrs(&mut self, tree: &Tree) -> Result<(), PlanError> {
        const MOST: u32 = daxkit_format::ext4::xattr::REFCOUNT_MAX;
        // The block of each set that still has room for references.
        let mut open: BTreeMap<u32, usize> = BTreeMap::new();
        for id in tree.ids() {
            let Some(set) = self.needs.xattrs.set_of(tree, id).filter(|_| tree.primary(id) == id) else { continue };
            let Some(layout) = self.needs.xattrs.sets.get(set as usize) else { continue };
            for a in layout.inode.iter().filter_map(|a| a.large) {
                if let Some(l) = self.needs.xattrs.large.get_mut(a as usize) {
                    l.references += 1;
                }
            }
            if layout.block.is_empty() {
                continue;
            }
            let shared =
                open.get(&set).copied().filter(|i| self.xattr_blocks.get(*i).is_some_and(|b| b.references < MOST));
            let at = match shared {
                Some(at) => at,
                None => {
                    for a in layout.block.iter().filter_map(|a| a.large) {
                        if let Some(l) = self.needs.xattrs.large.get_mut(a as usize) {
                            l.references += 1;
                        }
                    }
                    let what = || format!("the attributes of {}", String::from_utf8_lossy(&tree.path(id)));
                    let runs = place::take(&mut self.free, self.params.block_size, 1, what)?;
                    let block = runs.first().map_or(0, |r| r.start);
                    self.xattr_blocks.push(XattrBlock { block, set, references: 0 });
                    open.insert(set, self.xattr_blocks.len() - 1);
                    self.xattr_blocks.len() - 1
                }
            };
            if let Some(b) = self.xattr_blocks.get_mut(at) {
                b.references += 1;
                self.file_acl.push((id.0, b.block));
            }
        }
        for i in 0..self.needs.xattrs.large.len() {
            let size = self.needs.xattrs.large.get(i).map_or(0, |l| l.value.len() as u64);
            let blocks = size.div_ceil(u64::from(self.params.block_size));
            let what = || "a large extended attribute".to_owned();
            let mut map = BlockMap::default();
            special::add_runs(&mut map, place::take(&mut self.free, self.params.block_size, blocks, what)?);
            let rules = self.map_rules();
            place::take_map_blocks(&mut self.free, rules, &mut map, &|| b"a large attribute".to_vec(), size)?;
            self.large.push(map);
        }
        Ok(())
    }

    fn place_content(&mut self, tree: &Tree) -> Result<(), PlanError> {
        if tree.ids().any(|id| tree.kind(id) == Kind::File && tree.size(id) >= 1 << 31) {
            // As the kernel does with the first file of that size.
            self.params.features.ro_compat.insert(RoCompat::LARGE_FILE);
            self.geometry.features.ro_compat.insert(RoCompat::LARGE_FILE);
        }
        let mut maps = std::mem::take(&mut self.maps);
        let mut free = self.free.clone();
        let content = Content { tree, params: &self.params, needs: &self.needs };
        content.place(&mut free, &mut maps)?;
        self.maps = maps;
        self.free = free;
        Ok(())
    }

    /// The block of attributes of a node; 0 for none.
    #[must_use]
    pub fn file_acl(&self, id: NodeId) -> u64 {
        self.file_acl
            .binary_search_by_key(&id.0, |(n, _)| *n)
            .ok()
            .and_then(|at| self.file_acl.get(at))
            .map_or(0, |(_, b)| *b)
    }

    /// The inode of a quota file.
    #[must_use]
    pub fn quota_ino(&self, kind: QuotaKind) -> u32 {
        self.special.quota.iter().find(|q| q.kind == kind).map_or(0, |q| q.ino)
    }

    /// True when inodes have extents, unless one says otherwise.
    #[must_use]
    pub fn has_extents(&self) -> bool {
        self.params.features.incompat.contains(Incompat::EXTENTS)
    }

    fn map_rules(&self) -> MapRules {
        MapRules::new(&self.params, self.has_extents())
    }

    /// The flags of a node's inode (`i_flags`).
    #[must_use]
    pub fn flags(&self, tree: &Tree, id: NodeId) -> InodeFlags {
        let mut flags = extras::flags(tree, id);
        flags.set(InodeFlags::DAX, self.needs.inodes.is_dax(id) || flags.contains(InodeFlags::DAX));
        let inline = self.needs.inodes.is_inline(id);
        let mapped = match tree.kind(id) {
            Kind::File | Kind::Dir => !inline,
            Kind::Symlink => tree.size(id) >= FAST_SYMLINK,
            Kind::Char | Kind::Block | Kind::Fifo | Kind::Socket => false,
        };
        if inline {
            flags.insert(InodeFlags::INLINE_DATA);
        }
        if mapped && self.needs.has_extents(tree, id) {
            flags.insert(InodeFlags::EXTENTS);
        }
        if tree.kind(id) == Kind::Dir && !inline && self.needs.is_hashed(id) {
            flags.insert(InodeFlags::INDEX);
        }
        flags
    }

    /// The runs of a node's blocks, in order of the file.
    pub fn runs(&self, tree: &Tree, id: NodeId) -> impl Iterator<Item = map::Run> + '_ {
        let blocks = match tree.kind(id) {
            Kind::Dir => u64::from(self.needs.dir_blocks(id)),
            _ => tree.size(id).div_ceil(u64::from(self.params.block_size)),
        };
        self.maps.runs(id.0, blocks)
    }
}

/// Most links of an inode (`EXT4_LINK_MAX`).
pub const LINK_MAX: u64 = 65_000;

fn size_limit(params: &Params) -> u64 {
    let bs = u64::from(params.block_size);
    if params.features.incompat.contains(Incompat::EXTENTS) {
        // `ext4_max_size`: the last block number must be smaller than 2^32 - 1.
        return (u64::from(u32::MAX) - 1) * bs;
    }
    let n = bs / 4;
    let reach = (12 + n + n * n + n * n * n) * bs;
    if params.features.ro_compat.contains(RoCompat::HUGE_FILE) {
        return reach;
    }
    // Without huge_file the block count is in sectors and has 32 bits; the map's own blocks are in it too.
    let counted = (1 << 41) / bs;
    reach.min((counted - counted.div_ceil(n) - counted.div_ceil(n * n) - 3) * bs)
}

fn free_space(g: &Geometry, metadata: &MetadataMap, params: &Params) -> FreeSpace {
    let mut used: Vec<Range<u64>> = metadata.ranges(g.groups).collect();
    if g.meta_bg() {
        used.extend((0..g.groups).map(|group| g.base_range(group)).filter(|r| !r.is_empty()));
    } else {
        used.extend(g.super_groups().map(|group| g.base_range(group)));
    }
    used.sort_unstable_by_key(|r| r.start);
    let mut space = FreeSpace::new(g.block_size, g.cluster_ratio, params.data_offset);
    let mut at = u64::from(g.first_data_block);
    for r in used {
        space.release(at..r.start.max(at));
        at = at.max(r.end);
    }
    space.release(at..g.blocks_count);
    space
}
