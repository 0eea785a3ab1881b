//! A small file system in memory, with the errno and the extents of the real one: what exploration runs over.
//!
//! All of it is flat plain data, so a clone is a few copies of memory. Blocks are pages (4 KiB). Metadata is not on the
//! device; what `commit` makes durable is only known as "not dirty any more".

mod media;
mod names;
mod space;

use daxkit_device::pmem::{NoWatch, Pmem, PmemError, PmemOptions, Zeroes};
use daxkit_format::dax::fileattr::{XFlags, to_xflags};
use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::{DiskInode, Extent, Features, FileSystem, Ino, Name, NewInode, Rename, Space};
use crate::flat_map::FlatMap;
use crate::ids::PAGE_SIZE;
use names::Names;

/// The root's number, as on ext4.
const ROOT: Ino = 2;
/// The first number that is given to files, as on ext4.
const FIRST: Ino = 11;
/// Most links of an inode, as on ext4.
const LINK_MAX: u32 = 65_000;

/// How a [`MemFs`] is made.
#[derive(Debug, Clone, Copy)]
pub struct MemOptions {
    /// Bytes of the device: whole 2 MiB.
    pub size: u64,
    /// Most inodes.
    pub inodes: u32,
    /// First block that files get. 512 puts a first large file on 2 MiB, 513 never does.
    pub first_block: u64,
    /// Blocks that are left free between two allocations: 0 for long extents, 1 for extents of one block.
    pub gap: u64,
    /// Files have XFS's attributes, not ext4's flags.
    pub xfs: bool,
    /// Block size that is claimed: other than 4096 rules DAX out.
    pub block_size: u32,
    /// Small files may lie in the inode.
    pub inline_data: bool,
    /// There is a journal.
    pub has_journal: bool,
    /// XFS: shared blocks.
    pub reflink: bool,
    /// Directories may fold case.
    pub casefold: bool,
    /// It has a feature that forbids writing.
    pub read_only: bool,
}

impl Default for MemOptions {
    fn default() -> Self {
        Self {
            size: 16 << 20,
            inodes: 1024,
            first_block: 512,
            gap: 0,
            xfs: false,
            block_size: 4096,
            inline_data: false,
            has_journal: true,
            reflink: false,
            casefold: false,
            read_only: false,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct MemInode {
    disk: DiskInode,
    used: bool,
    /// Metadata that is not committed.
    dirty: bool,
}

/// The file system.
#[derive(Debug)]
pub struct MemFs {
    options: MemOptions,
    memory: Pmem<Zeroes, NoWatch>,
    inodes: Vec<MemInode>,
    free_inodes: u32,
    names: Names,
    /// (inode, block of the file) to block of the device, shifted by one, with the lowest bit for "unwritten".
    map: FlatMap<u64>,
    /// One bit for each block in use.
    bitmap: Vec<u64>,
    free_blocks: u64,
    next_block: u64,
}

impl Clone for MemFs {
    fn clone(&self) -> Self {
        Self {
            options: self.options,
            memory: self.memory.clone(),
            inodes: self.inodes.clone(),
            free_inodes: self.free_inodes,
            names: self.names.clone(),
            map: self.map.clone(),
            bitmap: self.bitmap.clone(),
            free_blocks: self.free_blocks,
            next_block: self.next_block,
        }
    }

    fn clone_from(&mut self, source: &Self) {
        self.options = source.options;
        self.memory.clone_from(&source.memory);
        self.inodes.clone_from(&source.inodes);
        self.free_inodes = source.free_inodes;
        self.names.clone_from(&source.names);
        self.map.clone_from(&source.map);
        self.bitmap.clone_from(&source.bitmap);
        self.free_blocks = source.free_blocks;
        self.next_block = source.next_block;
    }
}

impl MemFs {
    /// An empty file system: a root directory and free space.
    ///
    /// # Errors
    /// A size that no pmem device has.
    pub fn new(options: MemOptions) -> Result<Self, PmemError> {
        let memory = Pmem::zeroed(options.size, PmemOptions::default(), NoWatch)?;
        let blocks = options.size / PAGE_SIZE;
        let mut fs = Self {
            options,
            memory,
            inodes: Vec::new(),
            free_inodes: options.inodes,
            names: Names::default(),
            map: FlatMap::default(),
            bitmap: vec![0; blocks.div_ceil(64) as usize],
            free_blocks: blocks,
            next_block: 0,
        };
        for block in 0..options.first_block.min(blocks) {
            fs.set_used(block, true);
        }
        fs.next_block = options.first_block;
        let root = NewInode {
            mode: 0o4_0755,
            uid: 0,
            gid: 0,
            projid: 0,
            flags: if options.xfs { InodeFlags::empty() } else { InodeFlags::EXTENTS },
            xflags: XFlags::empty(),
            extsize: 0,
            cowextsize: 0,
            rdev: 0,
            now: 0,
        };
        fs.put_inode(ROOT, &root, 2);
        Ok(fs)
    }

    fn slot(&self, ino: Ino) -> Option<usize> {
        let at = usize::try_from(ino).ok()?;
        self.inodes.get(at).filter(|inode| inode.used).map(|_| at)
    }

    fn inode(&self, ino: Ino) -> Result<&MemInode, Errno> {
        self.slot(ino).map(|at| &self.inodes[at]).ok_or(Errno::ENOENT)
    }

    fn inode_mut(&mut self, ino: Ino) -> Result<&mut MemInode, Errno> {
        let at = self.slot(ino).ok_or(Errno::ENOENT)?;
        let inode = &mut self.inodes[at];
        inode.dirty = true;
        Ok(inode)
    }

    fn dir(&self, ino: Ino) -> Result<&MemInode, Errno> {
        let inode = self.inode(ino)?;
        if inode.disk.kind() == FileKind::Directory { Ok(inode) } else { Err(Errno::ENOTDIR) }
    }

    fn put_inode(&mut self, ino: Ino, new: &NewInode, nlink: u32) {
        let at = ino as usize;
        let disk = DiskInode {
            mode: new.mode,
            uid: new.uid,
            gid: new.gid,
            projid: new.projid,
            nlink,
            size: 0,
            blocks: 0,
            flags: new.flags,
            xflags: if self.options.xfs { new.xflags } else { to_xflags(new.flags) },
            extsize: new.extsize,
            cowextsize: new.cowextsize,
            inline_data: false,
            rdev: new.rdev,
            atime: new.now,
            mtime: new.now,
            ctime: new.now,
            generation: 0,
        };
        let inode = MemInode { disk, used: true, dirty: true };
        while self.inodes.len() <= at {
            self.inodes.push(MemInode { used: false, ..inode });
        }
        self.inodes[at] = inode;
        self.free_inodes -= 1;
    }

    fn free_number(&self) -> Result<Ino, Errno> {
        if self.free_inodes == 0 {
            return Err(Errno::ENOSPC);
        }
        let first = FIRST as usize;
        let free = (first..self.inodes.len()).find(|&at| !self.inodes[at].used);
        Ok(free.unwrap_or(self.inodes.len().max(first)) as Ino)
    }

    fn count_link(&mut self, ino: Ino, by: i32, now: i64) {
        if let Ok(inode) = self.inode_mut(ino) {
            inode.disk.nlink = inode.disk.nlink.saturating_add_signed(by);
            inode.disk.ctime = now;
        }
    }

    fn changed(&mut self, dir: Ino, now: i64) {
        if let Ok(inode) = self.inode_mut(dir) {
            (inode.disk.mtime, inode.disk.ctime) = (now, now);
        }
    }

    fn is_dir(&self, ino: Ino) -> bool {
        self.inode(ino).is_ok_and(|inode| inode.disk.kind() == FileKind::Directory)
    }

    /// Whether `dir` is `of`, or lies below it.
    fn is_below(&self, mut dir: Ino, of: Ino) -> bool {
        for _ in 0..=self.inodes.len() {
            if dir == of {
                return true;
            }
            let Some(parent) = self.names.parent_of(dir) else { return false };
            dir = parent;
        }
        false
    }

    fn drop_name(&mut self, dir: Ino, name: &[u8], ino: Ino, now: i64) {
        self.names.remove(dir, name);
        self.changed(dir, now);
        if self.is_dir(ino) {
            self.count_link(dir, -1, now);
            self.count_link(ino, -2, now);
        } else {
            self.count_link(ino, -1, now);
        }
    }
}

impl FileSystem for MemFs {
    fn features(&self) -> Features {
        Features {
            block_size: self.options.block_size,
            blocks: self.options.size / PAGE_SIZE,
            inline_data: self.options.inline_data,
            extents: true,
            has_journal: self.options.has_journal,
            project: true,
            casefold: self.options.casefold,
            reflink: self.options.reflink,
            v3_inodes: true,
            read_only: self.options.read_only,
        }
    }

    fn root(&self) -> Ino {
        ROOT
    }

    fn space(&self) -> Space {
        Space { free_blocks: self.free_blocks, free_inodes: u64::from(self.free_inodes) }
    }

    fn read_inode(&self, ino: Ino) -> Result<DiskInode, Errno> {
        Ok(self.inode(ino)?.disk)
    }

    fn write_inode(&mut self, ino: Ino, new: &DiskInode) -> Result<(), Errno> {
        let inode = self.inode_mut(ino)?;
        // Links and blocks belong to the file system.
        inode.disk = DiskInode { nlink: inode.disk.nlink, blocks: inode.disk.blocks, ..*new };
        Ok(())
    }

    fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Ino, Errno> {
        self.dir(dir)?;
        match name {
            b"." => Ok(dir),
            b".." => Ok(self.names.parent_of(dir).unwrap_or(dir)),
            name => self.names.find(dir, name).ok_or(Errno::ENOENT),
        }
    }

    fn read_dir(&self, dir: Ino) -> Result<Vec<Name>, Errno> {
        self.dir(dir)?;
        let kind = |ino| self.inode(ino).map_or(FileKind::Special, |inode| inode.disk.kind());
        Ok(self.names.of(dir).map(|(name, ino)| Name { name: name.to_vec(), ino, kind: kind(ino) }).collect())
    }

    fn read_link(&self, ino: Ino) -> Result<Vec<u8>, Errno> {
        if self.inode(ino)?.disk.kind() != FileKind::Symlink {
            return Err(Errno::EINVAL);
        }
        Ok(self.names.value(ino, names::TARGET).unwrap_or_default().to_vec())
    }

    fn create(&mut self, dir: Ino, name: Option<&[u8]>, new: &NewInode, target: &[u8]) -> Result<Ino, Errno> {
        self.dir(dir)?;
        let is_dir = FileKind::from_mode(new.mode) == Some(FileKind::Directory);
        if let Some(name) = name {
            names::check(name)?;
            if self.names.find(dir, name).is_some() {
                return Err(Errno::EEXIST);
            }
        }
        if is_dir && self.inode(dir)?.disk.nlink >= LINK_MAX {
            return Err(Errno::EMLINK);
        }
        if target.len() as u64 >= PAGE_SIZE {
            return Err(Errno::ENAMETOOLONG);
        }
        let ino = self.free_number()?;
        self.put_inode(ino, new, if name.is_none() { 0 } else { 1 + u32::from(is_dir) });
        if !target.is_empty() {
            self.names.set_value(ino, names::TARGET, target);
            self.inode_mut(ino)?.disk.size = target.len() as u64;
        }
        if let Some(name) = name {
            self.names.add(dir, name, ino, is_dir);
            self.changed(dir, new.now);
            if is_dir {
                self.count_link(dir, 1, new.now);
            }
        }
        Ok(ino)
    }

    fn link(&mut self, ino: Ino, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        self.dir(dir)?;
        names::check(name)?;
        let inode = self.inode(ino)?;
        if inode.disk.kind() == FileKind::Directory {
            return Err(Errno::EPERM);
        }
        if inode.disk.nlink >= LINK_MAX {
            return Err(Errno::EMLINK);
        }
        if self.names.find(dir, name).is_some() {
            return Err(Errno::EEXIST);
        }
        self.names.add(dir, name, ino, false);
        let inode = self.inode_mut(ino)?;
        inode.disk.nlink += 1;
        Ok(())
    }

    fn unlink(&mut self, dir: Ino, name: &[u8], is_dir: bool, now: i64) -> Result<(), Errno> {
        self.dir(dir)?;
        let ino = self.names.find(dir, name).ok_or(Errno::ENOENT)?;
        match (self.is_dir(ino), is_dir) {
            (true, false) => return Err(Errno::EISDIR),
            (false, true) => return Err(Errno::ENOTDIR),
            (true, true) if self.names.of(ino).next().is_some() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.drop_name(dir, name, ino, now);
        Ok(())
    }

    fn rename(
        &mut self,
        from: Ino,
        from_name: &[u8],
        to: Ino,
        to_name: &[u8],
        how: Rename,
        now: i64,
    ) -> Result<(), Errno> {
        self.dir(from)?;
        self.dir(to)?;
        names::check(to_name)?;
        let moved = self.names.find(from, from_name).ok_or(Errno::ENOENT)?;
        let there = self.names.find(to, to_name);
        let moved_is_dir = self.is_dir(moved);
        if moved_is_dir && self.is_below(to, moved) {
            return Err(Errno::EINVAL);
        }
        match (how, there) {
            (Rename::NoReplace, Some(_)) => return Err(Errno::EEXIST),
            (Rename::Exchange, None) => return Err(Errno::ENOENT),
            (Rename::Exchange, Some(other)) => {
                let other_is_dir = self.is_dir(other);
                if other_is_dir && self.is_below(from, other) {
                    return Err(Errno::EINVAL);
                }
                self.names.redirect(from, from_name, other, other_is_dir);
                self.names.redirect(to, to_name, moved, moved_is_dir);
                let gained = i32::from(other_is_dir) - i32::from(moved_is_dir);
                self.count_link(from, gained, now);
                self.count_link(to, -gained, now);
            }
            (_, Some(other)) if other == moved => return Ok(()),
            (_, there) => {
                if let Some(other) = there {
                    match (moved_is_dir, self.is_dir(other)) {
                        (true, false) => return Err(Errno::ENOTDIR),
                        (false, true) => return Err(Errno::EISDIR),
                        (true, true) if self.names.of(other).next().is_some() => return Err(Errno::ENOTEMPTY),
                        _ => {}
                    }
                    self.drop_name(to, to_name, other, now);
                }
                self.names.remove(from, from_name);
                self.names.add(to, to_name, moved, moved_is_dir);
                if moved_is_dir {
                    self.count_link(from, -1, now);
                    self.count_link(to, 1, now);
                }
            }
        }
        self.changed(from, now);
        self.changed(to, now);
        self.count_link(moved, 0, now);
        Ok(())
    }

    fn free_inode(&mut self, ino: Ino) -> Result<(), Errno> {
        if self.inode(ino)?.disk.nlink > 0 {
            return Err(Errno::EINVAL);
        }
        self.free_blocks_of(ino);
        self.names.forget(ino);
        let at = ino as usize;
        self.inodes[at].used = false;
        self.free_inodes += 1;
        Ok(())
    }

    fn map(&self, ino: Ino, block: u64, len: u64) -> Result<Extent, Errno> {
        self.inode(ino)?;
        Ok(self.extent_at(ino, block, len))
    }

    fn map_for_write(&mut self, cpu: u16, ino: Ino, block: u64, len: u64) -> Result<Extent, Errno> {
        self.inode(ino)?;
        self.make_written(cpu, ino, block, len)
    }

    fn preallocate(&mut self, ino: Ino, block: u64, len: u64) -> Result<(), Errno> {
        self.inode(ino)?;
        self.reserve(ino, block, len)
    }

    fn punch(&mut self, ino: Ino, block: u64, len: u64) -> Result<(), Errno> {
        self.inode(ino)?;
        self.unmap(ino, block, len);
        Ok(())
    }

    fn shift(&mut self, ino: Ino, block: u64, len: u64, insert: bool) -> Result<(), Errno> {
        self.inode(ino)?;
        self.move_blocks(ino, block, len, insert);
        Ok(())
    }

    fn read_inline(&self, ino: Ino) -> Result<Vec<u8>, Errno> {
        let inode = self.inode(ino)?;
        if !inode.disk.inline_data {
            return Err(Errno::ENODATA);
        }
        Ok(self.names.value(ino, names::INLINE).unwrap_or_default().to_vec())
    }

    fn convert_inline(&mut self, cpu: u16, ino: Ino) -> Result<(), Errno> {
        let bytes = self.read_inline(ino)?;
        if !bytes.is_empty() {
            let extent = self.make_written(cpu, ino, 0, 1)?;
            if let super::Backing::Mapped(at) = extent.backing {
                super::Media::store_nt(self, cpu, at * PAGE_SIZE, &bytes);
            }
        }
        self.names.set_value(ino, names::INLINE, b"");
        let inode = self.inode_mut(ino)?;
        inode.disk.inline_data = false;
        inode.disk.flags.remove(InodeFlags::INLINE_DATA);
        Ok(())
    }

    fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.inode(ino)?;
        self.names.value(ino, name).map(<[u8]>::to_vec).ok_or(Errno::ENODATA)
    }

    fn set_xattr(&mut self, ino: Ino, name: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
        self.inode_mut(ino)?;
        if name.len() > 255 {
            return Err(Errno::ERANGE);
        }
        match value {
            Some(value) if value.len() as u64 > PAGE_SIZE => Err(Errno::ENOSPC),
            Some(value) => {
                self.names.set_value(ino, name, value);
                Ok(())
            }
            None if self.names.value(ino, name).is_none() => Err(Errno::ENODATA),
            None => {
                self.names.remove_value(ino, name);
                Ok(())
            }
        }
    }

    fn is_dirty(&self, ino: Ino) -> bool {
        self.inode(ino).is_ok_and(|inode| inode.dirty)
    }

    fn commit(&mut self) -> Result<(), Errno> {
        for inode in &mut self.inodes {
            inode.dirty = false;
        }
        Ok(())
    }
}
