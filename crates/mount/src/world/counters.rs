//! Counts of faults, by size and by the reason for a smaller one.

/// Why a fault of 2 MiB became one of 4 KiB (`dax_iomap_pmd_fault` and what calls it, Linux 6.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum FallbackReason {
    /// Huge pages are off for the VMA or the process.
    ThpDisabled,
    /// Address and offset in the file differ modulo 2 MiB.
    Colour,
    /// A write to a private mapping.
    PrivateWrite,
    /// The 2 MiB reach out of the VMA.
    OutsideVma,
    /// The last page of the 2 MiB lies at or past the end of the file.
    EndOfFile,
    /// An entry of 4 KiB is in the way.
    SmallEntry,
    /// The file system failed to map the range.
    MapError,
    /// The extent is shorter than 2 MiB there.
    ShortExtent,
    /// A write where the extent is not written.
    NotMapped,
    /// The blocks are not aligned to 2 MiB on the device.
    UnalignedPfn,
    /// The device cannot give 2 MiB in one piece, or a line is poisoned.
    NotContiguous,
    /// The race for the huge zero page's entry was lost.
    LostRace,
    /// A table stands there already.
    TableThere,
}

impl FallbackReason {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::ThpDisabled,
        Self::Colour,
        Self::PrivateWrite,
        Self::OutsideVma,
        Self::EndOfFile,
        Self::SmallEntry,
        Self::MapError,
        Self::ShortExtent,
        Self::NotMapped,
        Self::UnalignedPfn,
        Self::NotContiguous,
        Self::LostRace,
        Self::TableThere,
    ];

    /// A few words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::ThpDisabled => "huge pages are off",
            Self::Colour => "address and file offset differ modulo 2 MiB",
            Self::PrivateWrite => "write to a private mapping",
            Self::OutsideVma => "2 MiB reach out of the mapping",
            Self::EndOfFile => "2 MiB reach past the end of the file",
            Self::SmallEntry => "a 4 KiB entry is in the way",
            Self::MapError => "the file system could not map the range",
            Self::ShortExtent => "the extent is shorter than 2 MiB",
            Self::NotMapped => "write to blocks that are not written",
            Self::UnalignedPfn => "blocks are not aligned to 2 MiB",
            Self::NotContiguous => "the device has no 2 MiB in one piece",
            Self::LostRace => "another fault was first",
            Self::TableThere => "a page table is there",
        }
    }
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Traps into the kernel.
    pub faults: u64,
    /// Entries of 4 KiB put by DAX faults.
    pub pte: u64,
    /// Entries of 2 MiB put by DAX faults.
    pub pmd: u64,
    /// Reads of holes.
    pub zero: u64,
    /// Private copies.
    pub cow: u64,
    /// Write-protect faults.
    pub wp: u64,
    /// Faults on the page cache.
    pub page_cache: u64,
    /// Of the faults of 2 MiB, those that fell back, by reason.
    pub fallback: [u64; FallbackReason::ALL.len()],
}
