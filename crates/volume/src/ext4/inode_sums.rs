//! The checksums of inodes, several side by side: with one after the other the processor waits for each.

use daxkit_device::lanes::{RECORD, crc32c_records};

pub use daxkit_device::lanes::LANES;
use daxkit_format::ext4::inode::checksum_has_high;

/// Bytes of the inodes that are taken: all but those of old or odd file systems have as many.
pub const SIZE: usize = RECORD;

/// What of an inode is summed: all but `i_checksum_lo` (0x7C) and `i_checksum_hi` (0x82).
const MASK: [u8; SIZE] = {
    let mut mask = [0xff; SIZE];
    (mask[0x7C], mask[0x7D], mask[0x82], mask[0x83]) = (0, 0, 0, 0);
    mask
};

fn half(raw: &[u8; SIZE], at: usize) -> u16 {
    raw.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

/// The checksums of the inodes from `first` on. `None` where they have to be made one by one.
#[inline]
fn sums(fs_seed: u32, first: u32, inodes: &[[u8; SIZE]; LANES]) -> Option<[u32; LANES]> {
    if !inodes.iter().all(|raw| checksum_has_high(raw)) {
        return None;
    }
    // Number and generation come before all else; see `checksum_seed`.
    let mut heads = [0; LANES];
    for ((head, raw), ino) in heads.iter_mut().zip(inodes).zip(first..) {
        let generation = u32::from(half(raw, 0x64)) | u32::from(half(raw, 0x66)) << 16;
        *head = u64::from(ino) | u64::from(generation) << 32;
    }
    crc32c_records(fs_seed, heads, inodes, &MASK)
}

/// Whether the checksums of the inodes from `first` on fit. `None` where they have to be asked one by one.
#[inline]
pub fn fit(fs_seed: u32, first: u32, inodes: &[[u8; SIZE]; LANES]) -> Option<[bool; LANES]> {
    let sums = sums(fs_seed, first, inodes)?;
    let mut fit = [false; LANES];
    for ((fit, raw), sum) in fit.iter_mut().zip(inodes).zip(sums) {
        *fit = half(raw, 0x7C) == sum as u16 && half(raw, 0x82) == (sum >> 16) as u16;
    }
    Some(fit)
}

/// Stores the checksums of the inodes from `first` on; `false`, and nothing done, where they have to be stored one by one.
pub(crate) fn seal(fs_seed: u32, first: u32, inodes: &mut [[u8; SIZE]; LANES]) -> bool {
    let Some(sums) = sums(fs_seed, first, inodes) else { return false };
    for (raw, sum) in inodes.iter_mut().zip(sums) {
        let [low, high] = [sum as u16, (sum >> 16) as u16].map(u16::to_le_bytes);
        for (at, half) in [(0x7C, low), (0x82, high)] {
            raw.iter_mut().skip(at).zip(half).for_each(|(to, from)| *to = from);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use daxkit_format::ext4::inode;

    #[test]
    fn a_batch_is_judged_as_each_inode_is() {
        let mut bytes: Vec<u8> = (0..(LANES * SIZE) as u32).map(|n| ((n * 11) >> 2) as u8).collect();
        for (raw, ino) in bytes.chunks_exact_mut(SIZE).zip(77u32..) {
            raw[0x80..0x82].copy_from_slice(&32u16.to_le_bytes());
            let sum = inode::checksum(5, ino, raw);
            raw[0x7C..0x7E].copy_from_slice(&(sum as u16).to_le_bytes());
            raw[0x82..0x84].copy_from_slice(&((sum >> 16) as u16).to_le_bytes());
        }
        let fit = |bytes: &[u8]| fit(5, 77, bytes.as_chunks().0.try_into().ok()?);
        let Some(fits) = fit(&bytes) else { return };
        assert_eq!(fits, [true; LANES]);
        for at in 0..LANES * SIZE {
            bytes[at] ^= 0x10;
            let each: Vec<bool> =
                bytes.chunks_exact(SIZE).zip(77u32..).map(|(raw, ino)| inode::verify(5, ino, raw)).collect();
            match fit(&bytes) {
                Some(fits) => assert_eq!(fits[..], each[..], "byte {at}"),
                None => assert!(bytes.chunks_exact(SIZE).any(|raw| !inode::checksum_has_high(raw))),
            }
            bytes[at] ^= 0x10;
        }
    }

    #[test]
    fn a_batch_is_sealed_as_each_inode_is() {
        let mut bytes: Vec<u8> = (0..(LANES * SIZE) as u32).map(|n| ((n * 13) >> 3) as u8).collect();
        for extra in [32u16, 0] {
            bytes.chunks_exact_mut(SIZE).for_each(|raw| raw[0x80..0x82].copy_from_slice(&extra.to_le_bytes()));
            let mut one_by_one = bytes.clone();
            one_by_one.chunks_exact_mut(SIZE).zip(9u32..).for_each(|(raw, ino)| inode::seal(5, ino, raw));
            let done = seal(5, 9, bytes.as_chunks_mut().0.try_into().unwrap());
            assert!(
                bytes == one_by_one
                    || !done && (extra == 0 || fit(5, 9, bytes.as_chunks().0.try_into().unwrap()).is_none())
            );
        }
    }
}
