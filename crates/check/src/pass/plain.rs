//! The way of most inodes: a regular file of one extent and no attributes, with nothing wrong. Whatever is not so goes the long way.

use daxkit_format::ext4::extent;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::xattr;

use super::{Context, Local};
use crate::state::{Kind, Known, bits};

#[inline(always)]
fn u16_at(raw: &[u8], at: usize) -> u16 {
    raw.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(u16::MAX, u16::from_le_bytes)
}

#[inline(always)]
fn u32_at(raw: &[u8], at: usize) -> u32 {
    raw.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(u32::MAX, u32::from_le_bytes)
}

/// Fields that are zero in a file that is not large, deleted or odd: time of deletion, block of attributes, upper halves.
const ZERO: [usize; 5] = [0x14, 0x68, 0x6C, 0x70, 0x74];

/// The flags of a file with extents and nothing else.
const FLAGS: u32 = InodeFlags::EXTENTS.bits();

impl Context<'_> {
    /// What there is to know of an inode whose checksum fits and which is none of the reserved ones, if it is a plain file. Its block is
    /// claimed then. Costs least where the compiler sees how long `raw` is.
    #[inline(always)]
    pub(crate) fn plain_file(&self, local: &mut Local, raw: &[u8]) -> Option<Known> {
        let has = &self.image.has;
        let links = u16_at(raw, 0x1A);
        if !has.extents || has.bigalloc || has.quota || u16_at(raw, 0) >> 12 != 8 || links == 0 {
            return None;
        }
        if u32_at(raw, 0x20) != FLAGS || ZERO.iter().any(|at| u32_at(raw, *at) != 0) || !has_plain_end(raw) {
            return None;
        }
        let head = (u16_at(raw, 0x28), u16_at(raw, 0x2C), u16_at(raw, 0x2E));
        if head != (extent::MAGIC, 4, 0) {
            return None;
        }
        let (size, stored) = (u32_at(raw, 4), u32_at(raw, 0x1C));
        match u16_at(raw, 0x2A) {
            0 if stored == 0 && size <= 0x7fff_ffff => {}
            1 => self.plain_extent(local, raw, size, stored)?,
            _ => return None,
        }
        local.usage.inodes += 1;
        local.usage.files += 1;
        let bits = if size == 0 && stored == 0 { bits::EMPTY } else { 0 };
        Some(Known { kind: Kind::File, links, bits })
    }

    /// Claims the only extent of a plain file, if it fits size and count.
    fn plain_extent(&self, local: &mut Local, raw: &[u8], size: u32, stored: u32) -> Option<()> {
        let block = self.image.geo.block_size;
        let (len, start) = (u16_at(raw, 0x38), u64::from(u16_at(raw, 0x3A)) << 32 | u64::from(u32_at(raw, 0x3C)));
        let plain = u32_at(raw, 0x34) == 0
            && (1..=0x8000).contains(&len)
            && self.image.is_block(start, len.into())
            && size <= 0x7fff_ffff
            && u64::from(size) >= u64::from(len - 1) * u64::from(block)
            && u64::from(stored) == u64::from(len) * u64::from(block / 512);
        if !plain {
            return None;
        }
        let first = self.image.cluster(start);
        if self.blocks.mark(first, len.into()) {
            local.twice.push((first, len.into()));
        }
        Some(())
    }
}

/// Whether nothing but the usual fields lies behind the first 128 bytes, and no time is before 1970.
#[inline(always)]
fn has_plain_end(raw: &[u8]) -> bool {
    if raw.len() == 128 {
        return true;
    }
    let extra = usize::from(u16_at(raw, 0x80));
    let times = u32_at(raw, 0x08) | u32_at(raw, 0x0C) | u32_at(raw, 0x10) | u32_at(raw, 0x90);
    (extra == 32 || extra == 28)
        && raw.len() >= 128 + extra + 4
        && times >> 31 == 0
        && u32_at(raw, 128 + extra) != xattr::MAGIC
}
