//! Work on more than one processor whose outcome does not tell.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Most threads: more would wait for memory, or the device.
const MAX_THREADS: usize = 8;

/// Gives each part to `work`, and memory that each thread has for itself. The results come in the order of the parts; after an error some
/// of the parts behind it are left out.
///
/// # Errors
/// Of several errors the one of the first part that had one.
pub fn in_order<P: Sync, S: Default, R: Send, E: Send>(
    parts: &[P],
    work: impl Fn(&P, &mut S) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS).min(parts.len());
    if threads <= 1 {
        let mut memory = S::default();
        return parts.iter().map(|part| work(part, &mut memory)).collect();
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done = Mutex::new(Vec::with_capacity(parts.len()));
    let run = || {
        let mut memory = S::default();
        while !failed.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(at) else { break };
            let result = work(part, &mut memory);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(run)));
        run();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Fills a buffer for each part and hands it to `take`, in order, while the next one is filled. Both stop at the first error.
pub(crate) fn hand_over<P, B: Default + Send, E: Send>(
    parts: impl ExactSizeIterator<Item = P>,
    mut fill: impl FnMut(P, &mut B) -> Result<(), E>,
    mut take: impl FnMut(&B) -> Result<(), E> + Send,
) -> Result<(), E> {
    if parts.len() <= 1 {
        let mut buf = B::default();
        for part in parts {
            fill(part, &mut buf)?;
            take(&buf)?;
        }
        return Ok(());
    }
    thread::scope(|scope| {
        let (full, filled) = sync_channel::<B>(1);
        let (empty, emptied) = channel();
        let taker = scope.spawn(move || {
            for buf in filled {
                take(&buf)?;
                // Who fills them may be done.
                let _ = empty.send(buf);
            }
            Ok(())
        });
        let mut filled = Ok(());
        for part in parts {
            let mut buf = emptied.try_recv().unwrap_or_default();
            filled = fill(part, &mut buf);
            // Nobody takes it any more who has failed.
            if filled.is_err() || full.send(buf).is_err() {
                break;
            }
        }
        drop(full);
        match taker.join() {
            Ok(taken) => taken.and(filled),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_parts_and_the_first_error_counts() {
        let parts: Vec<u32> = (0..1000).collect();
        let doubled = in_order(&parts, |p, (): &mut ()| Ok::<_, ()>(p * 2));
        assert_eq!(doubled, Ok(parts.iter().map(|p| p * 2).collect()));
        assert_eq!(in_order(&parts, |p, (): &mut ()| if *p < 500 { Ok(()) } else { Err(*p) }), Err(500));
    }

    #[test]
    fn what_is_handed_over_arrives_in_order() {
        for count in [0u8, 1, 2, 200] {
            let mut seen = Vec::new();
            let fill = |n: u8, buf: &mut Vec<u8>| {
                buf.clear();
                buf.push(n);
                Ok::<_, ()>(())
            };
            let parts: Vec<u8> = (0..count).collect();
            let take = |buf: &Vec<u8>| {
                seen.extend_from_slice(buf);
                Ok(())
            };
            hand_over(parts.iter().copied(), fill, take).unwrap();
            assert_eq!(seen, parts);
        }
    }

    #[test]
    fn either_side_may_fail() {
        let fails = |at: u8| move |n: u8| if n == at { Err(n) } else { Ok(()) };
        for (filling, taking, told) in [(7, 99, 7), (99, 5, 5), (3, 3, 3)] {
            let (filling, taking) = (fails(filling), fails(taking));
            let fill = |n: u8, buf: &mut Vec<u8>| {
                buf.clear();
                buf.push(n);
                filling(n)
            };
            assert_eq!(hand_over(0..20, fill, |buf: &Vec<u8>| taking(buf[0])), Err(told));
        }
    }
}
