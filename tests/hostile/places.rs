//! Where the structures of a sound image lie, and the values their fields are given.

use daxkit_format::ext4::dir_entry::Entries;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::field::Structure;
use daxkit_format::{FieldDef, FieldKind, GroupNr, InodeNr};
use daxkit_volume::{Inode, Mapping, Volume};
use std::collections::BTreeSet;

/// A structure of an image.
pub(crate) struct Spot {
    pub(crate) what: String,
    pub(crate) offset: u64,
    /// Bytes of it that are there.
    pub(crate) len: usize,
    pub(crate) fields: &'static [FieldDef],
}

/// A change: bytes and where they go.
pub(crate) type Edit = (u64, Vec<u8>);

/// Pointers in indirect blocks, trees of quota files and orphan files: four bytes each.
static POINTERS: &[FieldDef] = &[
    FieldDef { name: "first", offset: 0, kind: FieldKind::Le { width: 4, count: 1 } },
    FieldDef { name: "second", offset: 4, kind: FieldKind::Le { width: 4, count: 1 } },
    FieldDef { name: "some", offset: 400, kind: FieldKind::Le { width: 4, count: 1 } },
    FieldDef { name: "last", offset: 1020, kind: FieldKind::Le { width: 4, count: 1 } },
];

/// All structures of an image, one of each sort where there are many.
pub(crate) struct Finder<'v> {
    volume: &'v Volume,
    bs: u64,
    spots: Vec<Spot>,
}

impl<'v> Finder<'v> {
    pub(crate) fn all(volume: &'v Volume) -> Vec<Spot> {
        let mut finder = Finder { volume, bs: volume.block_size().into(), spots: Vec::new() };
        finder.fixed();
        for (what, inode) in chosen(volume) {
            finder.inode(&what, &inode);
        }
        finder.spots
    }

    fn add(&mut self, what: impl Into<String>, offset: u64, structure: Structure) {
        self.add_part(what, offset, structure, structure.size());
    }

    fn add_part(&mut self, what: impl Into<String>, offset: u64, structure: Structure, len: usize) {
        self.spots.push(Spot { what: what.into(), offset, len, fields: structure.fields() });
    }

    fn pointers(&mut self, what: String, offset: u64) {
        self.spots.push(Spot { what, offset, len: 1024, fields: POINTERS });
    }

    fn fixed(&mut self) {
        let volume = self.volume;
        self.add("super", 1024, Structure::SuperBlock);
        let groups = volume.geometry().groups_count;
        for group in BTreeSet::from([0, 1, groups - 1]) {
            let Ok((block, offset)) = volume.group_desc_location(GroupNr(group)) else { continue };
            let at = block.get() * self.bs + offset as u64;
            if volume.geometry().desc_size >= 64 {
                self.add(format!("group.{group}"), at, Structure::GroupDesc);
            } else {
                self.add(format!("group.{group}"), at, Structure::GroupDesc32);
            }
        }
        let mmp = volume.super_block().s_mmp_block.get();
        if mmp != 0 {
            self.add("mmp", mmp * self.bs, Structure::MmpStruct);
        }
    }

    fn inode(&mut self, what: &str, inode: &Inode) {
        let volume = self.volume;
        let Ok((block, offset)) = volume.inode_location(inode.nr()) else { return };
        let at = block.get() * self.bs + offset as u64;
        let size = inode.raw().len();
        self.add_part(what, at, Structure::Inode, size.min(Structure::Inode.size()));
        let extents = inode.flags().contains(InodeFlags::EXTENTS);
        if extents {
            self.node(&format!("{what} root"), at + 0x28, &inode.raw()[0x28..0x64]);
        }
        for (i, item) in volume.metadata_blocks(inode).flatten().enumerate().take(3) {
            let at = item.0.get() * self.bs;
            if !extents {
                self.pointers(format!("{what} map {i}"), at);
            } else if let Ok(bytes) = volume.read_block(item.0) {
                self.node(&format!("{what} node {i}"), at, &bytes);
            }
        }
        if size > 128 && !inode.has_inline_data() || inode.has_inline_data() {
            let extra = at + 128 + u64::from(inode.i_extra_isize.get());
            self.add(format!("{what} attributes"), extra, Structure::XattrIbodyHeader);
            self.add(format!("{what} attribute"), extra + 4, Structure::XattrEntry);
        }
        if inode.file_acl() != 0 {
            let at = inode.file_acl() * self.bs;
            self.add(format!("{what} attribute block"), at, Structure::XattrHeader);
            self.add(format!("{what} attribute block, first"), at + 32, Structure::XattrEntry);
            self.add(format!("{what} attribute block, second"), at + 32 + 20, Structure::XattrEntry);
        }
        if inode.is_dir() && !inode.has_inline_data() {
            self.directory(what, inode);
        }
        self.special(what, inode);
    }

    fn node(&mut self, what: &str, at: u64, bytes: &[u8]) {
        self.add(format!("{what} header"), at, Structure::ExtentHeader);
        let Some(head) = bytes.get(..8) else { return };
        let (count, depth) = (u16::from_le_bytes([head[2], head[3]]), u16::from_le_bytes([head[6], head[7]]));
        let kind = if depth == 0 { Structure::Extent } else { Structure::ExtentIdx };
        for entry in BTreeSet::from([0, count.saturating_sub(1)]) {
            self.add(format!("{what} entry {entry}"), at + 12 + 12 * u64::from(entry), kind);
        }
    }

    /// Entries, tails, and the index.
    fn directory(&mut self, what: &str, inode: &Inode) {
        let runs: Vec<Mapping> = self.volume.extents(inode).flatten().collect();
        let blocks: Vec<(u64, u64)> =
            runs.iter().flat_map(|r| (0..r.len).map(|i| (r.logical + i, r.physical.get() + i))).collect();
        let indexed = inode.flags().contains(InodeFlags::INDEX);
        let (mut leaves, mut nodes) = (0, 0);
        for (logical, physical) in blocks {
            let at = physical * self.bs;
            let Ok(bytes) = self.volume.read_block(daxkit_volume::BlockNr(physical)) else { continue };
            if indexed && logical == 0 {
                self.add(format!("{what} index root"), at, Structure::DxRoot);
                self.add(format!("{what} index root count"), at + 32, Structure::DxCountLimit);
                self.add(format!("{what} index root first"), at + 32, Structure::DxEntry);
                self.add(format!("{what} index root second"), at + 40, Structure::DxEntry);
                continue;
            }
            let block_size = self.bs as u32;
            let entries: Vec<u64> = Entries::new(&bytes, block_size, true).flatten().map(|e| e.offset as u64).collect();
            let node = bytes.get(..8).is_some_and(|b| b[..4] == [0; 4] && b[6..8] == [0, 0]) && entries.len() == 1;
            if indexed && node && nodes < 1 {
                nodes += 1;
                self.add(format!("{what} index node count"), at + 8, Structure::DxCountLimit);
                self.add(format!("{what} index node first"), at + 8, Structure::DxEntry);
                self.add(format!("{what} index node second"), at + 16, Structure::DxEntry);
            }
            if leaves < 2 {
                leaves += 1;
                for entry in entries.iter().take(3).chain(entries.last()) {
                    self.add(format!("{what} block {logical} entry {entry}"), at + entry, Structure::DirEntry);
                }
                self.add(format!("{what} block {logical} tail"), at + self.bs - 12, Structure::DirEntryTail);
            }
        }
    }

    fn special(&mut self, what: &str, inode: &Inode) {
        let sb = self.volume.super_block();
        let nr = inode.nr().get();
        let first = self.volume.extents(inode).flatten().next().map(|r| r.physical.get() * self.bs);
        let Some(first) = first else { return };
        if nr == u64::from(sb.s_journal_inum.get()) {
            self.add(format!("{what} superblock"), first, Structure::JournalSuperBlock);
            for block in 1..4 {
                self.add(format!("{what} block {block}"), first + block * self.bs, Structure::JournalHeader);
                self.add(format!("{what} block {block} tag"), first + block * self.bs + 12, Structure::BlockTag3);
            }
        } else if nr == u64::from(sb.s_orphan_file_inum.get()) {
            self.add(format!("{what} tail"), first + self.bs - 8, Structure::OrphanBlockTail);
            self.pointers(format!("{what} entries"), first);
        } else if [sb.s_usr_quota_inum, sb.s_grp_quota_inum, sb.s_prj_quota_inum]
            .iter()
            .any(|q| u64::from(q.get()) == nr)
        {
            self.add(format!("{what} header"), first, Structure::DqHeader);
            self.add(format!("{what} info"), first + 8, Structure::DqInfo);
            for block in 1..6 {
                // Blocks of a quota file have 1 KiB, whatever those of the file system have.
                self.pointers(format!("{what} tree {block}"), first + block * 1024);
            }
            self.add(format!("{what} leaf"), first + 5 * 1024, Structure::DqDataHeader);
            self.add(format!("{what} usage"), first + 5 * 1024 + 16, Structure::DqBlk);
        }
    }
}

/// The special inodes, and one of every sort of the others.
pub(crate) fn chosen(volume: &Volume) -> Vec<(String, Inode)> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for nr in 1..=u64::from(volume.geometry().inodes_count) {
        let Ok(inode) = volume.inode(InodeNr(nr)) else { continue };
        if inode.is_free() || inode.i_mode.get() == 0 {
            continue;
        }
        let blocks = volume.metadata_blocks(&inode).count().min(3);
        let sort = (inode.file_type(), inode.flags().bits(), inode.file_acl() != 0, blocks, inode.size() > 4096);
        if nr <= 11 || seen.insert(sort) {
            all.push((format!("inode:{nr}"), inode));
        }
    }
    all
}

/// Every field of a structure at 0, 1, its largest value, one less, and its sign bit; elements of arrays one by one.
pub(crate) fn extremes(spot: &Spot) -> Vec<(String, Edit)> {
    let mut all = Vec::new();
    for field in spot.fields {
        if field.offset + field.kind.len() > spot.len {
            continue;
        }
        let at = spot.offset + field.offset as u64;
        let (width, count, big) = match field.kind {
            FieldKind::Le { width, count } => (usize::from(width), count, false),
            FieldKind::Be { width, count } => (usize::from(width), count, true),
            FieldKind::Bytes { count } => {
                for byte in [0, 0xff, 0x80] {
                    let what = format!("{}.{} = {byte:#x}...", spot.what, field.name);
                    all.push((what, (at, vec![byte; count.into()])));
                }
                continue;
            }
        };
        let largest = if width == 8 { u64::MAX } else { (1 << (width * 8)) - 1 };
        for element in (0..count).filter(|i| *i < 16 || *i + 1 == count) {
            for value in [0, 1, largest, largest - 1, largest / 2 + 1] {
                let bytes = value.to_le_bytes();
                let mut bytes = bytes.get(..width).unwrap_or_default().to_vec();
                if big {
                    bytes.reverse();
                }
                let index = if count > 1 { format!("[{element}]") } else { String::new() };
                let what = format!("{}.{}{index} = {value:#x}", spot.what, field.name);
                all.push((what, (at + u64::from(element) * width as u64, bytes)));
            }
        }
    }
    all
}
