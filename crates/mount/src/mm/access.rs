//! Modelled loads and stores: through the emulated page table, with a fault where the entry does not allow the access.

use crate::fail::{Fail, Result, Signal};
use crate::fs::{FileSystem, Media};
use crate::ids::{PAGE_SHIFT, PAGE_SIZE};
use crate::mm::fault::handle_mm_fault;
use crate::mm::page_table::FrameKind;
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::World;

/// Most faults for one access. A kernel that needs more does not get on.
const MOST_FAULTS: u32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Try {
    Hit,
    Fault,
    Poison,
}

fn op(name: &'static str, page: u64, task_mm: crate::ids::MmId, write: bool) -> Op {
    let op = Op::new(name).read(Object::pte(task_mm, page));
    if write { op.write(Object::ALL_DATA) } else { op.read(Object::ALL_DATA) }
}

#[inline]
fn try_load<F: FileSystem>(w: &World<F>, mm: crate::ids::MmId, address: u64, buf: &mut [u8]) -> Try {
    w.touch(Object::pte(mm, address >> PAGE_SHIFT), false);
    let pte = w.tables.translate(mm, address >> PAGE_SHIFT);
    if pte.is_hwpoison() {
        return Try::Poison;
    }
    if !pte.accessible() {
        return Try::Fault;
    }
    match w.read_frame(pte.frame(), address % PAGE_SIZE, buf) {
        Ok(()) => Try::Hit,
        Err(_) => Try::Poison,
    }
}

#[inline]
fn try_store<F: FileSystem>(w: &mut World<F>, cpu: u16, mm: crate::ids::MmId, address: u64, data: &[u8]) -> Try {
    w.touch(Object::pte(mm, address >> PAGE_SHIFT), false);
    let pte = w.tables.translate(mm, address >> PAGE_SHIFT);
    if pte.is_hwpoison() {
        return Try::Poison;
    }
    if !pte.accessible() || !pte.writable() {
        return Try::Fault;
    }
    match w.write_frame(cpu, pte.frame(), address % PAGE_SIZE, data) {
        Ok(()) => Try::Hit,
        Err(_) => Try::Poison,
    }
}

/// A store past the cache (`movnti`): on a device it waits for a fence only. Elsewhere there is no difference.
fn try_store_nt<F: FileSystem>(w: &mut World<F>, cpu: u16, mm: crate::ids::MmId, address: u64, data: &[u8]) -> Try {
    let pte = w.tables.translate(mm, address >> PAGE_SHIFT);
    let FrameKind::Pmem(sb, pfn) = pte.frame().kind() else { return try_store(w, cpu, mm, address, data) };
    w.touch(Object::pte(mm, address >> PAGE_SHIFT), false);
    if pte.is_hwpoison() {
        return Try::Poison;
    }
    if !pte.accessible() || !pte.writable() {
        return Try::Fault;
    }
    let (fs, at) = (&mut w.sb_mut(sb).fs, pfn * PAGE_SIZE + address % PAGE_SIZE);
    if fs.is_poisoned(at, data.len() as u64) {
        return Try::Poison;
    }
    fs.store_nt(cpu, at, data);
    Try::Hit
}

fn settle<R: Runtime>(
    rt: &R,
    address: u64,
    write: bool,
    mut attempt: impl FnMut(&mut World<R::Fs>, u16, crate::ids::MmId) -> Try,
) -> Result<()> {
    let task = rt.task();
    let mm = rt.step(Op::new("mm"), |w| w.tasks.mm(task));
    let page = address >> PAGE_SHIFT;
    let name = if write { "store" } else { "load" };
    for _ in 0..MOST_FAULTS {
        match rt.step(op(name, page, mm, write), |w| attempt(w, task.0, mm)) {
            Try::Hit => return Ok(()),
            Try::Poison => return Err(Fail::Signal(Signal::BusMceErrAr)),
            Try::Fault => handle_mm_fault(rt, address, write)?,
        }
    }
    Err(Fail::Signal(Signal::BusAdrErr))
}

/// Loads bytes.
///
/// # Errors
/// A signal, or an oops in the fault.
pub fn load<R: Runtime>(rt: &R, address: u64, buf: &mut [u8]) -> Result<()> {
    let mut done = 0;
    while done < buf.len() {
        let at = address + done as u64;
        let n = ((PAGE_SIZE - at % PAGE_SIZE) as usize).min(buf.len() - done);
        let part = &mut buf[done..done + n];
        settle(rt, at, false, |w, _, mm| try_load(w, mm, at, part))?;
        done += n;
    }
    Ok(())
}

/// Stores bytes.
///
/// # Errors
/// A signal, or an oops in the fault.
pub fn store<R: Runtime>(rt: &R, address: u64, data: &[u8]) -> Result<()> {
    let mut done = 0;
    while done < data.len() {
        let at = address + done as u64;
        let n = ((PAGE_SIZE - at % PAGE_SIZE) as usize).min(data.len() - done);
        let part = &data[done..done + n];
        settle(rt, at, true, |w, cpu, mm| try_store(w, cpu, mm, at, part))?;
        done += n;
    }
    Ok(())
}

/// Stores bytes past the cache: they are durable once the task fences, without a write-back.
///
/// # Errors
/// As [`store`].
pub fn store_nt<R: Runtime>(rt: &R, address: u64, data: &[u8]) -> Result<()> {
    let mut done = 0;
    while done < data.len() {
        let at = address + done as u64;
        let n = ((PAGE_SIZE - at % PAGE_SIZE) as usize).min(data.len() - done);
        let part = &data[done..done + n];
        settle(rt, at, true, |w, cpu, mm| try_store_nt(w, cpu, mm, at, part))?;
        done += n;
    }
    Ok(())
}

/// Loads eight bytes of one page: one step when the page is mapped.
///
/// # Errors
/// As [`load`].
#[inline]
pub fn load_u64<R: Runtime>(rt: &R, address: u64) -> Result<u64> {
    let task = rt.task();
    let mut buf = [0; 8];
    // One step for the address space, the entry and the bytes: for speed on threads. An explorer uses [`load`], whose label is
    // narrow.
    let hit = rt.step(Op::world("load"), |w| {
        let mm = w.tasks.mm(task);
        try_load(w, mm, address, &mut buf)
    });
    if hit != Try::Hit {
        load(rt, address, &mut buf)?;
    }
    Ok(u64::from_le_bytes(buf))
}

/// Stores eight bytes of one page: one step when the page is mapped writable.
///
/// # Errors
/// As [`store`].
#[inline]
pub fn store_u64<R: Runtime>(rt: &R, address: u64, value: u64) -> Result<()> {
    let task = rt.task();
    let data = value.to_le_bytes();
    let hit = rt.step(Op::world("store"), |w| {
        let mm = w.tasks.mm(task);
        try_store(w, task.0, mm, address, &data)
    });
    if hit == Try::Hit { Ok(()) } else { store(rt, address, &data) }
}

/// Writes cache lines of a mapped range back (`clwb`). What is not mapped is left out.
///
/// # Errors
/// None; the type is that of its siblings.
pub fn flush<R: Runtime>(rt: &R, address: u64, len: u64) -> Result<()> {
    let task = rt.task();
    let mut at = address;
    while at < address + len {
        let n = (PAGE_SIZE - at % PAGE_SIZE).min(address + len - at);
        rt.step(Op::world("clwb"), |w| {
            let mm = w.tasks.mm(task);
            let pte = w.tables.translate(mm, at >> PAGE_SHIFT);
            if pte.present()
                && let FrameKind::Pmem(sb, pfn) = pte.frame().kind()
            {
                w.sb_mut(sb).fs.write_back(task.0, pfn * PAGE_SIZE + at % PAGE_SIZE, n);
            }
        });
        at += n;
    }
    Ok(())
}

/// `sfence`: what the task has written back is durable on every device.
pub fn sfence<R: Runtime>(rt: &R) {
    let task = rt.task();
    rt.step(Op::new("sfence").write(Object::ALL_DATA), |w| {
        for sb in &mut w.sbs {
            sb.fs.fence(task.0);
        }
    });
}

/// `copy_from_user`: as many bytes as can be had; `EFAULT` semantics are the caller's.
///
/// # Errors
/// An oops only.
pub fn copy_from_user<R: Runtime>(rt: &R, address: u64, buf: &mut [u8]) -> Result<usize> {
    copy(address, buf.len(), |at, done, n| load(rt, at, &mut buf[done..done + n]))
}

/// `copy_to_user`.
///
/// # Errors
/// An oops only.
pub fn copy_to_user<R: Runtime>(rt: &R, address: u64, data: &[u8]) -> Result<usize> {
    copy(address, data.len(), |at, done, n| store(rt, at, &data[done..done + n]))
}

fn copy(address: u64, len: usize, mut page: impl FnMut(u64, usize, usize) -> Result<()>) -> Result<usize> {
    let mut done = 0;
    while done < len {
        let at = address + done as u64;
        let n = ((PAGE_SIZE - at % PAGE_SIZE) as usize).min(len - done);
        match page(at, done, n) {
            Ok(()) => done += n,
            Err(Fail::Oops) => return Err(Fail::Oops),
            Err(_) => break,
        }
    }
    Ok(done)
}
