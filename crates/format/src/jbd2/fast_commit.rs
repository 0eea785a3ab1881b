//! ext4's fast commits: logical changes, written as little-endian tags behind the ring of the log.
//!
//! A fast commit is a run of tags that ends with a tail; several follow each other, each from the start of a block, and
//! the first of all begins with a head. The checksum in a tail covers every tag since the last tail, up to and with the
//! tail's own transaction number (`ext4_fc_replay_scan`, Linux 6.12). No tag crosses the end of a block.

use crate::OnDisk;
use crate::checksum::crc32c;
use core::ops::ControlFlow;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

on_disk! {
    /// Head of a tag.
    pub struct FcTl("ext4_fc_tl", 4) {
        0 fc_tag: U16,
        /// Bytes that follow.
        2 fc_len: U16,
    }
}

on_disk! {
    /// Value of [`TAG_HEAD`].
    pub struct FcHead("ext4_fc_head", 8) {
        /// Incompatible features of the fast commits: none is defined.
        0 fc_features: U32,
        4 fc_tid: U32,
    }
}

on_disk! {
    /// Value of [`TAG_ADD_RANGE`].
    pub struct FcAddRange("ext4_fc_add_range", 16) {
        0 fc_ino: U32,
        /// An `ext4_extent`.
        4 fc_ex: [u8; 12],
    }
}

on_disk! {
    /// Value of [`TAG_DEL_RANGE`].
    pub struct FcDelRange("ext4_fc_del_range", 12) {
        0 fc_ino: U32,
        4 fc_lblk: U32,
        8 fc_len: U32,
    }
}

on_disk! {
    /// Start of the value of [`TAG_CREAT`], [`TAG_LINK`] and [`TAG_UNLINK`]; the name follows.
    pub struct FcDentryInfo("ext4_fc_dentry_info", 8) {
        0 fc_parent_ino: U32,
        4 fc_ino: U32,
    }
}

on_disk! {
    /// Start of the value of [`TAG_INODE`]; the raw inode follows.
    pub struct FcInode("ext4_fc_inode", 4) {
        0 fc_ino: U32,
    }
}

on_disk! {
    /// Start of the value of [`TAG_TAIL`]; the rest of the block follows.
    pub struct FcTail("ext4_fc_tail", 8) {
        0 fc_tid: U32,
        4 fc_crc: U32,
    }
}

/// `EXT4_FC_TAG_ADD_RANGE`: blocks were mapped.
pub const TAG_ADD_RANGE: u16 = 1;
/// `EXT4_FC_TAG_DEL_RANGE`: blocks were unmapped.
pub const TAG_DEL_RANGE: u16 = 2;
/// `EXT4_FC_TAG_CREAT`: an inode and its name were made.
pub const TAG_CREAT: u16 = 3;
/// `EXT4_FC_TAG_LINK`: a name was made.
pub const TAG_LINK: u16 = 4;
/// `EXT4_FC_TAG_UNLINK`: a name was removed.
pub const TAG_UNLINK: u16 = 5;
/// `EXT4_FC_TAG_INODE`: an inode changed.
pub const TAG_INODE: u16 = 6;
/// `EXT4_FC_TAG_PAD`: nothing until the end of the block.
pub const TAG_PAD: u16 = 7;
/// `EXT4_FC_TAG_TAIL`: end of a fast commit.
pub const TAG_TAIL: u16 = 8;
/// `EXT4_FC_TAG_HEAD`: begin of the first fast commit after a full one.
pub const TAG_HEAD: u16 = 9;

/// `EXT4_FC_SUPPORTED_FEATURES`.
pub const SUPPORTED_FEATURES: u32 = 0;

const TL: usize = size_of::<FcTl>();

/// Why fast commits cannot be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FcError {
    /// A tag that is unknown, reaches past its block, or has a length its kind cannot have.
    #[error("fast commit: tag {tag} of {len} bytes at offset {offset} of its block")]
    Tag {
        /// Offset in the block.
        offset: usize,
        /// `fc_tag`.
        tag: u16,
        /// `fc_len`.
        len: u16,
    },
    /// Features nobody here knows.
    #[error("fast commit: unknown features {0:#x}")]
    Features(u32),
    /// The tail's checksum does not match.
    #[error("fast commit: checksum {stored:#010x}, the tags give {computed:#010x}")]
    Checksum {
        /// What is there.
        stored: u32,
        /// What belongs there.
        computed: u32,
    },
    /// The tail belongs to another transaction than the first head.
    #[error("fast commit: tail of transaction {found} where {expected} was expected")]
    Transaction {
        /// What is there.
        found: u32,
        /// What belongs there.
        expected: u32,
    },
}

/// A tag's value, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FcBody<'a> {
    /// See [`TAG_ADD_RANGE`].
    AddRange(&'a FcAddRange),
    /// See [`TAG_DEL_RANGE`].
    DelRange(&'a FcDelRange),
    /// See [`TAG_CREAT`]; the name has 1 to 255 bytes.
    Creat(&'a FcDentryInfo, &'a [u8]),
    /// See [`TAG_LINK`].
    Link(&'a FcDentryInfo, &'a [u8]),
    /// See [`TAG_UNLINK`].
    Unlink(&'a FcDentryInfo, &'a [u8]),
    /// See [`TAG_INODE`]; the raw inode has 128 bytes to the file system's inode size.
    Inode(&'a FcInode, &'a [u8]),
    /// See [`TAG_PAD`].
    Pad,
    /// See [`TAG_TAIL`].
    Tail(&'a FcTail),
    /// See [`TAG_HEAD`].
    Head(&'a FcHead),
}

/// One tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FcTag<'a> {
    /// Offset in the block.
    pub offset: usize,
    /// Head and value.
    pub bytes: &'a [u8],
    /// The value.
    pub body: FcBody<'a>,
}

/// The tags of one block. After an error the iterator ends.
#[must_use]
pub fn tags(block: &[u8], inode_size: u16) -> FcTags<'_> {
    FcTags { block, at: 0, inode_size }
}

/// See [`tags`].
#[derive(Debug, Clone)]
pub struct FcTags<'a> {
    block: &'a [u8],
    at: usize,
    inode_size: u16,
}

impl<'a> Iterator for FcTags<'a> {
    type Item = Result<FcTag<'a>, FcError>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.at;
        let rest = self.block.get(offset..)?;
        let head = FcTl::peek(rest)?;
        let (tag, len) = (head.fc_tag.get(), head.fc_len.get());
        let parsed = rest
            .get(..TL + usize::from(len))
            .and_then(|bytes| Some(FcTag { offset, bytes, body: body(tag, bytes.get(TL..)?, self.inode_size)? }));
        // Where the next tag is cannot be known after a bad one.
        self.at = parsed.map_or(usize::MAX, |_| offset + TL + usize::from(len));
        Some(parsed.ok_or(FcError::Tag { offset, tag, len }))
    }
}

/// Takes a value apart; `None` when its length is not one the tag can have (`ext4_fc_value_len_isvalid`).
fn body(tag: u16, value: &[u8], inode_size: u16) -> Option<FcBody<'_>> {
    fn whole<T: OnDisk>(value: &[u8]) -> Option<&T> {
        T::ref_from_bytes(value).ok()
    }
    fn start<T: OnDisk>(value: &[u8]) -> Option<(&T, &[u8])> {
        T::ref_from_prefix(value).ok()
    }
    let name = |value| start::<FcDentryInfo>(value).filter(|(_, name)| (1..=255).contains(&name.len()));
    Some(match tag {
        TAG_ADD_RANGE => FcBody::AddRange(whole(value)?),
        TAG_DEL_RANGE => FcBody::DelRange(whole(value)?),
        TAG_CREAT => name(value).map(|(d, n)| FcBody::Creat(d, n))?,
        TAG_LINK => name(value).map(|(d, n)| FcBody::Link(d, n))?,
        TAG_UNLINK => name(value).map(|(d, n)| FcBody::Unlink(d, n))?,
        TAG_INODE => {
            let (head, raw) = start::<FcInode>(value)?;
            (128..=usize::from(inode_size)).contains(&raw.len()).then_some(FcBody::Inode(head, raw))?
        }
        TAG_PAD => FcBody::Pad,
        TAG_TAIL => FcBody::Tail(start(value)?.0),
        TAG_HEAD => FcBody::Head(whole(value)?),
        _ => return None,
    })
}

/// The tags of all complete fast commits of transaction `expected_tid` in the blocks of the fast-commit area, in order.
/// That is the transaction after the last one of the log.
///
/// The list is empty when the area does not begin with a head of that transaction. What follows the last good tail is
/// left out.
///
/// # Errors
/// As in `ext4_fc_replay_scan`: features that are unknown; and, before the first good tail, a tag or a tail that is
/// wrong. After it such a thing only ends the list.
pub fn complete_tags<'a>(
    blocks: impl IntoIterator<Item = &'a [u8]>,
    expected_tid: u32,
    inode_size: u16,
) -> Result<Vec<FcTag<'a>>, FcError> {
    let mut scan = Scan { tags: Vec::new(), good: 0, crc: 0, tid: expected_tid };
    for (index, block) in blocks.into_iter().enumerate() {
        let headed = FcTl::peek(block).is_some_and(|tl| tl.fc_tag.get() == TAG_HEAD);
        if (index == 0 && !headed) || scan.block(block, inode_size)?.is_break() {
            break;
        }
    }
    scan.tags.truncate(scan.good);
    Ok(scan.tags)
}

struct Scan<'a> {
    tags: Vec<FcTag<'a>>,
    good: usize,
    crc: u32,
    tid: u32,
}

impl<'a> Scan<'a> {
    fn block(&mut self, block: &'a [u8], inode_size: u16) -> Result<ControlFlow<()>, FcError> {
        for tag in tags(block, inode_size) {
            let tag = match tag {
                Ok(tag) => tag,
                Err(e) => return self.stop(e),
            };
            match tag.body {
                FcBody::Head(head) => {
                    let unknown = head.fc_features.get() & !SUPPORTED_FEATURES;
                    if unknown != 0 {
                        return Err(FcError::Features(unknown));
                    }
                    if head.fc_tid.get() != self.tid {
                        return Ok(ControlFlow::Break(()));
                    }
                    self.crc = crc32c(self.crc, tag.bytes);
                }
                FcBody::Tail(tail) => {
                    let computed = crc32c(self.crc, tag.bytes.get(..TL + 4).unwrap_or(&[]));
                    let (found, stored) = (tail.fc_tid.get(), tail.fc_crc.get());
                    if found != self.tid {
                        return self.stop(FcError::Transaction { found, expected: self.tid });
                    }
                    if stored != computed {
                        return self.stop(FcError::Checksum { stored, computed });
                    }
                    self.crc = 0;
                    self.tags.push(tag);
                    self.good = self.tags.len();
                    continue;
                }
                _ => self.crc = crc32c(self.crc, tag.bytes),
            }
            self.tags.push(tag);
        }
        Ok(ControlFlow::Continue(()))
    }

    fn stop(&self, why: FcError) -> Result<ControlFlow<()>, FcError> {
        if self.good == 0 { Err(why) } else { Ok(ControlFlow::Break(())) }
    }
}

/// Makes the blocks of fast commits, laid out as `ext4_fc_reserve_space` and `ext4_fc_write_tail` do.
#[derive(Debug, Clone)]
pub struct FcBuilder {
    block_size: usize,
    tid: u32,
    crc: u32,
    blocks: Vec<Vec<u8>>,
}

impl FcBuilder {
    /// Fast commits of transaction `tid`, which begin with a head. `block_size` is at least 1024.
    #[must_use]
    pub fn new(block_size: usize, tid: u32) -> Self {
        let mut b = Self { block_size, tid, crc: 0, blocks: vec![Vec::with_capacity(block_size)] };
        let head = FcHead { fc_features: SUPPORTED_FEATURES.into(), fc_tid: tid.into() };
        let _ = b.push(TAG_HEAD, &[head.as_bytes()]);
        b
    }

    /// Adds a tag whose value is `parts`, one after the other. `false` when no block can hold it.
    #[must_use]
    pub fn push(&mut self, tag: u16, parts: &[&[u8]]) -> bool {
        let len: usize = parts.iter().map(|p| p.len()).sum();
        if len > self.block_size.saturating_sub(2 * TL) || len > usize::from(u16::MAX) {
            return false;
        }
        self.reserve(TL + len);
        self.put(tag, len, parts);
        true
    }

    /// Ends a fast commit. The next tag begins a new block.
    pub fn commit(&mut self) {
        self.reserve(TL + size_of::<FcTail>());
        let room = self.room().saturating_sub(TL);
        self.put(TAG_TAIL, room, &[&self.tid.to_le_bytes()]);
        let crc = core::mem::take(&mut self.crc);
        if let Some(block) = self.blocks.last_mut() {
            block.extend(crc.to_le_bytes());
            block.resize(self.block_size, 0);
        }
        self.blocks.push(Vec::with_capacity(self.block_size));
    }

    /// The blocks; one that was begun is filled with zeroes.
    #[must_use]
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        self.blocks.retain(|b| !b.is_empty());
        self.blocks.iter_mut().for_each(|b| b.resize(self.block_size, 0));
        self.blocks
    }

    fn room(&self) -> usize {
        self.block_size.saturating_sub(self.blocks.last().map_or(0, Vec::len))
    }

    /// Begins a new block unless this one has room for `len` bytes and a pad tag behind them.
    fn reserve(&mut self, len: usize) {
        let left = self.room().saturating_sub(TL);
        if len > left {
            let zeroes = vec![0; left];
            self.put(TAG_PAD, left, &[&zeroes]);
            self.blocks.push(Vec::with_capacity(self.block_size));
        }
    }

    /// Writes a tag and counts it in the checksum. A tail says a length larger than what it writes here.
    fn put(&mut self, tag: u16, len: usize, parts: &[&[u8]]) {
        let Some(block) = self.blocks.last_mut() else {
            return;
        };
        let tl = FcTl { fc_tag: tag.into(), fc_len: u16::try_from(len).unwrap_or(u16::MAX).into() };
        for part in core::iter::once(tl.as_bytes()).chain(parts.iter().copied()) {
            self.crc = crc32c(self.crc, part);
            block.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
#[path = "fast_commit_tests.rs"]
mod tests;
