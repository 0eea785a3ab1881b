//! Descriptor blocks: a header, then tags, one for each data block that follows in the log.

use super::block_tag::{TagChecksum, TagFlags, TagFormat, data_checksum};
use super::checksum::BlockTail;
use super::header::{BlockType, JournalHeader, MAGIC};
use zerocopy::IntoBytes;

/// One tag, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// Where it lies in the descriptor block.
    pub offset: usize,
    /// Block of the file system the data belongs to.
    pub block: u64,
    /// As stored.
    pub flags: TagFlags,
    /// As stored: 32 bits with version 3, 16 with version 2, 0 without.
    pub checksum: u32,
    /// The UUID behind the tag, when there is one and it lies inside the block. Nobody looks at it.
    pub uuid: Option<[u8; 16]>,
}

impl Tag {
    /// Whether `data`, the block of the log that belongs to this tag, still escaped, has the tag's checksum. Always
    /// true in a journal whose tags have none.
    #[must_use]
    pub fn verify(&self, format: TagFormat, seed: u32, sequence: u32, data: &[u8]) -> bool {
        format.checksum == TagChecksum::None
            || format.stored_checksum(data_checksum(seed, sequence, data)) == self.checksum
    }

    /// Puts back the magic number that escaping took away.
    pub fn unescape(&self, data: &mut [u8]) {
        if self.flags.contains(TagFlags::ESCAPE)
            && let Some(head) = data.first_chunk_mut::<4>()
        {
            *head = MAGIC.to_be_bytes();
        }
    }
}

/// Replaces the magic number at the start of a data block by zeroes; true if it was there, and the tag needs
/// [`TagFlags::ESCAPE`].
pub fn escape(data: &mut [u8]) -> bool {
    match data.first_chunk_mut::<4>() {
        Some(head) if *head == MAGIC.to_be_bytes() => {
            *head = [0; 4];
            true
        }
        _ => false,
    }
}

/// The tags of a descriptor block (its header is not looked at). The iterator ends behind the tag that says it is the
/// last, or where no further tag has room before the tail.
#[must_use]
pub fn tags(block: &[u8], format: TagFormat) -> Tags<'_> {
    let end = block.len().saturating_sub(format.tail_bytes());
    Tags { area: block.get(..end).unwrap_or(&[]), at: size_of::<JournalHeader>(), format, done: false }
}

/// See [`tags`].
#[derive(Debug, Clone)]
pub struct Tags<'a> {
    area: &'a [u8],
    at: usize,
    format: TagFormat,
    done: bool,
}

impl Iterator for Tags<'_> {
    type Item = Tag;

    fn next(&mut self) -> Option<Tag> {
        if self.done {
            return None;
        }
        let offset = self.at;
        let (block, flags, checksum) = self.format.read(self.area.get(offset..)?)?;
        let mut next = offset.checked_add(self.format.tag_bytes())?;
        let mut uuid = None;
        if !flags.contains(TagFlags::SAME_UUID) {
            uuid = self.area.get(next..).and_then(|rest| rest.first_chunk::<16>()).copied();
            next = next.checked_add(16)?;
        }
        self.at = next;
        self.done = flags.contains(TagFlags::LAST_TAG);
        Some(Tag { offset, block, flags, checksum, uuid })
    }
}

/// Makes a descriptor block, as `jbd2_journal_commit_transaction` does: behind the first tag is room for a UUID, which
/// the kernel leaves zero; the others have [`TagFlags::SAME_UUID`].
#[derive(Debug, Clone)]
pub struct DescriptorBuilder {
    bytes: Vec<u8>,
    at: usize,
    last: Option<usize>,
    format: TagFormat,
    sequence: u32,
    seed: u32,
}

impl DescriptorBuilder {
    /// An empty descriptor block of `block_size` bytes; `seed` is [`super::journal_seed`] of the journal's UUID.
    #[must_use]
    pub fn new(block_size: usize, format: TagFormat, seed: u32, sequence: u32) -> Self {
        let mut bytes = vec![0; block_size];
        let head = JournalHeader::new(BlockType::Descriptor, sequence);
        bytes.iter_mut().zip(head.as_bytes()).for_each(|(d, s)| *d = *s);
        Self { bytes, at: size_of::<JournalHeader>(), last: None, format, sequence, seed }
    }

    /// How many tags a descriptor block of this size holds.
    #[must_use]
    pub fn capacity(block_size: usize, format: TagFormat) -> usize {
        let fixed = size_of::<JournalHeader>() + 16 + format.tail_bytes();
        block_size.saturating_sub(fixed) / format.tag_bytes()
    }

    /// Adds the tag of `data`, which must be escaped already (`escaped` is what [`escape`] returned). `false` when
    /// there is no room, or the block number does not fit the journal.
    #[must_use]
    pub fn push(&mut self, block: u64, data: &[u8], escaped: bool) -> bool {
        let first = self.last.is_none();
        let end = self.at + self.format.tag_bytes() + if first { 16 } else { 0 };
        if end > self.bytes.len().saturating_sub(self.format.tail_bytes()) {
            return false;
        }
        let mut flags = if first { TagFlags::empty() } else { TagFlags::SAME_UUID };
        flags.set(TagFlags::ESCAPE, escaped);
        let sum = match self.format.checksum {
            TagChecksum::None => 0,
            TagChecksum::V2 | TagChecksum::V3 => data_checksum(self.seed, self.sequence, data),
        };
        let Some(place) = self.bytes.get_mut(self.at..end) else {
            return false;
        };
        if !self.format.write(place, block, flags, sum) {
            return false;
        }
        self.last = Some(self.at);
        self.at = end;
        true
    }

    /// Whether a tag was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// Marks the last tag and seals the block.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        // The lower byte of the flags is the eighth of the tag in every shape.
        if let Some(flags) = self.last.and_then(|at| self.bytes.get_mut(at + 7)) {
            *flags |= TagFlags::LAST_TAG.bits().to_le_bytes()[0];
        }
        if self.format.tail_bytes() != 0 {
            BlockTail::seal(&mut self.bytes, self.seed);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal_seed;
    use super::*;
    use proptest::prelude::*;

    const FORMATS: [TagFormat; 6] = [
        TagFormat { checksum: TagChecksum::None, wide: false },
        TagFormat { checksum: TagChecksum::None, wide: true },
        TagFormat { checksum: TagChecksum::V2, wide: false },
        TagFormat { checksum: TagChecksum::V2, wide: true },
        TagFormat { checksum: TagChecksum::V3, wide: false },
        TagFormat { checksum: TagChecksum::V3, wide: true },
    ];

    #[test]
    fn a_full_block_reads_back() {
        let seed = journal_seed(&[3; 16]);
        for format in FORMATS {
            let mut b = DescriptorBuilder::new(1024, format, seed, 9);
            let mut n = 0u64;
            let mut data = vec![0u8; 1024];
            loop {
                data[0] = n.to_le_bytes()[0];
                if !b.push(1000 + n, &data, n == 1) {
                    break;
                }
                n += 1;
            }
            assert_eq!(usize::try_from(n).ok(), Some(DescriptorBuilder::capacity(1024, format)), "{format:?}");
            let block = b.finish();
            assert_eq!(JournalHeader::of(&block), Some((BlockType::Descriptor, 9)));
            assert_eq!(BlockTail::verify(&block, seed).is_ok(), format.tail_bytes() != 0);
            let read: Vec<_> = tags(&block, format).collect();
            assert_eq!(read.len() as u64, n);
            for (i, tag) in (0u64..).zip(&read) {
                data[0] = i.to_le_bytes()[0];
                assert_eq!(tag.block, 1000 + i);
                assert_eq!(tag.uuid, (i == 0).then_some([0; 16]));
                let mut flags = if i == 0 { TagFlags::empty() } else { TagFlags::SAME_UUID };
                flags.set(TagFlags::ESCAPE, i == 1);
                flags.set(TagFlags::LAST_TAG, i == n - 1);
                assert_eq!(tag.flags, flags);
                assert!(tag.verify(format, seed, 9, &data));
                data[0] ^= 1;
                assert_eq!(tag.verify(format, seed, 9, &data), format.checksum == TagChecksum::None);
            }
        }
    }

    #[test]
    fn escaping_goes_both_ways() {
        let mut data = [0xC0, 0x3B, 0x39, 0x98, 5];
        assert!(escape(&mut data));
        assert_eq!(data, [0, 0, 0, 0, 5]);
        assert!(!escape(&mut data));
        let mut tag = Tag { offset: 0, block: 0, flags: TagFlags::empty(), checksum: 0, uuid: None };
        tag.unescape(&mut data);
        assert_eq!(data, [0, 0, 0, 0, 5]);
        tag.flags = TagFlags::ESCAPE;
        tag.unescape(&mut data);
        assert_eq!(data, [0xC0, 0x3B, 0x39, 0x98, 5]);
        assert!(!escape(&mut [0xC0, 0x3B, 0x39]));
    }

    proptest! {
        #[test]
        fn any_bytes_end(block in proptest::collection::vec(any::<u8>(), 0..5000), which in 0usize..6) {
            let format = FORMATS[which];
            let n = tags(&block, format).count();
            prop_assert!(n <= block.len() / format.tag_bytes());
        }
    }
}
