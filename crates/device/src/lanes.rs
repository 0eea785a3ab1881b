//! crc32c of several pieces side by side. One piece has to wait three cycles for each word; the processor can do three others meanwhile.

use crate::sys;

/// Pieces that are summed side by side.
pub const LANES: usize = 4;

/// Continues the crc32c of each piece by `count` words, without inversion at either end. `word` gives the word of a piece, its first
/// byte lowest. `None` where the processor has no instruction for it.
#[must_use]
#[inline]
pub fn crc32c_lanes(states: [u32; LANES], count: usize, word: impl Fn(usize, usize) -> u64) -> Option<[u32; LANES]> {
    sys::crc32c_lanes(states, count, word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_is_summed_as_by_itself() {
        let data: Vec<u8> = (0..LANES as u32 * 256).map(|n| ((n * 7) >> 3) as u8).collect();
        let states = [0, 1, !0, 0x1234_5678];
        let pieces: Vec<&[u8]> = data.chunks_exact(256).collect();
        let word = |lane: usize, index: usize| u64::from_le_bytes(pieces[lane].as_chunks::<8>().0[index]);
        let Some(sums) = crc32c_lanes(states, 32, word) else { return };
        for (lane, piece) in pieces.iter().enumerate() {
            assert_eq!(sums[lane], !crc32c::crc32c_append(!states[lane], piece), "lane {lane}");
        }
    }
}
