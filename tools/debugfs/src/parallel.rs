//! Work over many parts at once: the results in the order of the parts, whatever the number of threads.

use std::convert::Infallible;

/// Gives each part to `work`, and the results in order to `take`.
pub(crate) fn in_order<P: Sync, R: Send>(parts: &[P], work: impl Fn(&P) -> R + Sync, take: impl FnMut(R)) {
    let Ok(all) = daxkit_volume::in_order(parts, |part, (): &mut ()| Ok::<_, Infallible>(work(part)));
    all.into_iter().for_each(take);
}
