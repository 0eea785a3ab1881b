//! The checksums of inodes, several side by side: with one after the other the processor waits for each.

use daxkit_device::lanes::{LANES, RECORD, crc32c_records};
use daxkit_format::ext4::inode::checksum_has_high;

/// Bytes of the inodes that are taken: all but those of old or odd file systems have as many.
pub(crate) const SIZE: usize = RECORD;

/// What of an inode is summed: all but `i_checksum_lo` (0x7C) and `i_checksum_hi` (0x82).
const MASK: [u8; SIZE] = {
    let mut mask = [0xff; SIZE];
    (mask[0x7C], mask[0x7D], mask[0x82], mask[0x83]) = (0, 0, 0, 0);
    mask
};

fn half(raw: &[u8; SIZE], at: usize) -> u16 {
    raw.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

/// Whether the checksums of the inodes from `first` on fit. `None` where they have to be asked one by one.
#[inline]
pub(crate) fn fit(fs_seed: u32, first: u32, inodes: &[[u8; SIZE]; LANES]) -> Option<[bool; LANES]> {
    if !inodes.iter().all(|raw| checksum_has_high(raw)) {
        return None;
    }
    // Number and generation come before all else; see `checksum_seed`.
    let mut heads = [0; LANES];
    for ((head, raw), ino) in heads.iter_mut().zip(inodes).zip(first..) {
        let generation = u32::from(half(raw, 0x64)) | u32::from(half(raw, 0x66)) << 16;
        *head = u64::from(ino) | u64::from(generation) << 32;
    }
    let sums = crc32c_records(fs_seed, heads, inodes, &MASK)?;
    let mut fit = [false; LANES];
    for ((fit, raw), sum) in fit.iter_mut().zip(inodes).zip(sums) {
        *fit = half(raw, 0x7C) == sum as u16 && half(raw, 0x82) == (sum >> 16) as u16;
    }
    Some(fit)
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
}
