//! What a scenario asks of the emulated kernel's own state.

use daxkit_format::dax::Errno;
use daxkit_format::dax::fileattr::XFlags;
use daxkit_mount::fs::{Backing, Features, FileSystem, Media as _};
use daxkit_mount::ids::{FileId, InodeId, MmId, PAGE_SIZE, SbId, TaskId};
use daxkit_mount::mm::mmap::find_vma;
use daxkit_mount::op::Op;
use daxkit_mount::runtime::Runtime;
use daxkit_mount::vfs::mount::MountRequest;
use daxkit_mount::vfs::namespace::{self, At};
use daxkit_mount::world::World;
use daxkit_mount::world::counters::{Counters, FallbackReason};
use daxkit_mount::world::findings::Finding;
use daxkit_mount::world::objects::{IState, Inode};
use daxkit_mount::world::tasks::Cred;
use daxkit_scenario::value::{Record, Value};

use super::names::{Names, Region};
use super::options::Options;
use super::report;

/// Looks at the world, or changes it, in one step that belongs to no path of the kernel.
pub(super) fn look<R: Runtime, T>(rt: &R, f: impl FnOnce(&mut World<R::Fs>) -> T) -> T {
    rt.step(Op::world("look"), f)
}

pub(super) fn last_oops<R: Runtime>(rt: &R) -> String {
    look(rt, |w| {
        let oops = w.findings.list().iter().rev().find_map(|finding| match finding {
            Finding::Oops(_, oops) => Some(oops.to_string()),
            _ => None,
        });
        oops.unwrap_or_else(|| "crash".to_owned())
    })
}

pub(super) fn mm<R: Runtime>(rt: &R, task: TaskId) -> MmId {
    look(rt, |w| w.tasks.mm(task))
}

/// Tasks that use an address space.
pub(super) fn users<R: Runtime>(rt: &R, mm: MmId) -> u32 {
    look(rt, |w| w.mms[mm].users)
}

pub(super) fn set_cred<R: Runtime>(rt: &R, cred: Cred) {
    let task = rt.task();
    look(rt, |w| w.tasks.set_cred(task, cred));
}

pub(super) fn interrupt<R: Runtime>(rt: &R, task: TaskId) {
    look(rt, |w| w.interrupt(task));
}

fn inode_of<F>(w: &World<F>, file: FileId) -> InodeId {
    w.files[file].inode
}

pub(super) fn of_inode<R: Runtime, T>(rt: &R, file: FileId, f: impl FnOnce(&Inode) -> T) -> T {
    look(rt, |w| f(&w.inodes[inode_of(w, file)]))
}

/// The persistent flag, as the inode in memory holds it.
pub(super) fn flag<R: Runtime>(rt: &R, file: FileId) -> bool {
    look(rt, |w| w.fileattr(inode_of(w, file)).xflags.contains(XFlags::DAX))
}

/// Sets a switch of `/proc/sys/fs`; false when there is none of that name.
pub(super) fn sysctl<R: Runtime>(rt: &R, key: &str, on: bool) -> bool {
    look(rt, |w| {
        let switch = match key {
            "xfs.inherit_noatime" => &mut w.sysctls.inherit_noatime,
            "xfs.inherit_nodump" => &mut w.sysctls.inherit_nodump,
            "xfs.inherit_sync" => &mut w.sysctls.inherit_sync,
            "xfs.inherit_nodefrag" => &mut w.sysctls.inherit_nodefrag,
            "xfs.inherit_nosymlinks" => &mut w.sysctls.inherit_nosymlinks,
            _ => return false,
        };
        *switch = on;
        true
    })
}

pub(super) fn take_sigbus<R: Runtime>(rt: &R) -> bool {
    let task = rt.task();
    look(rt, |w| w.tasks.take_sigbus(task))
}

/// Bytes of a file as they would be after a power cut now.
pub(super) fn durable<R: Runtime>(rt: &R, file: FileId, offset: u64, length: u64) -> Result<Vec<u8>, Errno> {
    look(rt, |w| {
        let inode = inode_of(w, file);
        let (sb, ino) = (w.inodes[inode].sb, w.inodes[inode].ino);
        let mut fs = w.sb(sb).fs.clone();
        fs.crash(true)?;
        let disk = fs.read_inode(ino)?;
        let end = offset.saturating_add(length).min(disk.size);
        if disk.inline_data {
            let content = fs.read_inline(ino)?;
            let range = offset.min(end) as usize..end as usize;
            return Ok(content.get(range).unwrap_or_default().to_vec());
        }
        let mut bytes = Vec::new();
        let mut at = offset;
        while at < end {
            let n = (PAGE_SIZE - at % PAGE_SIZE).min(end - at) as usize;
            let from = bytes.len();
            bytes.resize(from + n, 0);
            if let Backing::Mapped(block) = fs.map(ino, at / PAGE_SIZE, 1)?.backing {
                let part = &mut bytes[from..];
                fs.load(block * PAGE_SIZE + at % PAGE_SIZE, part).map_err(|_| Errno::EIO)?;
            }
            at += n as u64;
        }
        Ok(bytes)
    })
}

/// Poisons the media under a range of a file, where blocks are.
pub(super) fn poison<R: Runtime>(rt: &R, file: FileId, offset: u64, length: u64) -> Result<(), Errno> {
    look(rt, |w| {
        let inode = inode_of(w, file);
        let (sb, ino) = (w.inodes[inode].sb, w.inodes[inode].ino);
        let end = offset.saturating_add(length).min(w.inodes[inode].disk.size.next_multiple_of(PAGE_SIZE));
        let mut at = offset;
        while at < end {
            let n = (PAGE_SIZE - at % PAGE_SIZE).min(end - at);
            let fs = &mut w.sb_mut(sb).fs;
            if let Backing::Mapped(block) = fs.map(ino, at / PAGE_SIZE, 1)?.backing {
                fs.poison(block * PAGE_SIZE + at % PAGE_SIZE, n);
            }
            at += n;
        }
        Ok(())
    })
}

pub(super) fn features<R: Runtime>(rt: &R, file: FileId) -> Features {
    look(rt, |w| w.sb(w.inodes[inode_of(w, file)].sb).fs.features())
}

/// After `umount` the contents stay with the mount's slot, for the next mount of the same file system.
pub(super) fn keep_unmounted<R: Runtime>(rt: &R, sb: SbId, fs: R::Fs) {
    look(rt, |w| w.sb_mut(sb).fs = fs);
}

/// What mounts the contents of `last` again, on the same device.
pub(super) fn request<R: Runtime>(rt: &R, last: SbId, options: &Options) -> MountRequest<R::Fs> {
    look(rt, |w| request_of(w, last, options))
}

pub(super) fn request_of<F: FileSystem>(w: &World<F>, last: SbId, options: &Options) -> MountRequest<F> {
    let sb = w.sb(last);
    MountRequest {
        fs: sb.fs.clone(),
        personality: sb.personality,
        profile: sb.profile,
        dax: options.dax,
        data: options.data.unwrap_or(daxkit_format::dax::ext4::DataMode::Ordered),
        delalloc: options.delalloc,
        device_dax: sb.device_dax,
        synchronous: sb.synchronous,
        partition: sb.partition,
        realtime: sb.realtime,
        read_only: options.read_only.unwrap_or(false),
    }
}

pub(super) fn vm_ops<R: Runtime>(rt: &R, address: u64) -> Value {
    let task = rt.task();
    look(rt, |w| {
        let mm = w.tasks.mm(task);
        Value::from(find_vma(w, mm, address).map_or("none", |vma| report::operations(w, vma)))
    })
}

pub(super) fn entries<R: Runtime>(rt: &R, file: FileId) -> Value {
    look(rt, |w| {
        let pages = report::pages(w, inode_of(w, file));
        Value::List(pages.iter().map(|page| page.record().into()).collect())
    })
}

pub(super) fn ptes<R: Runtime>(rt: &R, region: Region) -> Value {
    let task = rt.task();
    look(rt, |w| {
        let entries = report::entries(w, w.tasks.mm(task), region.address, region.len);
        Value::List(entries.iter().map(|entry| entry.record().into()).collect())
    })
}

pub(super) fn pins<R: Runtime>(rt: &R, file: FileId) -> u64 {
    look(rt, |w| report::pins(w, inode_of(w, file)))
}

pub(super) fn cached<R: Runtime>(rt: &R, at: &At<'_>) -> Value {
    let ino = look(rt, |w| namespace::peek(w, at));
    look(rt, |w| {
        let cached = ino.is_some_and(|ino| {
            w.inodes.ids().into_iter().any(|id| w.inodes[id].sb == at.sb && w.inodes[id].ino == ino)
        });
        Value::from(cached)
    })
}

pub(super) fn cached_inodes<R: Runtime>(rt: &R, sb: SbId) -> Value {
    look(rt, |w| Value::Number(w.inodes.ids().into_iter().filter(|&id| w.inodes[id].sb == sb).count() as u64))
}

pub(super) fn dontcache<R: Runtime>(rt: &R, file: FileId) -> Value {
    Value::from(of_inode(rt, file, |inode| inode.state.contains(IState::DONTCACHE)))
}

/// A counter by the name that scenarios use: `faults`, `pte`, `pmd`, ..., `fallback`, or `fallback.END_OF_FILE` by reason.
pub(super) fn counter<R: Runtime>(rt: &R, name: &str) -> Option<u64> {
    let (counters, device_pages) = look(rt, |w| (w.counters, w.frame_owners.len() as u64));
    let plain = match name {
        "faults" => counters.faults,
        "pte" => counters.pte,
        "pmd" => counters.pmd,
        "zero" => counters.zero,
        "cow" => counters.cow,
        "wp" => counters.wp,
        "page_cache" => counters.page_cache,
        "cache_saved" => device_pages * PAGE_SIZE,
        "fallback" => counters.fallback.iter().sum(),
        _ => {
            let reason = name.strip_prefix("fallback.")?;
            let same = |word: &FallbackReason| word_of(*word) == reason;
            let at = FallbackReason::ALL.iter().position(same)?;
            counters.fallback[at]
        }
    };
    Some(plain)
}

/// The word of a reason, as in `counter fallback.end_of_file`.
pub(crate) fn word_of(reason: FallbackReason) -> String {
    let camel = format!("{reason:?}");
    let mut out = String::new();
    for (at, c) in camel.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

pub(super) fn reset_counters<R: Runtime>(rt: &R) {
    look(rt, |w| w.counters = Counters::default());
}

pub(super) fn trace<R: Runtime>(rt: &R) -> Vec<Record> {
    look(rt, |w| w.trace.take()).into_iter().map(|(task, event)| event_record(task, &event)).collect()
}

pub(super) fn event_record(task: TaskId, event: &daxkit_mount::trace::Event) -> Record {
    Record::of(event.name()).with("task", u64::from(task.0)).with("text", event.to_string().as_str())
}

/// What the kernel knows of a file.
pub(super) fn explain<R: Runtime>(rt: &R, names: &Names, file: FileId) -> String {
    look(rt, |w| report::file(w, names, inode_of(w, file)).to_string())
}
