//! What a scenario asks of the emulated kernel's own state.

use daxkit_mount::dax::entry::PageEntry;
use daxkit_mount::fs::{Features, FileSystem};
use daxkit_mount::ids::{FileId, InodeId, PAGE_SHIFT, PAGE_SIZE, SbId, TaskId};
use daxkit_mount::mm::mmap::find_vma;
use daxkit_mount::mm::page_table::{FrameKind, Pte};
use daxkit_mount::op::Op;
use daxkit_mount::runtime::Runtime;
use daxkit_mount::vfs::mount::MountRequest;
use daxkit_mount::vfs::namespace::{self, At};
use daxkit_mount::world::World;
use daxkit_mount::world::counters::{Counters, FallbackReason};
use daxkit_mount::world::findings::Finding;
use daxkit_mount::world::objects::{IState, Inode};
use daxkit_mount::world::tasks::Cred;
use daxkit_mount::xarray::Tag;
use daxkit_scenario::value::{Record, Value};

use super::names::Region;
use super::options::Options;

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
        let name = find_vma(w, mm, address).map_or("none", |vma| match w.vmas[vma].ops {
            daxkit_mount::world::objects::VmOps::Anonymous => "anonymous",
            daxkit_mount::world::objects::VmOps::Ext4File => "ext4_file_vm_ops",
            daxkit_mount::world::objects::VmOps::Ext4Dax => "ext4_dax_vm_ops",
            daxkit_mount::world::objects::VmOps::XfsFile => "xfs_file_vm_ops",
        });
        Value::from(name)
    })
}

fn entry_records<F>(w: &World<F>, inode: InodeId) -> Vec<Record> {
    let pages = w.inodes[inode].pages;
    let mut records = Vec::new();
    let mut at = 0;
    while let Some(found) = pages.first_in(&w.nodes, at, u64::MAX >> PAGE_SHIFT) {
        let record = match PageEntry::decode(found.value) {
            PageEntry::Folio(folio) => Record::of("folio")
                .with("index", found.index)
                .with("order", u64::from(found.order))
                .with("dirty", w.folios[folio].dirty)
                .with("locked", w.folios[folio].locked),
            PageEntry::Dax(entry) => {
                let kind = if entry.is_zero() {
                    "zero"
                } else if entry.is_empty() {
                    "empty"
                } else {
                    "mapped"
                };
                Record::of(kind)
                    .with("index", found.index)
                    .with("order", u64::from(found.order))
                    .with("dirty", pages.tag(&w.nodes, found.index, Tag::Dirty))
                    .with("towrite", pages.tag(&w.nodes, found.index, Tag::ToWrite))
                    .with("locked", entry.is_locked())
                    .with("pfn", entry.pfn())
            }
        };
        records.push(record);
        at = found.index + (1 << found.order);
    }
    records
}

pub(super) fn entries<R: Runtime>(rt: &R, file: FileId) -> Value {
    look(rt, |w| {
        let inode = inode_of(w, file);
        Value::List(entry_records(w, inode).into_iter().map(Value::Record).collect())
    })
}

fn pte_record(offset: u64, huge: bool, pte: Pte) -> Record {
    let (target, pfn) = match pte.frame().kind() {
        FrameKind::Pmem(_, pfn) => ("pmem", pfn),
        FrameKind::Folio(folio) => ("folio", u64::from(folio.0)),
        FrameKind::ZeroPage | FrameKind::HugeZeroPage => ("zero", 0),
    };
    Record::of(if huge { "pmd" } else { "pte" })
        .with("offset", offset)
        .with("target", if pte.is_hwpoison() { "hwpoison" } else { target })
        .with("writable", pte.writable())
        .with("dirty", pte.dirty())
        .with("pfn", pfn)
}

pub(super) fn ptes<R: Runtime>(rt: &R, region: Region) -> Value {
    let task = rt.task();
    look(rt, |w| {
        let mm = w.tasks.mm(task);
        let from = region.address >> PAGE_SHIFT;
        let to = from + region.len.div_ceil(1 << PAGE_SHIFT);
        let mut list = Vec::new();
        w.tables.for_each(mm, from, to, |page, huge, pte| {
            list.push(Value::Record(pte_record((page.max(from) - from) << PAGE_SHIFT, huge, pte)));
        });
        Value::List(list)
    })
}

pub(super) fn pins<R: Runtime>(rt: &R, file: FileId) -> u64 {
    look(rt, |w| {
        let inode = inode_of(w, file);
        w.pins
            .iter()
            .filter(|(frame, count)| *count > 0 && w.frame_owners.get(*frame).is_some_and(|owner| owner.0 == inode))
            .map(|(_, count)| u64::from(count))
            .sum()
    })
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
            let same = |word: &FallbackReason| snake(&format!("{word:?}")) == reason;
            let at = FallbackReason::ALL.iter().position(same)?;
            counters.fallback[at]
        }
    };
    Some(plain)
}

fn snake(camel: &str) -> String {
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

/// What the kernel knows of an open file.
pub(super) fn explain<R: Runtime>(rt: &R, file: FileId) -> String {
    look(rt, |w| explain_in(w, file))
}

fn explain_in<F: FileSystem>(w: &World<F>, file: FileId) -> String {
    use std::fmt::Write as _;
    let id = inode_of(w, file);
    let inode = &w.inodes[id];
    let mut out = String::new();
    let flag = inode.disk.xflags.contains(daxkit_format::dax::fileattr::XFlags::DAX)
        || inode.disk.flags.contains(daxkit_format::ext4::inode_flags::InodeFlags::DAX);
    let _ = writeln!(out, "inode {} on {}: size {}, life {}", inode.ino, inode.sb, inode.disk.size, inode.generation);
    let _ = writeln!(
        out,
        "  flag {}, S_DAX {}, a_ops {:?}, references {}, state {:?}",
        u8::from(flag),
        u8::from(inode.s_dax),
        inode.aops,
        inode.refs,
        inode.state
    );
    let entries = entry_records(w, id);
    let _ = writeln!(out, "  i_pages: {} entries, nrpages {}", entries.len(), inode.nrpages);
    for entry in entries.iter().take(64) {
        let _ = writeln!(out, "    {entry}");
    }
    let mut vma = inode.mmap;
    while let Some(at) = vma.some() {
        let mapping = w.vmas[at];
        let _ = writeln!(
            out,
            "  {} {:#x}-{:#x} page {:#x} {:?} {:?}",
            mapping.mm, mapping.start, mapping.end, mapping.pgoff, mapping.flags, mapping.ops
        );
        w.tables.for_each(mapping.mm, mapping.start >> PAGE_SHIFT, mapping.end >> PAGE_SHIFT, |page, huge, pte| {
            let _ = writeln!(out, "    {}", pte_record((page << PAGE_SHIFT).saturating_sub(mapping.start), huge, pte));
        });
        vma = mapping.next_of_inode;
    }
    out
}
