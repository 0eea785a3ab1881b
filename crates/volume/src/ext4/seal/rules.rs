//! What all checksums of a file system, or of a journal, are computed from: a change of it makes them all wrong at once.

use daxkit_format::checksum::crc32c;
use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::super_block::SuperBlock;
use daxkit_format::jbd2::{JournalIncompat, JournalSuperBlock};

/// The checksums of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    None,
    /// `uninit_bg`: descriptors only.
    Crc16 {
        uuid: [u8; 16],
    },
    /// `metadata_csum`.
    Crc32c {
        seed: u32,
        checksum_type: u8,
    },
}

impl Rules {
    pub(super) fn of(sb: &SuperBlock) -> Self {
        if sb.has_metadata_csum() {
            Self::Crc32c { seed: sb.checksum_seed(), checksum_type: sb.s_checksum_type }
        } else if sb.ro_compat().contains(RoCompat::GDT_CSUM) {
            Self::Crc16 { uuid: sb.s_uuid }
        } else {
            Self::None
        }
    }
}

/// The checksums of a log, as long as it holds anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JournalRules {
    version: u32,
    seed: u32,
    has_log: bool,
}

impl JournalRules {
    pub(super) fn of(sb: &JournalSuperBlock) -> Self {
        let version = sb.incompat() & (JournalIncompat::CSUM_V2 | JournalIncompat::CSUM_V3);
        let uuid = if sb.is_v1() { [0; 16] } else { sb.s_uuid };
        Self { version: version.bits(), seed: crc32c(!0, &uuid), has_log: sb.s_start.get() != 0 }
    }

    /// Whether blocks of the log would have other checksums afterwards.
    pub(super) fn differ(self, after: Self) -> bool {
        let unsealed = self.version == 0 && after.version == 0;
        (self.has_log || after.has_log) && !unsealed && (self.version, self.seed) != (after.version, after.seed)
    }
}
