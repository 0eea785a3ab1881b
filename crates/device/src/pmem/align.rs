//! Which lengths a pmem device can have.

/// What the length of an image is a multiple of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PmemAlign {
    /// Nothing.
    None,
    /// 2 MiB: a PMD, and the granularity of pmem namespaces.
    #[default]
    Mib2,
    /// 16 MiB.
    Mib16,
    /// 128 MiB: a memory section.
    Mib128,
}

impl PmemAlign {
    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::None => 1,
            Self::Mib2 => 2 << 20,
            Self::Mib16 => 16 << 20,
            Self::Mib128 => 128 << 20,
        }
    }
}
