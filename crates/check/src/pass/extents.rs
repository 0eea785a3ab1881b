//! Extent trees: walked with every entry checked before it is used, and pruned of what cannot stay.

use daxkit_format::ext4::extent::{self, Extent, ExtentHeader, ExtentIdx};
use zerocopy::IntoBytes;

use crate::code::Code;
use crate::image::Image;
use crate::state::BlockMap;

/// Bytes of a root.
const ROOT: usize = 60;

/// Deepest tree there is.
const MAX_DEPTH: u16 = 5;

/// Where blocks of a map are written that were changed.
pub(crate) type Write<'w> = dyn FnMut(u64, &[u8]) + 'w;

/// What a walk tells.
pub(crate) trait Seen {
    /// A node's block.
    fn node(&mut self, block: u64);

    /// An extent: block of the file, block of the image, how many, written.
    fn extent(&mut self, logical: u32, physical: u64, len: u32, written: bool);

    /// Something that cannot stay, at this block of the file.
    fn wrong(&mut self, code: Code, logical: u64, what: u64);
}

/// What a tree must be like.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'i> {
    pub(crate) image: &'i Image,
    pub(crate) meta: Option<&'i BlockMap>,
    /// Seed of the inode's checksums.
    pub(crate) seed: Option<u32>,
    /// Blocks follow each other, and are written.
    pub(crate) dir: bool,
    /// Blocks of the file beyond which nothing may be.
    pub(crate) limit: u64,
}

/// A node's place in the walk.
#[derive(Clone, Copy)]
struct Frame {
    depth: u16,
    /// The first block of the file it may hold, and the first behind it.
    first: u64,
    end: u64,
}

/// A walk over a tree; with `edit` it writes what it takes out.
pub(crate) struct Walk<'w, 'i> {
    rules: Rules<'i>,
    seen: &'w mut dyn Seen,
    /// Where the next extent may begin.
    next: u64,
    /// Where nodes are written that were changed.
    write: Option<&'w mut Write<'w>>,
    /// Nodes that were read: a tree that leads back to itself ends.
    nodes: std::collections::HashSet<u64>,
    wrong: bool,
}

/// A number of the header, or of an entry, as it lies.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

/// Walks the tree below `root` (the 60 bytes of `i_block`).
pub(crate) fn walk(rules: Rules<'_>, root: &[u8], seen: &mut dyn Seen) {
    let mut copy = [0; ROOT];
    let len = root.len().min(ROOT);
    let (Some(to), Some(from)) = (copy.get_mut(..len), root.get(..len)) else { return };
    to.copy_from_slice(from);
    let root = copy.get_mut(..len).unwrap_or_default();
    Walk { rules, seen, next: 0, write: None, nodes: std::collections::HashSet::new(), wrong: false }.root(root);
}

/// Takes out of the tree below `root` what cannot stay. Blocks are given to `write`; the root is changed in place.
pub(crate) fn prune(rules: Rules<'_>, root: &mut [u8], seen: &mut dyn Seen, write: &mut Write<'_>) {
    Walk { rules, seen, next: 0, write: Some(write), nodes: std::collections::HashSet::new(), wrong: false }.root(root);
}

impl Walk<'_, '_> {
    fn wrong(&mut self, code: Code, logical: u64, what: u64) {
        self.wrong = true;
        self.seen.wrong(code, logical, what);
    }

    fn root(&mut self, root: &mut [u8]) {
        let depth = u16_at(root, 6);
        if !header_is_valid(root, None) || depth > MAX_DEPTH {
            self.wrong(Code::ExtentHeader, 0, u16_at(root, 0).into());
            if self.write.is_some() {
                empty_root(root);
            }
            return;
        }
        let frame = Frame { depth, first: 0, end: self.rules.limit };
        let kept = self.entries(root, frame);
        if self.write.is_some() && kept == 0 {
            empty_root(root);
        }
    }

    /// The entries of a node. Returns how many can stay, and leaves only those when it edits.
    fn entries(&mut self, node: &mut [u8], frame: Frame) -> u16 {
        let count = u16_at(node, 2);
        let mut kept = 0u16;
        for index in 0..count {
            let at = 12 + 12 * usize::from(index);
            let Some(entry) = node.get(at..at + 12).and_then(|b| <[u8; 12]>::try_from(b).ok()) else { break };
            let stays =
                if frame.depth == 0 { self.leaf(&entry, frame) } else { self.index(node, index, &entry, frame) };
            if let Some(entry) = stays {
                let to = 12 + 12 * usize::from(kept);
                if let Some(place) = node.get_mut(to..to + 12) {
                    place.copy_from_slice(&entry);
                }
                kept += 1;
            }
        }
        if kept != count
            && self.write.is_some()
            && let Some(entries) = node.get_mut(2..4)
        {
            entries.copy_from_slice(&kept.to_le_bytes());
        }
        kept
    }

    /// An extent. Returns it as it can stay.
    fn leaf(&mut self, bytes: &[u8; 12], frame: Frame) -> Option<[u8; 12]> {
        let mut extent = *<Extent as daxkit_format::OnDisk>::peek(bytes)?;
        let image = self.rules.image;
        let (logical, len, start) = (u64::from(extent.ee_block.get()), u64::from(extent.len()), extent.start());
        let at = logical;
        let bad = if len == 0 {
            Some((Code::ExtentEmpty, 0))
        } else if start < image.geo.first_data_block || start >= image.geo.blocks_count || start == 0 {
            Some((Code::ExtentStart, start))
        } else if !image.is_block(start, len) {
            Some((Code::ExtentEnd, start + len - 1))
        } else if logical < self.next {
            Some((Code::ExtentOrder, logical))
        } else if logical + len > frame.end || logical < frame.first {
            Some((Code::ExtentBounds, logical + len - 1))
        } else {
            None
        };
        if let Some((code, what)) = bad {
            self.wrong(code, at, what);
            return None;
        }
        if self.rules.dir && logical > self.next {
            self.wrong(Code::ExtentDirHole, self.next, logical);
            if self.write.is_some() {
                extent.ee_block = (self.next as u32).into();
            }
        }
        if self.rules.dir && !extent.is_written() {
            self.wrong(Code::ExtentDirUnwritten, at, start);
            if self.write.is_some() {
                extent = Extent::new(extent.ee_block.get(), start, extent.len(), true);
            }
        }
        self.next = u64::from(extent.ee_block.get()) + len;
        self.seen.extent(extent.ee_block.get(), start, extent.len().into(), extent.is_written());
        extent.as_bytes().try_into().ok()
    }

    /// An index and the node below it. Returns it as it can stay.
    fn index(&mut self, node: &[u8], index: u16, bytes: &[u8; 12], frame: Frame) -> Option<[u8; 12]> {
        let mut entry = *<ExtentIdx as daxkit_format::OnDisk>::peek(bytes)?;
        let image = self.rules.image;
        let (logical, child) = (u64::from(entry.ei_block.get()), entry.leaf());
        let behind = 12 + 12 * (usize::from(index) + 1);
        let end = match node.get(behind..behind + 4).and_then(|b| b.try_into().ok()) {
            Some(next) if index + 1 < u16_at(node, 2) => u64::from(u32::from_le_bytes(next)).min(frame.end),
            _ => frame.end,
        };
        if !image.is_block(child, 1) {
            self.wrong(Code::ExtentStart, logical, child);
            return None;
        }
        if self.rules.meta.is_some_and(|meta| meta.get(image.cluster(child))) && image.geo.cluster_ratio == 1 {
            self.wrong(Code::InodeMetadataBlock, logical, child);
            return None;
        }
        if !self.nodes.insert(child) {
            self.wrong(Code::ExtentHeader, logical, child);
            return None;
        }
        let Ok(mut block) = image.block(child) else {
            self.wrong(Code::ExtentHeader, logical, child);
            return None;
        };
        let depth = frame.depth - 1;
        if !header_is_valid(&block, Some(u16_at(&block, 6))) {
            self.wrong(Code::ExtentHeader, logical, child);
            return None;
        }
        self.seen.node(child);
        let mut fits = self.rules.seed.is_none_or(|seed| extent::verify_block(seed, &block));
        if u16_at(&block, 6) != depth {
            // The parent knows at which depth it is.
            self.wrong(Code::ExtentHeader, logical, child);
            if self.write.is_some()
                && let Some(place) = block.get_mut(6..8)
            {
                place.copy_from_slice(&depth.to_le_bytes());
                fits = false;
            }
        }
        let first = self.first_of(&block);
        if first.is_some_and(|first| first != logical) && !self.rules.dir {
            self.wrong(Code::ExtentIndex, logical, first.unwrap_or(0));
        }
        let was_wrong = std::mem::take(&mut self.wrong);
        // A first entry that lies before what the index says is judged by the order alone.
        let lower = first.map_or(logical, |first| first.min(logical)).max(frame.first);
        let before = block.clone();
        let kept = self.entries(&mut block, Frame { depth: frame.depth - 1, first: lower, end });
        if !fits && !self.wrong {
            self.wrong(Code::ExtentChecksum, logical, child);
        }
        self.wrong |= was_wrong;
        if kept == 0 && u16_at(&before, 2) > 0 {
            return None;
        }
        if let Some(write) = &mut self.write {
            if let Some(first) = block.get(12..16).and_then(|b| b.try_into().ok()) {
                entry.ei_block = u32::from_le_bytes(first).into();
            }
            if block != before || !fits {
                if let Some(seed) = self.rules.seed {
                    extent::seal_block(seed, &mut block);
                }
                write(child, &block);
            }
        }
        entry.as_bytes().try_into().ok()
    }

    /// The block of the file that a node begins with.
    fn first_of(&self, node: &[u8]) -> Option<u64> {
        if u16_at(node, 2) == 0 {
            return None;
        }
        node.get(12..16).and_then(|b| b.try_into().ok()).map(|b| u64::from(u32::from_le_bytes(b)))
    }
}

/// Whether a node's header can be used, as libext2fs judges it.
pub(crate) fn header_is_valid(bytes: &[u8], depth: Option<u16>) -> bool {
    let (magic, entries, max, found) = (u16_at(bytes, 0), u16_at(bytes, 2), u16_at(bytes, 4), u16_at(bytes, 6));
    if magic != extent::MAGIC || entries > max || depth.is_some_and(|depth| depth != found) {
        return false;
    }
    let room = (bytes.len() - size_of::<ExtentHeader>()) / size_of::<Extent>();
    // Some writers leave room for a checksum of another size.
    let max = usize::from(max);
    max <= room && max + 2 >= room && (depth.is_some() || max > 0)
}

/// How deep the tree of so many extents has to be, and how many nodes it needs below its root.
pub(crate) fn least(extents: u64, block_size: u32) -> (u16, u64) {
    let room = u64::from(extent::entries_per_block(block_size)).max(2);
    let (mut depth, mut nodes, mut level) = (0, 0u64, extents);
    while level > u64::from(extent::ROOT_ENTRIES) {
        level = level.div_ceil(room);
        nodes = nodes.saturating_add(level);
        depth += 1;
    }
    (depth, nodes)
}

/// The depth that a root says.
pub(crate) fn depth(root: &[u8]) -> u16 {
    u16_at(root, 6)
}

/// Makes an empty tree of a root.
pub(crate) fn empty_root(root: &mut [u8]) {
    root.fill(0);
    let header = ExtentHeader {
        eh_magic: extent::MAGIC.into(),
        eh_entries: 0.into(),
        eh_max: 4.into(),
        eh_depth: 0.into(),
        eh_generation: 0.into(),
    };
    if let Some(place) = root.get_mut(..12) {
        place.copy_from_slice(header.as_bytes());
    }
}
