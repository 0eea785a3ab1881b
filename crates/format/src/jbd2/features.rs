//! Feature bits of the journal's superblock and its checksum types (`JBD2_FEATURE_*`, Linux 6.12).

use bitflags::bitflags;

bitflags! {
    /// `s_feature_compat`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct JournalCompat: u32 {
        /// A crc32 of each transaction's blocks in its commit block (checksum version 1).
        const CHECKSUM = 0x1;
        const _ = !0;
    }
}

bitflags! {
    /// `s_feature_incompat`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct JournalIncompat: u32 {
        /// Revoke blocks occur.
        const REVOKE = 0x1;
        /// Block numbers of 64 bits.
        const BIT64 = 0x2;
        /// The commit block may reach the disk before the blocks it commits.
        const ASYNC_COMMIT = 0x4;
        /// Checksum version 2: 16 bits in each tag.
        const CSUM_V2 = 0x8;
        /// Checksum version 3: 32 bits in each tag.
        const CSUM_V3 = 0x10;
        /// There is a fast-commit area with something in it.
        const FAST_COMMIT = 0x20;
        const _ = !0;
    }
}

bitflags! {
    /// `s_feature_ro_compat`: none is defined.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct JournalRoCompat: u32 {
        const _ = !0;
    }
}

impl JournalCompat {
    /// Every bit with a meaning.
    pub const KNOWN: Self = Self::CHECKSUM;
}

impl JournalIncompat {
    /// Every bit with a meaning (`JBD2_KNOWN_INCOMPAT_FEATURES`).
    pub const KNOWN: Self = Self::REVOKE
        .union(Self::BIT64)
        .union(Self::ASYNC_COMMIT)
        .union(Self::CSUM_V2)
        .union(Self::CSUM_V3)
        .union(Self::FAST_COMMIT);

    /// Bits without a meaning.
    #[must_use]
    pub const fn unknown(self) -> u32 {
        self.bits() & !Self::KNOWN.bits()
    }

    /// The name e2fsprogs prints for each bit that is set, unknown ones as `FEATURE_Ibit`.
    #[must_use]
    pub fn names(self) -> Vec<String> {
        let known = [
            "journal_incompat_revoke",
            "journal_64bit",
            "journal_async_commit",
            "journal_checksum_v2",
            "journal_checksum_v3",
            "fast_commit",
        ];
        (0..32usize)
            .filter(|bit| (self.bits() >> bit) & 1 == 1)
            .map(|bit| known.get(bit).map_or_else(|| format!("FEATURE_I{bit}"), |s| (*s).to_owned()))
            .collect()
    }
}

/// `s_checksum_type` and `h_chksum_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChecksumType {
    /// Big-endian crc32, version 1 (`JBD2_CRC32_CHKSUM`).
    Crc32 = 1,
    /// Never used (`JBD2_MD5_CHKSUM`).
    Md5 = 2,
    /// Never used (`JBD2_SHA1_CHKSUM`).
    Sha1 = 3,
    /// Versions 2 and 3 (`JBD2_CRC32C_CHKSUM`).
    Crc32c = 4,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_survive_and_are_named() {
        let f = JournalIncompat::from_bits_retain(0x8000_0033);
        assert_eq!(f.bits(), 0x8000_0033);
        assert_eq!(f.unknown(), 0x8000_0000);
        assert_eq!(
            f.names(),
            ["journal_incompat_revoke", "journal_64bit", "journal_checksum_v3", "fast_commit", "FEATURE_I31"]
        );
        assert_eq!(JournalIncompat::KNOWN.bits(), 0x3f);
    }
}
