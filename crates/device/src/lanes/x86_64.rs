//! crc32c by carry-less products of 512 bits, or by the one instruction there is for it.
//!
//! A block of 128 bits that lies `d` bits before another may be taken into it: as a polynomial, the block times `x^d`, modulo that of
//! crc32c, is a block that gives the same sum and lies there. Bits are reflected, the first is that of the highest power, so that a
//! product of two words of 64 bits comes out multiplied by `x` once more than it should.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m512i, _mm_crc32_u8, _mm_crc32_u64, _mm_cvtsi32_si128, _mm_cvtsi128_si64, _mm_extract_epi64, _mm_xor_si128,
    _mm512_and_si512, _mm512_castsi512_si128, _mm512_clmulepi64_epi128, _mm512_extracti32x4_epi32, _mm512_loadu_si512,
    _mm512_set_epi64, _mm512_ternarylogic_epi64, _mm512_xor_si512, _mm512_zextsi128_si512,
};

use super::{LANES, RECORD};

/// Bytes of a register.
const WIDE: usize = 64;

/// Registers that a record fills.
const PARTS: usize = RECORD / WIDE;

/// Registers that are multiplied side by side.
const AT_ONCE: usize = 4;

/// `x^power` modulo the polynomial, as the upper half of a reflected word. `x` has an inverse: powers may be negative.
const fn power(power: isize) -> i64 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut rest = 1u32 << 31;
    let mut at = 0;
    while at < power {
        rest = rest >> 1 ^ if rest & 1 == 1 { POLYNOMIAL } else { 0 };
        at += 1;
    }
    while at > power {
        rest = if rest >> 31 == 1 { (rest ^ POLYNOMIAL) << 1 | 1 } else { rest << 1 };
        at -= 1;
    }
    ((rest as u64) << 32) as i64
}

/// Factors that take the four blocks of a register forward by so many bits, each by `step` less than the one before it: of the first
/// word of a block, and of the second.
const fn factors(bits: isize, step: isize) -> [i64; 8] {
    let mut all = [0; 8];
    let mut block = 0;
    while block < 4 {
        let bits = bits - block as isize * step;
        all[block * 2] = power(bits + 63);
        all[block * 2 + 1] = power(bits - 1);
        block += 1;
    }
    all
}

/// Forward by one register.
const BY_ONE: [i64; 8] = factors(512, 0);

/// Forward by [`AT_ONCE`] registers.
const BY_ALL: [i64; 8] = factors(512 * AT_ONCE as isize, 0);

/// All to the last block of the register.
const TO_LAST: [i64; 8] = factors(384, 128);

/// All of a record to its last block.
const TO_END: [[i64; 8]; PARTS] = {
    let mut all = [[0; 8]; PARTS];
    let mut part = 0;
    while part < PARTS {
        all[part] = factors(512 * (PARTS - part) as isize - 128, 128);
        part += 1;
    }
    all
};

#[target_feature(enable = "avx512f")]
fn wide(words: [i64; 8]) -> __m512i {
    let [a, b, c, d, e, f, g, h] = words;
    _mm512_set_epi64(h, g, f, e, d, c, b, a)
}

#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; WIDE]) -> __m512i {
    // SAFETY: 64 bytes are read, which is what the array has; no alignment is asked for.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// The blocks times their factors, and `with` added.
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn fold(blocks: __m512i, factors: __m512i, with: __m512i) -> __m512i {
    let first = _mm512_clmulepi64_epi128::<0x00>(blocks, factors);
    let second = _mm512_clmulepi64_epi128::<0x11>(blocks, factors);
    _mm512_ternarylogic_epi64::<0x96>(first, second, with)
}

/// The sum of a message of which the four blocks, added, are what is left.
#[target_feature(enable = "avx512f,sse4.2")]
fn sum(blocks: __m512i) -> u32 {
    let one = _mm_xor_si128(_mm512_castsi512_si128(blocks), _mm512_extracti32x4_epi32::<1>(blocks));
    let other = _mm_xor_si128(_mm512_extracti32x4_epi32::<2>(blocks), _mm512_extracti32x4_epi32::<3>(blocks));
    let block = _mm_xor_si128(one, other);
    let sum = _mm_crc32_u64(0, _mm_cvtsi128_si64(block) as u64);
    _mm_crc32_u64(sum, _mm_extract_epi64::<1>(block) as u64) as u32
}

/// A state, to be added to the first bytes of what it is continued by.
#[target_feature(enable = "avx512f")]
fn start(state: u32) -> __m512i {
    _mm512_zextsi128_si512(_mm_cvtsi32_si128(state as i32))
}

#[target_feature(enable = "avx512f,vpclmulqdq,sse4.2")]
fn records_by_products(
    state: u32,
    heads: [u64; LANES],
    records: &[[u8; RECORD]; LANES],
    mask: &[u8; RECORD],
) -> [u32; LANES] {
    let masks = mask.as_chunks::<WIDE>().0;
    let mut sums = [0; LANES];
    for ((sum_of, head), record) in sums.iter_mut().zip(heads).zip(records) {
        let mut first = start(_mm_crc32_u64(state.into(), head) as u32);
        let mut all = wide([0; 8]);
        for ((part, mask), factors) in record.as_chunks::<WIDE>().0.iter().zip(masks).zip(TO_END) {
            let blocks = _mm512_xor_si512(_mm512_and_si512(load(part), load(mask)), first);
            all = fold(blocks, wide(factors), all);
            first = wide([0; 8]);
        }
        *sum_of = sum(all);
    }
    sums
}

#[target_feature(enable = "sse4.2")]
fn records_by_words(
    state: u32,
    heads: [u64; LANES],
    records: &[[u8; RECORD]; LANES],
    mask: &[u8; RECORD],
) -> [u32; LANES] {
    let mut sums = heads.map(|head| _mm_crc32_u64(state.into(), head));
    let words = records.each_ref().map(|record| record.as_chunks::<8>().0);
    for (index, mask) in mask.as_chunks::<8>().0.iter().enumerate() {
        for (sum, words) in sums.iter_mut().zip(words) {
            let word = words.get(index).map_or(0, |word| u64::from_le_bytes(*word));
            *sum = _mm_crc32_u64(*sum, word & u64::from_le_bytes(*mask));
        }
    }
    sums.map(|sum| sum as u32)
}

#[target_feature(enable = "avx512f,vpclmulqdq,sse4.2")]
fn by_products(state: u32, data: &[u8]) -> u32 {
    let (parts, rest) = data.as_chunks::<WIDE>();
    let (four, more) = parts.as_chunks::<AT_ONCE>();
    let mut state = state;
    let mut left = more;
    if let Some((head, four)) = four.split_first() {
        let mut all = head.each_ref().map(|part| load(part));
        all[0] = _mm512_xor_si512(all[0], start(state));
        for next in four {
            for (blocks, next) in all.iter_mut().zip(next) {
                *blocks = fold(*blocks, wide(BY_ALL), load(next));
            }
        }
        let [mut one, others @ ..] = all;
        for next in others {
            one = fold(one, wide(BY_ONE), next);
        }
        for next in more {
            one = fold(one, wide(BY_ONE), load(next));
        }
        state = sum(fold(one, wide(TO_LAST), wide([0; 8])));
        left = &[];
    }
    let mut sum = u64::from(state);
    let (words, bytes) = rest.as_chunks::<8>();
    for word in left.as_flattened().as_chunks::<8>().0.iter().chain(words) {
        sum = _mm_crc32_u64(sum, u64::from_le_bytes(*word));
    }
    bytes.iter().fold(sum as u32, |sum, byte| _mm_crc32_u8(sum, *byte))
}

fn has_products() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("vpclmulqdq") && has_words()
}

fn has_words() -> bool {
    is_x86_feature_detected!("sse4.2")
}

/// See [`super::crc32c_records`].
#[inline]
pub(super) fn crc32c_records(
    state: u32,
    heads: [u64; LANES],
    records: &[[u8; RECORD]; LANES],
    mask: &[u8; RECORD],
) -> Option<[u32; LANES]> {
    if has_products() {
        // SAFETY: the processor has the features that the function needs, as was just asked.
        Some(unsafe { records_by_products(state, heads, records, mask) })
    } else if has_words() {
        // SAFETY: as above.
        Some(unsafe { records_by_words(state, heads, records, mask) })
    } else {
        None
    }
}

/// See [`super::crc32c`]; `None` where nothing is gained.
#[inline]
pub(super) fn crc32c(state: u32, data: &[u8]) -> Option<u32> {
    // SAFETY: the processor has the features that the function needs, as is asked first.
    has_products().then(|| unsafe { by_products(state, data) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_to_the_same_by_words_and_by_products() {
        let data: Vec<u8> = (0..(LANES * RECORD) as u32).map(|n| ((n * 7) >> 3) as u8).collect();
        let records: &[[u8; RECORD]; LANES] = data.as_chunks().0.try_into().unwrap();
        let mut mask = [0xff; RECORD];
        mask[0x7C] = 0x10;
        if has_products() {
            // SAFETY: the processor has what the functions need, as was just asked.
            let (products, words) = unsafe {
                (
                    records_by_products(5, [1, 2, 3, 4], records, &mask),
                    records_by_words(5, [1, 2, 3, 4], records, &mask),
                )
            };
            assert_eq!(products, words);
        }
    }
}
