//! Work over many parts at once: the results in the order of the parts, whatever the number of threads.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most threads: more would wait for the device.
const MAX_THREADS: usize = 8;

/// Gives each part to `work`, and the results in order to `take`. A part whose thread died is left out.
pub(crate) fn in_order<P: Sync, R: Send>(parts: &[P], work: impl Fn(&P) -> R + Sync, mut take: impl FnMut(R)) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS).min(parts.len());
    if threads <= 1 {
        parts.iter().map(work).for_each(take);
        return;
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, part)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| parts.get(at).map(|part| (at, part)))
                {
                    let result = work(part);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().for_each(|(_, result)| take(result));
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_come_in_the_order_of_the_parts() {
        let parts: Vec<u32> = (0..1000).collect();
        let mut seen = Vec::new();
        super::in_order(&parts, |p| p * 2, |r| seen.push(r));
        assert_eq!(seen, parts.iter().map(|p| p * 2).collect::<Vec<_>>());
    }
}
