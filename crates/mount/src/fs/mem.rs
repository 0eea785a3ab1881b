//! A small file system in memory, with the errno and the extents of the real one: what exploration runs over.
//!
//! All of it is flat plain data, so a clone is a few copies of memory. Blocks are pages (4 KiB). Metadata is not on the
//! device; what `commit` makes durable is only known as "not dirty any more".

mod crash;
mod inline;
mod inodes;
mod names;
mod options;
mod share;
mod space;
mod state;

use daxkit_device::pmem::{NoWatch, Pmem, PmemError, PmemOptions, Zeroes};
use daxkit_format::dax::fileattr::XFlags;
use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::{DiskInode, Extent, Features, FileSystem, Ino, Name, NewInode, OverPmem, Rename, Space};
use crate::flat_map::FlatMap;
use crate::ids::PAGE_SIZE;
pub use crash::Survives;
use names::Names;
pub use options::MemOptions;
use state::{MemInode, State};

/// The root's number, as on ext4.
const ROOT: Ino = 2;
/// The first number that is given to files, as on ext4.
const FIRST: Ino = 11;
/// Most links of an inode, as on ext4.
const LINK_MAX: u32 = 65_000;

/// The file system. Who watches its memory decides whether it knows what a crash leaves.
#[derive(Debug)]
pub struct MemFs<W = NoWatch> {
    options: MemOptions,
    memory: Pmem<Zeroes, W>,
    /// Metadata as they are.
    state: State,
    /// As they were committed last, where a crash is to be survived.
    committed: Option<Box<State>>,
}

impl<W: Clone> Clone for MemFs<W> {
    fn clone(&self) -> Self {
        Self {
            options: self.options,
            memory: self.memory.clone(),
            state: self.state.clone(),
            committed: self.committed.clone(),
        }
    }

    fn clone_from(&mut self, source: &Self) {
        self.options = source.options;
        self.memory.clone_from(&source.memory);
        self.state.clone_from(&source.state);
        self.committed.clone_from(&source.committed);
    }
}

impl MemFs {
    /// An empty file system: a root directory and free space.
    ///
    /// # Errors
    /// A size that no pmem device has.
    pub fn new(options: MemOptions) -> Result<Self, PmemError> {
        Self::watched(options, NoWatch)
    }
}

impl<W: Survives> MemFs<W> {
    /// The same with a watch over its memory.
    ///
    /// # Errors
    /// As [`MemFs::new`].
    pub fn watched(options: MemOptions, watch: W) -> Result<Self, PmemError> {
        let memory = Pmem::zeroed(options.size, PmemOptions::default(), watch)?;
        let blocks = options.size / PAGE_SIZE;
        let mut fs = Self {
            options,
            memory,
            state: State {
                inodes: Vec::new(),
                free_inodes: options.inodes,
                names: Names::default(),
                map: FlatMap::default(),
                bitmap: vec![0; blocks.div_ceil(64) as usize],
                shares: FlatMap::default(),
                free_blocks: blocks,
                next_block: 0,
            },
            committed: None,
        };
        for block in 0..options.first_block.min(blocks) {
            fs.set_used(block, true);
        }
        fs.state.next_block = options.first_block;
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
        fs.note_committed();
        Ok(fs)
    }
}

impl<W: Survives> OverPmem for MemFs<W> {
    type Base = Zeroes;
    type Watch = W;

    #[inline]
    fn read_memory<T>(&self, f: impl FnOnce(&Pmem<Zeroes, W>) -> T) -> T {
        f(&self.memory)
    }

    #[inline]
    fn write_memory<T>(&mut self, f: impl FnOnce(&mut Pmem<Zeroes, W>) -> T) -> T {
        f(&mut self.memory)
    }
}

impl<W: Survives> FileSystem for MemFs<W> {
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
            v3_inodes: self.options.crc,
            read_only: self.options.read_only,
        }
    }

    fn root(&self) -> Ino {
        ROOT
    }

    fn has_verity(&self) -> bool {
        self.options.verity
    }

    fn has_encrypt(&self) -> bool {
        self.options.encrypt
    }

    fn space(&self) -> Space {
        Space { free_blocks: self.state.free_blocks, free_inodes: u64::from(self.state.free_inodes) }
    }

    fn inodes(&self) -> u64 {
        u64::from(self.options.inodes)
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
            b".." => Ok(self.state.names.parent_of(dir).unwrap_or(dir)),
            name => self.state.names.find(dir, name).ok_or(Errno::ENOENT),
        }
    }

    fn read_dir(&self, dir: Ino) -> Result<Vec<Name>, Errno> {
        self.dir(dir)?;
        let kind = |ino| self.inode(ino).map_or(FileKind::Special, |inode| inode.disk.kind());
        Ok(self.state.names.of(dir).map(|(name, ino)| Name { name: name.to_vec(), ino, kind: kind(ino) }).collect())
    }

    fn read_link(&self, ino: Ino) -> Result<Vec<u8>, Errno> {
        if self.inode(ino)?.disk.kind() != FileKind::Symlink {
            return Err(Errno::EINVAL);
        }
        Ok(self.state.names.value(ino, names::TARGET).unwrap_or_default().to_vec())
    }

    fn create(&mut self, dir: Ino, name: Option<&[u8]>, new: &NewInode, target: &[u8]) -> Result<Ino, Errno> {
        self.dir(dir)?;
        let is_dir = FileKind::from_mode(new.mode) == Some(FileKind::Directory);
        if let Some(name) = name {
            names::check(name)?;
            if self.state.names.find(dir, name).is_some() {
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
            self.state.names.set_value(ino, names::TARGET, target);
            self.inode_mut(ino)?.disk.size = target.len() as u64;
        }
        if is_dir {
            self.begin_directory(ino)?;
        }
        if let Some(name) = name {
            self.state.names.add(dir, name, ino, is_dir);
            self.grow_directory(dir)?;
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
        if self.state.names.find(dir, name).is_some() {
            return Err(Errno::EEXIST);
        }
        let inode = self.inode(ino)?;
        if inode.disk.kind() == FileKind::Directory {
            return Err(Errno::EPERM);
        }
        if inode.disk.nlink >= LINK_MAX {
            return Err(Errno::EMLINK);
        }
        self.state.names.add(dir, name, ino, false);
        self.grow_directory(dir)?;
        let inode = self.inode_mut(ino)?;
        inode.disk.nlink += 1;
        Ok(())
    }

    fn unlink(&mut self, dir: Ino, name: &[u8], is_dir: bool, now: i64) -> Result<(), Errno> {
        self.dir(dir)?;
        let ino = self.state.names.find(dir, name).ok_or(Errno::ENOENT)?;
        match (self.is_dir(ino), is_dir) {
            (true, false) => return Err(Errno::EISDIR),
            (false, true) => return Err(Errno::ENOTDIR),
            (true, true) if self.state.names.of(ino).next().is_some() => return Err(Errno::ENOTEMPTY),
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
        let moved = self.state.names.find(from, from_name).ok_or(Errno::ENOENT)?;
        let there = self.state.names.find(to, to_name);
        let moved_is_dir = self.is_dir(moved);
        // What is to be replaced lies above what is moved (the trap of `lock_rename`).
        let above = there.filter(|&other| self.is_dir(other) && from != to && self.is_below(from, other));
        match (how, there) {
            (Rename::NoReplace, Some(_)) => return Err(Errno::EEXIST),
            (Rename::Exchange, None) => return Err(Errno::ENOENT),
            _ if moved_is_dir && self.is_below(to, moved) => return Err(Errno::EINVAL),
            (Rename::Replace, Some(_)) if above.is_some() => return Err(Errno::ENOTEMPTY),
            (Rename::Exchange, Some(other)) => {
                let other_is_dir = self.is_dir(other);
                if other_is_dir && self.is_below(from, other) {
                    return Err(Errno::EINVAL);
                }
                self.state.names.redirect(from, from_name, other, other_is_dir);
                self.state.names.redirect(to, to_name, moved, moved_is_dir);
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
                        (true, true) if self.state.names.of(other).next().is_some() => return Err(Errno::ENOTEMPTY),
                        _ => {}
                    }
                    self.drop_name(to, to_name, other, now);
                }
                self.state.names.remove(from, from_name);
                self.state.names.add(to, to_name, moved, moved_is_dir);
                self.grow_directory(to)?;
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
        self.state.names.forget(ino);
        let at = ino as usize;
        self.state.inodes[at].used = false;
        self.state.free_inodes += 1;
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
        self.inline_content(ino)
    }

    fn set_inline(&mut self, ino: Ino, content: &[u8]) -> Result<bool, Errno> {
        self.keep_inline(ino, content)
    }

    fn convert_inline(&mut self, cpu: u16, ino: Ino) -> Result<(), Errno> {
        self.move_out(cpu, ino)
    }

    fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.inode(ino)?;
        self.state.names.value(ino, name).map(<[u8]>::to_vec).ok_or(Errno::ENODATA)
    }

    fn set_xattr(&mut self, ino: Ino, name: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
        self.inode_mut(ino)?;
        if name.len() > 255 {
            return Err(Errno::ERANGE);
        }
        match value {
            Some(value) if value.len() as u64 > PAGE_SIZE => Err(Errno::ENOSPC),
            Some(value) => {
                self.state.names.set_value(ino, name, value);
                Ok(())
            }
            None if self.state.names.value(ino, name).is_none() => Err(Errno::ENODATA),
            None => {
                self.state.names.remove_value(ino, name);
                Ok(())
            }
        }
    }

    fn list_xattrs(&self, ino: Ino) -> Result<Vec<Vec<u8>>, Errno> {
        self.inode(ino)?;
        Ok(self.state.names.values_of(ino).map(<[u8]>::to_vec).collect())
    }

    fn is_dirty(&self, ino: Ino) -> bool {
        self.inode(ino).is_ok_and(|inode| inode.dirty)
    }

    fn commit(&mut self) -> Result<(), Errno> {
        for inode in &mut self.state.inodes {
            inode.dirty = false;
        }
        self.note_committed();
        Ok(())
    }

    fn crash(&mut self, power: bool) -> Result<(), Errno> {
        self.lose(power)
    }

    fn share(&mut self, to: Ino, from: Ino, blocks: u64) -> Result<(), Errno> {
        self.share_blocks(to, from, blocks)
    }

    fn exchange(&mut self, cpu: u16, ino: Ino, donor: Ino, blocks: u64) -> Result<(), Errno> {
        self.exchange_blocks(cpu, ino, donor, blocks)
    }

    fn owners(&self, block: u64) -> Option<Vec<(Ino, u64)>> {
        self.options.rmap.then(|| self.owners_of(block))
    }

    fn forget_shared(&mut self, ino: Ino) {
        self.forget_reflink(ino);
    }

    fn is_reflinked(&self, ino: Ino) -> bool {
        self.inode(ino).is_ok_and(|inode| inode.reflink)
    }
}
