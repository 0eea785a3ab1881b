//! Who watches the memory: a type parameter, so that nobody costs nothing.

use std::fmt::Debug;

use super::access::{Cpu, LINE};
use super::persistence::Persistence;

/// Which way a store goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// Into the cache.
    Cached,
    /// Past it: on its way at once.
    NonTemporal,
}

/// Which instruction writes a line back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteBack {
    /// `clwb`: on its way.
    Clwb,
    /// `clflushopt`: on its way.
    ClflushOpt,
    /// `clflush`: durable at once.
    Clflush,
}

/// The part of a store that lies in one line.
#[derive(Debug, Clone, Copy)]
pub struct LineStore<'a> {
    /// Who stores.
    pub cpu: Cpu,
    /// Number of the line: address divided by 64.
    pub line: u64,
    /// First byte in the line.
    pub at: usize,
    /// What is stored; `at + bytes.len()` is 64 at most.
    pub bytes: &'a [u8],
    /// Which way.
    pub kind: StoreKind,
    /// The visible content of the line before this store.
    pub before: &'a [u8; LINE],
}

/// Something that is told of what happens to the memory, after the range was checked and before the bytes change.
pub trait Watch: Clone + Debug + Send + Sync {
    /// Whether [`line_store`](Self::line_store) does anything. If not, long zeroing is not taken apart into lines.
    const WATCHES_LINES: bool;

    /// A load.
    fn load(&mut self, cpu: Cpu, addr: u64, len: u64) {
        let _ = (cpu, addr, len);
    }

    /// A store, as one operation.
    fn store(&mut self, cpu: Cpu, addr: u64, len: u64, kind: StoreKind) {
        let _ = (cpu, addr, len, kind);
    }

    /// A store, line by line.
    fn line_store(&mut self, store: &LineStore<'_>) {
        let _ = store;
    }

    /// A line is written back.
    fn write_back(&mut self, cpu: Cpu, line: u64, how: WriteBack) {
        let _ = (cpu, line, how);
    }

    /// A fence.
    fn fence(&mut self, cpu: Cpu) {
        let _ = cpu;
    }
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoWatch;

impl Watch for NoWatch {
    const WATCHES_LINES: bool = false;
}

/// Two that watch, the first first. (No pair: `clone_from` of a pair drops the old one and allocates a new one.)
#[derive(Debug, Default)]
pub struct Both<A, B>(pub A, pub B);

impl<A: Clone, B: Clone> Clone for Both<A, B> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1.clone())
    }

    fn clone_from(&mut self, source: &Self) {
        self.0.clone_from(&source.0);
        self.1.clone_from(&source.1);
    }
}

impl<A: Watch, B: Watch> Watch for Both<A, B> {
    const WATCHES_LINES: bool = A::WATCHES_LINES || B::WATCHES_LINES;

    #[inline]
    fn load(&mut self, cpu: Cpu, addr: u64, len: u64) {
        self.0.load(cpu, addr, len);
        self.1.load(cpu, addr, len);
    }

    #[inline]
    fn store(&mut self, cpu: Cpu, addr: u64, len: u64, kind: StoreKind) {
        self.0.store(cpu, addr, len, kind);
        self.1.store(cpu, addr, len, kind);
    }

    #[inline]
    fn line_store(&mut self, store: &LineStore<'_>) {
        self.0.line_store(store);
        self.1.line_store(store);
    }

    #[inline]
    fn write_back(&mut self, cpu: Cpu, line: u64, how: WriteBack) {
        self.0.write_back(cpu, line, how);
        self.1.write_back(cpu, line, how);
    }

    #[inline]
    fn fence(&mut self, cpu: Cpu) {
        self.0.fence(cpu);
        self.1.fence(cpu);
    }
}

/// A watch that knows what is durable: [`Persistence`] alone or as the second of two.
pub trait Tracks: Watch {
    /// What it knows.
    fn persistence(&self) -> &Persistence;
}

impl Tracks for Persistence {
    fn persistence(&self) -> &Persistence {
        self
    }
}

impl<A: Watch> Tracks for Both<A, Persistence> {
    fn persistence(&self) -> &Persistence {
        &self.1
    }
}
