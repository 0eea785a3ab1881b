//! The blocks of an inode: claimed, counted, and held against its size and `i_blocks`.

use daxkit_format::ext4::indirect;
use daxkit_format::ext4::inode::checksum_seed;
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::claims::{Claims, Mark};
use super::inodes::{Checked, clear_flags, dir_of, set_size};
use super::{Context, Dir, Local, extents, indirect as map, inline};
use crate::code::Code;
use crate::finding::{At, Finding};
use crate::image::Image;
use crate::repair::{Fix, edit_inode};
use crate::state::{BlockMap, Kind, bits};

/// More illegal blocks than this, and more than good ones: no map at all.
const FEW: usize = 12;

/// What a walk over a map comes to.
struct Collector<'a> {
    image: &'a Image,
    ino: u32,
    claims: &'a mut dyn Claims,
    /// Blocks, or clusters, of content and map.
    count: u64,
    /// The last block of the file that is mapped, and the last that is written.
    last: Option<u64>,
    last_written: Option<u64>,
    /// The cluster that was counted last: of the file, and of the image.
    cluster: Option<(u64, u64)>,
    /// Runs, where they are wanted.
    runs: Option<Vec<(u32, u64, u32)>>,
    wrong: Vec<(Code, u64, u64)>,
    good: u64,
    pieces: u64,
    end: u64,
    /// Extents, and nodes of their tree.
    extents: u64,
    nodes: u64,
}

impl Collector<'_> {
    fn content(&mut self, logical: u64, first: u64, len: u64, written: bool) {
        let ratio = u64::from(self.image.geo.cluster_ratio);
        if ratio > 1 {
            let (from, to) = (self.image.cluster(first), self.image.cluster(first + len - 1));
            if (first - self.image.geo.first_data_block) % ratio != logical % ratio {
                self.wrong.push((Code::InodeCluster, logical, first));
            }
            let again = self.cluster == Some((logical / ratio, from));
            if self.cluster.is_some_and(|(place, cluster)| place == logical / ratio && cluster != from) {
                self.wrong.push((Code::InodeCluster, logical, first));
            }
            self.count += to - from + u64::from(!again);
            self.cluster = Some(((logical + len - 1) / ratio, to));
        } else {
            self.count += len;
        }
        self.good += len;
        self.claims.content(self.ino, logical, first, len);
        let last = logical + len - 1;
        self.last = Some(self.last.map_or(last, |l| l.max(last)));
        if written {
            self.last_written = Some(self.last_written.map_or(last, |l| l.max(last)));
        }
        if first != self.end {
            self.pieces += 1;
        }
        self.end = first + len;
        if let Some(runs) = &mut self.runs {
            match runs.last_mut() {
                Some((l, p, n)) if u64::from(*l) + u64::from(*n) == logical && *p + u64::from(*n) == first => {
                    *n += len as u32
                }
                _ => runs.push((logical as u32, first, len as u32)),
            }
        }
    }

    fn own(&mut self, block: u64) {
        self.count += 1;
        self.claims.own(self.ino, block, 1);
        self.cluster = None;
    }
}

impl extents::Seen for Collector<'_> {
    fn node(&mut self, block: u64) {
        self.nodes += 1;
        self.own(block);
    }

    fn extent(&mut self, logical: u32, physical: u64, len: u32, written: bool) {
        self.extents += 1;
        self.content(logical.into(), physical, len.into(), written);
    }

    fn wrong(&mut self, code: Code, logical: u64, what: u64) {
        self.wrong.push((code, logical, what));
    }
}

impl map::Seen for Collector<'_> {
    fn node(&mut self, block: u64) {
        self.own(block);
    }

    fn block(&mut self, logical: u64, physical: u64) {
        self.content(logical, physical, 1, true);
    }

    fn wrong(&mut self, code: Code, logical: u64, what: u64) {
        self.wrong.push((code, logical, what));
    }
}

/// The blocks of the file beyond which nothing may be mapped.
fn limit(image: &Image, checked: &Checked<'_>) -> u64 {
    let dir = (1u64 << 21 >> image.geo.block_size.trailing_zeros().saturating_sub(10)) + 1;
    let all = match checked.flags.contains(InodeFlags::EXTENTS) {
        true => u64::from(u32::MAX),
        false => indirect::limit(image.geo.block_size / 4).min(u64::from(u32::MAX)),
    };
    match checked.kind {
        Kind::Dir if !image.has.large_dir => dir,
        Kind::Link => 1,
        _ => all,
    }
}

/// The seed of an inode's checksums.
pub(crate) fn inode_seed(image: &Image, ino: u32, generation: u32) -> Option<u32> {
    image.seed.map(|seed| checksum_seed(seed, ino, generation))
}

/// The rules of an inode's extent tree.
pub(crate) fn tree_rules<'i>(
    image: &'i Image,
    checked: &Checked<'_>,
    meta: Option<&'i BlockMap>,
) -> extents::Rules<'i> {
    extents::Rules {
        image,
        meta,
        seed: inode_seed(image, checked.ino, checked.disk.i_generation.get()),
        dir: checked.kind == Kind::Dir,
        limit: limit(image, checked),
    }
}

/// The rules of an inode's map of indirect blocks.
pub(crate) fn map_rules<'i>(image: &'i Image, checked: &Checked<'_>, meta: Option<&'i BlockMap>) -> map::Rules<'i> {
    map::Rules { image, meta, limit: limit(image, checked) }
}

fn walk(image: &Image, checked: &Checked<'_>, meta: Option<&BlockMap>, collector: &mut Collector<'_>) {
    if checked.flags.contains(InodeFlags::EXTENTS) {
        extents::walk(tree_rules(image, checked, meta), &checked.disk.i_block, collector);
    } else {
        map::walk(map_rules(image, checked, meta), &checked.disk.i_block, collector);
    }
}

fn collector<'a>(image: &'a Image, ino: u32, claims: &'a mut dyn Claims) -> Collector<'a> {
    Collector {
        image,
        ino,
        claims,
        count: 0,
        last: None,
        last_written: None,
        cluster: None,
        runs: None,
        wrong: Vec::new(),
        good: 0,
        pieces: 0,
        end: 0,
        extents: 0,
        nodes: 0,
    }
}

/// Lists what an inode claims.
pub(crate) fn claim(image: &Image, checked: &Checked<'_>, meta: Option<&BlockMap>, claims: &mut dyn Claims) {
    walk(image, checked, meta, &mut collector(image, checked.ino, claims));
}

/// The blocks of an inode that is being checked.
pub(crate) struct Blocks<'b, 'c> {
    cx: &'b Context<'c>,
    local: &'b mut Local,
    checked: &'b Checked<'b>,
    count: u64,
    /// Inodes that it is charged for.
    inodes: u64,
    last: Option<u64>,
    last_written: Option<u64>,
    runs: Vec<(u32, u64, u32)>,
    wrong: bool,
    bits: u8,
}

impl<'b, 'c> Blocks<'b, 'c> {
    pub(crate) fn new(cx: &'b Context<'c>, local: &'b mut Local, checked: &'b Checked<'b>) -> Self {
        Self {
            cx,
            local,
            checked,
            count: 0,
            inodes: 1,
            last: None,
            last_written: None,
            runs: Vec::new(),
            wrong: false,
            bits: 0,
        }
    }

    fn find(&mut self, finding: Finding) {
        self.local.find(finding);
    }

    /// Walks the map and claims what it names.
    pub(crate) fn map(&mut self) {
        let (cx, checked) = (self.cx, self.checked);
        if checked.flags.contains(InodeFlags::INLINE_DATA) {
            return self.inline();
        }
        let has_map = checked.flags.contains(InodeFlags::EXTENTS);
        if cx.image.has.bigalloc && !has_map && checked.disk.i_block.iter().any(|b| *b != 0) && checked.ino != 7 {
            self.find(Finding::new(Code::InodeBigallocMap, checked.at("i_flags")).fix(Fix::EmptyMap(checked.ino)));
            self.wrong = true;
            return;
        }
        let mut mark = Mark { cx, local: &mut *self.local, last: None };
        let mut seen = collector(cx.image, checked.ino, &mut mark);
        seen.runs = (checked.kind == Kind::Dir).then(Vec::new);
        walk(cx.image, checked, Some(&cx.meta), &mut seen);
        let Collector { count, last, last_written, runs, wrong, good, pieces, extents, nodes, .. } = seen;
        (self.count, self.last, self.last_written, self.runs) = (count, last, last_written, runs.unwrap_or_default());
        self.local.usage.fragmented += u64::from(pieces > 1);
        if nodes > 0 && wrong.is_empty() {
            self.tree(extents, nodes);
        }
        self.report(wrong, good);
    }

    /// Says that a tree has more nodes, or levels, than its extents need.
    fn tree(&mut self, extents: u64, nodes: u64) {
        let (checked, image) = (self.checked, self.cx.image);
        if !self.cx.wishes.narrow_trees || (checked.ino < image.geo.first_ino && checked.ino != 2) {
            return;
        }
        let (depth, least) = extents::least(extents, image.geo.block_size);
        // One node more comes of appending now and then.
        if depth < extents::depth(&checked.disk.i_block) || least + 1 < nodes {
            self.find(
                Finding::new(Code::ExtentTree, checked.at("i_block"))
                    .stored(nodes)
                    .observed(least)
                    .fix(Fix::PackTree(checked.ino)),
            );
        }
    }

    /// Says what of the map cannot stay.
    fn report(&mut self, wrong: Vec<(Code, u64, u64)>, good: u64) {
        let ino = self.checked.ino;
        self.wrong |= !wrong.is_empty();
        let illegal = wrong.iter().filter(|(code, ..)| *code == Code::InodeIllegalBlock).count();
        if illegal > FEW && illegal as u64 > good && ino >= self.cx.image.geo.first_ino {
            self.find(
                Finding::new(Code::InodeTooManyBad, At::Inode(ino, "i_block"))
                    .stored(illegal as u64)
                    .fix(Fix::Clear(ino)),
            );
            self.bits |= bits::DOOMED;
            return;
        }
        for (code, logical, what) in wrong {
            let fix = match code {
                Code::InodeCluster => Fix::Rebuild(ino),
                _ => Fix::PruneMap(ino),
            };
            self.find(Finding::new(code, At::Logical(ino, logical)).stored(what).fix(fix));
        }
    }

    fn inline(&mut self) {
        let checked = self.checked;
        let ino = checked.ino;
        let room = inline::capacity(checked.raw);
        let Some(room) = room else {
            let tree = extents::header_is_valid(&checked.disk.i_block, None);
            let fix = |raw: &mut [u8], _| {
                edit_inode(raw, |inode| {
                    let flags = inode.flags().difference(InodeFlags::INLINE_DATA) | InodeFlags::EXTENTS;
                    inode.set_flags(flags);
                });
            };
            let fix = if tree { Fix::Inode(ino, fix, 0) } else { Fix::InlineAttribute(ino) };
            self.find(Finding::new(Code::InlineNoAttribute, checked.at("")).fix(fix));
            self.wrong = true;
            return;
        };
        let fits = if checked.kind == Kind::Dir { checked.size == room as u64 } else { checked.size <= room as u64 };
        if !fits {
            self.find(
                Finding::new(Code::InlineSize, checked.at("i_size_lo"))
                    .stored(checked.size)
                    .observed(room as u64)
                    .fix(Fix::Inode(ino, set_size, room as u64)),
            );
        }
    }

    /// Counts, sizes and what is left to say. Returns bits to remember, and the directory.
    pub(crate) fn finish(mut self) -> (u8, Option<Dir>) {
        let checked = self.checked;
        let (ino, image) = (checked.ino, self.cx.image);
        let acl = checked.disk.file_acl();
        let soft = checked.kind == Kind::Link && checked.flags.contains(InodeFlags::INLINE_DATA);
        if acl != 0 && self.cx.xattr_block(self.local, ino, acl, soft) {
            self.count += 1;
        }
        if image.has.ea_inode {
            let (clusters, inodes) = self.cx.value_space(ino, checked.raw, acl);
            self.count += clusters;
            self.inodes += inodes;
        }
        let space = self.count * u64::from(image.geo.block_size) * u64::from(image.geo.cluster_ratio);
        self.cx.charge(self.local, checked, space, self.inodes);
        if checked.size == 0 && self.count == 0 {
            self.bits |= bits::EMPTY;
        }
        if self.index_flag() {
            self.wrong = true;
        }
        if self.bits & bits::DOOMED != 0 {
            return (self.bits, None);
        }
        let inline = checked.flags.contains(InodeFlags::INLINE_DATA);
        if checked.kind == Kind::Dir && !inline && self.last.is_none() && !self.wrong && ino != 2 {
            self.find(Finding::new(Code::InodeZeroLengthDir, checked.at("i_size_lo")).fix(Fix::Clear(ino)));
            return (self.bits | bits::DOOMED, None);
        }
        if !self.wrong {
            self.size();
            self.blocks();
        }
        if checked.kind == Kind::File && checked.size > 0x7fff_ffff {
            self.local.usage.large += 1;
        }
        if checked.kind != Kind::Dir {
            return (self.bits, None);
        }
        let mapped = self.last.map_or(0, |last| last + 1);
        let sized = checked.size / image.block_size() as u64;
        let prealloc = mapped.saturating_sub(sized) <= u64::from(image.sb.s_prealloc_dir_blocks);
        let blocks = if prealloc { sized.min(mapped.max(1)) } else { mapped };
        let dir = Dir {
            runs: std::mem::take(&mut self.runs),
            blocks: u32::try_from(if inline { 0 } else { blocks.max(u64::from(ino == 2)) }).unwrap_or(u32::MAX),
            ..dir_of(checked)
        };
        (self.bits, Some(dir))
    }

    /// The flag of an index. Returns whether it is where it cannot be.
    fn index_flag(&mut self) -> bool {
        let checked = self.checked;
        if !checked.flags.contains(InodeFlags::INDEX) {
            return false;
        }
        let has_blocks = !checked.flags.contains(InodeFlags::INLINE_DATA);
        let can_be = checked.kind == Kind::Dir && self.cx.image.has.dir_index;
        if can_be && has_blocks {
            return false;
        }
        let fix = Fix::Inode(checked.ino, clear_flags, InodeFlags::INDEX.bits().into());
        // Without blocks there is no root.
        let code = if can_be { Code::HtreeRoot } else { Code::HtreeFlag };
        self.find(Finding::new(code, checked.at("i_flags")).fix(fix));
        false
    }

    fn size(&mut self) {
        let (checked, image) = (self.checked, self.cx.image);
        let (size, block) = (checked.size, image.block_size() as u64);
        if checked.flags.contains(InodeFlags::INLINE_DATA)
            || !matches!(checked.kind, Kind::Dir | Kind::File | Kind::Bad)
        {
            return;
        }
        let mapped = self.last.map_or(0, |last| last + 1);
        let observed = if checked.kind == Kind::Dir {
            let blocks = size / block;
            let bad = !size.is_multiple_of(block)
                || blocks > mapped
                || mapped - blocks > u64::from(image.sb.s_prealloc_dir_blocks);
            bad.then_some(mapped * block)
        } else {
            let extents = image.has.extents && checked.flags.contains(InodeFlags::EXTENTS);
            let most = match extents {
                true => (1u64 << 32).saturating_mul(block) - 1,
                false => indirect::limit(image.geo.block_size / 4).saturating_mul(block),
            };
            let written = self.last_written.map_or(0, |last| last + 1) * block;
            let beyond = self.last_written.is_some_and(|last| size < last * block);
            let verity = checked.flags.contains(InodeFlags::VERITY);
            ((beyond && !verity) || size > most).then_some(written)
        };
        if let Some(observed) = observed {
            self.find(
                Finding::new(Code::InodeSize, checked.at("i_size_lo")).stored(size).observed(observed).fix(Fix::Inode(
                    checked.ino,
                    set_size,
                    observed,
                )),
            );
        }
    }

    fn blocks(&mut self) {
        let (checked, image) = (self.checked, self.cx.image);
        let sectors = u64::from(image.geo.block_size / 512) * u64::from(image.geo.cluster_ratio);
        let huge = image.has.huge_file && checked.flags.contains(InodeFlags::HUGE_FILE);
        let mut stored = u64::from(checked.disk.i_blocks_lo.get());
        if image.has.huge_file {
            stored |= u64::from(checked.disk.l_i_blocks_high.get()) << 32;
        }
        let unit = if huge { u64::from(image.geo.cluster_ratio) } else { sectors };
        let observed = self.count * unit;
        if stored != observed {
            self.find(
                Finding::new(Code::InodeBlocks, checked.at("i_blocks_lo")).stored(stored).observed(observed).fix(
                    Fix::Inode(checked.ino, |raw, n| edit_inode(raw, |inode| inode.set_blocks_stored(n)), observed),
                ),
            );
        }
    }
}
