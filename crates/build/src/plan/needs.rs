//! What content needs, whatever the size of the file system: inode numbers, attributes, shapes of directories, which blocks of a
//! file are wanted. It is worked out once; the size may follow from it.

use super::error::{ImagePath, PlanError};
use super::extras;
use super::inodes::{InodePlan, LOST_FOUND_INO};
use super::map::Run;
use super::place::{Data, clusters};
use super::xattrs::XattrPlan;
use super::{FAST_SYMLINK, RangeOverrides, identity};
use crate::extent_tree;
use crate::params::{Holes, Params};
use crate::source::{Kind, NodeId, Placement, Tree};
use daxkit_format::ext4::dir_entry::file_type;
use daxkit_format::ext4::dir_tree::{self, DirFormat, Item};
use daxkit_format::ext4::features::{Compat, Incompat, RoCompat};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::xattr::REFCOUNT_MAX;
use std::collections::BTreeMap;
use std::ops::Range;

/// What content needs.
#[derive(Debug)]
pub struct Needs {
    /// Inode numbers.
    pub inodes: InodePlan,
    /// Attributes.
    pub xattrs: XattrPlan,
    /// The form that directories have in common; of one, [`Needs::format_of_dir`].
    pub dir_format: DirFormat,
    /// Digest of the tree, from which a reproducible identity comes.
    pub tree_digest: [u8; 32],
    /// `s_hash_seed` as bytes.
    pub hash_seed: [u8; 16],
    /// Blocks of directories that have more than one, and whether they are hashed.
    dir_blocks: BTreeMap<u32, (u32, bool)>,
    overrides: RangeOverrides,
    holes: Holes,
    block_size: u32,
    /// Blocks in a cluster.
    ratio: u64,
    /// Inodes have extents unless they say otherwise.
    extents: bool,
}

/// Room for content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// Clusters of all content when nothing is split: directories, attributes, files, symlinks, and the blocks of their maps; not
    /// those whose place somebody named.
    pub clusters: u64,
    /// Whole 2 MiB windows of files.
    pub windows: u64,
    /// Inodes that are not reserved.
    pub inodes: u64,
    /// Blocks behind the last one that somebody named.
    pub end: u64,
}

impl Needs {
    /// Works out what `tree` needs under these parameters; their size does not matter.
    ///
    /// # Errors
    /// Attributes, flags, names or sizes that cannot be.
    pub fn new(params: &Params, tree: &Tree, overrides: RangeOverrides) -> Result<Self, PlanError> {
        let xattrs = XattrPlan::new(params, tree)?;
        let inodes = InodePlan::new(params, tree, xattrs.large.len())?;
        let tree_digest = identity::tree_digest(params, tree);
        let hash_seed = identity::hash_seed(params, &tree_digest);
        let mut needs = Self {
            inodes,
            xattrs,
            dir_format: dir_format(params, &hash_seed),
            tree_digest,
            hash_seed,
            dir_blocks: BTreeMap::new(),
            overrides,
            holes: params.holes,
            block_size: params.block_size,
            ratio: u64::from(params.cluster_size / params.block_size).max(1),
            extents: params.features.incompat.contains(Incompat::EXTENTS),
        };
        extras::check(params, tree, &needs)?;
        needs.check_links(params, tree)?;
        check_sizes(params, tree)?;
        needs.choose_inline(params, tree)?;
        needs.shape_dirs(params, tree)?;
        Ok(needs)
    }

    fn check_links(&self, params: &Params, tree: &Tree) -> Result<(), PlanError> {
        let dir_nlink = params.features.ro_compat.contains(RoCompat::DIR_NLINK);
        for id in tree.ids() {
            let links = match tree.kind(id) {
                Kind::Dir if dir_nlink => 0,
                Kind::Dir => self.subdirs(tree, id) + 2,
                _ => u64::from(tree.links(id)),
            };
            if links > super::LINK_MAX {
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

    fn choose_inline(&mut self, params: &Params, tree: &Tree) -> Result<(), PlanError> {
        if !InodePlan::inline_possible(params) {
            return Ok(());
        }
        for id in tree.ids() {
            let wished = extras::wants_inline(tree, id);
            let fits = self.fits_inline(tree, id, wished);
            if fits && extras::allows_inline(tree, id) {
                self.inodes.set_inline(id);
            } else if wished && tree.primary(id) == id {
                let reason = "its content does not fit into its inode".to_owned();
                return Err(PlanError::Extra { path: ImagePath(tree.path(id)), reason });
            }
        }
        Ok(())
    }

    /// A file with the DAX flag and anything encrypted never become inline by themselves (`__ext4_new_inode`); on purpose
    /// they can.
    fn fits_inline(&self, tree: &Tree, id: NodeId, wished: bool) -> bool {
        if !wished && tree.extra(id).is_some_and(|e| e.flags.contains(InodeFlags::ENCRYPT)) {
            return false;
        }
        let Some(room) = self.xattrs.inline_room(self.xattrs.set_of(tree, id)) else { return false };
        match tree.kind(id) {
            Kind::File if tree.primary(id) == id && (wished || !self.inodes.is_dax(id)) => {
                let size = tree.size(id);
                (size > 0 || wished) && size <= room as u64
            }
            // The kernel refuses a root directory without blocks (`ext4_fill_super`).
            Kind::Dir if Some(id) != self.inodes.lost_found && id != Tree::ROOT => {
                // Names of at least four bytes take twelve: a directory with more of them cannot fit.
                tree.children(id).len() <= room / 12 + 1
                    && dir_tree::build_inline(&self.items(tree, id), 2, room - 60, &self.dir_format).is_some()
            }
            _ => false,
        }
    }

    /// The form of one directory.
    #[must_use]
    pub fn format_of_dir(&self, params: &Params, tree: &Tree, id: NodeId) -> DirFormat {
        let folded = params.features.incompat.contains(Incompat::CASEFOLD)
            && tree.extra(id).is_some_and(|e| e.flags.contains(InodeFlags::CASEFOLD));
        DirFormat { folded, ..self.dir_format }
    }

    fn shape_dirs(&mut self, params: &Params, tree: &Tree) -> Result<(), PlanError> {
        for id in tree.dirs() {
            if self.inodes.is_inline(id) {
                continue;
            }
            let format = self.format_of_dir(params, tree, id);
            let items = self.items(tree, id);
            if format.folded
                && let Some((one, other)) = extras::same_when_folded(&items)
            {
                let reason = format!(
                    "it compares names without case, and \"{}\" and \"{}\" are the same to it",
                    one.escape_ascii(),
                    other.escape_ascii()
                );
                return Err(PlanError::Extra { path: ImagePath(tree.path(id)), reason });
            }
            let shape = format.shape(&items);
            extras::check_levels(tree, id, shape)?;
            let mut blocks = shape.blocks();
            if Some(id) == self.inodes.lost_found {
                blocks = blocks.max(self.lost_found_blocks());
            }
            if blocks > 1 {
                self.dir_blocks.insert(id.0, (blocks, matches!(shape, dir_tree::Shape::Hashed { .. })));
            }
        }
        Ok(())
    }

    /// Blocks that `lost+found` keeps: 16 KiB, at least two and at most twelve of them.
    #[must_use]
    pub fn lost_found_blocks(&self) -> u32 {
        16_384u32.div_ceil(self.block_size).clamp(2, 12)
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

    /// True for an inode whose blocks are mapped by an extent tree.
    #[must_use]
    pub fn has_extents(&self, tree: &Tree, id: NodeId) -> bool {
        self.extents && !extras::wants_indirect(tree, id)
    }

    /// The blocks of a file or symlink that are to be allocated, written or not.
    #[must_use]
    pub fn data(&self, tree: &Tree, id: NodeId) -> Data {
        let bs = u64::from(self.block_size);
        let size = tree.size(id);
        if tree.primary(id) != id || self.inodes.is_inline(id) {
            return Data::None;
        }
        if let Some(data) = extras::data(self, tree, id) {
            return data;
        }
        match tree.kind(id) {
            _ if size == 0 => Data::None,
            Kind::Symlink if size >= FAST_SYMLINK => Data::Dense(1),
            Kind::File => match self.byte_ranges(tree, id) {
                None => Data::Dense(size.div_ceil(bs)),
                Some(ranges) => Data::sparse(block_ranges(ranges, size, bs)),
            },
            _ => Data::None,
        }
    }

    /// Bytes in a block.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// The ranges of bytes that hold data, where the file has holes in the image.
    #[must_use]
    pub fn byte_ranges<'a>(&'a self, tree: &'a Tree, id: NodeId) -> Option<&'a [Range<u64>]> {
        match self.holes {
            Holes::None => None,
            Holes::Host => tree.data_ranges(id),
            Holes::ZeroBlocks => self.overrides.get(&id.0).map(Vec::as_slice).or_else(|| tree.data_ranges(id)),
        }
    }

    /// The room that all content takes when nothing of it is split.
    #[must_use]
    pub fn demand(&self, tree: &Tree) -> Demand {
        let mut d = Demand { inodes: self.inodes.needed(), ..Demand::default() };
        if self.inodes.lost_found.is_none() {
            d.clusters += self.clusters_of(&[0..u64::from(self.lost_found_blocks())], self.extents);
        }
        let mut references: BTreeMap<u32, u32> = BTreeMap::new();
        for id in tree.ids().filter(|id| tree.primary(*id) == *id) {
            match tree.kind(id) {
                Kind::Dir if self.inodes.is_inline(id) => {}
                Kind::Dir => d.clusters += self.clusters_of(&[0..u64::from(self.dir_blocks(id))], self.extents),
                Kind::File | Kind::Symlink => self.file_demand(tree, id, &mut d),
                Kind::Char | Kind::Block | Kind::Fifo | Kind::Socket => {}
            }
            if let Some(set) = self.xattrs.set_of(tree, id)
                && self.xattrs.set(Some(set)).is_some_and(|l| !l.block.is_empty())
            {
                *references.entry(set).or_default() += 1;
            }
        }
        d.clusters += references.values().map(|n| u64::from(n.div_ceil(REFCOUNT_MAX))).sum::<u64>();
        for large in &self.xattrs.large {
            let blocks = (large.value.len() as u64).div_ceil(u64::from(self.block_size));
            d.clusters += self.clusters_of(&[0..blocks], self.extents);
        }
        d
    }

    fn file_demand(&self, tree: &Tree, id: NodeId, d: &mut Demand) {
        let ranges = self.data(tree, id).ranges();
        if ranges.is_empty() {
            return;
        }
        let window = (2 << 20) / u64::from(self.block_size);
        if window > 0 {
            let whole = |r: &Range<u64>| (r.end / window).saturating_sub(r.start.div_ceil(window));
            d.windows += ranges.iter().map(whole).sum::<u64>();
        }
        let pieces = extras::pieces(self, tree, id, &ranges);
        let extents = self.has_extents(tree, id);
        if let Some(Placement::Block(_) | Placement::Extents(_)) = tree.extra(id).map(|e| &e.placement) {
            let fixed = extras::fixed(self, tree, id);
            d.end = d.end.max(fixed.iter().map(|r| r.physical.saturating_add(r.len)).max().unwrap_or(0));
            // The blocks themselves are taken before anything is free.
            d.clusters += self.clusters_of(&pieces, extents) - clusters(&pieces, self.ratio);
            return;
        }
        // What a wish needs while it is being met, though it gives it back: gaps, and room to find an aligned place.
        d.clusters += match tree.extra(id).map(|e| &e.placement) {
            Some(Placement::Fragments { gap, .. }) => gap.div_ceil(self.ratio) * pieces.len() as u64,
            Some(Placement::TreeDepth(_)) => pieces.len() as u64,
            Some(Placement::Align { align, .. }) => {
                let align = align / u64::from(self.block_size);
                let rest = |r: &Range<u64>| (r.end - r.start).next_multiple_of(align.max(1)) - (r.end - r.start);
                (align + pieces.iter().map(rest).sum::<u64>()).div_ceil(self.ratio)
            }
            _ => 0,
        };
        d.clusters += self.clusters_of(&pieces, extents);
    }

    /// Clusters of an inode whose blocks lie in these ranges, each in one run, with the blocks of its map.
    fn clusters_of(&self, ranges: &[Range<u64>], extents: bool) -> u64 {
        // Where the runs lie does not matter for their number, only that they are apart.
        let mut physical = 0;
        let runs: Vec<Run> = ranges
            .iter()
            .map(|r| {
                physical += 2 * self.ratio;
                Run { logical: r.start, physical: physical + r.start, len: r.end - r.start, written: true }
            })
            .collect();
        let map = if extents {
            extent_tree::tree_blocks(&runs, self.block_size)
        } else {
            extent_tree::indirect_blocks(&runs, self.block_size).unwrap_or(0)
        };
        clusters(ranges, self.ratio) + map
    }
}

/// Rounds byte ranges outwards to blocks and joins those that touch.
pub(super) fn block_ranges(ranges: &[Range<u64>], size: u64, bs: u64) -> Vec<Range<u64>> {
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

/// No file is longer than its map can say, no symbolic link than a block: a size for all of them would be searched for in vain.
fn check_sizes(params: &Params, tree: &Tree) -> Result<(), PlanError> {
    let longest = super::size_limit(params);
    for id in tree.ids() {
        let limit = match tree.kind(id) {
            Kind::File => longest,
            Kind::Symlink => u64::from(params.block_size) - 1,
            _ => continue,
        };
        let size = tree.size(id);
        if size > limit {
            return Err(PlanError::FileTooLarge { path: ImagePath(tree.path(id)), size, limit });
        }
    }
    Ok(())
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
        folded: false,
        large_dir: f.incompat.contains(Incompat::LARGEDIR),
    }
}
