//! Emulated persistent memory as the memory under a file system.

use daxkit_device::BlockDevice;
use daxkit_device::pmem::{Cpu, PersistentMemory, Pmem, Watch};

use super::{Media, Poisoned};
use crate::ids::PAGE_SIZE;

/// What lies on emulated persistent memory. No two of its closures run inside each other.
pub trait OverPmem {
    /// What the memory lies over.
    type Base: BlockDevice;
    /// Who watches it.
    type Watch: Watch;

    /// Looks at the memory.
    fn read_memory<T>(&self, f: impl FnOnce(&Pmem<Self::Base, Self::Watch>) -> T) -> T;

    /// Changes the memory.
    fn write_memory<T>(&mut self, f: impl FnOnce(&mut Pmem<Self::Base, Self::Watch>) -> T) -> T;
}

/// The file system asks for no bytes outside of its device, so an error is poison, or an offset of a caller's own making.
fn poisoned<E>(_: E) -> Poisoned {
    Poisoned
}

impl<F: OverPmem> Media for F {
    #[inline]
    fn pages(&self) -> u64 {
        self.read_memory(|memory| memory.size() / PAGE_SIZE)
    }

    #[inline]
    fn load(&self, offset: u64, buf: &mut [u8]) -> Result<(), Poisoned> {
        if self.is_poisoned(offset, buf.len() as u64) {
            return Err(Poisoned);
        }
        self.read_memory(|memory| memory.peek(offset, buf)).map_err(poisoned)
    }

    #[inline]
    fn store(&mut self, cpu: u16, offset: u64, data: &[u8]) -> Result<(), Poisoned> {
        self.write_memory(|memory| memory.store(Cpu(cpu.into()), offset, data)).map_err(poisoned)
    }

    fn store_nt(&mut self, cpu: u16, offset: u64, data: &[u8]) {
        // Fails outside of the device only.
        let _ = self.write_memory(|memory| memory.driver_write(Cpu(cpu.into()), offset, data));
    }

    fn zero(&mut self, cpu: u16, offset: u64, len: u64) {
        let _ = self.write_memory(|memory| memory.zero(Cpu(cpu.into()), offset, len));
    }

    fn write_back(&mut self, cpu: u16, offset: u64, len: u64) {
        let _ = self.write_memory(|memory| memory.write_back(Cpu(cpu.into()), offset, len));
    }

    fn fence(&mut self, cpu: u16) {
        self.write_memory(|memory| memory.sfence(Cpu(cpu.into())));
    }

    fn poison(&mut self, offset: u64, len: u64) {
        self.write_memory(|memory| memory.poison(offset..offset.saturating_add(len)));
    }

    #[inline]
    fn is_poisoned(&self, offset: u64, len: u64) -> bool {
        let end = offset.saturating_add(len);
        self.read_memory(|memory| memory.poisoned().any(|range| range.start < end && offset < range.end))
    }
}
