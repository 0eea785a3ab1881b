//! Every feature bit of ext4 by name (`EXT4_FEATURE_*`, Linux 6.12), under the names that mke2fs takes.

use core::fmt;

bitflags::bitflags! {
    /// `s_feature_compat`: unknown bits do no harm.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Compat: u32 {
        /// Directory preallocation (`dir_prealloc`).
        const DIR_PREALLOC = 0x0001;
        /// AFS "imagic" inodes (`imagic_inodes`).
        const IMAGIC_INODES = 0x0002;
        /// A journal (`has_journal`).
        const HAS_JOURNAL = 0x0004;
        /// Extended attributes (`ext_attr`).
        const EXT_ATTR = 0x0008;
        /// Reserved group descriptor blocks for growing (`resize_inode`).
        const RESIZE_INODE = 0x0010;
        /// Hashed directories (`dir_index`).
        const DIR_INDEX = 0x0020;
        /// Lazy block groups (`lazy_bg`), historic.
        const LAZY_BG = 0x0040;
        /// Exclude inode (`snapshot`), historic.
        const EXCLUDE_INODE = 0x0080;
        /// Exclude bitmap (`snapshot_bitmap`), historic.
        const EXCLUDE_BITMAP = 0x0100;
        /// At most two backups (`sparse_super2`).
        const SPARSE_SUPER2 = 0x0200;
        /// Fast commits in the journal (`fast_commit`).
        const FAST_COMMIT = 0x0400;
        /// Inode numbers and UUID may not change (`stable_inodes`).
        const STABLE_INODES = 0x0800;
        /// Orphans are kept in a file (`orphan_file`).
        const ORPHAN_FILE = 0x1000;
        const _ = !0;
    }
}

bitflags::bitflags! {
    /// `s_feature_incompat`: whoever does not know a bit must not touch the file system.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Incompat: u32 {
        /// Compressed files (`compression`), never merged.
        const COMPRESSION = 0x0000_0001;
        /// Directory entries hold the file type (`filetype`).
        const FILETYPE = 0x0000_0002;
        /// The journal wants replay (`needs_recovery`).
        const RECOVER = 0x0000_0004;
        /// An external journal device (`journal_dev`).
        const JOURNAL_DEV = 0x0000_0008;
        /// Descriptors are spread over meta block groups (`meta_bg`).
        const META_BG = 0x0000_0010;
        /// Extents (`extent`).
        const EXTENTS = 0x0000_0040;
        /// 64-bit block numbers (`64bit`).
        const BIT64 = 0x0000_0080;
        /// Multiple mount protection (`mmp`).
        const MMP = 0x0000_0100;
        /// Bitmaps and inode tables anywhere (`flex_bg`).
        const FLEX_BG = 0x0000_0200;
        /// Large attribute values in inodes (`ea_inode`).
        const EA_INODE = 0x0000_0400;
        /// Data in directory entries (`dirdata`), not in Linux.
        const DIRDATA = 0x0000_1000;
        /// The checksum seed is stored (`metadata_csum_seed`).
        const CSUM_SEED = 0x0000_2000;
        /// Directories above 2 GiB or three levels (`large_dir`).
        const LARGEDIR = 0x0000_4000;
        /// Small files live in the inode (`inline_data`).
        const INLINE_DATA = 0x0000_8000;
        /// Encryption (`encrypt`).
        const ENCRYPT = 0x0001_0000;
        /// Case-insensitive directories (`casefold`).
        const CASEFOLD = 0x0002_0000;
        const _ = !0;
    }
}

bitflags::bitflags! {
    /// `s_feature_ro_compat`: whoever does not know a bit may read, not write.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct RoCompat: u32 {
        /// Backups only in some groups (`sparse_super`).
        const SPARSE_SUPER = 0x0001;
        /// Files above 2 GiB (`large_file`).
        const LARGE_FILE = 0x0002;
        /// B-tree directories (`btree_dir`), never used.
        const BTREE_DIR = 0x0004;
        /// Block counts in units of blocks (`huge_file`).
        const HUGE_FILE = 0x0008;
        /// crc16 group checksums, uninitialised groups (`uninit_bg`).
        const GDT_CSUM = 0x0010;
        /// More than 65,000 subdirectories (`dir_nlink`).
        const DIR_NLINK = 0x0020;
        /// Inodes have room behind byte 128 (`extra_isize`).
        const EXTRA_ISIZE = 0x0040;
        /// Snapshots (`has_snapshot`), historic.
        const HAS_SNAPSHOT = 0x0080;
        /// Quota files are internal (`quota`).
        const QUOTA = 0x0100;
        /// Allocation by clusters (`bigalloc`).
        const BIGALLOC = 0x0200;
        /// crc32c checksums of metadata (`metadata_csum`).
        const METADATA_CSUM = 0x0400;
        /// Replicas (`replica`), not in Linux.
        const REPLICA = 0x0800;
        /// May never be mounted for writing (`read-only`).
        const READONLY = 0x1000;
        /// Project quota (`project`).
        const PROJECT = 0x2000;
        /// Blocks are shared between files (`shared_blocks`).
        const SHARED_BLOCKS = 0x4000;
        /// fs-verity (`verity`).
        const VERITY = 0x8000;
        /// The orphan file holds entries (`orphan_present`).
        const ORPHAN_PRESENT = 0x1_0000;
        const _ = !0;
    }
}

/// The three words of feature bits together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// Compatible.
    pub compat: Compat,
    /// Incompatible.
    pub incompat: Incompat,
    /// Read-only-compatible.
    pub ro_compat: RoCompat,
}

/// One feature bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// In `s_feature_compat`.
    Compat(Compat),
    /// In `s_feature_incompat`.
    Incompat(Incompat),
    /// In `s_feature_ro_compat`.
    RoCompat(RoCompat),
}

use Feature::{Compat as C, Incompat as I, RoCompat as R};

/// All features that have a name, in the order dumpe2fs prints them. Where mke2fs takes two spellings both stand here, the
/// printed one first.
pub const NAMES: &[(&str, Feature)] = &[
    ("dir_prealloc", C(Compat::DIR_PREALLOC)),
    ("imagic_inodes", C(Compat::IMAGIC_INODES)),
    ("has_journal", C(Compat::HAS_JOURNAL)),
    ("ext_attr", C(Compat::EXT_ATTR)),
    ("resize_inode", C(Compat::RESIZE_INODE)),
    ("dir_index", C(Compat::DIR_INDEX)),
    ("lazy_bg", C(Compat::LAZY_BG)),
    ("snapshot", C(Compat::EXCLUDE_INODE)),
    ("snapshot_bitmap", C(Compat::EXCLUDE_BITMAP)),
    ("sparse_super2", C(Compat::SPARSE_SUPER2)),
    ("fast_commit", C(Compat::FAST_COMMIT)),
    ("stable_inodes", C(Compat::STABLE_INODES)),
    ("orphan_file", C(Compat::ORPHAN_FILE)),
    ("compression", I(Incompat::COMPRESSION)),
    ("filetype", I(Incompat::FILETYPE)),
    ("needs_recovery", I(Incompat::RECOVER)),
    ("journal_dev", I(Incompat::JOURNAL_DEV)),
    ("meta_bg", I(Incompat::META_BG)),
    ("extent", I(Incompat::EXTENTS)),
    ("extents", I(Incompat::EXTENTS)),
    ("64bit", I(Incompat::BIT64)),
    ("mmp", I(Incompat::MMP)),
    ("flex_bg", I(Incompat::FLEX_BG)),
    ("ea_inode", I(Incompat::EA_INODE)),
    ("dirdata", I(Incompat::DIRDATA)),
    ("metadata_csum_seed", I(Incompat::CSUM_SEED)),
    ("large_dir", I(Incompat::LARGEDIR)),
    ("inline_data", I(Incompat::INLINE_DATA)),
    ("encrypt", I(Incompat::ENCRYPT)),
    ("casefold", I(Incompat::CASEFOLD)),
    ("fname_encoding", I(Incompat::CASEFOLD)),
    ("sparse_super", R(RoCompat::SPARSE_SUPER)),
    ("large_file", R(RoCompat::LARGE_FILE)),
    ("btree_dir", R(RoCompat::BTREE_DIR)),
    ("huge_file", R(RoCompat::HUGE_FILE)),
    ("uninit_bg", R(RoCompat::GDT_CSUM)),
    ("uninit_groups", R(RoCompat::GDT_CSUM)),
    ("dir_nlink", R(RoCompat::DIR_NLINK)),
    ("extra_isize", R(RoCompat::EXTRA_ISIZE)),
    ("has_snapshot", R(RoCompat::HAS_SNAPSHOT)),
    ("quota", R(RoCompat::QUOTA)),
    ("bigalloc", R(RoCompat::BIGALLOC)),
    ("metadata_csum", R(RoCompat::METADATA_CSUM)),
    ("replica", R(RoCompat::REPLICA)),
    ("read-only", R(RoCompat::READONLY)),
    ("project", R(RoCompat::PROJECT)),
    ("shared_blocks", R(RoCompat::SHARED_BLOCKS)),
    ("verity", R(RoCompat::VERITY)),
    ("orphan_present", R(RoCompat::ORPHAN_PRESENT)),
];

impl Feature {
    /// The feature called `name`: a name of [`NAMES`], or the numeric form e2fsprogs prints for bits without a name
    /// (`FEATURE_C12`, `FEATURE_I19`, `FEATURE_R20`).
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        if let Some((_, f)) = NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            return Some(*f);
        }
        let (class, bit) = name.strip_prefix("FEATURE_")?.split_at_checked(1)?;
        let bit = bit.parse::<u32>().ok().filter(|b| *b < 32)?;
        match class {
            "C" => Some(C(Compat::from_bits_retain(1 << bit))),
            "I" => Some(I(Incompat::from_bits_retain(1 << bit))),
            "R" => Some(R(RoCompat::from_bits_retain(1 << bit))),
            _ => None,
        }
    }

    /// The name under which dumpe2fs prints it.
    #[must_use]
    pub fn name(self) -> String {
        if let Some((n, _)) = NAMES.iter().find(|(_, f)| *f == self) {
            return (*n).to_owned();
        }
        let (class, bits) = match self {
            C(x) => ('C', x.bits()),
            I(x) => ('I', x.bits()),
            R(x) => ('R', x.bits()),
        };
        format!("FEATURE_{class}{}", bits.trailing_zeros())
    }
}

impl Features {
    /// The words of a superblock.
    #[must_use]
    pub fn of(sb: &super::super_block::SuperBlock) -> Self {
        Self { compat: sb.compat(), incompat: sb.incompat(), ro_compat: sb.ro_compat() }
    }

    /// True when the bit is set.
    #[must_use]
    pub fn has(&self, f: Feature) -> bool {
        match f {
            C(x) => self.compat.contains(x),
            I(x) => self.incompat.contains(x),
            R(x) => self.ro_compat.contains(x),
        }
    }

    /// Sets or clears a bit.
    pub fn set(&mut self, f: Feature, on: bool) {
        match f {
            C(x) => self.compat.set(x, on),
            I(x) => self.incompat.set(x, on),
            R(x) => self.ro_compat.set(x, on),
        }
    }

    /// The set bits one by one, in dumpe2fs's order.
    pub fn iter(&self) -> impl Iterator<Item = Feature> {
        let bits = |word: u32| (0..32).map(|b| 1u32 << b).filter(move |b| word & b != 0);
        bits(self.compat.bits())
            .map(|b| C(Compat::from_bits_retain(b)))
            .chain(bits(self.incompat.bits()).map(|b| I(Incompat::from_bits_retain(b))))
            .chain(bits(self.ro_compat.bits()).map(|b| R(RoCompat::from_bits_retain(b))))
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, feature) in self.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { " " }, feature.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_bit_has_one_printed_name_and_reads_back() {
        for (name, f) in NAMES {
            assert_eq!(Feature::by_name(name), Some(*f));
            assert_eq!(Feature::by_name(&f.name()), Some(*f));
        }
        assert_eq!(Feature::by_name("FEATURE_I19").map(Feature::name).as_deref(), Some("FEATURE_I19"));
        assert_eq!(Feature::by_name("FEATURE_I32"), None);
        assert_eq!(Feature::by_name("nonsense"), None);
    }

    #[test]
    fn unknown_bits_are_printed_by_number() {
        let f = Features { incompat: Incompat::from_bits_retain(0x8000_0002), ..Features::default() };
        assert_eq!(f.to_string(), "filetype FEATURE_I31");
    }
}
