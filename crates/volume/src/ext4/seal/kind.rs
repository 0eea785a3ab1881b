//! The kinds of checksum an ext4 image has, and how each is computed.

use std::fmt;
use std::mem::offset_of;
use std::ops::Range;

use daxkit_device::{BlockDevice, DeviceError};
use daxkit_format::OnDisk;
use daxkit_format::ext4::dx::DxTail;
use daxkit_format::ext4::extent::{self, ExtentHeader};
use daxkit_format::ext4::group_desc::{self, GroupDesc, GroupFlags};
use daxkit_format::ext4::inode::Inode;
use daxkit_format::ext4::mmp::MmpStruct;
use daxkit_format::ext4::super_block::SuperBlock;
use daxkit_format::ext4::xattr::XattrHeader;
use daxkit_format::ext4::{dir_entry, dx, inode, orphan, xattr};
use zerocopy::IntoBytes;

use super::journal::{self, JournalSeed, TagVersion};
use super::rules::{JournalRules, Rules};
use super::{Look, State};

/// What the checksums of an inode's blocks are computed from: the file system's seed, its number, and its generation as it
/// stands in the inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ext4) struct InodeSeed {
    pub(in crate::ext4) fs: u32,
    pub(in crate::ext4) ino: u32,
    /// Byte of the device at which `i_generation` lies.
    pub(in crate::ext4) generation_at: u64,
}

impl InodeSeed {
    fn value(self, device: &dyn BlockDevice) -> Result<u32, DeviceError> {
        let mut generation = [0; 4];
        device.read_at(self.generation_at, &mut generation)?;
        Ok(inode::checksum_seed(self.fs, self.ino, u32::from_le_bytes(generation)))
    }

    fn range(self) -> Range<u64> {
        self.generation_at..self.generation_at.saturating_add(4)
    }
}

/// A block of the file system: its number, for messages and where it is part of the checksum, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ext4) struct Block {
    pub(in crate::ext4) nr: u64,
    /// Byte of the device.
    pub(in crate::ext4) at: u64,
    /// Bytes.
    pub(in crate::ext4) len: u32,
}

impl Block {
    pub(in crate::ext4) fn range(self) -> Range<u64> {
        self.at..self.at.saturating_add(self.len.into())
    }

    fn read(self, device: &dyn BlockDevice) -> Result<Vec<u8>, DeviceError> {
        read(device, self.at, self.len as usize)
    }
}

/// How descriptors are summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ext4) enum GroupRule {
    /// `metadata_csum`.
    Crc32c { seed: u32 },
    /// `uninit_bg`; `wide` is the 64bit feature.
    Crc16 { uuid: [u8; 16], wide: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ext4) enum WhichBitmap {
    Blocks,
    Inodes,
}

impl WhichBitmap {
    /// Offsets in the descriptor of the two halves of the bitmap's block and of its checksum.
    const fn fields(self) -> ((usize, usize), (usize, usize)) {
        match self {
            Self::Blocks => (
                (offset_of!(GroupDesc, bg_block_bitmap_lo), offset_of!(GroupDesc, bg_block_bitmap_hi)),
                (offset_of!(GroupDesc, bg_block_bitmap_csum_lo), offset_of!(GroupDesc, bg_block_bitmap_csum_hi)),
            ),
            Self::Inodes => (
                (offset_of!(GroupDesc, bg_inode_bitmap_lo), offset_of!(GroupDesc, bg_inode_bitmap_hi)),
                (offset_of!(GroupDesc, bg_inode_bitmap_csum_lo), offset_of!(GroupDesc, bg_inode_bitmap_csum_hi)),
            ),
        }
    }
}

/// A bitmap. Where it lies is read from the descriptor, which also keeps its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ext4) struct Bitmap {
    pub(in crate::ext4) which: WhichBitmap,
    pub(in crate::ext4) group: u32,
    /// Byte of the device at which the descriptor lies.
    pub(in crate::ext4) desc_at: u64,
    pub(in crate::ext4) desc_len: u16,
    /// Bits that are summed up.
    pub(in crate::ext4) bits: u32,
    pub(in crate::ext4) block_size: u32,
    /// Byte of the device at which the file system begins.
    pub(in crate::ext4) base: u64,
    pub(in crate::ext4) seed: u32,
}

/// See the module. `at` and `*_at` are bytes of the device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::ext4) enum Kind {
    /// `volume` is the one the file system was opened with: its numbers are those of all checksums.
    Super {
        at: u64,
        copy: Option<u32>,
        volume: bool,
    },
    Group {
        at: u64,
        len: u16,
        group: u32,
        copy: Option<u32>,
        rule: GroupRule,
    },
    Bitmap(Bitmap),
    Inode {
        at: u64,
        len: u16,
        ino: u32,
        fs: u32,
    },
    Extents {
        block: Block,
        seed: InodeSeed,
    },
    DirLeaf {
        block: Block,
        seed: InodeSeed,
    },
    /// `entries_at` is where the entries of the htree block begin.
    DirIndex {
        block: Block,
        seed: InodeSeed,
        entries_at: usize,
    },
    Xattrs {
        block: Block,
        fs: u32,
    },
    Mmp {
        at: u64,
        fs: u32,
    },
    Orphans {
        block: Block,
        seed: InodeSeed,
    },
    Journal {
        at: u64,
    },
    /// A descriptor, revoke or commit block. `nr` of the block is counted in the log, here and below.
    LogBlock {
        block: Block,
        seed: JournalSeed,
    },
    LogData {
        block: Block,
        /// Number of the transaction.
        sequence: u32,
        tag_at: u64,
        version: TagVersion,
        seed: JournalSeed,
    },
}

impl Kind {
    pub(super) fn look(&self, device: &dyn BlockDevice) -> Result<Look, DeviceError> {
        match self {
            Self::Super { at, .. } => super_look(device, *at),
            Self::Group { at, len, group, rule, .. } => {
                let bytes = read(device, *at, usize::from(*len))?;
                let right = match rule {
                    GroupRule::Crc32c { seed } => group_desc::checksum_with_seed(*seed, *group, &bytes),
                    GroupRule::Crc16 { uuid, wide } => group_desc::checksum_with_uuid(uuid, *wide, *group, &bytes),
                };
                let covers = vec![*at..at.saturating_add(u64::from(*len))];
                const SUM: usize = offset_of!(GroupDesc, bg_checksum);
                Ok(Look::new(covers, right.into()).part(at.saturating_add(SUM as u64), slice(&bytes, SUM, 2)))
            }
            Self::Bitmap(bitmap) => bitmap.look(device),
            Self::Inode { at, len, ino, fs } => inode_look(device, *at, *len, *ino, *fs),
            Self::Extents { block, seed } => {
                let bytes = block.read(device)?;
                let right = extent::block_checksum(seed.value(device)?, &bytes);
                let tail = ExtentHeader::peek(&bytes).map(|h| extent::tail_offset(h.eh_max.get()));
                Ok(tail_look(*block, *seed, right, tail, &bytes))
            }
            Self::DirLeaf { block, seed } => {
                let bytes = block.read(device)?;
                let right = dir_entry::block_checksum(seed.value(device)?, &bytes);
                Ok(tail_look(*block, *seed, Some(right), bytes.len().checked_sub(4), &bytes))
            }
            Self::DirIndex { block, seed, entries_at } => {
                let bytes = block.read(device)?;
                let right = dx::block_checksum(seed.value(device)?, &bytes, *entries_at);
                let tail = dx::tail_offset(&bytes, *entries_at);
                Ok(tail_look(*block, *seed, right, tail.map(|at| at + offset_of!(DxTail, dt_checksum)), &bytes))
            }
            Self::Xattrs { block, fs } => {
                let bytes = block.read(device)?;
                let right = xattr::block_checksum(*fs, block.nr, &bytes);
                const SUM: usize = offset_of!(XattrHeader, h_checksum);
                Ok(Look::new(vec![block.range()], right)
                    .part(block.at.saturating_add(SUM as u64), slice(&bytes, SUM, 4)))
            }
            Self::Mmp { at, fs } => {
                let bytes = read(device, *at, size_of::<MmpStruct>())?;
                let mmp = MmpStruct::peek(&bytes).copied().unwrap_or_else(OnDisk::zeroed);
                let covers = vec![*at..at.saturating_add(bytes.len() as u64)];
                let stored = mmp.mmp_checksum.get().to_le_bytes();
                Ok(Look::new(covers, mmp.checksum(*fs))
                    .part(at.saturating_add(offset_of!(MmpStruct, mmp_checksum) as u64), &stored))
            }
            Self::Orphans { block, seed } => {
                let bytes = block.read(device)?;
                let right = orphan::block_checksum(seed.value(device)?, block.nr, &bytes);
                Ok(tail_look(*block, *seed, Some(right), bytes.len().checked_sub(4), &bytes))
            }
            Self::Journal { at } => journal::super_look(device, *at),
            Self::LogBlock { block, seed } => journal::block_look(device, block.range(), *seed),
            Self::LogData { block, sequence, tag_at, version, seed } => {
                journal::data_look(device, block.range(), *sequence, *tag_at, *version, *seed)
            }
        }
    }

    /// Whether what all other checksums are computed from is not the same on the two devices.
    pub(super) fn rules_differ(&self, before: &dyn BlockDevice, after: &dyn BlockDevice) -> Result<bool, DeviceError> {
        match self {
            Self::Super { at, volume: true, .. } => {
                Ok(Rules::of(&super_block(before, *at)?) != Rules::of(&super_block(after, *at)?))
            }
            Self::Journal { at } => {
                let rules = |device| journal::super_block(device, *at).map(|sb| JournalRules::of(&sb));
                Ok(rules(before)?.differ(rules(after)?))
            }
            _ => Ok(false),
        }
    }
}

impl Bitmap {
    fn look(&self, device: &dyn BlockDevice) -> Result<Look, DeviceError> {
        let bytes = read(device, self.desc_at, usize::from(self.desc_len))?;
        let desc = GroupDesc::from_disk(&bytes).unwrap_or_else(OnDisk::zeroed);
        let (nr, unused) = match self.which {
            WhichBitmap::Blocks => (desc.block_bitmap(), GroupFlags::BLOCK_UNINIT),
            WhichBitmap::Inodes => (desc.inode_bitmap(), GroupFlags::INODE_UNINIT),
        };
        let (pointer, (lo, hi)) = self.which.fields();
        let wide = self.desc_len >= 64;
        // Which block is summed up, and whether it counts, stands in the descriptor.
        let at = |offset: usize| self.desc_at.saturating_add(offset as u64);
        let field = |offset: usize, len: u64| at(offset)..at(offset).saturating_add(len);
        let mut covers = vec![field(pointer.0, 4), field(offset_of!(GroupDesc, bg_flags), 2)];
        if wide {
            covers.push(field(pointer.1, 4));
        }
        let len = self.bits as usize / 8;
        let start = nr.checked_mul(self.block_size.into()).and_then(|b| b.checked_add(self.base));
        let inside = start.filter(|s| s.checked_add(self.block_size.into()).is_some_and(|end| end <= device.len()));
        let Some(start) = inside.filter(|_| nr != 0) else { return Ok(Look::absent(covers, State::Unused)) };
        covers.push(start..start + len as u64);
        if desc.flags().contains(unused) {
            return Ok(Look::absent(covers, State::Unused));
        }
        let desc_end = self.desc_at.saturating_add(self.desc_len.into());
        if start < desc_end && self.desc_at < start + len as u64 {
            return Ok(Look::absent(covers, State::Impossible));
        }
        let bitmap = read(device, start, len.min(self.block_size as usize))?;
        let sum = group_desc::bitmap_checksum(self.seed, &bitmap, self.bits);
        let look = Look::new(covers, if wide { sum } else { sum & 0xffff });
        let look = look.part(at(lo), slice(&bytes, lo, 2));
        Ok(if wide { look.part(at(hi), slice(&bytes, hi, 2)) } else { look })
    }
}

/// Reads a superblock, whatever it is.
fn super_block(device: &dyn BlockDevice, at: u64) -> Result<SuperBlock, DeviceError> {
    let mut sb = SuperBlock::zeroed();
    device.read_at(at, sb.as_mut_bytes())?;
    Ok(sb)
}

fn super_look(device: &dyn BlockDevice, at: u64) -> Result<Look, DeviceError> {
    let sb = super_block(device, at)?;
    let covers = vec![at..at.saturating_add(size_of::<SuperBlock>() as u64)];
    if !sb.has_metadata_csum() {
        return Ok(Look::absent(covers, State::Unused));
    }
    let stored = sb.s_checksum.get().to_le_bytes();
    Ok(Look::new(covers, sb.checksum()).part(at.saturating_add(offset_of!(SuperBlock, s_checksum) as u64), &stored))
}

fn inode_look(device: &dyn BlockDevice, at: u64, len: u16, ino: u32, fs: u32) -> Result<Look, DeviceError> {
    let raw = read(device, at, usize::from(len))?;
    let covers = vec![at..at.saturating_add(u64::from(len))];
    // An inode that was never used has no checksum.
    if raw.iter().all(|b| *b == 0) {
        return Ok(Look::absent(covers, State::Unused));
    }
    let high = inode::checksum_has_high(&raw);
    let sum = inode::checksum(fs, ino, &raw);
    let (lo_at, hi_at) = (offset_of!(Inode, l_i_checksum_lo), offset_of!(Inode, i_checksum_hi));
    let look = Look::new(covers, if high { sum } else { sum & 0xffff });
    let look = look.part(at.saturating_add(lo_at as u64), slice(&raw, lo_at, 2));
    Ok(if high { look.part(at.saturating_add(hi_at as u64), slice(&raw, hi_at, 2)) } else { look })
}

/// A checksum of four bytes inside the block it protects.
fn tail_look(block: Block, seed: InodeSeed, right: Option<u32>, at: Option<usize>, bytes: &[u8]) -> Look {
    let covers = vec![block.range(), seed.range()];
    let stored = at.and_then(|at| bytes.get(at..at.checked_add(4)?));
    match (right, at, stored) {
        (Some(right), Some(at), Some(stored)) => {
            Look::new(covers, right).part(block.at.saturating_add(at as u64), stored)
        }
        _ => Look::absent(covers, State::Impossible),
    }
}

pub(super) fn read(device: &dyn BlockDevice, at: u64, len: usize) -> Result<Vec<u8>, DeviceError> {
    let mut bytes = vec![0; len];
    device.read_at(at, &mut bytes)?;
    Ok(bytes)
}

/// Part of what was read; empty where it is too short.
pub(super) fn slice(bytes: &[u8], at: usize, len: usize) -> &[u8] {
    bytes.get(at..at.saturating_add(len)).unwrap_or_default()
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let copy = |c: &Option<u32>| c.map_or_else(String::new, |c| format!(":{c}"));
        match self {
            Self::Super { copy: c, .. } => write!(f, "super{}.s_checksum", copy(c)),
            Self::Group { group, copy: c, .. } => write!(f, "group.{group}{}.bg_checksum", copy(c)),
            Self::Bitmap(Bitmap { which: WhichBitmap::Blocks, group, .. }) => {
                write!(f, "group.{group}.bg_block_bitmap_csum")
            }
            Self::Bitmap(Bitmap { group, .. }) => write!(f, "group.{group}.bg_inode_bitmap_csum"),
            Self::Inode { ino, .. } => write!(f, "inode:{ino}.i_checksum"),
            Self::Extents { block, seed } => write!(f, "inode:{} block:{}.et_checksum", seed.ino, block.nr),
            Self::DirLeaf { block, seed } => write!(f, "inode:{} block:{}.det_checksum", seed.ino, block.nr),
            Self::DirIndex { block, seed, .. } => write!(f, "inode:{} block:{}.dt_checksum", seed.ino, block.nr),
            Self::Xattrs { block, .. } => write!(f, "block:{}.h_checksum", block.nr),
            Self::Mmp { .. } => f.write_str("mmp.mmp_checksum"),
            Self::Orphans { block, seed } => write!(f, "inode:{} block:{}.ob_checksum", seed.ino, block.nr),
            Self::Journal { .. } => f.write_str("journal.s_checksum"),
            Self::LogBlock { block, .. } => write!(f, "journal/block:{} checksum", block.nr),
            Self::LogData { block, .. } => write!(f, "journal/block:{} checksum in its tag", block.nr),
        }
    }
}
