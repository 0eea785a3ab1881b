//! Feature words (`-O`), the features of each type, and which of them go together.
//!
//! The rules are mke2fs's of e2fsprogs 1.47 (`PRS`, `e2p_edit_feature`), compared with it by a test over all pairs. Where a
//! rule differs, [`check`] says why.

use super::error::{Notice, OptionError};
use daxkit_format::ext4::features::{Compat, Feature, Features, Incompat, NAMES, RoCompat};

/// What `-t` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FsType {
    Ext2,
    Ext3,
    Ext4,
}

impl FsType {
    pub(super) fn parse(typed: Option<&str>, hurd: bool) -> Result<Self, OptionError> {
        match typed {
            None if hurd => Ok(Self::Ext2),
            None | Some("ext4") => Ok(Self::Ext4),
            Some("ext2") => Ok(Self::Ext2),
            Some("ext3") => Ok(Self::Ext3),
            Some(other) => Err(OptionError::value("-t", other, "wants ext2, ext3 or ext4")),
        }
    }

    /// The features a file system of this type has unless something else is said.
    pub(super) fn features(self) -> Features {
        let mut f = Features {
            compat: Compat::EXT_ATTR | Compat::RESIZE_INODE | Compat::DIR_INDEX,
            incompat: Incompat::FILETYPE,
            ro_compat: RoCompat::SPARSE_SUPER | RoCompat::LARGE_FILE,
        };
        if self != Self::Ext2 {
            f.compat |= Compat::HAS_JOURNAL;
        }
        if self == Self::Ext4 {
            f.incompat |= Incompat::EXTENTS | Incompat::BIT64 | Incompat::FLEX_BG;
            f.ro_compat |= RoCompat::HUGE_FILE | RoCompat::DIR_NLINK | RoCompat::EXTRA_ISIZE | RoCompat::METADATA_CSUM;
        }
        f
    }
}

/// What GNU/Hurd cannot read.
pub(super) const NOT_FOR_HURD: &[Feature] = &[
    Feature::Incompat(Incompat::FILETYPE),
    Feature::RoCompat(RoCompat::HUGE_FILE),
    Feature::RoCompat(RoCompat::METADATA_CSUM),
    Feature::Incompat(Incompat::EA_INODE),
    Feature::Incompat(Incompat::CASEFOLD),
];

/// Why a feature with a name is not made; `None` for those that are.
fn unmakeable(f: Feature) -> Option<&'static str> {
    let never = "no kernel in use makes or needs it";
    let state = "it describes the state of a file system in use, not a way to make one";
    match f {
        Feature::Compat(Compat::DIR_PREALLOC | Compat::IMAGIC_INODES | Compat::LAZY_BG) => Some(never),
        Feature::Compat(Compat::EXCLUDE_INODE | Compat::EXCLUDE_BITMAP) | Feature::RoCompat(RoCompat::HAS_SNAPSHOT) => {
            Some("snapshots of ext4 were never merged")
        }
        Feature::Incompat(Incompat::COMPRESSION) => Some("compression of ext4 was never merged"),
        Feature::Incompat(Incompat::RECOVER) | Feature::RoCompat(RoCompat::ORPHAN_PRESENT) => Some(state),
        Feature::Incompat(Incompat::DIRDATA) | Feature::RoCompat(RoCompat::REPLICA) => Some("Linux does not have it"),
        Feature::RoCompat(RoCompat::BTREE_DIR) => Some(never),
        Feature::RoCompat(RoCompat::READONLY) => Some("it is set on a finished image, to keep writers away"),
        Feature::RoCompat(RoCompat::SHARED_BLOCKS) => Some("blocks shared between files are not made"),
        _ => None,
    }
}

/// Applies one `-O` argument: words separated by commas or blanks; `^` or `-` takes a feature away, `none` and `clear` all
/// of them.
pub(super) fn edit(features: &mut Features, words: &str) -> Result<(), OptionError> {
    // A comma at the end is let through, as mke2fs does.
    let words = words.strip_suffix(',').unwrap_or(words);
    if words.trim().is_empty() {
        return Ok(());
    }
    for list in words.split_whitespace() {
        for word in list.split(',') {
            edit_one(features, word)?;
        }
    }
    Ok(())
}

fn edit_one(features: &mut Features, word: &str) -> Result<(), OptionError> {
    if word.eq_ignore_ascii_case("none") || word.eq_ignore_ascii_case("clear") {
        *features = Features::default();
        return Ok(());
    }
    let (on, name) = match word.split_at_checked(1) {
        Some(("^" | "-", rest)) => (false, rest),
        Some(("+", rest)) => (true, rest),
        _ => (true, word),
    };
    // Bits without a name are not made: nobody could say what they ask of the image.
    let named = NAMES.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let feature = Feature::by_name(name).filter(|_| named).ok_or_else(|| OptionError::Word {
        option: "-O",
        word: word.to_owned(),
        known: makeable_names().join(", "),
    })?;
    if let Some(why) = unmakeable(feature) {
        return Err(OptionError::Feature { feature: name.to_owned(), why });
    }
    features.set(feature, on);
    Ok(())
}

/// The names of all features that can be made, each once.
#[must_use]
pub fn makeable_names() -> Vec<&'static str> {
    let mut seen = Vec::new();
    let mut names = Vec::new();
    for (name, feature) in NAMES {
        if unmakeable(*feature).is_none() && !seen.contains(feature) {
            seen.push(*feature);
            names.push(*name);
        }
    }
    names
}

/// What a journal device keeps of the features.
pub(super) fn reduce_to_journal_device(f: &mut Features) {
    f.compat = Compat::empty();
    f.incompat = Incompat::JOURNAL_DEV;
    f.ro_compat &= RoCompat::METADATA_CSUM;
}

/// Settles which features go together.
///
/// `uninit_bg` gives way to `metadata_csum`, everything else that does not fit is refused. One rule is stricter than
/// `mke2fs -n`: `orphan_file` without a journal, which mke2fs itself finds out half way. `fast_commit` without a journal,
/// which mke2fs makes and nobody reads, is left out with a notice.
pub(super) fn check(f: &mut Features, inode_size: u16, notices: &mut Vec<Notice>) -> Result<(), OptionError> {
    let extents = f.incompat.contains(Incompat::EXTENTS);
    if f.incompat.contains(Incompat::BIT64) && !extents {
        return Err(OptionError::conflict("-O 64bit", "needs the feature extent: block maps hold 32-bit numbers"));
    }
    if f.ro_compat.contains(RoCompat::BIGALLOC) && !extents {
        return Err(OptionError::conflict("-O bigalloc", "needs the feature extent"));
    }
    if f.incompat.contains(Incompat::META_BG) && f.compat.contains(Compat::RESIZE_INODE) {
        return Err(OptionError::conflict(
            "-O meta_bg",
            "excludes resize_inode: both decide where descriptors lie (-O meta_bg,^resize_inode)",
        ));
    }
    if f.compat.contains(Compat::RESIZE_INODE) && !f.ro_compat.contains(RoCompat::SPARSE_SUPER) {
        return Err(OptionError::conflict(
            "-O ^sparse_super",
            "resize_inode needs sparse_super (-O ^sparse_super,^resize_inode)",
        ));
    }
    if f.ro_compat.contains(RoCompat::METADATA_CSUM) {
        f.ro_compat.remove(RoCompat::GDT_CSUM);
    } else if f.incompat.contains(Incompat::CSUM_SEED) {
        return Err(OptionError::conflict("-O metadata_csum_seed", "needs the feature metadata_csum"));
    }
    if inode_size == 128 {
        for (on, name) in [
            (f.incompat.contains(Incompat::INLINE_DATA), "inline_data"),
            (f.ro_compat.contains(RoCompat::PROJECT), "project"),
        ] {
            if on {
                return Err(OptionError::conflict(
                    format!("-O {name}"),
                    "inodes of 128 bytes have no room for it; -I 256 has",
                ));
            }
        }
    }
    if !f.compat.contains(Compat::HAS_JOURNAL) {
        if f.compat.contains(Compat::ORPHAN_FILE) {
            return Err(OptionError::conflict("-O orphan_file", "needs a journal"));
        }
        if f.compat.contains(Compat::FAST_COMMIT) {
            f.compat.remove(Compat::FAST_COMMIT);
            notices.push(Notice::warning("fast_commit means nothing without a journal: left out"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(words: &str) -> Result<Features, OptionError> {
        let mut f = FsType::Ext4.features();
        edit(&mut f, words).map(|()| f)
    }

    #[test]
    fn the_types_have_the_features_promised() {
        assert_eq!(
            FsType::Ext4.features().to_string(),
            "has_journal ext_attr resize_inode dir_index filetype extent 64bit flex_bg sparse_super large_file huge_file \
             dir_nlink extra_isize metadata_csum"
        );
        let ext2 = "ext_attr resize_inode dir_index filetype sparse_super large_file";
        assert_eq!(FsType::Ext2.features().to_string(), ext2);
        assert_eq!(FsType::Ext3.features().to_string(), format!("has_journal {ext2}"));
    }

    #[test]
    fn words_add_and_take_away_in_order() {
        let f = edited("none,extent,+64bit,^64bit,-extent,EXTENTS quota,").unwrap();
        assert_eq!(f.to_string(), "extent quota");
        assert_eq!(edited("clear").unwrap(), Features::default());
        assert_eq!(edited("").unwrap(), FsType::Ext4.features());
    }

    #[test]
    fn unknown_nameless_and_unmakeable_features_are_refused_by_name() {
        for word in ["bogus", "FEATURE_C12", "^FEATURE_R10", ",extent", "^none", "default", "^", "extent,,quota"] {
            assert!(matches!(edited(word), Err(OptionError::Word { .. })), "{word}");
        }
        for word in ["needs_recovery", "^compression", "shared_blocks", "orphan_present"] {
            assert!(matches!(edited(word), Err(OptionError::Feature { .. })), "{word}");
        }
    }

    #[test]
    fn every_feature_is_either_made_or_has_a_reason() {
        assert_eq!(makeable_names().len(), 32);
        assert!(makeable_names().contains(&"verity"));
        assert!(!makeable_names().contains(&"extents"));
    }
}
