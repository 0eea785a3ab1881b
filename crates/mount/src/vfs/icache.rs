//! The inode cache: instantiation, references, the end of an inode (`fs/inode.c`, `fs/dcache.c`, Linux 6.12).
//!
//! `S_DAX` is decided here and nowhere else, once, before anybody else can see the inode.

mod shrink;

pub use shrink::drop_caches;
pub(crate) use shrink::{each_super, prune};

use daxkit_format::dax::{Errno, FileKind, ext4, xfs};
use daxkit_format::ext4::inode_flags::InodeFlags;

use crate::dax::entry::bug_if_pages_left;
use crate::dax::writeback::dax_writeback_mapping_range;
use crate::fail::Result;
use crate::filemap::invalidate::truncate_inode_pages_range;
use crate::filemap::writeback::filemap_write_and_wait;
use crate::fs::{FileSystem, Ino};
use crate::ids::{DentryId, FileId, InodeId, PAGE_SHIFT, PAGE_SIZE, SbId, VmaId};
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::trace::Event;
use crate::wait::{QueueKey, Wake, sleep_on};
use crate::world::World;
use crate::world::objects::{Aops, Dentry, IState, Inode, SuperBlock};
use crate::xarray::XArray;

/// An inode that nobody may take a reference to: it is being filled, or on its way out.
const IN_TRANSIT: IState = IState::NEW.union(IState::FREEING).union(IState::WILL_FREE);

const fn key(sb: SbId, ino: Ino) -> u64 {
    (sb.0 as u64) << 48 | ino & 0xFFFF_FFFF_FFFF
}

fn dkey(sb: SbId, dir: Ino, name: &[u8]) -> (u64, u64) {
    // FNV-1a: the names of a cache, not a defence against anybody.
    let hash = name.iter().fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01B3));
    ((hash ^ key(sb, dir).rotate_left(17)) >> 1, hash)
}

/// The XFS attributes of an in-core inode; its hints are blocks on disk and bytes in calls.
#[must_use]
pub fn xfs_attrs<F: FileSystem>(mount: &SuperBlock<F>, inode: &Inode) -> xfs::Attrs {
    let block_size = mount.fs.features().block_size;
    let mut flags2 = xfs::to_di_flags2(xfs::DiFlags2::empty(), inode.disk.xflags);
    flags2.set(xfs::DiFlags2::REFLINK, mount.fs.is_reflinked(inode.ino));
    let (kind, disk) = (inode.kind(), &inode.disk);
    let mut old = xfs::DiFlags::empty();
    old.set(xfs::DiFlags::PREALLOC, disk.xflags.contains(daxkit_format::dax::fileattr::XFlags::PREALLOC));
    xfs::Attrs {
        flags: xfs::to_di_flags(kind, old, disk.xflags),
        flags2,
        extsize: disk.extsize / block_size.max(1),
        cowextsize: disk.cowextsize / block_size.max(1),
        projid: disk.projid,
    }
}

impl<F: FileSystem> World<F> {
    /// `S_DAX` of an inode of this mount, as `ext4_should_enable_dax` and `xfs_inode_should_enable_dax` decide.
    #[must_use]
    pub fn should_enable_dax(&self, inode: &Inode) -> daxkit_format::dax::DaxDecision {
        let sb = self.sb(inode.sb);
        let features = sb.fs.features();
        match sb.personality {
            Personality::Ext4 => ext4::should_enable_dax(&ext4::DaxInputs {
                mode: sb.dax,
                kind: inode.kind(),
                flags: inode.disk.flags,
                has_inline_data: inode.disk.inline_data,
                journal: ext4::JournalInputs {
                    has_journal: features.has_journal,
                    data: sb.data,
                    delalloc: sb.delalloc,
                },
                device: sb.device_dax,
                block_size: features.block_size,
                page_size: PAGE_SIZE as u32,
            }),
            Personality::Xfs => {
                let attrs = xfs_attrs(sb, inode);
                xfs::should_enable_dax(&xfs::DaxInputs {
                    config_fs_dax: true,
                    mode: sb.dax,
                    kind: inode.kind(),
                    flags: attrs.flags,
                    flags2: attrs.flags2,
                    block_size: features.block_size,
                    page_size: PAGE_SIZE as u32,
                    data_dax: sb.device_dax,
                    rt_dax: sb.realtime == Some(true),
                    kernel: sb.profile.kernel,
                })
            }
        }
    }

    /// Takes from the file system what belongs to it: links, blocks.
    pub(crate) fn refresh_inode(&mut self, inode: InodeId) {
        let node = &self.inodes[inode];
        if let Ok(disk) = self.sb(node.sb).fs.read_inode(node.ino) {
            let node = &mut self.inodes[inode];
            (node.disk.nlink, node.disk.blocks) = (disk.nlink, disk.blocks);
            if node.kind() == FileKind::Directory {
                let place = InodeFlags::INLINE_DATA | InodeFlags::EXTENTS;
                node.disk.flags = (node.disk.flags - place) | (disk.flags & place);
                node.disk.inline_data = disk.inline_data;
            }
            if node.kind() != FileKind::Regular {
                node.disk.size = disk.size;
            }
            node.disk.ctime = node.disk.ctime.max(disk.ctime);
        }
    }

    /// The same of a directory whose names have changed, and with that its time.
    pub(crate) fn refresh_directory(&mut self, dir: InodeId) {
        self.refresh_inode(dir);
        let node = &self.inodes[dir];
        if let Ok(disk) = self.sb(node.sb).fs.read_inode(node.ino) {
            self.inodes[dir].disk.mtime = disk.mtime;
        }
    }

    /// The in-core inode of a number, if there is one.
    #[must_use]
    pub fn ilookup(&self, sb: SbId, ino: Ino) -> Option<InodeId> {
        self.icache.get(key(sb, ino))
    }
}

enum Found {
    Have(InodeId),
    Wait(InodeId),
    New(InodeId),
}

/// `iget_locked` and what fills the inode: the inode of a number, with a reference.
///
/// # Errors
/// Those of reading it; `ENODEV` when the mount is gone; `ESTALE` does not occur.
pub fn iget<R: Runtime>(rt: &R, sb: SbId, ino: Ino) -> Result<InodeId> {
    let task = rt.task();
    loop {
        let found = rt.step(Op::new("iget_locked").write(Object::ICACHE).write(Object::fs(sb)), |w| {
            w.touch(Object::ICACHE, true);
            // Asked in the step that takes the reference: an unmount sees either the reference or nobody.
            if w.sb(sb).gone {
                return Err(Errno::ENODEV);
            }
            if let Some(id) = w.icache.get(key(sb, ino)) {
                let state = w.inodes[id].state;
                if state.intersects(IN_TRANSIT) {
                    return Ok(Found::Wait(id));
                }
                w.inodes[id].refs += 1;
                w.inodes[id].state |= IState::REFERENCED;
                return Ok(Found::Have(id));
            }
            let disk = w.sb(sb).fs.read_inode(ino)?;
            let mount = w.sb_mut(sb);
            mount.generation += 1;
            let generation = mount.generation;
            let id = w.inodes.insert(Inode {
                sb,
                ino,
                disk,
                s_dax: false,
                decision: None,
                aops: Aops::PageCache,
                state: IState::NEW,
                refs: 1,
                pages: XArray::default(),
                nrpages: 0,
                mmap: VmaId::NONE,
                mapped: 0,
                dio: 0,
                generation,
                opens: 0,
                aliases: DentryId::NONE,
                verity_in_progress: false,
                swap: FileId::NONE,
                as_eio: false,
                wb_err: 0,
            });
            w.icache.insert(key(sb, ino), id);
            Ok::<_, Errno>(Found::New(id))
        })?;
        match found {
            Found::Have(id) => return Ok(id),
            Found::New(id) => {
                set_inode_flags(rt, id);
                return Ok(id);
            }
            Found::Wait(id) => {
                let queue = QueueKey::inode(id);
                let op = Op::new("wait_on_inode").write(Object::ICACHE).write(queue.object());
                let asleep = rt.step(op, |w| {
                    let still = w.icache.get(key(sb, ino)) == Some(id) && w.inodes[id].state.intersects(IN_TRANSIT);
                    if still {
                        w.queue_up(task, queue, false);
                    }
                    still
                });
                if asleep {
                    sleep_on(rt, queue);
                }
            }
        }
    }
}

/// `ext4_set_inode_flags(init)` and `ext4_set_aops`, `xfs_setup_inode` and `xfs_setup_iops`: `S_DAX`, then the vector, then the
/// inode is for everybody.
fn set_inode_flags<R: Runtime>(rt: &R, id: InodeId) {
    rt.step(Op::new("set S_DAX").write(Object::s_dax(id)).read(Object::attr(id)), |w| {
        w.touch(Object::s_dax(id), true);
        let decision = w.should_enable_dax(&w.inodes[id]);
        w.inodes[id].s_dax = decision.s_dax;
        w.inodes[id].decision = Some(decision);
    });
    rt.step(Op::new("set a_ops").write(Object::aops(id)).read(Object::s_dax(id)), |w| {
        w.touch(Object::aops(id), true);
        let own = w.sb(w.inodes[id].sb).profile.has_dax_aops();
        let aops = if own && w.is_dax(id) { Aops::Dax } else { Aops::PageCache };
        w.inodes[id].aops = aops;
    });
    let queue = QueueKey::inode(id);
    rt.step(Op::new("unlock_new_inode").write(Object::ICACHE).write(queue.object()), |w| {
        w.inodes[id].state.remove(IState::NEW);
        w.wake(queue, Wake::All);
    });
}

/// `igrab`: another reference to an inode that has one.
pub fn igrab<R: Runtime>(rt: &R, inode: InodeId) {
    rt.step(Op::new("igrab").write(Object::ICACHE), |w| w.inodes[inode].refs += 1);
}

/// `iput`: with the last reference the inode is kept on the LRU, or, without a name or with `I_DONTCACHE`, written back and evicted.
///
/// # Errors
/// An oops in the eviction.
pub fn iput<R: Runtime>(rt: &R, inode: InodeId) -> Result<()> {
    let plan = rt.step(Op::new("iput").write(Object::ICACHE).read(Object::life(inode)), |w| {
        w.touch(Object::ICACHE, true);
        w.inodes[inode].refs -= 1;
        let node = w.inodes[inode];
        if node.refs > 0 {
            return None;
        }
        let sb = w.sb(node.sb);
        let drop = node.disk.nlink == 0 || sb.gone;
        let dontcache = node.state.contains(IState::DONTCACHE);
        if !drop && !dontcache {
            let shrinkable = node.nrpages == 0 || !sb.profile.populated_is_not_shrinkable();
            w.inodes[inode].state.set(IState::LRU, shrinkable);
            return None;
        }
        // generic_drop_inode of the first releases took a DONTCACHE inode for dropped: no write-back.
        let loses = dontcache && sb.profile.dontcache_loses_data();
        let write = !(drop || loses);
        w.inodes[inode].state |= if write { IState::WILL_FREE } else { IState::FREEING };
        Some(write)
    });
    let Some(write) = plan else { return Ok(()) };
    if write {
        // write_inode_now(sync). An error does not keep the inode.
        let _ = write_inode_now(rt, inode);
        set_freeing(rt, inode);
    }
    evict(rt, inode)
}

/// `I_WILL_FREE` becomes `I_FREEING`: an inode has one of the two, never both.
fn set_freeing<R: Runtime>(rt: &R, inode: InodeId) {
    rt.step(Op::new("I_FREEING").write(Object::ICACHE), |w| {
        w.inodes[inode].state.remove(IState::WILL_FREE);
        w.inodes[inode].state |= IState::FREEING;
    });
}

/// The inodes of a mount that are neither being filled nor on their way out, each with a reference (`__iget`): none of them
/// goes while its pages are worked on.
pub(crate) fn hold_inodes<R: Runtime>(rt: &R, sb: SbId) -> Vec<InodeId> {
    rt.step(Op::world("s_inodes"), |w| {
        let mut inodes = w.inodes.ids();
        inodes.retain(|&id| w.inodes[id].sb == sb && !w.inodes[id].state.intersects(IN_TRANSIT));
        for &id in &inodes {
            w.inodes[id].refs += 1;
        }
        inodes
    })
}

/// Whether something uses a mount: a name or an inode that is referenced by more than the caches, an inode that comes or goes
/// (`propagate_mount_busy`). An open file and a task in the middle of a walk both hold such a reference.
pub(crate) fn in_use<F: FileSystem>(w: &World<F>, sb: SbId) -> bool {
    let named = w.dentries.ids().into_iter().any(|id| w.dentries[id].sb == sb && w.dentries[id].refs > 0);
    named
        || w.inodes.ids().into_iter().any(|id| {
            let node = &w.inodes[id];
            let (mut aliases, mut at) = (0, node.aliases);
            while let Some(dentry) = at.some() {
                aliases += 1;
                at = w.dentries[dentry].next_alias;
            }
            node.sb == sb && (node.state.intersects(IN_TRANSIT) || node.refs > aliases)
        })
}

/// Data and metadata of an inode go to the file system.
///
/// # Errors
/// Those of the file system.
pub fn write_inode_now<R: Runtime>(rt: &R, inode: InodeId) -> Result<()> {
    let dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
    if dax {
        dax_writeback_mapping_range(rt, inode, 0, u64::MAX >> PAGE_SHIFT)?;
    } else {
        filemap_write_and_wait(rt, inode, 0, u64::MAX >> PAGE_SHIFT)?;
    }
    write_inode(rt, inode)
}

/// `write_inode`: what is kept in core goes into the running transaction, if it is dirty.
///
/// # Errors
/// Those of the file system.
pub fn write_inode<R: Runtime>(rt: &R, inode: InodeId) -> Result<()> {
    let op = Op::new("write_inode").read(Object::attr(inode)).write(Object::life(inode)).write(Object::WORLD);
    rt.step(op, |w| {
        let node = w.inodes[inode];
        if !node.state.contains(IState::DIRTY) {
            return Ok(());
        }
        w.alive(node.sb)?;
        w.inodes[inode].state.remove(IState::DIRTY);
        Ok(w.sb_mut(node.sb).fs.write_inode(node.ino, &node.disk)?)
    })
}

/// `evict`: pages go, then the inode; without a name, on disk as well. `clear_inode` insists that no page is left.
fn evict<R: Runtime>(rt: &R, inode: InodeId) -> Result<()> {
    let task = rt.task();
    truncate_inode_pages_range(rt, inode, 0, u64::MAX >> PAGE_SHIFT);
    bug_if_pages_left(rt, inode)?;
    let queue = QueueKey::inode(inode);
    rt.step(Op::world("evict"), |w| {
        let node = w.inodes[inode];
        w.trace.emit(task, Event::EvictInode { inode });
        if node.disk.nlink == 0 && w.alive(node.sb).is_ok() {
            // An error leaves an orphan for the next mount.
            let _ = w.sb_mut(node.sb).fs.free_inode(node.ino);
        }
        w.icache.remove(key(node.sb, node.ino));
        w.wake(queue, Wake::All);
        w.inodes.remove(inode);
    });
    Ok(())
}

/// `d_mark_dontcache`: the inode, and every alias that it has now. Those that come later are not marked.
pub fn d_mark_dontcache<F: FileSystem>(w: &mut World<F>, inode: InodeId) {
    w.inodes[inode].state |= IState::DONTCACHE;
    let mut at = w.inodes[inode].aliases;
    while let Some(dentry) = at.some() {
        w.dentries[dentry].dontcache = true;
        at = w.dentries[dentry].next_alias;
    }
}

/// The dentry of a name, with a reference and one of its own to the inode: found, or made for `inode`, whose reference it takes over.
pub(crate) fn d_splice<R: Runtime>(rt: &R, sb: SbId, dir: Ino, name: &[u8], inode: InodeId) -> Result<DentryId> {
    let (slot, hash) = dkey(sb, dir, name);
    let (dentry, spare) = rt.step(Op::new("d_splice_alias").write(Object::ICACHE), |w| {
        if let Some(dentry) = w.dcache.get(slot) {
            let there = &mut w.dentries[dentry];
            if there.sb == sb && there.dir == dir && there.hash == hash && there.inode == inode {
                there.refs += 1;
                return (dentry, true);
            }
        }
        let next_alias = w.inodes[inode].aliases;
        let dentry = w.dentries.insert(Dentry {
            sb,
            dir,
            hash,
            inode,
            refs: 1,
            dontcache: false,
            referenced: false,
            unhashed: false,
            next_alias,
        });
        w.inodes[inode].aliases = dentry;
        if let Some(old) = w.dcache.insert(slot, dentry) {
            w.dentries[old].unhashed = true;
        }
        (dentry, false)
    });
    if spare {
        iput(rt, inode)?;
    }
    Ok(dentry)
}

/// The inode that a cached name leads to, with references to both.
pub(crate) fn d_lookup<F: FileSystem>(
    w: &mut World<F>,
    sb: SbId,
    dir: Ino,
    name: &[u8],
) -> Option<(InodeId, DentryId)> {
    let (slot, hash) = dkey(sb, dir, name);
    let dentry = w.dcache.get(slot)?;
    let there = &mut w.dentries[dentry];
    if there.sb != sb || there.dir != dir || there.hash != hash {
        return None;
    }
    there.refs += 1;
    there.referenced = true;
    Some((there.inode, dentry))
}

/// `d_drop`: a name that is gone, or means something else now.
pub(crate) fn d_drop<F: FileSystem>(w: &mut World<F>, sb: SbId, dir: Ino, name: &[u8]) {
    let (slot, hash) = dkey(sb, dir, name);
    if let Some(dentry) = w.dcache.get(slot) {
        let there = w.dentries[dentry];
        if there.sb == sb && there.dir == dir && there.hash == hash {
            w.dcache.remove(slot);
            w.dentries[dentry].unhashed = true;
        }
    }
}

/// `dput`: with the last reference a dentry stays in the cache (and keeps its inode) unless it is unhashed or marked.
///
/// # Errors
/// An oops in the eviction of its inode.
pub fn dput<R: Runtime>(rt: &R, dentry: DentryId) -> Result<()> {
    let inode = rt.step(Op::new("dput").write(Object::ICACHE), |w| {
        let there = &mut w.dentries[dentry];
        there.refs -= 1;
        if there.refs > 0 {
            return None;
        }
        let there = *there;
        let keeps = w.sb(there.sb).profile.dontcache_keeps_referenced() && there.referenced;
        let marked = there.dontcache && !keeps;
        if !(there.unhashed || marked || w.sb(there.sb).gone) {
            return None;
        }
        Some(kill_dentry(w, dentry))
    });
    inode.map_or(Ok(()), |inode| iput(rt, inode))
}

/// Takes a dentry out of everything; its reference to the inode is the caller's now.
fn kill_dentry<F: FileSystem>(w: &mut World<F>, dentry: DentryId) -> InodeId {
    let there = w.dentries[dentry];
    if !there.unhashed {
        let slot = (there.hash ^ key(there.sb, there.dir).rotate_left(17)) >> 1;
        if w.dcache.get(slot) == Some(dentry) {
            w.dcache.remove(slot);
        }
    }
    let mut at = w.inodes[there.inode].aliases;
    if at == dentry {
        w.inodes[there.inode].aliases = there.next_alias;
    } else {
        while at.is_some() && w.dentries[at].next_alias != dentry {
            at = w.dentries[at].next_alias;
        }
        if at.is_some() {
            w.dentries[at].next_alias = there.next_alias;
        }
    }
    w.dentries.remove(dentry);
    there.inode
}
