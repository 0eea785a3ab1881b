//! The memory under the file system.

use daxkit_device::pmem::{Cpu, PersistentMemory};

use super::{MemFs, Survives};
use crate::fs::{Media, Poisoned};
use crate::ids::PAGE_SIZE;

/// The file system asks for no bytes outside of its device, so an error is poison, or an offset of a caller's own making.
fn poisoned<E>(_: E) -> Poisoned {
    Poisoned
}

impl<W: Survives> Media for MemFs<W> {
    fn pages(&self) -> u64 {
        self.memory.size() / PAGE_SIZE
    }

    fn load(&self, offset: u64, buf: &mut [u8]) -> Result<(), Poisoned> {
        if self.is_poisoned(offset, buf.len() as u64) {
            return Err(Poisoned);
        }
        self.memory.peek(offset, buf).map_err(poisoned)
    }

    fn store(&mut self, cpu: u16, offset: u64, data: &[u8]) -> Result<(), Poisoned> {
        self.memory.store(Cpu(cpu.into()), offset, data).map_err(poisoned)
    }

    fn store_nt(&mut self, cpu: u16, offset: u64, data: &[u8]) {
        // Fails outside of the device only.
        let _ = self.memory.driver_write(Cpu(cpu.into()), offset, data);
    }

    fn zero(&mut self, cpu: u16, offset: u64, len: u64) {
        let _ = self.memory.zero(Cpu(cpu.into()), offset, len);
    }

    fn write_back(&mut self, cpu: u16, offset: u64, len: u64) {
        let _ = self.memory.write_back(Cpu(cpu.into()), offset, len);
    }

    fn fence(&mut self, cpu: u16) {
        self.memory.sfence(Cpu(cpu.into()));
    }

    fn poison(&mut self, offset: u64, len: u64) {
        self.memory.poison(offset..offset.saturating_add(len));
    }

    fn is_poisoned(&self, offset: u64, len: u64) -> bool {
        self.memory.poisoned().any(|range| range.start < offset.saturating_add(len) && offset < range.end)
    }
}
