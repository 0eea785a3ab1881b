//! The pass over directories, several side by side.

use std::ops::Range;

use daxkit_format::ext4::dir_block::EntryStyle;
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::entries::Block;
use super::htree::{Index, Role};
use super::names::Names;
use super::{Context, Dir, Local};
use crate::code::Code;
use crate::finding::{At, Datum, Finding};
use crate::image::Image;
use crate::repair::{EntryFix, Fix};

/// Blocks read at once.
const AT_ONCE: u32 = 16;

/// Blocks of a large directory that one thread takes at once.
const PART: u32 = 32;

impl Image {
    /// How entries are written.
    pub(crate) fn entry_style(&self) -> EntryStyle {
        EntryStyle { block_size: self.geo.block_size, has_file_type: self.has.filetype }
    }
}

impl Dir {
    /// The block of the image that a block of the directory is.
    pub(crate) fn block(&self, logical: u32) -> Option<u64> {
        let at = self.runs.partition_point(|(first, _, len)| first + len <= logical);
        let (first, physical, _) = self.runs.get(at).filter(|(first, ..)| *first <= logical)?;
        Some(physical + u64::from(logical - first))
    }

    /// The run of blocks of the image that is all of the directory, if there is one and it may be read at once: its first, and how many.
    fn only_run(&self) -> Option<(u64, u32)> {
        match self.runs.as_slice() {
            [(0, block, len)] if self.blocks == *len && *len <= AT_ONCE && !self.inline => Some((*block, *len)),
            _ => None,
        }
    }

    pub(crate) fn has(&self, flag: InodeFlags) -> bool {
        self.flags & flag.bits() != 0
    }
}

impl Context<'_> {
    /// Checks all directories: large ones with an index in parts, all others each as a whole.
    pub(crate) fn directories(&self, dirs: &[Dir]) -> Local {
        let mut found = self.parallel(2, &read_at_once(dirs), |local, dirs| self.several(local, dirs));
        let large = std::mem::take(&mut found.large);
        let find = |ino: u32| dirs.binary_search_by_key(&ino, |dir| dir.ino).ok().and_then(|at| dirs.get(at));
        let mut parts = Vec::new();
        for (ino, index) in &large {
            let Some(dir) = find(*ino) else { continue };
            let starts = (0..dir.blocks).step_by(PART as usize);
            parts.extend(starts.map(|start| (dir, index, start..dir.blocks.min(start.saturating_add(PART)))));
        }
        if !parts.is_empty() {
            let more = self.parallel(2, &parts, |local, (dir, index, part)| {
                self.part(local, dir, Some(index), part.clone(), &mut Names::of_leaf(self.image.block_size()));
            });
            found.append(more);
        }
        found.edges.sort_unstable();
        let twice = found.edges.array_windows().filter(|[one, other]| one == other).map(|[(ino, _), _]| *ino);
        found.repeats.extend(twice);
        for list in [&mut found.broken, &mut found.repeats] {
            list.sort_unstable();
            list.dedup();
        }
        for ino in std::mem::take(&mut found.broken) {
            found.find(self.no_index(Code::HtreeHashes, ino, 0));
        }
        let repeats: Vec<&Dir> = std::mem::take(&mut found.repeats).into_iter().filter_map(find).collect();
        if !repeats.is_empty() {
            found.append(self.parallel(2, &repeats, |local, dir| self.repeated(local, dir)));
        }
        let mine = std::mem::take(&mut found.named);
        found.more_named.drain(..).chain([mine]).for_each(|named| self.inodes.merge(&named));
        // Each thread found its own in order, nearly: a stable sort has only to merge them.
        found.links.sort();
        found.dotdots.sort();
        found
    }

    /// Checks one directory, or several that are [read at once](read_at_once).
    fn several(&self, local: &mut Local, dirs: &[Dir]) {
        let size = self.image.block_size();
        let runs = || dirs.iter().map_while(Dir::only_run);
        let mut buffer = std::mem::take(&mut local.room);
        let read = runs().next().is_some_and(|(first, _)| {
            buffer.resize(runs().map(|(_, len)| len as usize * size).sum(), 0);
            self.image.read_block(first, &mut buffer).is_ok()
        });
        if !read {
            local.room = buffer;
            return dirs.iter().for_each(|dir| self.directory(local, dir));
        }
        let mut names = std::mem::take(&mut local.names);
        let mut rest = buffer.as_slice();
        for (dir, (first, len)) in dirs.iter().zip(runs()) {
            let Some((bytes, behind)) = rest.split_at_checked(len as usize * size) else { break };
            self.whole(local, dir, first, bytes, &mut names);
            rest = behind;
        }
        (local.names, local.room) = (names, buffer);
    }

    /// Checks a directory of which all blocks, that lie behind one another from this one on, were read.
    fn whole(&self, local: &mut Local, dir: &Dir, first: u64, bytes: &[u8], names: &mut Names) {
        let size = self.image.block_size();
        let index = if dir.has(InodeFlags::INDEX) && self.image.has.dir_index {
            let read = |logical: u32| bytes.chunks_exact(size).nth(logical as usize).map(<[u8]>::to_vec);
            self.index(local, dir, &read)
        } else {
            None
        };
        names.begin(dir.blocks, size);
        let mut broken = false;
        for (bytes, logical) in bytes.chunks_exact(size).zip(0..) {
            broken |= self.block(local, dir, index.as_ref(), (logical, first + u64::from(logical)), bytes, names);
        }
        conclude(local, dir, broken, names, false);
    }

    fn directory(&self, local: &mut Local, dir: &Dir) {
        if dir.inline {
            return self.inline_directory(local, dir);
        }
        let index = dir.has(InodeFlags::INDEX) && self.image.has.dir_index;
        let read = |logical: u32| dir.block(logical).and_then(|block| self.image.block(block).ok());
        let mut index = if index { self.index(local, dir, &read) } else { None };
        if let Some(index) = index.take_if(|index| dir.blocks > PART && index.hash.is_known()) {
            return local.large.push((dir.ino, index));
        }
        let mut names = std::mem::take(&mut local.names);
        names.begin(dir.blocks, self.image.block_size());
        self.part(local, dir, index.as_ref(), 0..dir.blocks, &mut names);
        // The next directory is a small one, as most are.
        if dir.blocks <= PART {
            local.names = names;
        }
    }

    /// Checks some blocks of a directory. In a part of one with an index that holds, names are told apart by leaf: the same name twice
    /// would have one hash, and a leaf has its hashes for itself.
    fn part(&self, local: &mut Local, dir: &Dir, index: Option<&Index>, part: Range<u32>, names: &mut Names) {
        let by_leaf = part != (0..dir.blocks);
        let mut next = part.start;
        let size = self.image.block_size();
        let mut buffer = std::mem::take(&mut local.room);
        let mut broken = false;
        let from = dir.runs.partition_point(|(first, _, len)| first.saturating_add(*len) <= part.start);
        for (first, physical, len) in dir.runs.get(from..).unwrap_or_default() {
            if *first >= part.end {
                break;
            }
            for hole in next..(*first).min(part.end) {
                self.hole(local, dir, hole);
            }
            let end = first.saturating_add(*len).min(part.end);
            let mut logical = (*first).max(part.start).min(end);
            while logical < end {
                let many = (end - logical).min(AT_ONCE);
                buffer.resize(many as usize * size, 0);
                let from = physical + u64::from(logical - first);
                let whole = self.image.read_block(from, &mut buffer).is_ok();
                for (index_in, bytes) in buffer.chunks_exact_mut(size).enumerate() {
                    let (at, block) = (logical + index_in as u32, from + index_in as u64);
                    if !whole && self.image.read_block(block, bytes).is_err() {
                        local.find(
                            Finding::new(Code::DirUnreadable, At::Logical(dir.ino, at.into()))
                                .stored(block)
                                .fix(Fix::DirBlock(dir.ino, at, block)),
                        );
                        continue;
                    }
                    broken |= self.block(local, dir, index, (at, block), bytes, names);
                    if by_leaf {
                        names.forget();
                    }
                }
                logical += many;
            }
            next = next.max(end);
        }
        for hole in next..part.end {
            self.hole(local, dir, hole);
        }
        local.room = buffer;
        conclude(local, dir, broken, names, by_leaf);
    }

    /// Checks a block of a directory: where it is in the directory, and in the image. Returns whether a name lies where the index does
    /// not look for it.
    fn block(
        &self,
        local: &mut Local,
        dir: &Dir,
        index: Option<&Index>,
        (logical, block): (u32, u64),
        bytes: &[u8],
        names: &mut Names,
    ) -> bool {
        let role = index.map(|i| i.roles.get(&logical).copied().unwrap_or(Role::Index));
        let hash = index.map(|i| i.hash);
        Block { cx: self, dir, logical, block, bytes, role, hash, local }.check(names)
    }

    fn hole(&self, local: &mut Local, dir: &Dir, logical: u32) {
        // One word for a hole of any length: repair fills all of it.
        if logical == 0 || dir.block(logical - 1).is_some() {
            local.find(Finding::new(Code::DirHole, At::Logical(dir.ino, logical.into())).fix(Fix::FillHoles(dir.ino)));
        }
        if logical == 0 {
            local.dotdots.push((dir.ino, 0));
        }
    }

    /// A directory in its inode: the parent's number and entries in `i_block`, more entries behind.
    fn inline_directory(&self, local: &mut Local, dir: &Dir) {
        self.inodes.name(dir.ino);
        let Some(raw) = self.image.raw_inode(dir.ino) else { return };
        let head = raw.get(0x28..0x28 + 60).unwrap_or_default();
        let parent = head.get(..4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        local.dotdots.push((dir.ino, parent));
        if !self.inodes.exists(parent) {
            local.find(
                Finding::new(Code::DirInline, At::Inode(dir.ino, "i_block"))
                    .stored(parent)
                    .fix(Fix::DotDot(dir.ino, 2)),
            );
        }
        let mut names = Names::new(1, 1024);
        let tail = super::inline::tail(&raw).unwrap_or_default();
        for (logical, bytes, base) in [(0, head, 4), (1, tail, 0)] {
            let mut part =
                Block { cx: self, dir, logical, block: 0, bytes, role: None, hash: None, local: &mut *local };
            part.entries(bytes, base, &mut names);
        }
        if names.may_repeat {
            local.repeats.push(dir.ino);
        }
    }

    /// Names that come twice, now that some may.
    fn repeated(&self, local: &mut Local, dir: &Dir) {
        let folded = self.image.has.casefold && dir.has(InodeFlags::CASEFOLD) && !dir.has(InodeFlags::ENCRYPT);
        let mut seen: std::collections::HashMap<Vec<u8>, u32> = std::collections::HashMap::new();
        for (logical, block, bytes, base) in dir_parts(self.image, dir) {
            let mut at = base;
            while let Some(raw) = super::entries::entry_at(&bytes, at, self.image.geo.block_size) {
                at += raw.len;
                if raw.inode == 0 || raw.name.is_empty() || matches!(raw.name, b"." | b"..") {
                    continue;
                }
                let mut key = Vec::new();
                if !folded || daxkit_format::ext4::casefold::casefold(raw.name, &mut key).is_err() {
                    key = raw.name.to_vec();
                }
                let Some(first) = seen.get(&key) else {
                    seen.insert(key, raw.inode);
                    continue;
                };
                let fix = if *first == raw.inode { EntryFix::Remove } else { EntryFix::Rename };
                local.find(
                    Finding::new(Code::EntryDuplicate, At::Entry(dir.ino, logical, raw.offset as u32))
                        .stored(Datum::Name(raw.name.to_vec()))
                        .fix(Fix::Entry(dir.ino, logical, block, raw.offset as u32, fix)),
                );
            }
        }
    }
}

/// Puts together directories of few blocks that lie behind one another, and are to be read at once.
fn read_at_once(dirs: &[Dir]) -> Vec<&[Dir]> {
    let mut blocks = dirs.first().map_or(0, |dir| dir.blocks);
    let joined = dirs.chunk_by(move |dir, next| {
        let end = dir.only_run().map(|(first, len)| first + u64::from(len));
        let joins = next.only_run().is_some_and(|(first, len)| end == Some(first) && blocks + len <= AT_ONCE);
        blocks = if joins { blocks + next.blocks } else { next.blocks };
        joins
    });
    joined.collect()
}

/// What is to be done about a directory of which some blocks, or all, were checked.
fn conclude(local: &mut Local, dir: &Dir, broken: bool, names: &Names, by_leaf: bool) {
    if broken {
        local.broken.push(dir.ino);
    }
    // A name in the wrong leaf may be in the right one as well.
    if names.may_repeat || (by_leaf && broken) {
        local.repeats.push(dir.ino);
    }
}

/// The blocks of a directory and the entries in them, for who looks a second time: block of the directory, block of the
/// image (0 in an inode), bytes, where entries begin.
pub(crate) fn dir_parts(image: &Image, dir: &Dir) -> Vec<(u32, u64, Vec<u8>, usize)> {
    if dir.inline {
        let Some(raw) = image.raw_inode(dir.ino) else { return Vec::new() };
        let head = raw.get(0x28..0x28 + 60).unwrap_or_default().to_vec();
        let tail = super::inline::tail(&raw).unwrap_or_default().to_vec();
        return vec![(0, 0, head, 4), (1, 0, tail, 0)];
    }
    let block = |logical: u32| {
        let block = dir.block(logical)?;
        Some((logical, block, image.block(block).ok()?, 0))
    };
    (0..dir.blocks).filter_map(block).collect()
}
