//! crc32c by all that the processor has for it. One checksum after the other by one instruction after the other, and it waits three
//! cycles for each word.

#[cfg(target_arch = "x86_64")]
mod x86_64;

/// Records that are summed side by side.
pub const LANES: usize = 4;

/// Bytes of a record.
pub const RECORD: usize = 256;

/// Continues the crc32c `state`, without inversion at either end, for each of some records: by its word in `heads`, lowest byte first,
/// and by its bytes, of which those count that `mask` sets. `None` where the processor has no instruction for it.
#[must_use]
#[inline]
pub fn crc32c_records(
    state: u32,
    heads: [u64; LANES],
    records: &[[u8; RECORD]; LANES],
    mask: &[u8; RECORD],
) -> Option<[u32; LANES]> {
    #[cfg(target_arch = "x86_64")]
    return x86_64::crc32c_records(state, heads, records, mask);
    #[cfg(not(target_arch = "x86_64"))]
    return None;
}

/// Continues the crc32c `state` by `data`, without inversion at either end.
#[must_use]
#[inline]
pub fn crc32c(state: u32, data: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(sum) = x86_64::crc32c(state, data) {
        return sum;
    }
    !crc32c::crc32c_append(!state, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(state: u32, data: &[u8]) -> u32 {
        !crc32c::crc32c_append(!state, data)
    }

    fn noise(len: usize) -> Vec<u8> {
        (0..len as u32).map(|n| (n.wrapping_mul(0x9E37_79B1) >> 13) as u8).collect()
    }

    #[test]
    fn each_record_is_summed_as_by_itself() {
        let mut mask = [0xff; RECORD];
        mask[3] = 0;
        mask[0x7C..0x84].copy_from_slice(&[0, 0xf0, 0xff, 0xff, 0xff, 0xff, 0, 0]);
        let data = noise(LANES * RECORD);
        let records: &[[u8; RECORD]; LANES] = data.as_chunks().0.try_into().unwrap();
        let heads = [0, 1, u64::MAX, 0x0123_4567_89ab_cdef];
        for state in [0, 1, !0, 0x1234_5678] {
            let Some(sums) = crc32c_records(state, heads, records, &mask) else { return };
            for ((sum, head), record) in sums.into_iter().zip(heads).zip(records) {
                let masked: Vec<u8> = record.iter().zip(mask).map(|(byte, mask)| byte & mask).collect();
                assert_eq!(sum, plain(plain(state, &head.to_le_bytes()), &masked));
            }
        }
    }

    #[test]
    fn any_length_is_summed_right() {
        let data = noise(5000);
        for len in (0..1200).chain([4083, 4084, 4096, 5000]) {
            for state in [0, !0, 0xdead_beef] {
                assert_eq!(crc32c(state, &data[..len]), plain(state, &data[..len]), "{len}");
            }
        }
    }
}
