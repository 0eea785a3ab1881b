//! What a scenario asks of the emulated kernel's own state.

use daxkit_format::dax::fileattr::XFlags;
use daxkit_mount::fs::{Features, FileSystem as _};
use daxkit_mount::ids::{FileId, InodeId, PAGE_SIZE, SbId, TaskId};
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

pub(super) fn features<R: Runtime>(rt: &R, file: FileId) -> Features {
    look(rt, |w| w.sb(w.inodes[inode_of(w, file)].sb).fs.features())
}

/// After `umount` the contents stay with the mount's slot, for the next mount of the same file system.
pub(super) fn keep_unmounted<R: Runtime>(rt: &R, sb: SbId, fs: R::Fs) {
    look(rt, |w| w.sb_mut(sb).fs = fs);
}

/// What mounts the contents of `last` again, on the same device.
pub(super) fn request<R: Runtime>(rt: &R, last: SbId, options: &Options) -> MountRequest<R::Fs> {
    look(rt, |w| {
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
            partition: false,
            read_only: options.read_only.unwrap_or(false),
        }
    })
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
