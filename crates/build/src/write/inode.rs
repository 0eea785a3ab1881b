//! The bytes of one inode.

use super::{WriteError, Writer};
use crate::extent_tree;
use crate::plan::inodes::LOST_FOUND_INO;
use crate::plan::map::{BlockMap, NodeMap, Run};
use crate::plan::xattrs::{Attr, SetLayout};
use crate::source::{Kind, NodeId, Reader, Tree};
use daxkit_format::OnDisk;
use daxkit_format::ext4::dir_tree;
use daxkit_format::ext4::inline_data;
use daxkit_format::ext4::inode::{self, EXTRA_ISIZE, GOOD_OLD_INODE_SIZE, Inode, Timestamp, mode};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::xattr::{self, Packer};

/// What an inode is made from, whoever it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft<'a> {
    pub(super) ino: u32,
    pub(super) mode: u16,
    pub(super) owner: (u32, u32),
    pub(super) links: u16,
    pub(super) size: u64,
    pub(super) times: Times,
    pub(super) flags: InodeFlags,
    /// 512-byte sectors.
    pub(super) sectors: u64,
    pub(super) i_block: [u8; 60],
    pub(super) file_acl: u64,
    /// Attributes in the inode.
    pub(super) attrs: &'a [Attr],
    /// The part of inline data that lies in `system.data`.
    pub(super) inline: Option<&'a [u8]>,
}

/// The four times of an inode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) access: Timestamp,
    pub(super) change: Timestamp,
    pub(super) modify: Timestamp,
    pub(super) create: Timestamp,
}

impl Times {
    /// All four the same.
    pub(super) fn all(t: Timestamp) -> Self {
        Self { access: t, change: t, modify: t, create: t }
    }
}

impl Writer<'_> {
    /// Fills the zeroed bytes of an inode and seals them.
    pub(super) fn fill(&self, d: &Draft<'_>, raw: &mut [u8]) {
        let extra = if raw.len() > usize::from(GOOD_OLD_INODE_SIZE) { EXTRA_ISIZE } else { 0 };
        let mut i = Inode::zeroed();
        i.i_mode.set(d.mode);
        i.set_uid(d.owner.0);
        i.set_gid(d.owner.1);
        i.i_links_count.set(d.links);
        i.set_size(d.size);
        i.set_flags(d.flags);
        i.set_blocks_stored(d.sectors);
        i.set_file_acl(d.file_acl);
        i.i_block = d.i_block;
        let time = |t: Timestamp| t.encode(extra > 0);
        for (t, word, more) in [
            (d.times.access, &mut i.i_atime, &mut i.i_atime_extra),
            (d.times.change, &mut i.i_ctime, &mut i.i_ctime_extra),
            (d.times.modify, &mut i.i_mtime, &mut i.i_mtime_extra),
            (d.times.create, &mut i.i_crtime, &mut i.i_crtime_extra),
        ] {
            let (lo, hi) = time(t);
            word.set(lo);
            more.set(hi);
        }
        i.i_extra_isize.set(extra);
        self.store(&i, d, raw);
    }

    /// Puts the structure into its bytes, the attributes behind it, and seals.
    pub(super) fn store(&self, i: &Inode, d: &Draft<'_>, raw: &mut [u8]) {
        use zerocopy::IntoBytes;
        let known = if raw.len() > 128 { 128 + usize::from(EXTRA_ISIZE) } else { 128 };
        raw.iter_mut().zip(i.as_bytes()).take(known).for_each(|(to, from)| *to = *from);
        if (!d.attrs.is_empty() || d.inline.is_some())
            && let Some(area) = raw.get_mut(known..)
        {
            let mut p = Packer::inode(area);
            if let Some(rest) = d.inline {
                p.push(xattr::INDEX_SYSTEM, inline_data::XATTR_NAME, rest, 0, 0);
            }
            for a in d.attrs {
                let (inum, hash) =
                    self.large_of(a).map_or((0, 0), |(ino, h)| (ino, xattr::entry_hash(&a.name, [h].into_iter())));
                p.push(a.index, &a.name, &a.value, inum, hash);
            }
        }
        if let Some(seed) = self.fs_seed {
            inode::seal(seed, d.ino, raw);
        }
    }

    /// Inode and hash of a large value.
    pub(super) fn large_of(&self, a: &Attr) -> Option<(u32, u32)> {
        let n = a.large?;
        // The hash is there whether or not metadata has checksums: it tells values apart.
        Some((self.plan.needs.inodes.first_large + n, xattr::ea_inode_hash(self.value_seed, &a.value)))
    }

    /// Sectors that runs, blocks of a map and a block of attributes take.
    pub(super) fn sectors(&self, runs: impl Iterator<Item = Run>, meta: u64, acl: bool) -> u64 {
        let ratio = u64::from(self.plan.geometry.cluster_ratio);
        let mut clusters = meta + u64::from(acl);
        let mut last = None;
        for r in runs {
            let (first, end) = (r.physical / ratio, (r.physical + r.len - 1) / ratio);
            clusters += end - first + 1 - u64::from(last == Some(first));
            last = Some(end);
        }
        clusters * ratio * u64::from(self.plan.params.block_size / 512)
    }

    /// `i_block` over a map; blocks of the map itself are written.
    pub(super) fn map_bytes(&self, ino: u32, map: &BlockMap, extents: bool) -> Result<[u8; 60], WriteError> {
        let bs = self.plan.params.block_size;
        let emit = |block: u64, bytes: &[u8]| -> Result<(), WriteError> {
            self.device.write_at(block * u64::from(bs), bytes)?;
            Ok(())
        };
        if extents {
            let seed = self.inode_seed(ino);
            extent_tree::build_tree(map.runs.iter().copied(), map.meta_blocks(), bs, seed, emit)
        } else {
            extent_tree::build_indirect(map, bs, emit)
        }
    }

    fn node_map_bytes(&self, ino: u32, id: NodeId, blocks: u64) -> Result<([u8; 60], u64), WriteError> {
        let extents = self.plan.needs.has_extents(self.tree, id);
        match self.plan.maps.get(id.0) {
            NodeMap::Complex(map) => {
                let meta = map.meta.iter().map(|r| r.end - r.start).sum();
                Ok((self.map_bytes(ino, map, extents)?, meta))
            }
            NodeMap::Simple(physical) => {
                let map =
                    BlockMap { runs: vec![Run { logical: 0, physical, len: blocks, written: true }], meta: Vec::new() };
                Ok((self.map_bytes(ino, &map, extents)?, 0))
            }
            NodeMap::Empty => Ok((self.map_bytes(ino, &BlockMap::default(), extents)?, 0)),
        }
    }

    /// Writes the inode of a node into its zeroed bytes; the sectors it takes.
    pub(super) fn node_inode<'t>(
        &'t self,
        id: NodeId,
        raw: &mut [u8],
        reader: &mut Reader<'t>,
    ) -> Result<u64, WriteError> {
        let (plan, tree) = (self.plan, self.tree);
        let ino = plan.needs.inodes.ino(id);
        let kind = tree.kind(id);
        let empty = SetLayout::default();
        let layout = plan.needs.xattrs.set(plan.needs.xattrs.set_of(tree, id)).unwrap_or(&empty);
        let file_acl = plan.file_acl(id);
        let mut d = Draft {
            ino,
            mode: tree.mode(id) | type_bits(kind),
            owner: (tree.uid(id), tree.gid(id)),
            links: 1,
            size: 0,
            times: self.times(id),
            flags: InodeFlags::empty(),
            sectors: 0,
            i_block: [0; 60],
            file_acl,
            attrs: &layout.inode,
            inline: None,
        };
        d.flags = plan.flags(tree, id);
        d.links = match kind {
            // A count that does not fit is kept as 1 (`dir_nlink`).
            Kind::Dir => u16::try_from(plan.needs.subdirs(tree, id) + 2)
                .ok()
                .filter(|n| u64::from(*n) <= crate::plan::LINK_MAX)
                .unwrap_or(1),
            _ => tree.links(id) as u16,
        };
        let mut rest = Vec::new();
        let inline = plan.needs.inodes.is_inline(id);
        let blocks = match kind {
            Kind::Dir if inline => {
                let room = plan.needs.xattrs.inline_room(plan.needs.xattrs.set_of(tree, id)).unwrap_or(60) - 60;
                let parent = self.parent_ino(id);
                let items = plan.needs.items(tree, id);
                if let Some((first, second)) = dir_tree::build_inline(&items, parent, room, &plan.needs.dir_format) {
                    (d.i_block, rest) = (first, second);
                }
                d.size = 60 + rest.len() as u64;
                None
            }
            Kind::File if inline => {
                let file = reader.open(id)?;
                let mut bytes = vec![0; tree.size(id) as usize];
                file.read_exact_at(&mut bytes, 0)?;
                file.finish()?;
                d.size = bytes.len() as u64;
                rest = bytes.split_off(bytes.len().min(60));
                d.i_block.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
                None
            }
            Kind::Dir => {
                let n = u64::from(plan.needs.dir_blocks(id));
                d.size = n * u64::from(plan.params.block_size);
                Some(n)
            }
            Kind::File => {
                d.size = tree.size(id);
                Some(d.size.div_ceil(u64::from(plan.params.block_size)))
            }
            Kind::Symlink => {
                d.size = tree.size(id);
                let target = tree.symlink_target(id);
                if d.size >= crate::plan::FAST_SYMLINK {
                    Some(1)
                } else {
                    d.i_block.iter_mut().zip(target).for_each(|(to, from)| *to = *from);
                    None
                }
            }
            Kind::Char | Kind::Block => {
                let (major, minor) = tree.device(id);
                let mut i = Inode::zeroed();
                i.set_device(major, minor);
                d.i_block = i.i_block;
                None
            }
            Kind::Fifo | Kind::Socket => None,
        };
        d.sectors = self.sectors(std::iter::empty(), 0, file_acl != 0);
        if let Some(blocks) = blocks {
            let (i_block, meta) = self.node_map_bytes(ino, id, blocks)?;
            d.i_block = i_block;
            d.sectors = self.sectors(plan.maps.runs(id.0, blocks), meta, file_acl != 0);
        }
        if inline {
            d.inline = Some(&rest);
        }
        // Whoever names a value in an inode of its own is charged for it, as if it were not shared
        // (`ext4_xattr_inode_alloc_quota`).
        let cluster = u64::from(plan.params.cluster_size);
        for large in plan.needs.xattrs.large_values(plan.needs.xattrs.set_of(tree, id)) {
            d.sectors += (large.value.len() as u64).next_multiple_of(cluster) / 512;
        }
        self.fill(&d, raw);
        Ok(d.sectors)
    }

    /// The inode of the directory a directory lies in.
    pub(super) fn parent_ino(&self, id: NodeId) -> u32 {
        self.plan.needs.inodes.ino(self.tree.parent(id))
    }

    fn times(&self, id: NodeId) -> Times {
        let modify = self.tree.mtime(id);
        let extra = self.tree.extra(id);
        let created = extra.and_then(|e| e.created);
        if self.plan.params.reproducible && !extra.is_some_and(|e| e.own_times) {
            return Times { create: created.unwrap_or(modify), ..Times::all(modify) };
        }
        let otherwise = if self.plan.params.reproducible { modify } else { self.plan.params.time };
        let create = created.unwrap_or(otherwise);
        Times { access: self.tree.atime(id), change: self.tree.ctime(id), modify, create }
    }

    /// The seed of what belongs to an inode; `None` without checksums. All generations are 0.
    pub(super) fn inode_seed(&self, ino: u32) -> Option<u32> {
        self.fs_seed.map(|s| inode::checksum_seed(s, ino, 0))
    }

    /// The inode of `lost+found` where the source has none; the sectors it takes.
    pub(super) fn lost_found_inode(&self, raw: &mut [u8]) -> Result<u64, WriteError> {
        let map = &self.plan.lost_found;
        let empty = SetLayout::default();
        let layout = self.plan.needs.xattrs.set(self.plan.needs.xattrs.lost_found_set).unwrap_or(&empty);
        let mut d =
            self.plain(LOST_FOUND_INO, map, u64::from(self.plan.needs.lost_found_blocks()) * self.block_bytes())?;
        d.mode = mode::IFDIR | 0o700;
        d.links = 2;
        d.attrs = &layout.inode;
        self.fill(&d, raw);
        Ok(d.sectors)
    }

    /// A regular file of the file system itself: mode 0600, one link, owned by the superuser.
    pub(super) fn plain(&self, ino: u32, map: &BlockMap, size: u64) -> Result<Draft<'static>, WriteError> {
        let meta = map.meta.iter().map(|r| r.end - r.start).sum();
        Ok(Draft {
            ino,
            mode: mode::IFREG | 0o600,
            owner: (0, 0),
            links: 1,
            size,
            times: Times::all(self.plan.params.time),
            flags: if self.plan.has_extents() { InodeFlags::EXTENTS } else { InodeFlags::empty() },
            sectors: self.sectors(map.runs.iter().copied(), meta, false),
            i_block: self.map_bytes(ino, map, self.plan.has_extents())?,
            file_acl: 0,
            attrs: &[],
            inline: None,
        })
    }

    /// Bytes in a block.
    pub(super) fn block_bytes(&self) -> u64 {
        u64::from(self.plan.params.block_size)
    }
}

fn type_bits(kind: Kind) -> u16 {
    match kind {
        Kind::File => mode::IFREG,
        Kind::Dir => mode::IFDIR,
        Kind::Symlink => mode::IFLNK,
        Kind::Char => mode::IFCHR,
        Kind::Block => mode::IFBLK,
        Kind::Fifo => mode::IFIFO,
        Kind::Socket => mode::IFSOCK,
    }
}

/// The tree's root, named here for readers of the numbering.
pub(super) const ROOT: NodeId = Tree::ROOT;
