//! The two checksum algorithms of ext4 and the seed rule.
//!
//! ext4 uses crc32c without the final inversion, so that partial results chain (`ext4_chksum`, Linux 6.12), and the
//! reflected crc16 with polynomial 0xA001 for `uninit_bg` groups (`crc16`, Linux `lib/crc16.c`).

/// crc32c of `data` continued from `seed`, in the kernel's raw form (no inversion at either end).
#[must_use]
pub fn crc32c(seed: u32, data: &[u8]) -> u32 {
    !::crc32c::crc32c_append(!seed, data)
}

/// crc16 of `data` continued from `seed`.
#[must_use]
pub fn crc16(seed: u16, data: &[u8]) -> u16 {
    data.iter().fold(seed, |crc, b| {
        let [lo, hi] = crc.to_le_bytes();
        u16::from(hi) ^ CRC16_TABLE[usize::from(lo ^ b)]
    })
}

const CRC16_TABLE: [u16; 256] = {
    let mut table = [0u16; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 };
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
        // The check value of CRC-32C over "123456789", inverted because the kernel's form leaves the inversion out.
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
        // CRC-16/ARC has the same polynomial and start value 0.
        assert_eq!(crc16(0, b"123456789"), 0xBB3D);
    }

    #[test]
    fn partial_results_chain() {
        assert_eq!(crc32c(crc32c(7, b"1234"), b"56789"), crc32c(7, b"123456789"));
        assert_eq!(crc16(crc16(!0, b"1234"), b"56789"), crc16(!0, b"123456789"));
    }
}
