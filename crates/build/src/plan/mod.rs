//! The whole layout of an image, decided before a byte is written.
//!
//! A plan is made from parameters and a tree and nothing else: the same two give the same plan on any machine. It holds a few
//! dozen bytes for each file whatever the content's size.

pub mod error;
pub mod htree;
pub mod identity;
pub mod inodes;
pub mod map;
pub mod place;
pub mod special;
pub mod xattrs;

pub use error::{ImagePath, PlanError};

use crate::geometry::{Geometry, MetadataMap};
use crate::params::{Holes, Params};
use crate::source::{Kind, NodeId, Tree};
use crate::space::FreeSpace;
use daxkit_format::ext4::dir_entry::file_type;
use daxkit_format::ext4::features::{Compat, Incompat, RoCompat};
use daxkit_format::ext4::quota::QuotaKind;
use htree::{DirFormat, Item};
use inodes::{InodePlan, LOST_FOUND_INO};
use map::{BlockMap, Maps};
use place::{Content, Data};
use special::Special;
use std::collections::BTreeMap;
use std::ops::Range;
use xattrs::XattrPlan;

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
    /// Inode numbers.
    pub inodes: InodePlan,
    /// Where content lies.
    pub maps: Maps,
    /// Blocks of directories that have more than one, and whether they are hashed.
    dir_blocks: BTreeMap<u32, (u32, bool)>,
    /// The map of `lost+found` where the source has none.
    pub lost_found: BlockMap,
    /// Attributes.
    pub xattrs: XattrPlan,
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
    /// The form of directories.
    pub dir_format: DirFormat,
    /// Digest of the tree, from which a reproducible identity comes.
    pub tree_digest: [u8; 32],
    /// `s_hash_seed` as bytes.
    pub hash_seed: [u8; 16],
    overrides: RangeOverrides,
}

impl Plan {
    /// Decides the layout.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn new(params: &Params, tree: &Tree, overrides: RangeOverrides) -> Result<Self, PlanError> {
        let mut params = params.clone();
        let xattrs = XattrPlan::new(&params, tree)?;
        let inodes = InodePlan::new(&params, tree, xattrs.large.len())?;
        let mut geometry = Geometry::new(&params, inodes.needed())?;
        params.features = geometry.features;
        params.blocks_count = geometry.blocks_count;
        let have = u64::from(geometry.inodes_count());
        if u64::from(inodes.last) > have {
            return Err(PlanError::NoInodes { needed: u64::from(inodes.last), have });
        }
        let metadata = MetadataMap::new(&geometry, &params)?;
        let mut free = free_space(&geometry, &metadata, &params);
        let total = geometry.blocks_count - u64::from(geometry.first_data_block);
        let mut overhead = (total - free.free().min(total)) / u64::from(geometry.cluster_ratio);
        let special = Special::place(&params, &geometry, tree, inodes.project_quota, &mut free)?;
        let per_block = u64::from(geometry.block_size / 4);
        let resize_size = (12 + per_block + per_block * per_block) * u64::from(geometry.block_size);
        if special.resize_dind.is_some() && resize_size >= 1 << 31 {
            // The resize inode's size counts as a large file.
            params.features.ro_compat.insert(RoCompat::LARGE_FILE);
            geometry.features.ro_compat.insert(RoCompat::LARGE_FILE);
        }
        if let Some(j) = &special.journal {
            overhead += u64::from(j.blocks.div_ceil(geometry.cluster_ratio));
        }
        let digest = identity::tree_digest(&params, tree);
        let hash_seed = identity::hash_seed(&params, &digest);
        let dir_format = dir_format(&params, &hash_seed);
        let mut plan = Self {
            maps: Maps::new(tree.len()),
            dir_blocks: BTreeMap::new(),
            lost_found: BlockMap::default(),
            xattr_blocks: Vec::new(),
            file_acl: Vec::new(),
            large: Vec::new(),
            overhead_clusters: overhead,
            tree_digest: digest,
            params,
            geometry,
            metadata,
            inodes,
            xattrs,
            special,
            free,
            dir_format,
            hash_seed,
            overrides,
        };
        plan.check_links(tree)?;
        plan.choose_inline(tree);
        plan.place_dirs(tree)?;
        plan.place_xattrs(tree)?;
        plan.place_content(tree)?;
        Ok(plan)
    }

    fn check_links(&self, tree: &Tree) -> Result<(), PlanError> {
        let dir_nlink = self.params.features.ro_compat.contains(RoCompat::DIR_NLINK);
        for id in tree.ids() {
            let links = match tree.kind(id) {
                Kind::Dir if dir_nlink => 0,
                Kind::Dir => self.subdirs(tree, id) + 2,
                _ => u64::from(tree.links(id)),
            };
            if links > LINK_MAX {
                return Err(PlanError::TooManyLinks { path: ImagePath(tree.path(id)), links });
            }
        }
        Ok(())
    }

    /// Directories directly in a directory, `lost+found` counted.
    #[must_use]
    pub fn subdirs(&self, tree: &Tree, id: NodeId) -> u64 {
        let own = tree.children(id).filter(|c| tree.kind(NodeId(*c)) == Kind::Dir).count() as u64;
        own + u64::from(id == Tree::ROOT && self.inodes.lost_found.is_none())
    }

    /// The names of a directory, in order of their bytes.
    #[must_use]
    pub fn items<'t>(&self, tree: &'t Tree, id: NodeId) -> Vec<Item<'t>> {
        let mut items: Vec<Item<'t>> = tree
            .children(id)
            .map(|c| {
                let c = NodeId(c);
                Item { name: tree.name(c), ino: self.inodes.ino(c), file_type: file_type_of(tree.kind(c)) }
            })
            .collect();
        if id == Tree::ROOT && self.inodes.lost_found.is_none() {
            let item = Item { name: b"lost+found", ino: LOST_FOUND_INO, file_type: file_type::DIR };
            let at = items.partition_point(|i| i.name < item.name);
            items.insert(at, item);
        }
        items
    }

    fn choose_inline(&mut self, tree: &Tree) {
        if !InodePlan::inline_possible(&self.params) {
            return;
        }
        for id in tree.ids() {
            let set = self.xattrs.set_of(tree, id);
            let Some(room) = self.xattrs.inline_room(set) else { continue };
            let fits = match tree.kind(id) {
                Kind::File if tree.primary(id) == id && !self.inodes.is_dax(id) => {
                    let size = tree.size(id);
                    size > 0 && size <= room as u64
                }
                // The kernel refuses a root directory without blocks (`ext4_fill_super`).
                Kind::Dir if Some(id) != self.inodes.lost_found && id != Tree::ROOT => {
                    // Names of at least four bytes take twelve: a directory with more of them cannot fit.
                    tree.children(id).len() <= room / 12 + 1
                        && htree::build_inline(&self.items(tree, id), 2, room - 60, &self.dir_format).is_some()
                }
                _ => false,
            };
            if fits {
                self.inodes.set_inline(id);
            }
        }
    }

    /// Blocks that `lost+found` keeps: 16 KiB, at least two and at most twelve of them.
    #[must_use]
    pub fn lost_found_blocks(&self) -> u32 {
        16_384u32.div_ceil(self.params.block_size).clamp(2, 12)
    }

    fn place_dirs(&mut self, tree: &Tree) -> Result<(), PlanError> {
        if self.inodes.lost_found.is_none() {
            let blocks = u64::from(self.lost_found_blocks());
            let runs = place::take(&mut self.free, &self.params, blocks, || "lost+found".to_owned())?;
            special::add_runs(&mut self.lost_found, runs);
            let map = &mut self.lost_found;
            place::take_map_blocks(&mut self.free, &self.params, map, &|| b"/lost+found".to_vec(), 0)?;
        }
        for id in tree.dirs() {
            if self.inodes.is_inline(id) {
                continue;
            }
            let shape = self.dir_format.shape(&self.items(tree, id));
            let mut blocks = shape.blocks();
            if Some(id) == self.inodes.lost_found {
                blocks = blocks.max(self.lost_found_blocks());
            }
            if blocks > 1 {
                self.dir_blocks.insert(id.0, (blocks, matches!(shape, htree::Shape::Hashed { .. })));
            }
            let path = || tree.path(id);
            let what = || format!("directory {}", String::from_utf8_lossy(&path()));
            let runs = place::take(&mut self.free, &self.params, u64::from(blocks), what)?;
            let mut map = BlockMap::default();
            special::add_runs(&mut map, runs);
            let size = u64::from(blocks) * u64::from(self.params.block_size);
            place::take_map_blocks(&mut self.free, &self.params, &mut map, &path, size)?;
            self.maps.set(id.0, map, blocks.into());
        }
        Ok(())
    }

    fn place_xattrs(&mut self, tree: &Tree) -> Result<(), PlanError> {
        const MOST: u32 = daxkit_format::ext4::xattr::REFCOUNT_MAX;
        // The block of each set that still has room for references.
        let mut open: BTreeMap<u32, usize> = BTreeMap::new();
        for id in tree.ids() {
            let Some(set) = self.xattrs.set_of(tree, id).filter(|_| tree.primary(id) == id) else { continue };
            let Some(layout) = self.xattrs.sets.get(set as usize) else { continue };
            for a in layout.inode.iter().filter_map(|a| a.large) {
                if let Some(l) = self.xattrs.large.get_mut(a as usize) {
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
                        if let Some(l) = self.xattrs.large.get_mut(a as usize) {
                            l.references += 1;
                        }
                    }
                    let what = || format!("the attributes of {}", String::from_utf8_lossy(&tree.path(id)));
                    let runs = place::take(&mut self.free, &self.params, 1, what)?;
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
        for i in 0..self.xattrs.large.len() {
            let size = self.xattrs.large.get(i).map_or(0, |l| l.value.len() as u64);
            let blocks = size.div_ceil(u64::from(self.params.block_size));
            let what = || "a large extended attribute".to_owned();
            let mut map = BlockMap::default();
            special::add_runs(&mut map, place::take(&mut self.free, &self.params, blocks, what)?);
            place::take_map_blocks(&mut self.free, &self.params, &mut map, &|| b"a large attribute".to_vec(), size)?;
            self.large.push(map);
        }
        Ok(())
    }

    fn place_content(&mut self, tree: &Tree) -> Result<(), PlanError> {
        let limit = size_limit(&self.params);
        for id in tree.ids() {
            let size = tree.size(id);
            let limit = match tree.kind(id) {
                Kind::File => limit,
                Kind::Symlink => u64::from(self.params.block_size) - 1,
                _ => continue,
            };
            if size > limit {
                return Err(PlanError::FileTooLarge { path: ImagePath(tree.path(id)), size, limit });
            }
            if size >= 1 << 31 {
                // As the kernel does with the first file of that size.
                self.params.features.ro_compat.insert(RoCompat::LARGE_FILE);
                self.geometry.features.ro_compat.insert(RoCompat::LARGE_FILE);
            }
        }
        let mut maps = std::mem::take(&mut self.maps);
        let mut free = self.free.clone();
        let data = |id: NodeId| self.data(tree, id);
        let content = Content { tree, params: &self.params, data: &data };
        content.place(&mut free, &mut maps)?;
        self.maps = maps;
        self.free = free;
        Ok(())
    }

    /// The blocks of a file or symlink that hold data.
    #[must_use]
    pub fn data(&self, tree: &Tree, id: NodeId) -> Data {
        let bs = u64::from(self.params.block_size);
        let size = tree.size(id);
        match tree.kind(id) {
            _ if size == 0 || tree.primary(id) != id || self.inodes.is_inline(id) => Data::None,
            Kind::Symlink if size >= FAST_SYMLINK => Data::Dense(1),
            Kind::File => match self.byte_ranges(tree, id) {
                None => Data::Dense(size.div_ceil(bs)),
                Some(ranges) => {
                    let blocks = block_ranges(ranges, size, bs);
                    if blocks.is_empty() { Data::None } else { Data::Sparse(blocks) }
                }
            },
            _ => Data::None,
        }
    }

    /// The ranges of bytes that hold data, where the file has holes in the image.
    #[must_use]
    pub fn byte_ranges<'a>(&'a self, tree: &'a Tree, id: NodeId) -> Option<&'a [Range<u64>]> {
        match self.params.holes {
            Holes::None => None,
            Holes::Host => tree.data_ranges(id),
            Holes::ZeroBlocks => self.overrides.get(&id.0).map(Vec::as_slice).or_else(|| tree.data_ranges(id)),
        }
    }

    /// Blocks of a directory.
    #[must_use]
    pub fn dir_blocks(&self, id: NodeId) -> u32 {
        self.dir_blocks.get(&id.0).map_or(1, |(n, _)| *n)
    }

    /// True for a hashed directory.
    #[must_use]
    pub fn is_hashed(&self, id: NodeId) -> bool {
        self.dir_blocks.get(&id.0).is_some_and(|(_, hashed)| *hashed)
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

    /// True when inodes have extents.
    #[must_use]
    pub fn has_extents(&self) -> bool {
        self.params.features.incompat.contains(Incompat::EXTENTS)
    }
}

/// Most links of an inode (`EXT4_LINK_MAX`).
pub const LINK_MAX: u64 = 65_000;

/// Rounds byte ranges outwards to blocks and joins those that touch.
fn block_ranges(ranges: &[Range<u64>], size: u64, bs: u64) -> Vec<Range<u64>> {
    let mut blocks: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for r in ranges {
        let (start, end) = (r.start / bs, r.end.min(size).div_ceil(bs));
        if start >= end {
            continue;
        }
        match blocks.last_mut() {
            Some(last) if last.end >= start => last.end = last.end.max(end),
            _ => blocks.push(start..end),
        }
    }
    blocks
}

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

fn file_type_of(kind: Kind) -> u8 {
    match kind {
        Kind::File => file_type::REG_FILE,
        Kind::Dir => file_type::DIR,
        Kind::Symlink => file_type::SYMLINK,
        Kind::Char => file_type::CHRDEV,
        Kind::Block => file_type::BLKDEV,
        Kind::Fifo => file_type::FIFO,
        Kind::Socket => file_type::SOCK,
    }
}

fn dir_format(params: &Params, hash_seed: &[u8; 16]) -> DirFormat {
    let mut words = [0u32; 4];
    for (w, b) in words.iter_mut().zip(hash_seed.chunks_exact(4)) {
        *w = b.iter().rev().fold(0, |acc, b| acc << 8 | u32::from(*b));
    }
    let f = &params.features;
    DirFormat {
        block_size: params.block_size,
        tail: f.ro_compat.contains(RoCompat::METADATA_CSUM),
        has_file_type: f.incompat.contains(Incompat::FILETYPE),
        hash: f.compat.contains(Compat::DIR_INDEX).then_some((params.hash_version, words)),
        large_dir: f.incompat.contains(Incompat::LARGEDIR),
    }
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
