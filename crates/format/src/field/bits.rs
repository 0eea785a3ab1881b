//! Names of single bits, and of the values of small enumerations.

use crate::ext4::features::{Compat, Feature, Incompat, NAMES, RoCompat};
use crate::ext4::group_desc::GroupFlags;
use crate::ext4::inode_flags::InodeFlags;
use crate::ext4::super_block::{self, DefaultMountOpts, SuperFlags};
use crate::jbd2::TagFlags;
use bitflags::Flags;

/// A field whose bits have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitSet {
    /// `s_feature_compat`.
    Compat,
    /// `s_feature_incompat`.
    Incompat,
    /// `s_feature_ro_compat`.
    RoCompat,
    /// `s_feature_compat` of the journal.
    JournalCompat,
    /// `s_feature_incompat` of the journal.
    JournalIncompat,
    /// `i_flags`.
    Inode,
    /// `bg_flags`.
    Group,
    /// `s_state`.
    State,
    /// `s_flags`.
    Super,
    /// `s_default_mount_opts`.
    MountOpts,
    /// `s_encoding_flags`.
    Encoding,
    /// `t_flags` of a journal's tag.
    Tag,
}

const STATE: &[(&str, u64)] = &[
    ("clean", super_block::STATE_VALID as u64),
    ("errors", super_block::STATE_ERROR as u64),
    ("orphans", super_block::STATE_ORPHAN as u64),
    ("fc_replay", super_block::STATE_FC_REPLAY as u64),
];

const JOURNAL_INCOMPAT: &[(&str, u64)] = &[
    ("journal_incompat_revoke", 0x1),
    ("journal_64bit", 0x2),
    ("journal_async_commit", 0x4),
    ("journal_checksum_v2", 0x8),
    ("journal_checksum_v3", 0x10),
    ("fast_commit", 0x20),
];

const ENCODING: &[(&str, u64)] = &[("strict", super_block::ENCODING_STRICT as u64)];
const JOURNAL_COMPAT: &[(&str, u64)] = &[("journal_checksum", 1)];

fn flags_of<B: Flags>(bits: impl Fn(&B) -> u64) -> Vec<(&'static str, u64)> {
    B::FLAGS.iter().filter(|f| !f.name().is_empty()).map(|f| (f.name(), bits(f.value()))).collect()
}

impl BitSet {
    /// The names and their bits, lowest bit first; a bit appears once.
    #[must_use]
    pub fn names(self) -> Vec<(&'static str, u64)> {
        let features = |pick: fn(Feature) -> Option<u32>| -> Vec<(&'static str, u64)> {
            let mut out: Vec<(&'static str, u64)> = Vec::new();
            for (name, bits) in NAMES.iter().filter_map(|(n, f)| pick(*f).map(|b| (*n, u64::from(b)))) {
                if out.iter().all(|(_, b)| *b != bits) {
                    out.push((name, bits));
                }
            }
            out
        };
        match self {
            Self::Compat => features(|f| if let Feature::Compat(x) = f { Some(Compat::bits(&x)) } else { None }),
            Self::Incompat => features(|f| if let Feature::Incompat(x) = f { Some(Incompat::bits(&x)) } else { None }),
            Self::RoCompat => features(|f| if let Feature::RoCompat(x) = f { Some(RoCompat::bits(&x)) } else { None }),
            Self::JournalCompat => JOURNAL_COMPAT.to_vec(),
            Self::JournalIncompat => JOURNAL_INCOMPAT.to_vec(),
            Self::Inode => flags_of::<InodeFlags>(|f| u64::from(f.bits())),
            Self::Group => flags_of::<GroupFlags>(|f| u64::from(f.bits())),
            Self::State => STATE.to_vec(),
            Self::Super => flags_of::<SuperFlags>(|f| u64::from(f.bits())),
            Self::MountOpts => flags_of::<DefaultMountOpts>(|f| u64::from(f.bits())),
            Self::Encoding => ENCODING.to_vec(),
            Self::Tag => flags_of::<TagFlags>(|f| u64::from(f.bits())),
        }
    }

    /// The bit called `name`, whatever its case; the second spellings of features are known as well.
    #[must_use]
    pub fn bit(self, name: &str) -> Option<u64> {
        if let Some((_, bit)) = self.names().iter().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            return Some(*bit);
        }
        match (self, Feature::by_name(name)?) {
            (Self::Compat, Feature::Compat(x)) => Some(u64::from(x.bits())),
            (Self::Incompat, Feature::Incompat(x)) => Some(u64::from(x.bits())),
            (Self::RoCompat, Feature::RoCompat(x)) => Some(u64::from(x.bits())),
            _ => None,
        }
    }

    /// The set bits by name, separated by spaces; bits without a name as one hexadecimal number behind them; `0` for none.
    #[must_use]
    pub fn format(self, value: u64) -> String {
        let mut rest = value;
        let mut out: Vec<String> = Vec::new();
        for (name, bit) in self.names() {
            if rest & bit == bit {
                out.push(name.to_owned());
                rest &= !bit;
            }
        }
        if rest != 0 || out.is_empty() {
            out.push(if rest == 0 { "0".to_owned() } else { format!("{rest:#x}") });
        }
        out.join(" ")
    }

    /// Reads what [`BitSet::format`] wrote: names and numbers, separated by spaces, commas or `|`.
    #[must_use]
    pub fn parse(self, text: &str) -> Option<u64> {
        let mut words = text.split([' ', ',', '|']).filter(|w| !w.is_empty()).peekable();
        words.peek()?;
        words.try_fold(0, |all, word| Some(all | self.bit(word).or_else(|| super::parse_number(word))?))
    }
}
