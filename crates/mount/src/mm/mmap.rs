//! `mmap`, `munmap`, `mprotect`, `msync` (`mm/mmap.c`, Linux 6.12).

use daxkit_format::dax::Errno;
use daxkit_format::ext4::inode_flags::InodeFlags;

use crate::fail::Result;
use crate::fs::FileSystem;
use crate::ids::{FileId, InodeId, MmId, PAGE_SHIFT, PAGE_SIZE, PMD_SIZE, VmaId};
use crate::locks::{LockId, Mode, acquire, with_lock};
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::vfs::open::{fdget, fget, fput};
use crate::vfs::sync::vfs_fsync_range;
use crate::world::World;
use crate::world::objects::{Mm, VmFlags, VmOps, Vma};

pub use super::process::{exit_mm, fork};
pub use super::remap::mremap;

/// Where the first mapping goes that does not say where.
const FIRST_ADDRESS: u64 = 0x7000_0000_0000;
/// Addresses end here (47 bits).
const TASK_SIZE: u64 = 1 << 47;

/// `MAP_SHARED`, `MAP_PRIVATE`, `MAP_SHARED_VALIDATE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Copies on write.
    Private,
    /// Shared; unknown flags are ignored, `MAP_SYNC` among them.
    Shared,
    /// Shared; unknown flags are refused.
    SharedValidate,
}

/// What `mmap` is asked.
#[derive(Debug, Clone, Copy)]
pub struct MapRequest {
    /// The file; none for anonymous memory.
    pub file: Option<FileId>,
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Length, bytes.
    pub len: u64,
    /// `VmFlags::READ`, `WRITE`, `EXEC`.
    pub prot: VmFlags,
    /// How writes go.
    pub share: Share,
    /// `MAP_SYNC`.
    pub sync: bool,
    /// `MAP_FIXED_NOREPLACE` there; else a region of its own, aligned to 2 MiB, apart from all others.
    pub address: Option<u64>,
}

/// A new address space.
pub fn mm_alloc<F: FileSystem>(w: &mut World<F>) -> MmId {
    w.mms.insert(Mm { vmas: VmaId::NONE, users: 1, next_address: FIRST_ADDRESS, thp_disabled: false })
}

/// The mapping that an address is in.
#[must_use]
pub fn find_vma<F: FileSystem>(w: &World<F>, mm: MmId, address: u64) -> Option<VmaId> {
    let mut at = if mm.is_some() { w.mms[mm].vmas } else { VmaId::NONE };
    while let Some(id) = at.some() {
        let vma = &w.vmas[id];
        if address < vma.start {
            return None;
        }
        if address < vma.end {
            return Some(id);
        }
        at = vma.next_of_mm;
    }
    None
}

pub(super) fn overlaps<F: FileSystem>(w: &World<F>, mm: MmId, start: u64, end: u64) -> bool {
    let mut at = w.mms[mm].vmas;
    while let Some(id) = at.some() {
        if w.vmas[id].start < end && start < w.vmas[id].end {
            return true;
        }
        at = w.vmas[id].next_of_mm;
    }
    false
}

pub(super) fn link<F: FileSystem>(w: &mut World<F>, id: VmaId) {
    let (mm, start) = (w.vmas[id].mm, w.vmas[id].start);
    let mut before = VmaId::NONE;
    let mut at = w.mms[mm].vmas;
    while at.is_some() && w.vmas[at].start < start {
        before = at;
        at = w.vmas[at].next_of_mm;
    }
    w.vmas[id].next_of_mm = at;
    if before.is_some() {
        w.vmas[before].next_of_mm = id;
    } else {
        w.mms[mm].vmas = id;
    }
}

pub(super) fn unlink<F: FileSystem>(w: &mut World<F>, id: VmaId) {
    let mm = w.vmas[id].mm;
    let next = w.vmas[id].next_of_mm;
    let mut at = w.mms[mm].vmas;
    if at == id {
        w.mms[mm].vmas = next;
        return;
    }
    while at.is_some() && w.vmas[at].next_of_mm != id {
        at = w.vmas[at].next_of_mm;
    }
    if at.is_some() {
        w.vmas[at].next_of_mm = next;
    }
}

/// What the file's `->mmap` decides.
struct Decided {
    inode: InodeId,
    ops: VmOps,
    flags: VmFlags,
}

/// `ext4_file_mmap`, `xfs_file_mmap`: reads `S_DAX`, and answers `MAP_SYNC`.
fn file_mmap<R: Runtime>(rt: &R, request: &MapRequest, file: FileId) -> Result<Decided> {
    let (open, inode, kind, append, sb, personality, synchronous) =
        rt.step(Op::new("mmap file").read(Object::file(file)).read(Object::WORLD), |w| {
            let open = w.files[file];
            let node = &w.inodes[open.inode];
            let sb = w.sb(node.sb);
            let append = node.disk.flags.contains(InodeFlags::APPEND);
            (open, open.inode, node.kind(), append, node.sb, sb.personality, sb.synchronous)
        });
    let shared = request.share != Share::Private;
    let regular = kind == daxkit_format::dax::FileKind::Regular;
    // Files without a method for it have no flag of its own either.
    if request.sync && request.share == Share::SharedValidate && !regular {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if shared && request.prot.contains(VmFlags::WRITE) {
        if !open.flags.writable() {
            return Err(Errno::EACCES.into());
        }
        rt.step(Op::new("IS_SWAPFILE").read(Object::attr(inode)), |w| w.not_swapped_to(inode))?;
    }
    if shared && open.flags.writable() && append {
        return Err(Errno::EACCES.into());
    }
    if !open.flags.readable() {
        return Err(Errno::EACCES.into());
    }
    if !regular {
        return Err(Errno::ENODEV.into());
    }
    let mut flags = request.prot;
    if shared {
        flags |= VmFlags::SHARED;
    }
    if !shared || open.flags.writable() {
        flags |= VmFlags::MAYWRITE;
    }
    // MAP_SHARED_VALIDATE came with MAP_SYNC.
    let validates = rt.step(Op::new("profile"), |w| w.sb(sb).profile.has_map_sync());
    if request.share == Share::SharedValidate && !validates {
        return Err(Errno::EINVAL.into());
    }
    let dax = rt.step(Op::new("mmap IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
    // Only MAP_SHARED_VALIDATE looks at flags it may not know.
    if request.sync && request.share == Share::SharedValidate {
        if !(dax && synchronous) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        flags |= VmFlags::SYNC;
    }
    if dax {
        flags |= VmFlags::HUGEPAGE;
        let mixed = rt.step(Op::new("profile"), |w| w.sb(sb).profile.wants_mixedmap());
        if mixed {
            flags |= VmFlags::MIXEDMAP;
        }
    }
    let ops = match (personality, dax) {
        (Personality::Ext4, true) => VmOps::Ext4Dax,
        (Personality::Ext4, false) => VmOps::Ext4File,
        (Personality::Xfs, _) => VmOps::XfsFile,
    };
    Ok(Decided { inode, ops, flags })
}

/// Maps a file or anonymous memory; returns the address.
///
/// # Errors
/// `EINVAL`, `EACCES`, `EBADF`, `ENODEV`, `EOPNOTSUPP` (`MAP_SYNC`), `EEXIST` (the address is taken), `ENOMEM`.
pub fn mmap<R: Runtime>(rt: &R, request: &MapRequest) -> Result<u64> {
    let task = rt.task();
    if !request.offset.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.into());
    }
    if let Some(file) = request.file {
        fdget(rt, file)?;
    }
    if request.len == 0 {
        return Err(Errno::EINVAL.into());
    }
    let len = request.len.checked_next_multiple_of(PAGE_SIZE).filter(|len| *len < TASK_SIZE).ok_or(Errno::ENOMEM)?;
    if request.offset.checked_add(len).is_none() {
        return Err(Errno::EOVERFLOW.into());
    }
    let mm = rt.step(Op::new("mm"), |w| w.tasks.mm(task));
    with_lock(rt, LockId::mmap(mm), Mode::Exclusive, || {
        let start = rt.step(Op::new("get_unmapped_area").write(Object::vmas(mm)), |w| {
            w.touch(Object::vmas(mm), true);
            match request.address {
                Some(at) if at % PAGE_SIZE != 0 => Err(Errno::EINVAL),
                Some(at) if at.checked_add(len).is_none_or(|end| end > TASK_SIZE) => Err(Errno::ENOMEM),
                Some(at) if overlaps(w, mm, at, at + len) => Err(Errno::EEXIST),
                Some(at) => Ok(at),
                None => {
                    // The colour of the offset is kept, so that 2 MiB of the file can be 2 MiB of addresses.
                    let at = w.mms[mm].next_address + request.offset % PMD_SIZE;
                    let next = (at + len).next_multiple_of(PMD_SIZE) + PMD_SIZE;
                    if next > TASK_SIZE || overlaps(w, mm, at, at + len) {
                        return Err(Errno::ENOMEM);
                    }
                    w.mms[mm].next_address = next;
                    Ok(at)
                }
            }
        })?;
        let decided = match request.file {
            Some(file) => file_mmap(rt, request, file)?,
            None if request.share == Share::SharedValidate => return Err(Errno::EINVAL.into()),
            None => Decided {
                inode: InodeId::NONE,
                ops: VmOps::Anonymous,
                flags: request.prot
                    | VmFlags::MAYWRITE
                    | if request.share == Share::Private { VmFlags::empty() } else { VmFlags::SHARED },
            },
        };
        if let Some(file) = request.file {
            fget(rt, file)?;
        }
        let vma = Vma {
            mm,
            start,
            end: start + len,
            pgoff: request.offset >> PAGE_SHIFT,
            flags: decided.flags,
            ops: decided.ops,
            file: request.file.unwrap_or(FileId::NONE),
            inode: decided.inode,
            next_of_inode: VmaId::NONE,
            next_of_mm: VmaId::NONE,
        };
        let vma = rt.step(Op::new("vma_link").write(Object::vmas(mm)), |w| {
            w.touch(Object::vmas(mm), true);
            let id = w.vmas.insert(vma);
            link(w, id);
            id
        });
        if decided.inode.is_some() {
            link_file(rt, decided.inode, vma);
        }
        Ok(start)
    })
}

fn link_file<R: Runtime>(rt: &R, inode: InodeId, vma: VmaId) {
    let lock = LockId::i_mmap(inode);
    acquire(rt, lock, Mode::Exclusive);
    rt.step(Op::new("vma_link_file").write(Object::i_mmap(inode)), |w| w.vma_link_file(vma));
    crate::locks::release(rt, lock);
}

/// Splits the mapping at `address`, which is inside of it.
fn split<F: FileSystem>(w: &mut World<F>, id: VmaId, address: u64) {
    let old = w.vmas[id];
    w.vmas[id].end = address;
    let tail = Vma { start: address, pgoff: old.index_of(address), ..old };
    let tail = w.vmas.insert(tail);
    link(w, tail);
    if old.file.is_some() {
        w.files[old.file].refs += 1;
    }
    w.vma_link_file(tail);
}

/// Makes mapping borders at both ends of a range, and gives the first mapping in it.
pub(super) fn carve<F: FileSystem>(w: &mut World<F>, mm: MmId, start: u64, end: u64) {
    for at in [start, end] {
        if let Some(id) = find_vma(w, mm, at)
            && w.vmas[id].start < at
        {
            split(w, id, at);
        }
    }
}

pub(crate) fn first_in<F: FileSystem>(w: &World<F>, mm: MmId, start: u64, end: u64) -> Option<VmaId> {
    let mut at = w.mms[mm].vmas;
    while let Some(id) = at.some() {
        if w.vmas[id].end > start {
            return (w.vmas[id].start < end).then_some(id);
        }
        at = w.vmas[id].next_of_mm;
    }
    None
}

pub(super) fn range(address: u64, len: u64) -> Result<(u64, u64)> {
    if !address.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.into());
    }
    let end = len.checked_next_multiple_of(PAGE_SIZE).and_then(|len| address.checked_add(len));
    match end {
        Some(end) if end <= TASK_SIZE => Ok((address, end)),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// Unmaps a range; what is not mapped there does not matter.
///
/// # Errors
/// `EINVAL`.
pub fn munmap<R: Runtime>(rt: &R, address: u64, len: u64) -> Result<()> {
    let task = rt.task();
    let (start, end) = range(address, len)?;
    if start == end {
        return Err(Errno::EINVAL.into());
    }
    let mm = rt.step(Op::new("mm"), |w| w.tasks.mm(task));
    with_lock(rt, LockId::mmap(mm), Mode::Exclusive, || {
        rt.step(Op::world("split_vma"), |w| carve(w, mm, start, end));
        loop {
            let next = rt.step(Op::new("find_vma").read(Object::vmas(mm)), |w| {
                first_in(w, mm, start, end).map(|id| (id, w.vmas[id]))
            });
            let Some((id, vma)) = next else { return Ok(()) };
            remove_vma(rt, id, &vma)?;
        }
    })
}

/// `unmap_region` and `remove_vma` of one mapping.
pub(super) fn remove_vma<R: Runtime>(rt: &R, id: VmaId, vma: &Vma) -> Result<()> {
    let mm = vma.mm;
    rt.step(Op::new("unlink_vma").write(Object::vmas(mm)), |w| {
        w.touch(Object::vmas(mm), true);
        unlink(w, id);
    });
    let (from, to) = (vma.start >> PAGE_SHIFT, vma.end >> PAGE_SHIFT);
    rt.step(Op::new("unmap_vmas").write(Object::ptes(mm)).write(Object::ALL_DATA), |w| {
        w.zap_range(vma, from, to, true);
    });
    if vma.inode.is_some() {
        let lock = LockId::i_mmap(vma.inode);
        acquire(rt, lock, Mode::Exclusive);
        rt.step(Op::new("unlink_file_vma").write(Object::i_mmap(vma.inode)), |w| w.vma_unlink_file(id));
        crate::locks::release(rt, lock);
    }
    rt.step(Op::new("free_pgtables").write(Object::ptes(mm)).write(Object::vmas(mm)), |w| {
        let mut page = from;
        while page < to {
            w.tables.free_table(mm, page);
            page = (page / crate::ids::PTRS_PER_PMD + 1) * crate::ids::PTRS_PER_PMD;
        }
        w.vmas.remove(id);
    });
    if vma.file.is_some() { fput(rt, vma.file) } else { Ok(()) }
}

/// Changes the permissions of a range.
///
/// # Errors
/// `EINVAL`, `ENOMEM` (a part is not mapped), `EACCES` (the file was not opened for that).
pub fn mprotect<R: Runtime>(rt: &R, address: u64, len: u64, prot: VmFlags) -> Result<()> {
    const PROT: VmFlags = VmFlags::READ.union(VmFlags::WRITE).union(VmFlags::EXEC);
    let task = rt.task();
    let (start, end) = range(address, len)?;
    let mm = rt.step(Op::new("mm"), |w| w.tasks.mm(task));
    with_lock(rt, LockId::mmap(mm), Mode::Exclusive, || {
        rt.step(Op::world("mprotect"), |w| {
            // Mapping by mapping: what comes before the one that cannot be changed is changed.
            let mut at = start;
            let mut out = Ok(());
            while at < end {
                let Some(id) = find_vma(w, mm, at) else {
                    out = Err(Errno::ENOMEM.into());
                    break;
                };
                if prot.contains(VmFlags::WRITE) && !w.vmas[id].flags.contains(VmFlags::MAYWRITE) {
                    out = Err(Errno::EACCES.into());
                    break;
                }
                let to = w.vmas[id].end.min(end);
                // mprotect_fixup: nothing to do, and nothing to split.
                if w.vmas[id].flags & PROT == prot {
                    at = to;
                    continue;
                }
                carve(w, mm, at, to);
                if let Some(id) = find_vma(w, mm, at) {
                    w.vmas[id].flags = w.vmas[id].flags.difference(PROT) | prot;
                }
                at = to;
            }
            let end = at;
            let (writes, access) = (prot.contains(VmFlags::WRITE), !prot.is_empty());
            let (from, to) = (start >> PAGE_SHIFT, end >> PAGE_SHIFT);
            let mut page = from;
            while let Some((first, huge, _)) = w.tables.next_present(mm, page, to) {
                w.tables.update(mm, first, |pte| {
                    let pte = if writes { pte } else { pte.write_protected() };
                    pte.with_access(access)
                });
                page = first.max(page) + 1;
                if huge {
                    page = first + crate::ids::PTRS_PER_PMD;
                }
            }
            out
        })
    })
}

/// Makes what was stored through a range durable (`MS_SYNC`); `MS_ASYNC` does nothing.
///
/// # Errors
/// `EINVAL`, `ENOMEM` (a part is not mapped), `EIO`.
pub fn msync<R: Runtime>(rt: &R, address: u64, len: u64, sync: bool) -> Result<()> {
    let task = rt.task();
    let (start, end) = range(address, len)?;
    let mm = rt.step(Op::new("mm"), |w| w.tasks.mm(task));
    let mut at = start;
    let mut hole = false;
    while at < end {
        // mmap_lock is dropped over the fsync, as in the kernel.
        let found = with_lock(rt, LockId::mmap(mm), Mode::Shared, || {
            Ok(rt.step(Op::new("find_vma").read(Object::vmas(mm)), |w| first_in(w, mm, at, end).map(|id| w.vmas[id])))
        })?;
        let Some(vma) = found else { return Err(Errno::ENOMEM.into()) };
        hole |= vma.start > at;
        let (from, to) = (vma.start.max(at), vma.end.min(end));
        if sync && vma.file.is_some() && vma.shared() {
            fget(rt, vma.file)?;
            let result = vfs_fsync_range(rt, vma.file, vma.inode, vma.index_of(from), vma.index_of(to - 1), false);
            fput(rt, vma.file)?;
            result?;
        }
        at = vma.end;
    }
    if hole { Err(Errno::ENOMEM.into()) } else { Ok(()) }
}
