//! The real file system: an ext4 volume over emulated persistent memory.
//!
//! Metadata is changed by the volume's editor in an overlay, which is the running transaction; `commit` writes it through the image's
//! journal, as `jbd2` does, and empties the journal at once. Data goes past it to the memory. Two things keep the two apart: blocks that
//! were given back are not taken again before the commit, so that nothing in the overlay lies over data of today; and no method
//! here writes data through the editor.
//!
//! Pages are what the core maps, so the block size must be theirs. Journal and orphans of an unclean image are dealt with when it is
//! opened, as a mount does.

#![allow(clippy::disallowed_types, reason = "a volume shares its device")]

mod inode;
mod names;
mod space;

use std::collections::BTreeSet;
use std::sync::Arc;

use daxkit_device::BlockDevice;
use daxkit_device::pmem::{NoWatch, Pmem, PmemHandle, Resident};
use daxkit_format::InodeNr;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::features::{Compat, Incompat, RoCompat};
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::super_block::STATE_VALID;
use daxkit_volume::{CommitError, Corruption, EditError, Editor, Inode, OpenOptions, Volume, VolumeError};

use super::mem::Survives;
use super::{DiskInode, Extent, Features, FileSystem, Ino, Name, NewInode, OverPmem, Rename, Space};
use crate::ids::PAGE_SIZE;

/// Blocks of a transaction at which it is committed, if its journal is large: what waits lies in memory.
const MOST_WAITING: u64 = 16 << 10;

/// Mounts between two checks where the superblock says none (`EXT4_DFL_MAX_MNT_COUNT`).
const DFL_MAX_MNT_COUNT: u16 = 20;

/// Why an image cannot be mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// No ext4, one that is damaged, or one with a feature that is not known.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// An orphan could not be dealt with.
    #[error("orphans: {0}")]
    Orphans(EditError),
    /// The journal could not be replayed into the image, or the image not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Blocks that are no pages.
    #[error("blocks of {0} bytes: the emulated kernel maps blocks as large as its pages, {PAGE_SIZE} bytes")]
    BlockSize(u32),
}

impl MountError {
    /// What mount(2) would fail with.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            // A superblock that is none, or whose numbers contradict each other, is EINVAL (`ext4_load_super`).
            Self::Volume(VolumeError::NotExt4 { .. } | VolumeError::Unsupported(_)) | Self::BlockSize(_) => {
                Errno::EINVAL
            }
            // `ext4_check_geometry`.
            Self::Volume(VolumeError::Corrupt { why: Corruption::Geometry(_), .. }) => Errno::EINVAL,
            Self::Volume(e) => errno_of(e),
            Self::Orphans(e) => e.errno(),
            Self::Commit(CommitError::Edit(e)) => e.errno(),
            Self::Commit(_) => Errno::EIO,
        }
    }
}

/// An ext4 volume that is mounted.
#[derive(Debug)]
pub struct Ext4Fs<W = NoWatch> {
    memory: PmemHandle<Resident, W>,
    /// In a place of its own: it is large, and file systems are moved about.
    volume: Box<Volume>,
    /// Inodes that the running transaction has changed.
    dirty: BTreeSet<Ino>,
    /// Files that have data behind their size, and stand among the orphans for as long.
    beyond: BTreeSet<Ino>,
    /// Those of them that an edit took out for the moment.
    left: BTreeSet<Ino>,
    /// The latest time that was heard of.
    now: i64,
    /// `s_mount_state`: how the image was left by who had it before.
    state: u16,
    /// Changed blocks at which the transaction is committed.
    waiting: u64,
    read_only: bool,
    /// A copy could not be made, or the device failed in a commit: nothing counts any more (`EXT4_FLAGS_SHUTDOWN`).
    gone: bool,
}

impl<W: Survives + 'static> Clone for Ext4Fs<W> {
    fn clone(&self) -> Self {
        let memory = PmemHandle::new(self.memory.snapshot());
        let device: Arc<dyn BlockDevice> = Arc::new(memory.clone());
        let copy = self.volume.fork(Arc::clone(&device)).ok().flatten();
        let gone = self.gone || copy.is_none();
        // Without edits of its own it reads what lies below, and is never asked to.
        let volume = Box::new(copy.unwrap_or_else(|| self.volume.over_empty(device)));
        let (dirty, beyond, left) = (self.dirty.clone(), self.beyond.clone(), self.left.clone());
        Self { memory, volume, dirty, beyond, left, gone, ..*self }
    }
}

impl<W: Survives + 'static> Ext4Fs<W> {
    /// Mounts the file system that a memory holds. `now` is the time in seconds. With `read_only` nothing of the image is written, not even
    /// what its journal holds: that is seen all the same.
    ///
    /// # Errors
    /// See [`MountError`].
    pub fn mount(memory: Pmem<Resident, W>, read_only: bool, now: i64) -> Result<Self, MountError> {
        let memory = PmemHandle::new(memory);
        let device = || Arc::new(memory.clone()) as Arc<dyn BlockDevice>;
        let options = OpenOptions { writable: true, ..OpenOptions::default() };
        let mut volume = Volume::open(device(), &options)?;
        if volume.block_size() != PAGE_SIZE as u32 {
            return Err(MountError::BlockSize(volume.block_size()));
        }
        volume.root()?;
        // A clock that stands still, or none, does not make a file older than the image.
        let sb = volume.super_block();
        let now = now.max(sb.s_wtime.get().into()).max(sb.s_mkfs_time.get().into());
        let unsupported = volume.check_writable().is_err();
        let read_only = read_only || unsupported;
        if !read_only {
            if let Some(overlay) = volume.replay_overlay() {
                overlay.apply_to(&memory).and_then(|()| memory.flush()).map_err(CommitError::device)?;
                volume = Volume::open(device(), &options)?;
            }
            let time = Timestamp { seconds: now, nanos: 0 };
            volume.change(time, |editor| editor.clean_orphans()).map_err(MountError::Orphans)?;
            volume.commit_below(time)?;
            volume.hold_freed(true);
        }
        let state = volume.super_block().s_state.get();
        let waiting = (volume.journal_blocks() / 4).clamp(16, MOST_WAITING);
        let (dirty, beyond, left) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let volume = Box::new(volume);
        Ok(Self { memory, volume, dirty, beyond, left, now, state, waiting, read_only, gone: false })
    }

    /// The memory: what a reader of the image would see now, and what survives a power cut.
    #[must_use]
    pub fn memory(&self) -> Pmem<Resident, W> {
        self.memory.snapshot()
    }

    /// The volume, edits that are not committed included.
    #[must_use]
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    fn alive(&self) -> Result<(), Errno> {
        if self.gone { Err(Errno::EIO) } else { Ok(()) }
    }

    fn inode(&self, ino: Ino) -> Result<Inode, Errno> {
        self.alive()?;
        let inode = self.volume.inode(InodeNr(ino)).map_err(|e| errno_of(&e))?;
        // `__ext4_iget`: one that is free was removed before whoever asks came.
        if inode.is_free() { Err(Errno::ESTALE) } else { Ok(inode) }
    }

    fn time(&self) -> Timestamp {
        Timestamp { seconds: self.now, nanos: 0 }
    }

    fn heard_of(&mut self, now: i64) {
        self.now = self.now.max(now);
    }

    /// Runs an edit in the running transaction. What needs space that only waits for the commit gets it
    /// (`ext4_should_retry_alloc`).
    fn edit<T>(&mut self, mut edit: impl FnMut(&mut Editor<'_>) -> Result<T, EditError>) -> Result<T, Errno> {
        self.alive()?;
        if self.read_only {
            return Err(Errno::EROFS);
        }
        if self.volume.edits().is_some_and(|overlay| overlay.pages() >= self.waiting) {
            self.commit()?;
        }
        let time = self.time();
        match self.volume.change(time, &mut edit) {
            Err(EditError::NoSpace { .. }) if self.volume.holds_freed() => {
                self.commit()?;
                self.volume.change(time, edit)
            }
            done => done,
        }
        .map_err(|e| e.errno())
    }

    /// As [`Ext4Fs::edit`], with an inode that is then dirty.
    fn edit_inode<T>(
        &mut self,
        ino: Ino,
        mut edit: impl FnMut(&mut Editor<'_>, &mut Inode) -> Result<T, EditError>,
    ) -> Result<T, Errno> {
        self.inode(ino)?;
        let done = self.edit(|editor| {
            let mut inode = editor.inode(InodeNr(ino))?;
            edit(editor, &mut inode)
        })?;
        self.dirty.insert(ino);
        Ok(done)
    }
}

fn errno_of(error: &VolumeError) -> Errno {
    daxkit_volume::errno_of(error)
}

impl<W: Survives + 'static> OverPmem for Ext4Fs<W> {
    type Base = Resident;
    type Watch = W;

    fn read_memory<T>(&self, f: impl FnOnce(&Pmem<Resident, W>) -> T) -> T {
        self.memory.with(|memory| f(memory))
    }

    fn write_memory<T>(&mut self, f: impl FnOnce(&mut Pmem<Resident, W>) -> T) -> T {
        self.memory.with(f)
    }
}

impl<W: Survives + 'static> FileSystem for Ext4Fs<W> {
    fn features(&self) -> Features {
        let v = &self.volume;
        Features {
            block_size: v.block_size(),
            blocks: v.geometry().blocks_count,
            inline_data: v.has_incompat(Incompat::INLINE_DATA),
            extents: v.has_incompat(Incompat::EXTENTS),
            has_journal: v.has_compat(Compat::HAS_JOURNAL),
            project: v.has_ro_compat(RoCompat::PROJECT),
            casefold: v.has_incompat(Incompat::CASEFOLD),
            reflink: false,
            v3_inodes: true,
            read_only: self.read_only,
        }
    }

    fn root(&self) -> Ino {
        InodeNr::ROOT.get()
    }

    fn space(&self) -> Space {
        let sb = self.volume.super_block();
        Space { free_blocks: sb.free_blocks_count(), free_inodes: sb.s_free_inodes_count.get().into() }
    }

    fn inodes(&self) -> u64 {
        self.volume.super_block().s_inodes_count.get().into()
    }

    fn read_inode(&self, ino: Ino) -> Result<DiskInode, Errno> {
        inode::decode(&self.inode(ino)?)
    }

    fn write_inode(&mut self, ino: Ino, inode: &DiskInode) -> Result<(), Errno> {
        self.store(ino, inode)
    }

    fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Ino, Errno> {
        self.find_name(dir, name)
    }

    fn read_dir(&self, dir: Ino) -> Result<Vec<Name>, Errno> {
        self.list_names(dir)
    }

    fn read_link(&self, ino: Ino) -> Result<Vec<u8>, Errno> {
        self.volume.read_link(&self.inode(ino)?).map_err(|e| errno_of(&e))
    }

    fn create(&mut self, dir: Ino, name: Option<&[u8]>, new: &NewInode, target: &[u8]) -> Result<Ino, Errno> {
        self.make(dir, name, new, target)
    }

    fn link(&mut self, ino: Ino, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        self.edit(|editor| editor.link(InodeNr(dir), name, InodeNr(ino)).map(drop))?;
        self.dirty.extend([ino, dir]);
        Ok(())
    }

    fn unlink(&mut self, dir: Ino, name: &[u8], is_dir: bool, now: i64) -> Result<(), Errno> {
        self.remove_name(dir, name, is_dir, now)
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
        self.move_name((from, from_name), (to, to_name), how, now)
    }

    fn free_inode(&mut self, ino: Ino) -> Result<(), Errno> {
        self.free(ino)
    }

    fn map(&self, ino: Ino, block: u64, len: u64) -> Result<Extent, Errno> {
        self.extent_at(ino, block, len)
    }

    fn map_for_write(&mut self, cpu: u16, ino: Ino, block: u64, len: u64) -> Result<Extent, Errno> {
        self.back(cpu, ino, block, len)
    }

    fn preallocate(&mut self, ino: Ino, block: u64, len: u64) -> Result<(), Errno> {
        self.reserve(ino, block, len)
    }

    fn punch(&mut self, ino: Ino, block: u64, len: u64) -> Result<(), Errno> {
        self.unmap(ino, block, len)
    }

    fn shift(&mut self, ino: Ino, block: u64, len: u64, insert: bool) -> Result<(), Errno> {
        // What moves up lies behind the size until that follows.
        if insert {
            self.put_beyond(ino)?;
        }
        let done = self.edit_inode(ino, |editor, inode| editor.shift_map(inode, block, len, insert));
        self.settle(ino)?;
        done
    }

    fn exchange(&mut self, cpu: u16, ino: Ino, donor: Ino, blocks: u64) -> Result<(), Errno> {
        self.swap(cpu, ino, donor, blocks)
    }

    fn read_inline(&self, ino: Ino) -> Result<Vec<u8>, Errno> {
        let inode = self.inode(ino)?;
        if !inode.has_inline_data() {
            return Err(Errno::ENODATA);
        }
        self.volume.inline_data(&inode).map_err(|e| errno_of(&e))
    }

    fn set_inline(&mut self, ino: Ino, content: &[u8]) -> Result<bool, Errno> {
        let inode = self.inode(ino)?;
        if !inode.is_file() || inode.flags().contains(InodeFlags::DAX) {
            return Ok(false);
        }
        self.edit_inode(ino, |editor, inode| editor.set_inline(inode, content))
    }

    fn convert_inline(&mut self, cpu: u16, ino: Ino) -> Result<(), Errno> {
        self.leave_inline(cpu, ino)
    }

    fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let found = self.volume.xattr_by_name(&self.inode(ino)?, name).map_err(|e| errno_of(&e))?;
        found.map(|xattr| xattr.value).ok_or(Errno::ENODATA)
    }

    fn set_xattr(&mut self, ino: Ino, name: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
        self.edit_inode(ino, |editor, inode| match value {
            Some(value) => editor.set_xattr(inode, name, value),
            None => editor.remove_xattr(inode, name),
        })
    }

    fn list_xattrs(&self, ino: Ino) -> Result<Vec<Vec<u8>>, Errno> {
        let found = self.volume.xattrs(&self.inode(ino)?).map_err(|e| errno_of(&e))?;
        Ok(found.iter().map(daxkit_volume::Xattr::full_name).collect())
    }

    fn has_verity(&self) -> bool {
        self.volume.has_ro_compat(RoCompat::VERITY)
    }

    fn has_encrypt(&self) -> bool {
        self.volume.has_incompat(Incompat::ENCRYPT)
    }

    fn crash(&mut self, power: bool) -> Result<(), Errno> {
        self.alive()?;
        let memory = self.memory.snapshot();
        let left = if power { W::survivors(&memory).ok_or(Errno::EOPNOTSUPP)? } else { memory };
        *self = Self::mount(left, self.read_only, self.now).map_err(|e| e.errno())?;
        Ok(())
    }

    fn is_dirty(&self, ino: Ino) -> bool {
        self.dirty.contains(&ino)
    }

    fn commit(&mut self) -> Result<(), Errno> {
        self.alive()?;
        if self.read_only {
            return Ok(());
        }
        let time = self.time();
        if self.volume.commit_below(time).is_err() {
            // An aborted journal: what is in memory does not count any more.
            self.gone = true;
            return Err(Errno::EIO);
        }
        self.dirty.clear();
        Ok(())
    }

    fn set_writable(&mut self, writable: bool, now: i64) -> Result<(), Errno> {
        self.heard_of(now);
        let (time, state) = (self.now, self.state);
        let journal = self.volume.has_compat(Compat::HAS_JOURNAL);
        self.edit(|editor| {
            editor.change_super_block(|sb| {
                if !writable {
                    sb.s_state.set(state);
                    return;
                }
                // With a journal a file system is always what it was at the last commit.
                if !journal {
                    sb.s_state.set(state & !STATE_VALID);
                }
                if sb.s_max_mnt_count.get() == 0 {
                    sb.s_max_mnt_count.set(DFL_MAX_MNT_COUNT);
                }
                sb.s_mnt_count.set(sb.s_mnt_count.get().wrapping_add(1));
                sb.s_mtime.set(time as u32);
                sb.s_mtime_hi = (time >> 32) as u8;
            })
        })?;
        self.commit()
    }
}
