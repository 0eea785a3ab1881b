//! Work shared by a few threads: each takes the next piece until none is left or one has failed.

use crate::progress::Progress;
use crate::write::WriteError;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Runs `work` for every index below `count` on `threads` threads. Each thread has a state of its own from `init`; the states
/// come back in no particular order. The first error stops all.
///
/// # Errors
/// The first error of `work`, or [`WriteError::Cancelled`].
pub(crate) fn run<S: Send>(
    threads: usize,
    count: usize,
    progress: &dyn Progress,
    init: impl Fn() -> Result<S, WriteError> + Sync,
    work: impl Fn(&mut S, usize) -> Result<(), WriteError> + Sync,
) -> Result<Vec<S>, WriteError> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let outcome: Mutex<Result<Vec<S>, WriteError>> = Mutex::new(Ok(Vec::new()));
    let fail = |e: WriteError| {
        stop.store(true, Ordering::Relaxed);
        let mut outcome = outcome.lock().unwrap_or_else(|p| p.into_inner());
        if outcome.is_ok() {
            *outcome = Err(e);
        }
    };
    let worker = || {
        let mut state = match init() {
            Ok(s) => s,
            Err(e) => return fail(e),
        };
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count || stop.load(Ordering::Relaxed) {
                break;
            }
            if progress.cancelled() {
                return fail(WriteError::Cancelled);
            }
            if let Err(e) = work(&mut state, at) {
                return fail(e);
            }
        }
        if let Ok(states) = outcome.lock().unwrap_or_else(|p| p.into_inner()).as_mut() {
            states.push(state);
        }
    };
    let threads = threads.clamp(1, count.max(1));
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(worker);
        }
        worker();
    });
    outcome.into_inner().unwrap_or_else(|p| p.into_inner())
}
