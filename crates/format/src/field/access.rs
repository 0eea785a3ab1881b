//! A field by any of its names: the kernel's, debugfs's, or that of a value kept in two halves.

use super::structure::Structure;
use super::value::{Format, ValueError};
use crate::ext4::inode::Timestamp;
use crate::on_disk::{FieldDef, FieldKind, FieldValue};

/// How two fields make one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    /// The second holds the bits above the first.
    High(FieldDef),
    /// The second is the extra word of a time: two more bits of seconds, and nanoseconds.
    Extra(FieldDef),
}

/// A field, or a value made of two fields, ready to be read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Where it belongs.
    pub structure: Structure,
    /// The kernel's name, or the joined name (`i_size`).
    pub name: &'static str,
    /// The field, or the low half.
    pub low: FieldDef,
    second: Option<Second>,
}

/// Values that lie in two fields: joined name, low half, high half.
const HALVES: &[(Structure, &str, &str, &str)] = &[
    (Structure::SuperBlock, "s_blocks_count", "s_blocks_count_lo", "s_blocks_count_hi"),
    (Structure::SuperBlock, "s_r_blocks_count", "s_r_blocks_count_lo", "s_r_blocks_count_hi"),
    (Structure::SuperBlock, "s_free_blocks_count", "s_free_blocks_count_lo", "s_free_blocks_count_hi"),
    (Structure::GroupDesc, "bg_block_bitmap", "bg_block_bitmap_lo", "bg_block_bitmap_hi"),
    (Structure::GroupDesc, "bg_inode_bitmap", "bg_inode_bitmap_lo", "bg_inode_bitmap_hi"),
    (Structure::GroupDesc, "bg_inode_table", "bg_inode_table_lo", "bg_inode_table_hi"),
    (Structure::GroupDesc, "bg_free_blocks_count", "bg_free_blocks_count_lo", "bg_free_blocks_count_hi"),
    (Structure::GroupDesc, "bg_free_inodes_count", "bg_free_inodes_count_lo", "bg_free_inodes_count_hi"),
    (Structure::GroupDesc, "bg_used_dirs_count", "bg_used_dirs_count_lo", "bg_used_dirs_count_hi"),
    (Structure::GroupDesc, "bg_itable_unused", "bg_itable_unused_lo", "bg_itable_unused_hi"),
    (Structure::GroupDesc, "bg_exclude_bitmap", "bg_exclude_bitmap_lo", "bg_exclude_bitmap_hi"),
    (Structure::GroupDesc, "bg_block_bitmap_csum", "bg_block_bitmap_csum_lo", "bg_block_bitmap_csum_hi"),
    (Structure::GroupDesc, "bg_inode_bitmap_csum", "bg_inode_bitmap_csum_lo", "bg_inode_bitmap_csum_hi"),
    (Structure::Inode, "i_uid_full", "i_uid", "l_i_uid_high"),
    (Structure::Inode, "i_gid_full", "i_gid", "l_i_gid_high"),
    (Structure::Inode, "i_size", "i_size_lo", "i_size_high"),
    (Structure::Inode, "i_blocks", "i_blocks_lo", "l_i_blocks_high"),
    (Structure::Inode, "i_file_acl", "i_file_acl_lo", "l_i_file_acl_high"),
    (Structure::Inode, "i_version", "l_i_version", "i_version_hi"),
    (Structure::Inode, "i_checksum", "l_i_checksum_lo", "i_checksum_hi"),
    (Structure::Extent, "ee_start", "ee_start_lo", "ee_start_hi"),
    (Structure::ExtentIdx, "ei_leaf", "ei_leaf_lo", "ei_leaf_hi"),
];

/// Times with an extra word, under the names debugfs gives to the whole.
const TIMES: &[(&str, &str, &str)] = &[
    ("atime", "i_atime", "i_atime_extra"),
    ("ctime", "i_ctime", "i_ctime_extra"),
    ("mtime", "i_mtime", "i_mtime_extra"),
    ("crtime", "i_crtime", "i_crtime_extra"),
];

/// Short names that are not the kernel's name without its prefix.
const ALIASES: &[(Structure, &str, &str)] = &[
    (Structure::SuperBlock, "mmp_interval", "s_mmp_update_interval"),
    (Structure::Inode, "uid", "i_uid_full"),
    (Structure::Inode, "gid", "i_gid_full"),
    (Structure::Inode, "uid_lo", "i_uid"),
    (Structure::Inode, "gid_lo", "i_gid"),
    (Structure::Inode, "uid_hi", "l_i_uid_high"),
    (Structure::Inode, "gid_hi", "l_i_gid_high"),
    (Structure::Inode, "size_hi", "i_size_high"),
    (Structure::Inode, "blocks_hi", "l_i_blocks_high"),
    (Structure::Inode, "file_acl_hi", "l_i_file_acl_high"),
    (Structure::Inode, "version_lo", "l_i_version"),
    (Structure::Inode, "checksum_lo", "l_i_checksum_lo"),
    (Structure::Inode, "translator", "l_i_version"),
    (Structure::Inode, "faddr", "i_obso_faddr"),
    (Structure::Inode, "frag", "h_i_frag"),
    (Structure::Inode, "fsize", "h_i_fsize"),
    (Structure::Inode, "author", "h_i_author"),
    (Structure::Inode, "atime_lo", "i_atime"),
    (Structure::Inode, "ctime_lo", "i_ctime"),
    (Structure::Inode, "mtime_lo", "i_mtime"),
    (Structure::Inode, "crtime_lo", "i_crtime"),
    (Structure::Inode, "atime_hi", "i_atime_extra"),
    (Structure::Inode, "ctime_hi", "i_ctime_extra"),
    (Structure::Inode, "mtime_hi", "i_mtime_extra"),
    (Structure::Inode, "crtime_hi", "i_crtime_extra"),
    (Structure::DqHeader, "magic", "dqh_magic"),
];

/// Fields that lie over others: those of an inode under another operating system (`osd2.hurd2`).
const OVER: &[(Structure, FieldDef)] = &[
    (Structure::Inode, over("h_i_frag", 0x74, 1)),
    (Structure::Inode, over("h_i_fsize", 0x75, 1)),
    (Structure::Inode, over("h_i_author", 0x7C, 4)),
];

const fn over(name: &'static str, offset: usize, width: u8) -> FieldDef {
    FieldDef { name, offset, kind: FieldKind::Le { width, count: 1 } }
}

impl Access {
    /// The field or value of `structure` called `name`: the kernel's name, its short form in debugfs, or a joined name.
    #[must_use]
    pub fn find(structure: Structure, name: &str) -> Option<Self> {
        let def = |n: &str| {
            let over = || OVER.iter().find(|(s, f)| *s == structure && f.name == n).map(|(_, f)| *f);
            structure.fields().iter().find(|f| f.name == n).copied().or_else(over)
        };
        let single = |f: FieldDef| Self { structure, name: f.name, low: f, second: None };
        let joined = |n: &str| {
            // The halves of 32-byte descriptors are the low ones of the whole.
            let home = if structure == Structure::GroupDesc32 { Structure::GroupDesc } else { structure };
            let (_, joined, low, high) = HALVES.iter().find(|(s, j, ..)| *s == home && *j == n)?;
            Some(Self { structure, name: joined, low: def(low)?, second: def(high).map(Second::High) })
        };
        if let Some(f) = def(name) {
            return Some(single(f));
        }
        if let Some(a) = joined(name) {
            return Some(a);
        }
        if structure == Structure::Inode
            && let Some((joined, low, extra)) = TIMES.iter().find(|(n, ..)| *n == name)
        {
            return Some(Self { structure, name: joined, low: def(low)?, second: Some(Second::Extra(def(extra)?)) });
        }
        if let Some((_, _, kernel)) = ALIASES.iter().find(|(s, short, _)| *s == structure && *short == name) {
            return def(kernel).map(single).or_else(|| joined(kernel));
        }
        let prefix = structure.prefix();
        if prefix.is_empty() || name.starts_with(prefix) {
            return None;
        }
        let long = format!("{prefix}{name}");
        joined(&long).or_else(|| def(&long).map(single))
    }

    /// Every value of a structure in order of offset, those that lie in two fields once; then those that lie over others.
    #[must_use]
    pub fn all(structure: Structure) -> Vec<Self> {
        let home = if structure == Structure::GroupDesc32 { Structure::GroupDesc } else { structure };
        let over = OVER.iter().filter(|(s, _)| *s == structure).map(|(_, f)| *f);
        let names = structure.fields().iter().copied().chain(over).filter_map(|f| {
            let second = |(s, .., high): &&(Structure, &str, &str, &str)| *s == home && *high == f.name;
            if HALVES.iter().any(|row| second(&row)) {
                return None;
            }
            let time = TIMES.iter().find(|(_, low, _)| structure == Structure::Inode && *low == f.name);
            let joined =
                HALVES.iter().find(|(s, _, low, _)| *s == home && *low == f.name).map(|(_, joined, ..)| *joined);
            Some(time.map(|(name, ..)| *name).or(joined).unwrap_or(f.name))
        });
        names.filter_map(|name| Self::find(structure, name)).collect()
    }

    /// The name in debugfs: without the structure's prefix, or another one.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        let alias = ALIASES.iter().find(|(s, _, kernel)| *s == self.structure && *kernel == self.name);
        alias
            .map_or_else(|| self.name.strip_prefix(self.structure.prefix()).unwrap_or(self.name), |(_, short, _)| short)
    }

    /// One element of an array. `i_block` counts as fifteen words, and `IND`, `DIND`, `TIND` are its last three.
    #[must_use]
    pub fn element(self, index: &str) -> Option<Self> {
        let i: usize = match index {
            "IND" => 12,
            "DIND" => 13,
            "TIND" => 14,
            n => n.parse().ok()?,
        };
        let (kind, count) = match self.low.kind {
            _ if self.low.name == "i_block" => (FieldKind::Le { width: 4, count: 1 }, 15),
            FieldKind::Le { width, count } => (FieldKind::Le { width, count: 1 }, usize::from(count)),
            FieldKind::Be { width, count } => (FieldKind::Be { width, count: 1 }, usize::from(count)),
            FieldKind::Bytes { count } => (FieldKind::Le { width: 1, count: 1 }, usize::from(count)),
        };
        if i >= count || self.second.is_some() {
            return None;
        }
        let low = FieldDef { name: self.low.name, offset: self.low.offset + i * kind.len(), kind };
        Some(Self { low, ..self })
    }

    /// The second field, where the value lies in two.
    #[must_use]
    pub fn second(&self) -> Option<FieldDef> {
        match self.second? {
            Second::High(f) | Second::Extra(f) => Some(f),
        }
    }

    /// How the value is written.
    #[must_use]
    pub fn format(&self) -> Format {
        match self.second {
            Some(Second::Extra(_)) => Format::TimeNanos,
            // Halves are plain numbers, apart from checksums.
            _ => Format::of(self.structure, self.low.name, self.low.kind),
        }
    }

    /// Shape of the whole value.
    #[must_use]
    pub fn kind(&self) -> FieldKind {
        match (self.second, self.low.kind) {
            (Some(Second::High(_)), _) => FieldKind::Le { width: 8, count: 1 },
            (Some(Second::Extra(_)), _) => FieldKind::Le { width: 8, count: 2 },
            (None, kind) => kind,
        }
    }

    /// Reads the value; a half that lies past the end of `bytes` counts as absent. `None` when even the first is not there.
    #[must_use]
    pub fn get(&self, bytes: &[u8]) -> Option<FieldValue> {
        let low = self.low.get(bytes)?;
        let (Some(second), FieldValue::Int(lo)) = (self.second, &low) else { return Some(low) };
        Some(match second {
            Second::High(f) => match f.get(bytes) {
                Some(FieldValue::Int(hi)) => FieldValue::Int(hi << (self.low.kind.len() * 8) | lo),
                _ => low,
            },
            Second::Extra(f) => {
                let extra = match f.get(bytes) {
                    Some(FieldValue::Int(x)) => Some(x as u32),
                    _ => None,
                };
                let t = Timestamp::decode(*lo as u32, extra);
                FieldValue::Ints(vec![t.seconds.cast_unsigned(), u64::from(t.nanos)])
            }
        })
    }

    /// Writes the value. `false`, and nothing written, when it does not fit.
    #[must_use]
    pub fn set(&self, bytes: &mut [u8], value: &FieldValue) -> bool {
        match (self.second, value) {
            (None, v) => self.low.set(bytes, v),
            (Some(Second::High(f)), FieldValue::Int(x)) => {
                let shift = self.low.kind.len() * 8;
                let (lo, hi) = (x & ((1 << shift) - 1), x >> shift);
                let room = f.get(bytes).is_some();
                let fits = hi >> (f.kind.len() * 8 - 1) <= 1 && (room || hi == 0);
                fits && self.low.get(bytes).is_some()
                    && (!room || f.set(bytes, &FieldValue::Int(hi)))
                    && self.low.set(bytes, &FieldValue::Int(lo))
            }
            (Some(Second::Extra(f)), FieldValue::Ints(v)) => {
                let [seconds, nanos] = v.as_slice() else { return false };
                let Ok(nanos) = u32::try_from(*nanos) else { return false };
                let t = Timestamp { seconds: seconds.cast_signed(), nanos };
                let room = f.get(bytes).is_some();
                let (lo, extra) = t.encode(room);
                if nanos >= 1 << 30 || Timestamp::decode(lo, room.then_some(extra)) != t {
                    return false;
                }
                (!room || f.set(bytes, &FieldValue::Int(u64::from(extra))))
                    && self.low.set(bytes, &FieldValue::Int(u64::from(lo)))
            }
            _ => false,
        }
    }

    /// Reads the value as text.
    #[must_use]
    pub fn get_text(&self, bytes: &[u8]) -> Option<String> {
        Some(self.format().format(self.kind(), &self.get(bytes)?))
    }

    /// Writes a value given as text.
    ///
    /// # Errors
    /// [`ValueError`]; nothing is written then.
    pub fn set_text(&self, bytes: &mut [u8], text: &str) -> Result<(), ValueError> {
        let value = self.format().parse(self.kind(), text)?;
        let size = self.low.kind.len() + self.second().map_or(0, |f| f.kind.len());
        if self.set(bytes, &value) { Ok(()) } else { Err(ValueError::Range { text: text.to_owned(), bytes: size }) }
    }

    /// The bit called `name` of a field whose bits have names.
    #[must_use]
    pub fn bit(&self, name: &str) -> Option<u64> {
        match self.format() {
            Format::Bits(set) => set.bit(name),
            _ => None,
        }
    }
}
