//! The journal's checksums that are shared by several blocks: the seed, the tail of descriptor and revoke blocks, and
//! the big-endian crc32 of version 1.

use super::JournalError;
use crate::OnDisk;
use crate::checksum::crc32c;
use zerocopy::big_endian::U32;

on_disk! {
    /// Last four bytes of a descriptor or revoke block when checksum version 2 or 3 is on.
    pub struct BlockTail("jbd2_journal_block_tail", 4) {
        0 t_checksum: U32,
    }
}

/// Seed of all version 2 and 3 checksums but the superblock's (`j_csum_seed`).
#[must_use]
pub fn journal_seed(uuid: &[u8; 16]) -> u32 {
    crc32c(!0, uuid)
}

impl BlockTail {
    /// Checksum of a descriptor or revoke block: its bytes with the tail zero (`jbd2_descr_block_csum_set`).
    /// `None` when the block is too short to have a tail.
    #[must_use]
    pub fn compute(block: &[u8], seed: u32) -> Option<u32> {
        let body = block.get(..block.len().checked_sub(4)?)?;
        Some(crc32c(crc32c(seed, body), &[0; 4]))
    }

    /// # Errors
    /// [`JournalError::Checksum`] when the tail does not match, [`JournalError::Short`] when there is no room for one.
    pub fn verify(block: &[u8], seed: u32) -> Result<(), JournalError> {
        let short = JournalError::Short { structure: Self::NAME, needed: 4, found: block.len() };
        let computed = Self::compute(block, seed).ok_or(short)?;
        let tail = block.last_chunk::<4>().ok_or(short)?;
        match u32::from_be_bytes(*tail) {
            stored if stored == computed => Ok(()),
            stored => Err(JournalError::Checksum { structure: Self::NAME, stored, computed }),
        }
    }

    /// Writes the right tail. A block too short for one is left alone.
    pub fn seal(block: &mut [u8], seed: u32) {
        if let Some(sum) = Self::compute(block, seed)
            && let Some(tail) = block.last_chunk_mut::<4>()
        {
            *tail = sum.to_be_bytes();
        }
    }
}

/// crc32 with polynomial 0x04C11DB7, most significant bit first, no inversion (`crc32_be`): checksum version 1 chains it,
/// from `!0`, over a transaction's descriptor blocks and the data blocks behind each.
#[must_use]
pub fn crc32_be(seed: u32, data: &[u8]) -> u32 {
    data.iter().fold(seed, |crc, b| {
        let [hi, ..] = crc.to_be_bytes();
        (crc << 8) ^ CRC32_BE_TABLE[usize::from(hi ^ b)]
    })
}

const CRC32_BE_TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc >> 31 == 1 { (crc << 1) ^ 0x04C1_1DB7 } else { crc << 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_values() {
        // CRC-32/MPEG-2 is this polynomial from !0 without inversion.
        assert_eq!(crc32_be(!0, b"123456789"), 0x0376_E6E7);
        assert_eq!(crc32_be(crc32_be(!0, b"1234"), b"56789"), 0x0376_E6E7);
    }

    #[test]
    fn a_sealed_block_verifies_until_a_bit_flips() {
        let seed = journal_seed(&[7; 16]);
        let mut block = vec![0x5a; 1024];
        BlockTail::seal(&mut block, seed);
        assert_eq!(BlockTail::verify(&block, seed), Ok(()));
        for at in [0, 1019, 1020, 1023] {
            block[at] ^= 4;
            assert!(matches!(BlockTail::verify(&block, seed), Err(JournalError::Checksum { .. })), "{at}");
            block[at] ^= 4;
        }
        assert!(BlockTail::verify(&block, seed ^ 1).is_err());
        assert!(matches!(BlockTail::verify(&[1, 2, 3], seed), Err(JournalError::Short { .. })));
        BlockTail::seal(&mut [1, 2, 3], seed);
    }
}
