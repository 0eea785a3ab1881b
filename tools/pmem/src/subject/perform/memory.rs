//! Mappings, loads and stores, pins.

use daxkit_format::dax::Errno;
use daxkit_mount::fail::Fail;
use daxkit_mount::ids::PAGE_SIZE;
use daxkit_mount::mm::madvise::Advice;
use daxkit_mount::mm::mmap::{self, MapRequest, Share};
use daxkit_mount::mm::{access, gup, madvise};
use daxkit_mount::runtime::Runtime;
use daxkit_mount::world::objects::VmFlags;
use daxkit_scenario::ops::Operation as Do;
use daxkit_scenario::value::Value;
use daxkit_scenario::word::Set;
use daxkit_scenario::words::{MapAdvice, MapFlag, MsyncFlag, PinFlag, Prot, StoreFlag, Width};

use super::{Call, Done, MOST_READ};
use crate::subject::names::{PinSet, Region};

impl<R: Runtime> Call<'_, R> {
    pub(super) fn memory(&self, operation: &Do) -> Option<Done> {
        let rt = self.rt;
        let unit = |()| Value::Unit;
        Some(match operation {
            Do::Mmap { map, fd, offset, length, flags, prot, addr } => self.fd(&fd.0.text).and_then(|file| {
                let request = MapRequest {
                    file: Some(file),
                    offset: *offset,
                    len: *length,
                    prot: protection(prot.unwrap_or(Prot::Rw)),
                    share: share(*flags),
                    sync: flags.contains(MapFlag::Sync),
                    address: *addr,
                };
                let address = mmap::mmap(rt, &request)?;
                let own = self.own(&map.0.text);
                self.names.borrow_mut().maps.insert(own, Region { address, len: *length });
                if flags.contains(MapFlag::Populate) {
                    madvise::madvise(rt, address, *length, Advice::PopulateRead)?;
                }
                Ok(Value::Unit)
            }),
            Do::Munmap { map, offset, length } => {
                self.range(&map.0.text, *offset, *length).and_then(|(address, len)| {
                    mmap::munmap(rt, address, len)?;
                    if offset.is_none() && length.is_none() {
                        let own = self.own(&map.0.text);
                        self.names.borrow_mut().maps.remove(&own);
                    }
                    Ok(Value::Unit)
                })
            }
            Do::Mremap { map, length, .. } => self.map(&map.0.text).and_then(|region| {
                let address = mmap::mremap(rt, region.address, region.len, *length, true)?;
                let own = self.own(&map.0.text);
                self.names.borrow_mut().maps.insert(own, Region { address, len: *length });
                Ok(Value::Unit)
            }),
            Do::Mprotect { map, prot, offset, length } => self
                .range(&map.0.text, *offset, *length)
                .and_then(|(address, len)| mmap::mprotect(rt, address, len, protection(*prot)))
                .map(unit),
            Do::Madvise { map, advice, offset, length } => {
                let advice = match advice {
                    MapAdvice::DontNeed => Advice::DontNeed,
                    MapAdvice::PopulateRead => Advice::PopulateRead,
                    MapAdvice::PopulateWrite => Advice::PopulateWrite,
                    MapAdvice::HugePage => Advice::HugePage,
                    MapAdvice::NoHugePage => Advice::NoHugePage,
                    MapAdvice::HwPoison => Advice::HwPoison,
                    MapAdvice::DontFork => Advice::DontFork,
                    MapAdvice::WillNeed => Advice::WillNeed,
                    MapAdvice::Remove => Advice::Remove,
                    MapAdvice::SoftOffline => Advice::SoftOffline,
                    MapAdvice::Cold => Advice::Cold,
                    MapAdvice::Pageout => Advice::Pageout,
                    MapAdvice::Normal => return Some(Ok(Value::Unit)),
                };
                self.range(&map.0.text, *offset, *length)
                    .and_then(|(address, len)| madvise::madvise(rt, address, len, advice))
                    .map(unit)
            }
            Do::Msync { map, flags, offset, length } => self
                .range(&map.0.text, *offset, *length)
                .and_then(|(address, len)| mmap::msync(rt, address, len, flags.contains(MsyncFlag::Sync)))
                .map(unit),
            Do::Load { at, width } => self.address(at).and_then(|address| {
                let mut buf = [0; 8];
                access::load(rt, address, &mut buf[..width_of(*width)])?;
                Ok(Value::Number(u64::from_le_bytes(buf)))
            }),
            Do::Store { at, width, value, flags } => self
                .address(at)
                .and_then(|address| {
                    let bytes = value.to_le_bytes();
                    let bytes = &bytes[..width_of(*width)];
                    let past_the_cache = flags.contains(StoreFlag::Nt);
                    if past_the_cache {
                        access::store_nt(rt, address, bytes)
                    } else {
                        access::store(rt, address, bytes)
                    }
                })
                .map(unit),
            Do::LoadBytes { at, length } => self.address(at).and_then(|address| {
                let mut buf = vec![0; (*length).min(MOST_READ) as usize];
                access::load(rt, address, &mut buf)?;
                Ok(Value::Bytes(buf))
            }),
            Do::StoreBytes { at, data } => {
                self.address(at).and_then(|address| access::store(rt, address, &data.to_vec())).map(unit)
            }
            Do::Clwb { at, length } | Do::Clflush { at, length } => {
                self.address(at).and_then(|address| access::flush(rt, address, *length)).map(unit)
            }
            Do::Sfence {} => {
                access::sfence(rt);
                Ok(Value::Unit)
            }
            Do::Pin { pin, at, length, flags } => self.address(at).and_then(|address| {
                let mut set = PinSet::default();
                let mut page = address & !(PAGE_SIZE - 1);
                while page < address + length {
                    match gup::pin(rt, page, flags.contains(PinFlag::Write), flags.contains(PinFlag::Longterm)) {
                        Ok(frame) => set.0.push(frame),
                        Err(fail) => {
                            for frame in set.0 {
                                gup::unpin(rt, frame);
                            }
                            return Err(fail);
                        }
                    }
                    page += PAGE_SIZE;
                }
                let own = self.own(&pin.0.text);
                self.names.borrow_mut().pins.insert(own, set);
                Ok(Value::Unit)
            }),
            Do::Unpin { pin } => {
                let own = self.own(&pin.0.text);
                let set = self.names.borrow_mut().pins.remove(&own);
                match set {
                    Some(set) => {
                        for frame in set.0 {
                            gup::unpin(rt, frame);
                        }
                        Ok(Value::Unit)
                    }
                    None => Err(Fail::Errno(Errno::EINVAL)),
                }
            }
            _ => return None,
        })
    }
}

fn width_of(width: Width) -> usize {
    match width {
        Width::U8 => 1,
        Width::U16 => 2,
        Width::U32 => 4,
        Width::U64 => 8,
    }
}

fn protection(prot: Prot) -> VmFlags {
    match prot {
        Prot::None => VmFlags::empty(),
        Prot::R => VmFlags::READ,
        Prot::W => VmFlags::WRITE,
        Prot::Rw => VmFlags::READ | VmFlags::WRITE,
        Prot::Rx => VmFlags::READ | VmFlags::EXEC,
        Prot::Rwx => VmFlags::READ | VmFlags::WRITE | VmFlags::EXEC,
    }
}

fn share(flags: Set<MapFlag>) -> Share {
    if flags.contains(MapFlag::SharedValidate) {
        Share::SharedValidate
    } else if flags.contains(MapFlag::Private) {
        Share::Private
    } else {
        Share::Shared
    }
}
