//! Directories: their entries in order, and one by its name.
//!
//! The blocks of a hashed directory are read in order like those of any other: its index blocks look like blocks without
//! entries. Inline directories hold no `.` and `..`; they are made up. Names are bytes; one that cannot be a name is an error
//! of its own, so that nobody who writes files by these names is led astray.

use std::collections::VecDeque;
use std::sync::Arc;

use daxkit_format::ext4::casefold;
use daxkit_format::ext4::dir_entry::{self, file_type};
use daxkit_format::ext4::dx;
use daxkit_format::ext4::features::{Compat, Incompat};
use daxkit_format::ext4::inline_data::DOTDOT_SIZE;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::{BlockNr, InodeNr};

use super::error::{Corruption, Place, VolumeError};
use super::inode::Inode;
use super::map::{Extents, Mapping, Segment};
use super::open::Volume;

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The inode it names. The number is as found; [`Volume::inode`] refuses one that cannot be.
    pub inode: InodeNr,
    /// `file_type`; 0 without the feature. Only a hint.
    pub file_type: u8,
    /// The name: 1 to 255 bytes without slash and zero; in an encrypted directory ciphertext of any bytes.
    pub name: Vec<u8>,
    /// Block of the directory in which it lies; 0 for inline directories.
    pub logical: u64,
    /// The block on disk; `None` for inline directories.
    pub block: Option<BlockNr>,
    /// Byte in that block. In an inline directory: byte of its content; `.` and `..` are then said to lie at 0.
    pub offset: u32,
}

impl DirEntry {
    /// True for `.` and `..`.
    #[must_use]
    pub fn is_dot(&self) -> bool {
        matches!(self.name.as_slice(), b"." | b"..")
    }
}

/// Where a block of a directory lies, and its bytes.
pub(crate) type DirBlock = (BlockNr, Arc<[u8]>);

/// How names of one directory are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameRule {
    pub(crate) folded: bool,
}

impl NameRule {
    pub(crate) fn matches(self, a: &[u8], b: &[u8]) -> bool {
        a == b || (self.folded && casefold::eq_folded(a, b))
    }
}

/// See [`Volume::read_dir`].
pub struct DirEntries<'v> {
    volume: &'v Volume,
    inode: InodeNr,
    seed: Option<u32>,
    indexed: bool,
    encrypted: bool,
    /// Only entries with this name.
    wanted: Option<(&'v [u8], NameRule)>,
    queue: VecDeque<Result<DirEntry, VolumeError>>,
    extents: Option<Extents<'v>>,
    run: Option<Mapping>,
    /// Blocks of the directory, by its size.
    blocks: u64,
}

impl Volume {
    /// The entries of a directory in the order in which they lie, `.` and `..` among them, unused ones left out.
    ///
    /// An error does not end the iteration unless nothing more can be found: a damaged block is left behind at the point of
    /// the damage, and what follows it is read.
    ///
    /// # Errors
    /// Not a directory.
    pub fn read_dir(&self, dir: &Inode) -> Result<DirEntries<'_>, VolumeError> {
        self.entries_named(dir, None)
    }

    /// As [`Volume::read_dir`], for entries with one name.
    fn entries_named<'v>(
        &'v self,
        dir: &Inode,
        wanted: Option<(&'v [u8], NameRule)>,
    ) -> Result<DirEntries<'v>, VolumeError> {
        if !dir.is_dir() {
            return Err(VolumeError::NotADirectory { inode: dir.nr() });
        }
        let mut entries = DirEntries {
            volume: self,
            inode: dir.nr(),
            seed: self.inode_verify_seed(dir),
            indexed: dir.flags().contains(InodeFlags::INDEX),
            encrypted: dir.is_encrypted(),
            wanted,
            queue: VecDeque::new(),
            extents: None,
            run: None,
            blocks: dir.size() >> self.geometry().block_shift(),
        };
        if dir.has_inline_data() {
            entries.queue_inline(dir)?;
        } else {
            entries.extents = Some(self.extents(dir));
        }
        Ok(entries)
    }

    /// The entry with this name: by the index where there is one, else one after the other. Casefolded directories find any
    /// name that folds to the same.
    ///
    /// # Errors
    /// Not a directory; a block on the way is damaged; the device failed.
    pub fn lookup(&self, dir: &Inode, name: &[u8]) -> Result<Option<DirEntry>, VolumeError> {
        if !dir.is_dir() {
            return Err(VolumeError::NotADirectory { inode: dir.nr() });
        }
        if name.is_empty() || name.len() > dir_entry::NAME_LEN {
            return Ok(None);
        }
        let indexed = dir.flags().contains(InodeFlags::INDEX)
            && self.has_compat(Compat::DIR_INDEX)
            && !dir.has_inline_data()
            && !matches!(name, b"." | b"..");
        if indexed && let Some(answer) = self.htree_lookup(dir, name)? {
            return Ok(answer);
        }
        self.entries_named(dir, Some((name, self.name_rule(dir))))?.next().transpose()
    }

    /// The directory above; the root's is the root.
    ///
    /// # Errors
    /// As [`Volume::lookup`], or there is no entry `..`.
    pub fn parent(&self, dir: &Inode) -> Result<InodeNr, VolumeError> {
        self.lookup(dir, b"..")?
            .map(|e| e.inode)
            .ok_or_else(|| VolumeError::bad_inode(dir.nr(), Corruption::DotMissing { name: ".." }))
    }

    pub(crate) fn name_rule(&self, dir: &Inode) -> NameRule {
        // Names of an encrypted directory are ciphertext without the key, which is never here.
        let folded =
            self.has_incompat(Incompat::CASEFOLD) && dir.flags().contains(InodeFlags::CASEFOLD) && !dir.is_encrypted();
        NameRule { folded }
    }

    /// One block of a directory, its checksum verified; `None` for a hole.
    pub(crate) fn dir_block(&self, dir: &Inode, logical: u64) -> Result<Option<DirBlock>, VolumeError> {
        let Segment::Mapped(m) = self.map_block(dir, logical)? else { return Ok(None) };
        if !m.written {
            return Ok(None);
        }
        let place = Place::InodeBlock { inode: dir.nr(), block: m.physical, offset: 0 };
        let bytes = self.block(place, m.physical)?;
        let indexed = dir.flags().contains(InodeFlags::INDEX);
        if self.inode_verify_seed(dir).is_some_and(|seed| !dir_checksum_ok(seed, &bytes, indexed)) {
            return Err(VolumeError::corrupt(place, Corruption::Checksum));
        }
        Ok(Some((m.physical, bytes)))
    }
}

/// A leaf has a tail of one kind, an index block one of another. Which one a block is shows in its shape, but a leaf that has
/// lost all its entries may look like an index block.
pub(super) fn dir_checksum_ok(seed: u32, block: &[u8], indexed: bool) -> bool {
    dir_entry::verify_block(seed, block)
        || (indexed && dx::entries_offset(block).is_some_and(|at| dx::verify_block(seed, block, at)))
}

pub(super) fn possible_name(name: &[u8], encrypted: bool) -> bool {
    !name.is_empty() && (encrypted || !name.iter().any(|b| matches!(b, 0 | b'/')))
}

impl DirEntries<'_> {
    fn queue_inline(&mut self, dir: &Inode) -> Result<(), VolumeError> {
        let (head, rest) = dir.i_block.split_at_checked(DOTDOT_SIZE).unwrap_or_default();
        let parent = head.try_into().map_or(0, u32::from_le_bytes);
        for (inode, name) in [(dir.nr(), &b"."[..]), (InodeNr(parent.into()), b"..")] {
            if self.wanted.is_some_and(|(wanted, rule)| !rule.matches(name, wanted)) {
                continue;
            }
            self.queue.push_back(Ok(DirEntry {
                inode,
                file_type: file_type::DIR,
                name: name.to_vec(),
                logical: 0,
                block: None,
                offset: 0,
            }));
        }
        self.queue_block(rest, 0, None, DOTDOT_SIZE);
        self.queue_block(self.volume.inline_tail(dir)?, 0, None, dir.i_block.len());
        Ok(())
    }

    /// Takes the entries out of a block (or a part of an inode, which begins at byte `base`).
    fn queue_block(&mut self, bytes: &[u8], logical: u64, block: Option<BlockNr>, base: usize) {
        let place = |offset: usize| match block {
            Some(block) => Place::InodeBlock { inode: self.inode, block, offset: u32::try_from(offset).unwrap_or(0) },
            None => Place::Inode(self.inode),
        };
        for entry in self.volume.entries_of(bytes) {
            let item = match entry {
                Ok(e) if e.inode == 0 => continue,
                Ok(e) => {
                    let offset = u32::try_from(e.offset + base).unwrap_or(u32::MAX);
                    if !possible_name(e.name, self.encrypted) {
                        Err(VolumeError::corrupt(place(e.offset), Corruption::DirName { offset }))
                    } else if self.wanted.is_some_and(|(wanted, rule)| !rule.matches(e.name, wanted)) {
                        continue;
                    } else {
                        Ok(DirEntry {
                            inode: InodeNr(e.inode.into()),
                            file_type: e.file_type,
                            name: e.name.to_vec(),
                            logical,
                            block,
                            offset,
                        })
                    }
                }
                Err(e) => Err(VolumeError::corrupt(place(0), e)),
            };
            self.queue.push_back(item);
        }
    }

    /// Reads the next block; `false` when there is none.
    fn fill(&mut self) -> Result<bool, VolumeError> {
        let run = match self.run.take() {
            Some(run) => run,
            None => {
                let next = match &mut self.extents {
                    Some(extents) => extents.next(),
                    None => None,
                };
                match next {
                    Some(Ok(run)) => run,
                    Some(Err(e)) => {
                        self.extents = None;
                        return Err(e);
                    }
                    None => return Ok(false),
                }
            }
        };
        if run.logical >= self.blocks {
            self.extents = None;
            return Ok(false);
        }
        self.run = run.from(run.logical + 1);
        if !run.written {
            self.run = None;
            return Ok(true);
        }
        let place = Place::InodeBlock { inode: self.inode, block: run.physical, offset: 0 };
        let bytes = self.volume.block(place, run.physical)?;
        if self.seed.is_some_and(|seed| !dir_checksum_ok(seed, &bytes, self.indexed)) {
            return Err(VolumeError::corrupt(place, Corruption::Checksum));
        }
        self.queue_block(&bytes, run.logical, Some(run.physical), 0);
        Ok(true)
    }
}

impl Iterator for DirEntries<'_> {
    type Item = Result<DirEntry, VolumeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.queue.pop_front() {
                return Some(item);
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => return Some(Err(e)),
            }
        }
    }
}
