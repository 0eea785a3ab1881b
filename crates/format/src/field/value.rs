//! Values of fields as text, and back.

use super::bits::BitSet;
use super::number::parse_number;
use super::quote::{quote, unquote};
use super::structure::Structure;
use super::time::{format_time, parse_time};
use crate::ext4::inode::Timestamp;
use crate::on_disk::{FieldKind, FieldValue};

/// How the value of a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Integers in decimal; arrays separated by spaces, zeroes at the end left out.
    Decimal,
    /// Integers in hexadecimal.
    Hex,
    /// Integers in octal, as for `i_mode`.
    Octal,
    /// Seconds since 1970 as a date. Fields of 32 bits are signed, wider ones are not.
    Time,
    /// Seconds and nanoseconds (two integers) as a date.
    TimeNanos,
    /// Sixteen bytes as a UUID; also four little-endian words (`s_hash_seed`).
    Uuid,
    /// Bytes as quoted text, zeroes at the end left out.
    Text,
    /// Bytes as hexadecimal digits, zeroes at the end left out.
    Bytes,
    /// Bits by name.
    Bits(BitSet),
    /// One of a few values that have names.
    Names(&'static [(&'static str, u64)]),
}

/// Why a text is not a value of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// It cannot be read in the field's form.
    #[error("{text:?} is not {wanted}")]
    Syntax {
        /// What was given.
        text: String,
        /// What would do.
        wanted: &'static str,
    },
    /// It is a value, but not one this field can hold.
    #[error("{text:?} does not fit a field of {bytes} bytes")]
    Range {
        /// What was given.
        text: String,
        /// Size of the field.
        bytes: usize,
    },
}

const HASHES: &[(&str, u64)] = &[
    ("legacy", 0),
    ("half_md4", 1),
    ("tea", 2),
    ("legacy_unsigned", 3),
    ("half_md4_unsigned", 4),
    ("tea_unsigned", 5),
    ("siphash", 6),
];
const FILE_TYPES: &[(&str, u64)] =
    &[("reg", 1), ("dir", 2), ("chr", 3), ("blk", 4), ("fifo", 5), ("sock", 6), ("symlink", 7), ("csum", 0xDE)];
const ERRORS: &[(&str, u64)] = &[("continue", 1), ("remount-ro", 2), ("panic", 3)];
const SUPER_CSUM: &[(&str, u64)] = &[("crc32c", 1)];
const JOURNAL_CSUM: &[(&str, u64)] = &[("crc32", 1), ("md5", 2), ("sha1", 3), ("crc32c", 4)];
const CREATORS: &[(&str, u64)] = &[("hurd", 1), ("masix", 2), ("freebsd", 3), ("lites", 4)];
const BLOCK_TYPES: &[(&str, u64)] =
    &[("descriptor", 1), ("commit", 2), ("superblock_v1", 3), ("superblock_v2", 4), ("revoke", 5)];

impl Format {
    /// The form of a field, by the structure and the kernel's name.
    #[must_use]
    pub fn of(structure: Structure, name: &str, kind: FieldKind) -> Self {
        use Structure as S;
        let by_name = match (structure, name) {
            (S::SuperBlock, "s_feature_compat") => Some(Self::Bits(BitSet::Compat)),
            (S::SuperBlock, "s_feature_incompat") => Some(Self::Bits(BitSet::Incompat)),
            (S::SuperBlock, "s_feature_ro_compat") => Some(Self::Bits(BitSet::RoCompat)),
            (S::JournalSuperBlock, "s_feature_compat") => Some(Self::Bits(BitSet::JournalCompat)),
            (S::JournalSuperBlock, "s_feature_incompat") => Some(Self::Bits(BitSet::JournalIncompat)),
            (S::SuperBlock, "s_flags") => Some(Self::Bits(BitSet::Super)),
            (S::SuperBlock, "s_state") => Some(Self::Bits(BitSet::State)),
            (S::SuperBlock, "s_checksum_type") => Some(Self::Names(SUPER_CSUM)),
            (S::JournalSuperBlock, "s_checksum_type") | (_, "h_chksum_type") => Some(Self::Names(JOURNAL_CSUM)),
            (_, "s_default_mount_opts") => Some(Self::Bits(BitSet::MountOpts)),
            (_, "s_encoding_flags") => Some(Self::Bits(BitSet::Encoding)),
            (_, "s_errors") => Some(Self::Names(ERRORS)),
            (_, "s_creator_os") => Some(Self::Names(CREATORS)),
            (_, "s_def_hash_version" | "hash_version") => Some(Self::Names(HASHES)),
            (_, "i_flags") => Some(Self::Bits(BitSet::Inode)),
            (_, "bg_flags") => Some(Self::Bits(BitSet::Group)),
            (S::BlockTag | S::BlockTag3, "t_flags") => Some(Self::Bits(BitSet::Tag)),
            (_, "file_type" | "det_reserved_ft" | "dot_file_type" | "dotdot_file_type") => {
                Some(Self::Names(FILE_TYPES))
            }
            (_, "h_blocktype") => Some(Self::Names(BLOCK_TYPES)),
            (_, "i_mode") => Some(Self::Octal),
            (
                _,
                "s_mtime" | "s_wtime" | "s_lastcheck" | "s_mkfs_time" | "s_first_error_time" | "s_last_error_time"
                | "i_atime" | "i_ctime" | "i_mtime" | "i_dtime" | "i_crtime" | "mmp_time" | "h_commit_sec"
                | "dqb_btime" | "dqb_itime",
            ) => Some(Self::Time),
            (_, "s_uuid" | "s_journal_uuid" | "s_hash_seed" | "s_encrypt_pw_salt") => Some(Self::Uuid),
            (
                _,
                "s_volume_name" | "s_last_mounted" | "s_first_error_func" | "s_last_error_func" | "s_mount_opts"
                | "mmp_nodename" | "mmp_bdevname" | "dot_name" | "dotdot_name",
            ) => Some(Self::Text),
            (
                _,
                "s_algorithm_usage_bitmap" | "mmp_seq" | "hash" | "minor_hash" | "e_hash" | "h_hash" | "i_generation",
            ) => Some(Self::Hex),
            (_, n) if n.ends_with("_magic") || n.contains("checksum") || n.contains("csum") || n.ends_with("_crc") => {
                Some(Self::Hex)
            }
            (_, n) if n.ends_with("time_extra") => Some(Self::Hex),
            _ => None,
        };
        match (by_name, kind) {
            (Some(f), _) => f,
            (None, FieldKind::Bytes { .. }) => Self::Bytes,
            (None, _) => Self::Decimal,
        }
    }

    /// What a value of this form looks like, for messages.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Decimal | Self::Hex | Self::Octal => "a number",
            Self::Time | Self::TimeNanos => "a time (YYYY-MM-DDThh:mm:ssZ, YYYYMMDDhhmmss or @SECONDS)",
            Self::Uuid => "a UUID",
            Self::Text => "text",
            Self::Bytes => "hexadecimal bytes",
            Self::Bits(_) => "a list of flags, or a number",
            Self::Names(_) => "one of the known names, or a number",
        }
    }

    /// Writes a value.
    #[must_use]
    pub fn format(self, kind: FieldKind, value: &FieldValue) -> String {
        match (self, value) {
            (Self::Uuid, FieldValue::Bytes(b)) => format_uuid(b),
            (Self::Uuid, FieldValue::Ints(v)) => {
                let bytes: Vec<u8> = v.iter().flat_map(|w| w.to_le_bytes().into_iter().take(4)).collect();
                format_uuid(&bytes)
            }
            (Self::Text, FieldValue::Bytes(b)) => quote(without_zeroes(b)),
            (_, FieldValue::Bytes(b)) => format!("0x{}", to_hex(without_zeroes(b))),
            (Self::TimeNanos, FieldValue::Ints(v)) => match v.as_slice() {
                [s, n] => {
                    format_time(Timestamp { seconds: s.cast_signed(), nanos: u32::try_from(*n).unwrap_or(u32::MAX) })
                }
                _ => ints(v),
            },
            (Self::Time, FieldValue::Int(x)) => {
                // A 64-bit time past what the calendar reaches stays a number.
                let narrow = matches!(kind, FieldKind::Le { width: 4, .. } | FieldKind::Be { width: 4, .. });
                let seconds = if narrow { i64::from((*x as u32).cast_signed()) } else { x.cast_signed() };
                format_time(Timestamp { seconds, nanos: 0 })
            }
            (Self::Bits(set), FieldValue::Int(x)) => set.format(*x),
            (Self::Names(names), FieldValue::Int(x)) => {
                names.iter().find(|(_, v)| v == x).map_or_else(|| x.to_string(), |(n, _)| (*n).to_owned())
            }
            (Self::Hex, FieldValue::Int(x)) => format!("{x:#x}"),
            (Self::Octal, FieldValue::Int(x)) => format!("0{x:o}"),
            (_, FieldValue::Int(x)) => x.to_string(),
            (_, FieldValue::Ints(v)) => ints(v),
        }
    }

    /// Reads a value that [`Format::format`] wrote, or that debugfs would take for the field: any field of integers takes
    /// numbers in decimal, `0x` hexadecimal and `0` octal.
    ///
    /// # Errors
    /// [`ValueError`].
    pub fn parse(self, kind: FieldKind, text: &str) -> Result<FieldValue, ValueError> {
        let text = text.trim();
        let syntax = || ValueError::Syntax { text: text.to_owned(), wanted: self.describe() };
        let (width, count) = match kind {
            FieldKind::Bytes { count } => {
                let bytes = match self {
                    Self::Uuid => parse_uuid(text),
                    Self::Text if text.starts_with('"') => unquote(text).filter(|(_, r)| r.is_empty()).map(|(b, _)| b),
                    Self::Text => Some(text.as_bytes().to_vec()),
                    _ => parse_hex(text),
                };
                let bytes = bytes.ok_or_else(syntax)?;
                if bytes.len() > usize::from(count) {
                    return Err(ValueError::Range { text: text.to_owned(), bytes: usize::from(count) });
                }
                return Ok(FieldValue::Bytes(bytes));
            }
            FieldKind::Le { width, count } | FieldKind::Be { width, count } => (width, count),
        };
        let fits = |x: &u64| width >= 8 || *x >> (u32::from(width) * 8) == 0;
        let value = match self {
            Self::Uuid => {
                let bytes = parse_uuid(text).ok_or_else(syntax)?;
                FieldValue::Ints(
                    bytes.chunks(4).map(|c| c.iter().rev().fold(0, |a, b| a << 8 | u64::from(*b))).collect(),
                )
            }
            Self::TimeNanos => {
                let t = parse_time(text).ok_or_else(syntax)?;
                return Ok(FieldValue::Ints(vec![t.seconds.cast_unsigned(), u64::from(t.nanos)]));
            }
            Self::Time => {
                let t = parse_time(text).ok_or_else(syntax)?;
                if width == 4 {
                    // Seconds up to 2038 are signed on disk; larger ones are taken as they are, as debugfs does.
                    let low = i32::try_from(t.seconds).map(i32::cast_unsigned).or_else(|_| u32::try_from(t.seconds));
                    FieldValue::Int(u64::from(
                        low.map_err(|_| ValueError::Range { text: text.to_owned(), bytes: usize::from(width) })?,
                    ))
                } else {
                    FieldValue::Int(t.seconds.cast_unsigned())
                }
            }
            Self::Bits(set) if count == 1 => FieldValue::Int(set.parse(text).ok_or_else(syntax)?),
            Self::Names(names) if count == 1 => {
                let named = names.iter().find(|(n, _)| n.eq_ignore_ascii_case(text)).map(|(_, v)| *v);
                FieldValue::Int(named.or_else(|| parse_number(text)).ok_or_else(syntax)?)
            }
            _ if count == 1 => FieldValue::Int(parse_number(text).ok_or_else(syntax)?),
            _ => {
                let words = text.split([' ', ',']).filter(|w| !w.is_empty());
                let mut v: Vec<u64> = words.map(parse_number).collect::<Option<_>>().ok_or_else(syntax)?;
                if v.is_empty() || v.len() > usize::from(count) {
                    return Err(syntax());
                }
                v.resize(usize::from(count), 0);
                FieldValue::Ints(v)
            }
        };
        let ok = match &value {
            FieldValue::Int(x) => fits(x),
            FieldValue::Ints(v) => v.iter().all(fits) && v.len() == usize::from(count),
            FieldValue::Bytes(_) => false,
        };
        if ok { Ok(value) } else { Err(ValueError::Range { text: text.to_owned(), bytes: kind.len() }) }
    }
}

fn ints(v: &[u64]) -> String {
    let used = v.iter().rposition(|x| *x != 0).map_or(1, |i| i + 1);
    v.iter().take(used).map(u64::to_string).collect::<Vec<_>>().join(" ")
}

fn without_zeroes(b: &[u8]) -> &[u8] {
    let used = b.iter().rposition(|x| *x != 0).map_or(0, |i| i + 1);
    b.get(..used).unwrap_or_default()
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use core::fmt::Write;
    let mut out = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        // Writing to a string does not fail.
        let _ = write!(out, "{b:02x}");
    }
    out
}

/// Reads hexadecimal digits, with or without `0x`; blanks between bytes are allowed.
#[must_use]
pub fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text
        .strip_prefix("0x")
        .unwrap_or(text)
        .chars()
        .filter(|c| *c != ' ')
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    Some(pairs.map(|p| p.iter().fold(0, |a, d| a << 4 | *d as u8)).collect())
}

fn format_uuid(b: &[u8]) -> String {
    let mut out = String::with_capacity(36);
    for (i, byte) in b.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

/// Reads a UUID in its usual form, or `clear` and `null` as debugfs does. (`random` and `time` are for the caller.)
#[must_use]
pub fn parse_uuid(text: &str) -> Option<Vec<u8>> {
    if matches!(text, "clear" | "null") {
        return Some(vec![0; 16]);
    }
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    if groups != [8, 4, 4, 4, 12] && groups != [32] {
        return None;
    }
    parse_hex(&text.replace('-', "")).filter(|b| b.len() == 16)
}
