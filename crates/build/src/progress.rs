//! How long work tells how far it is, and learns that it should stop.
//!
//! The library calls, the caller shows: nothing here knows a screen. Invariant: a cancelled build leaves the target
//! unrecognisable as any file system, because the superblock is written last.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whoever watches a build. Called from several threads at once; calls must be cheap.
pub trait Progress: Send + Sync {
    /// A new stage begins: its name in a few lower-case words, and how many units it has (bytes for content; 0 when nobody
    /// knows).
    fn stage(&self, name: &str, total: u64);

    /// So many units of the current stage are done, in addition to those told before.
    fn advance(&self, units: u64);

    /// Whether the work should stop. Asked at least once for each file and each few MiB.
    fn cancelled(&self) -> bool;
}

/// Nobody watches, nothing is ever cancelled.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn stage(&self, _name: &str, _total: u64) {}
    fn advance(&self, _units: u64) {}
    fn cancelled(&self) -> bool {
        false
    }
}

/// A flag that stops the work; nothing is shown. For tests, and for callers with a display of their own.
#[derive(Debug, Default)]
pub struct CancelFlag(AtomicBool);

impl CancelFlag {
    /// Asks the work to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Progress for CancelFlag {
    fn stage(&self, _name: &str, _total: u64) {}
    fn advance(&self, _units: u64) {}
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
