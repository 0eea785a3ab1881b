//! The smallest file system that holds some content and a reserve.
//!
//! What the content needs is counted once ([`Needs::demand`]); what a file system of some size has to give is arithmetic
//! ([`Ground`]), so the size is found before anything is planned, and nothing is planned twice. Larger file systems give more,
//! apart from a few sizes at which defaults change (the journal grows in steps): between those the answer is found by halving.

use crate::options::{OptionError, human};
use crate::params::{InodeCount, Params};
use crate::plan::{Demand, Ground, Needs, PlanError, place};
use crate::source::Tree;
use daxkit_format::ext4::features::Compat;

/// Free space wanted beside the content.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reserve {
    /// So many bytes.
    Bytes(u64),
    /// So many percent of the file system.
    Percent(f64),
}

impl Reserve {
    /// Reads `10%` or a number of bytes with K, M, G or T.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(number) => {
                let percent = number.parse::<f64>().ok().filter(|p| (0.0..=95.0).contains(p))?;
                Some(Self::Percent(percent))
            }
            None => crate::options::bytes(text, 1).filter(|n| i64::try_from(*n).is_ok()).map(Self::Bytes),
        }
    }

    fn blocks(self, total: u64, block_size: u32) -> u64 {
        match self {
            Self::Bytes(n) => n.div_ceil(u64::from(block_size)),
            // At most 95 percent of fewer than 2^48 blocks.
            Self::Percent(p) => (total as f64 * p / 100.0).ceil() as u64,
        }
    }
}

/// Why no size was found.
#[derive(Debug, thiserror::Error)]
pub enum SizeError {
    /// The options are wrong whatever the size.
    #[error(transparent)]
    Options(#[from] OptionError),
    /// The content is wrong whatever the size.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Content and reserve fit nowhere.
    #[error("no file system of these features holds the content ({}) and the reserve", human(*bytes))]
    NoSize {
        /// Bytes of the content.
        bytes: u64,
    },
}

/// Blocks at which the options are looked at for what does not depend on the size.
const SAMPLE: u64 = 1 << 20;
/// Blocks at which defaults change: of the journal (`default_journal_blocks`), and of the usage types by size.
const STEPS: [u64; 8] = [2048, 32_768, 256 << 10, 512 << 10, 4096 << 10, 8192 << 10, 16_384 << 10, 32_768 << 10];
/// The same, where so few do not hold the inodes that were asked for; fewer than 2^32, which all features can count.
const LARGE_SAMPLE: u64 = 1 << 31;
/// No file system has more blocks.
const MOST: u64 = 1 << 48;
/// A size so many times what is asked for does not help any more.
const FAR: u64 = 64;

/// What is asked of a size.
pub struct Search<'a> {
    /// The parameters of a file system of so many blocks.
    pub resolve: &'a dyn Fn(u64) -> Result<Params, OptionError>,
    /// The content.
    pub tree: &'a Tree,
    /// Free space beside it.
    pub reserve: Reserve,
    /// Bytes that the end of the file system is to be a multiple of; 1 for none.
    pub align: u64,
}

/// What a file system of one size has to give.
struct Offer {
    fits: bool,
    windows: bool,
    per_group: u64,
}

impl Search<'_> {
    /// The parameters under which needs are worked out; they differ from the final ones in size only.
    ///
    /// # Errors
    /// The options are wrong whatever the size.
    pub fn sample(&self) -> Result<Params, OptionError> {
        (self.resolve)(SAMPLE).or_else(|error| (self.resolve)(LARGE_SAMPLE).map_err(|_| error))
    }

    /// The number of blocks of the smallest file system that holds the content and the reserve; up to three quarters of a group more
    /// where that lets every whole 2 MiB window of a file be mapped by one fault.
    ///
    /// # Errors
    /// Nothing fits.
    pub fn smallest(&self, needs: &Needs) -> Result<u64, SizeError> {
        let sample = self.sample()?;
        let demand = needs.demand(self.tree);
        let bs = u64::from(sample.block_size);
        // Ends of file systems are multiples of a step, as far as steps are whole blocks.
        let whole = sample.data_offset.is_multiple_of(bs) && self.align.is_multiple_of(bs);
        let (step, lead) = if whole { ((self.align / bs).max(1), sample.data_offset / bs) } else { (1, 0) };
        let to_blocks = |n: u64| (n * step).saturating_sub(lead);
        let ratio = u64::from(sample.cluster_size / sample.block_size).max(1);
        let least = (demand.clusters.saturating_mul(ratio)).max(demand.end).max(64);
        let journal = sample.features.compat.contains(Compat::HAS_JOURNAL);
        let offer = |n: u64| self.offer(to_blocks(n), needs, &demand, journal);
        let mut from = least.saturating_add(lead).div_ceil(step);
        let far = self.far(&sample, least, demand.inodes);
        for edge in self.edges(bs).into_iter().filter(|edge| *edge < far).chain([far]) {
            let last = (edge - 1 + lead) / step;
            if last < from {
                continue;
            }
            if let Some(n) = first_where(from, last, |n| offer(n).is_some_and(|o| o.fits)) {
                let group = offer(n).map_or(0, |o| o.per_group);
                let cap = n + group / 4 * 3 / step;
                let best = first_where(n, cap, |n| offer(n).is_some_and(|o| o.fits && o.windows));
                return Ok(to_blocks(best.unwrap_or(n)));
            }
            from = last + 1;
        }
        // What stands against it may be no matter of size: a place that is never free, more inodes than there can be.
        let roomy = (self.resolve)(least.saturating_mul(2).max(SAMPLE))?;
        self.ground(&roomy, needs)?;
        Err(SizeError::NoSize { bytes: demand.clusters.saturating_mul(ratio * bs) })
    }

    /// Blocks of a file system that has room for everything many times over. What does not fit there is no matter of size: no place
    /// for a file becomes free by looking at larger ones.
    fn far(&self, sample: &Params, least: u64, inodes: u64) -> u64 {
        let inodes = if let InodeCount::Exact(count) = sample.inodes { count } else { inodes };
        let reserve = match self.reserve {
            Reserve::Bytes(bytes) => bytes / u64::from(sample.block_size),
            // At most 95 percent.
            Reserve::Percent(_) => least.saturating_mul(20),
        };
        let wanted = [inodes, reserve, SAMPLE].into_iter().fold(least, u64::saturating_add);
        wanted.saturating_mul(FAR).min(MOST)
    }

    fn ground(&self, params: &Params, needs: &Needs) -> Result<Ground, PlanError> {
        Ground::new(params, self.tree, &needs.inodes, |free| place::take_fixed(needs, self.tree, free))
    }

    fn edges(&self, bs: u64) -> Vec<u64> {
        // The usage types change at 3 MiB, 512 MiB, 4 TiB and 16 TiB.
        let usage = [3 << 20, 512 << 20, 4u64 << 40, 16 << 40].map(|bytes| bytes / bs);
        let mut edges: Vec<u64> = STEPS.into_iter().chain(usage).collect();
        edges.sort_unstable();
        edges.dedup();
        edges
    }

    fn offer(&self, blocks: u64, needs: &Needs, demand: &Demand, journal: bool) -> Option<Offer> {
        let params = (self.resolve)(blocks).ok()?;
        // A file system too small for its journal would come without one: that is not what was asked for.
        if params.features.compat.contains(Compat::HAS_JOURNAL) != journal {
            return None;
        }
        let ground = self.ground(&params, needs).ok()?;
        let ratio = u64::from(ground.geometry.cluster_ratio);
        // Where free space is in several runs, files may be split at their ends and need more blocks for their maps.
        let runs = ground.free.runs().count() as u64;
        let split = if runs > 1 { 2 * runs } else { 0 };
        let reserve = self.reserve.blocks(ground.geometry.blocks_count, params.block_size).div_ceil(ratio);
        let wanted = demand.clusters.saturating_add(split).saturating_add(reserve);
        Some(Offer {
            fits: ground.free.free() / ratio >= wanted,
            windows: ground.free.windows() >= demand.windows,
            per_group: u64::from(ground.geometry.blocks_per_group),
        })
    }
}

/// The first number in a range for which `holds`, when it holds for all behind the first; asks the last one first.
fn first_where(from: u64, last: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    // Large ranges are entered from below, so that no absurd size is looked at.
    let (mut low, mut reach) = (from, 1u64);
    let mut high = loop {
        let at = from.saturating_add(reach).min(last);
        if holds(at) {
            break at;
        }
        if at == last {
            return None;
        }
        low = at + 1;
        reach = reach.saturating_mul(2);
    };
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_range_is_found() {
        for (from, last, edge) in [(0, 100, 0), (0, 100, 1), (5, 100, 77), (5, 100, 100), (7, 7, 7)] {
            assert_eq!(first_where(from, last, |n| n >= edge), Some(edge.max(from)), "{from} {last} {edge}");
        }
        assert_eq!(first_where(0, 100, |n| n > 100), None);
    }

    #[test]
    fn reserves_are_read() {
        assert_eq!(Reserve::parse("10%"), Some(Reserve::Percent(10.0)));
        assert_eq!(Reserve::parse("64M"), Some(Reserve::Bytes(64 << 20)));
        for bad in ["", "%", "-1%", "96%", "x", "1Q"] {
            assert_eq!(Reserve::parse(bad), None, "{bad}");
        }
        assert_eq!(Reserve::Percent(10.0).blocks(1001, 4096), 101);
        assert_eq!(Reserve::Bytes(4097).blocks(0, 4096), 2);
    }
}
