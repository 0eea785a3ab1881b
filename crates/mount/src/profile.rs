//! Which kernel, and whose rules: what differs between versions and between ext4 and XFS.

use daxkit_format::dax::Kernel;

/// Whose methods a mount uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Personality {
    /// ext4.
    #[default]
    Ext4,
    /// XFS.
    Xfs,
}

/// A kernel, as far as its behaviour matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// The version.
    pub kernel: Kernel,
    /// Whether a flag can change `S_DAX` of a living inode, and by which design. `Advisory` since 5.8.
    pub evidence: Evidence,
}

/// How sure a profile is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Compared with a running kernel.
    Compared,
    /// Written from the sources; no kernel here can check it.
    FromSource,
}

/// Every profile, oldest first, by the name that scenarios use.
pub const PROFILES: [(&str, Profile); 6] = [
    ("4.5", Profile { kernel: Kernel(4, 5), evidence: Evidence::FromSource }),
    ("4.13", Profile { kernel: Kernel(4, 13), evidence: Evidence::FromSource }),
    ("4.14", Profile { kernel: Kernel(4, 14), evidence: Evidence::FromSource }),
    ("5.8", Profile { kernel: Kernel(5, 8), evidence: Evidence::FromSource }),
    ("5.11", Profile { kernel: Kernel(5, 11), evidence: Evidence::FromSource }),
    ("6.2", Profile { kernel: Kernel(6, 2), evidence: Evidence::FromSource }),
];

impl Default for Profile {
    fn default() -> Self {
        PROFILES[5].1
    }
}

impl Profile {
    /// The profile that stands for a kernel version: the newest that is not newer.
    #[must_use]
    pub fn for_kernel(kernel: Kernel) -> Self {
        PROFILES
            .iter()
            .rev()
            .map(|(_, profile)| *profile)
            .find(|profile| profile.kernel <= kernel)
            .map_or(PROFILES[0].1, |profile| Self { kernel, ..profile })
    }

    /// A profile by name (`6.2`, `5.11-6.1`, `6.12`).
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let first = name.split(['-', '+']).next()?;
        let (major, minor) = first.split_once('.')?;
        Some(Self::for_kernel(Kernel(major.parse().ok()?, minor.parse().ok()?)))
    }

    /// Whether ext4 knows the flag (5.8).
    #[must_use]
    pub fn ext4_has_flag(&self) -> bool {
        self.kernel >= Kernel(5, 8)
    }

    /// Whether dropping an `I_DONTCACHE` inode loses its dirty page cache (5.8 to 5.10).
    #[must_use]
    pub fn dontcache_loses_data(&self) -> bool {
        self.kernel >= Kernel(5, 8) && self.kernel < Kernel(5, 11)
    }

    /// Whether a `DCACHE_DONTCACHE` dentry that was referenced again is kept at its last put (5.8 to 5.10).
    #[must_use]
    pub fn dontcache_keeps_referenced(&self) -> bool {
        self.dontcache_loses_data()
    }

    /// Whether an inode with pages in its mapping stays off the LRU (5.16).
    #[must_use]
    pub fn populated_is_not_shrinkable(&self) -> bool {
        self.kernel >= Kernel(5, 16)
    }

    /// The bit of `statx` that mirrors `S_DAX`: the first releases used another.
    #[must_use]
    pub fn statx_dax_bit(&self) -> u64 {
        if self.kernel >= Kernel(5, 8) && self.kernel < Kernel(5, 10) { 0x2000 } else { 0x0020_0000 }
    }
}
