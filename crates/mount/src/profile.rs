//! Which kernel, and whose rules: what differs between versions and between ext4 and XFS.

use daxkit_format::dax::{DaxMode, Kernel};

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
    /// How sure it is.
    pub evidence: Evidence,
}

/// What a set call that changes the flag does to a living inode of XFS. ext4 has a flag since 5.8 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// `S_DAX` becomes what the flag is, in the transaction and under no other lock (4.5).
    Unlocked,
    /// The same, with the locks of I/O and faults held and the page cache written and dropped (4.13).
    Locked,
    /// The flag on disk changes; the locks are taken and the cache is dropped all the same (4.14).
    OnDisk,
    /// The flag is advice: the inode is not to be cached (5.8).
    Advisory,
}

/// How sure a profile is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A kernel of it can be run here as judge; what was compared is said where it was.
    Runnable,
    /// From source: sources, patches and mails were read; no kernel here can check it.
    FromSource,
}

impl Evidence {
    /// In words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Runnable => "kernels can be run",
            Self::FromSource => "from source",
        }
    }
}

/// Every profile, oldest first, by the name that scenarios use.
pub const PROFILES: [(&str, Profile); 6] = [
    ("4.5", Profile { kernel: Kernel(4, 5), evidence: Evidence::FromSource }),
    ("4.13", Profile { kernel: Kernel(4, 13), evidence: Evidence::FromSource }),
    ("4.14", Profile { kernel: Kernel(4, 14), evidence: Evidence::FromSource }),
    ("5.8", Profile { kernel: Kernel(5, 8), evidence: Evidence::FromSource }),
    ("5.11", Profile { kernel: Kernel(5, 11), evidence: Evidence::Runnable }),
    ("6.2", Profile { kernel: Kernel(6, 2), evidence: Evidence::Runnable }),
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

    /// What a change of the flag does to a living inode of XFS.
    #[must_use]
    pub fn switch(&self) -> Switch {
        let since = |major, minor| self.kernel >= Kernel(major, minor);
        if since(5, 8) {
            Switch::Advisory
        } else if since(4, 14) {
            Switch::OnDisk
        } else if since(4, 13) {
            Switch::Locked
        } else {
            Switch::Unlocked
        }
    }

    /// Whether the option `dax` takes a mode (5.8). Before, it stands alone.
    #[must_use]
    pub fn has_dax_modes(&self) -> bool {
        self.kernel >= Kernel(5, 8)
    }

    /// Whether `dax` without a value is all that `/proc/mounts` can show.
    #[must_use]
    pub fn shown(&self, mode: DaxMode) -> &'static str {
        if self.has_dax_modes() { mode.option() } else { "dax" }
    }

    /// Whether DAX files have `address_space_operations` of their own (4.17). Before, the one vector asks `IS_DAX`.
    #[must_use]
    pub fn has_dax_aops(&self) -> bool {
        self.kernel >= Kernel(4, 17)
    }

    /// Whether there are `MAP_SYNC` and `MAP_SHARED_VALIDATE` (4.15).
    #[must_use]
    pub fn has_map_sync(&self) -> bool {
        self.kernel >= Kernel(4, 15)
    }

    /// Whether `vm_insert_mixed` insists on `VM_MIXEDMAP` (until 4.18).
    #[must_use]
    pub fn wants_mixedmap(&self) -> bool {
        self.kernel < Kernel(4, 19)
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

    /// Whether DAX entries keep an unused inode in memory. `inode_lru_isolate` keeps what has `nrpages`, later what is not
    /// `mapping_empty`; `grab_mapping_entry` counted entries in `nrexceptional` and counts them in `nrpages` since that is gone (all read, as
    /// changes). That 5.13 is where it went was read in lists of changes, not in a source.
    #[must_use]
    pub fn entries_keep_inodes(&self) -> bool {
        self.kernel >= Kernel(5, 13)
    }

    /// The bit of `statx` that mirrors `S_DAX`: there was none before 5.8 (0), and its first releases used another.
    #[must_use]
    pub fn statx_dax_bit(&self) -> u64 {
        if self.kernel >= Kernel(5, 10) {
            0x0020_0000
        } else if self.kernel >= Kernel(5, 8) {
            0x2000
        } else {
            0
        }
    }
}
