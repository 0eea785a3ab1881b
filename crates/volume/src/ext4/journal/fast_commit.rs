//! Carrying out fast commits: names, inodes and ranges (`ext4_fc_replay`, Linux 6.12).
//!
//! Like the kernel, a tag that names something that is not there is passed over, since a later state may already be on disk.
//! Unlike it, what loses its last name is freed at once (a mount would do so with the inode it holds), and the link counts
//! of directories are counted anew, since no tag carries them.
//!
//! Bitmaps: the blocks that touched inodes had before are freed, the ones they have at the end are marked.

use std::collections::{BTreeMap, BTreeSet};

use daxkit_device::RangeSet;
use daxkit_format::ext4::dir_entry::NAME_LEN;
use daxkit_format::ext4::extent::{Extent, MAGIC};
use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::xattr::{self, XattrHeader};
use daxkit_format::jbd2::fast_commit::{self, FcBody, FcDentryInfo, FcTag};
use daxkit_format::{BlockNr, InodeNr, OnDisk};

use super::super::error::{Corruption, Place, ReplayError, VolumeError};
use super::super::map::Mapping;
use super::super::open::Volume;
use super::ReplayOverlay;
use super::fc_dir::{self, NewName};
use super::fc_map::{FileMap, blocks_of, count_blocks};
use super::fc_space::Space;
use super::writer::Writer;

/// Most links a directory counts (`EXT4_LINK_MAX`); beyond, it says 1.
const LINK_MAX: u32 = 65_000;

struct Replay<'o> {
    w: Writer<'o>,
    space: Space,
    /// Inodes that were changed, with the blocks their maps had before.
    before: BTreeMap<u32, Vec<(u64, u64)>>,
    /// Maps that were changed.
    maps: BTreeMap<u32, FileMap>,
    /// Directories in which names were made or removed.
    dirs: BTreeSet<u32>,
}

/// Carries out the fast commits of transaction `tid` that lie in `blocks`. Returns how many tags there were.
pub(super) fn replay(
    volume: Volume,
    overlay: &ReplayOverlay,
    blocks: &[Vec<u8>],
    tid: u32,
) -> Result<u64, VolumeError> {
    let inode_size = volume.geometry().inode_size;
    let tags = fast_commit::complete_tags(blocks.iter().map(Vec::as_slice), tid, inode_size)
        .map_err(|e| VolumeError::corrupt(Place::SuperBlock { offset: 1024 }, e))?;
    if tags.is_empty() {
        return Ok(0);
    }
    let mut replay = Replay {
        space: Space::new(mapped_regions(&volume, &tags)),
        w: Writer::new(volume, overlay),
        before: BTreeMap::new(),
        maps: BTreeMap::new(),
        dirs: BTreeSet::new(),
    };
    let mut count = 0;
    for tag in &tags {
        count += u64::from(replay.tag(&tag.body)?);
    }
    replay.finish()?;
    Ok(count)
}

/// Every block some fast commit maps.
fn mapped_regions(volume: &Volume, tags: &[FcTag<'_>]) -> RangeSet {
    let mut regions = RangeSet::default();
    for tag in tags {
        if let FcBody::AddRange(range) = &tag.body
            && let Some(e) = Extent::peek(&range.fc_ex)
            && volume.geometry().has_blocks(e.start(), e.len().into())
            && !e.is_empty()
        {
            regions.insert(e.start()..e.start() + u64::from(e.len()));
        }
    }
    regions
}

fn nr(ino: u32) -> InodeNr {
    InodeNr(ino.into())
}

impl Replay<'_> {
    /// True for a tag that means something.
    fn tag(&mut self, body: &FcBody<'_>) -> Result<bool, VolumeError> {
        match body {
            FcBody::Inode(head, raw) => self.inode(head.fc_ino.get(), raw)?,
            FcBody::Creat(info, name) => self.creat(info, name)?,
            FcBody::Link(info, name) => self.link(info, name)?,
            FcBody::Unlink(info, name) => self.unlink(info, name)?,
            FcBody::AddRange(range) => {
                if let Some(e) = Extent::peek(&range.fc_ex) {
                    self.add_range(range.fc_ino.get(), e)?;
                }
            }
            FcBody::DelRange(range) => {
                let first = u64::from(range.fc_lblk.get());
                let end = first + u64::from(range.fc_len.get());
                if let Some(map) = self.map(range.fc_ino.get())? {
                    map.remove(first, end);
                }
            }
            FcBody::Pad | FcBody::Tail(_) | FcBody::Head(_) => return Ok(false),
        }
        Ok(true)
    }

    fn exists(&self, ino: u32) -> bool {
        self.w.volume.inode(nr(ino)).is_ok_and(|i| i.i_links_count.get() > 0)
    }

    /// A number that an inode of the table has, and that is not one of the file system's own (but the root).
    fn check(&self, ino: u32) -> Result<(), VolumeError> {
        let g = self.w.volume.geometry();
        if (ino >= g.first_ino || nr(ino) == InodeNr::ROOT) && ino <= g.inodes_count {
            return Ok(());
        }
        Err(VolumeError::bad_inode(nr(ino), ReplayError::Inode { inode: ino }))
    }

    /// Remembers which blocks an inode had, before the first change to it.
    fn touch(&mut self, ino: u32) -> Result<(), VolumeError> {
        if !self.before.contains_key(&ino) {
            let blocks = if self.exists(ino) { blocks_of(&self.w, nr(ino))? } else { Vec::new() };
            self.before.insert(ino, blocks);
        }
        Ok(())
    }

    /// The map of a file, to be changed; `None` when there is no such file, or it is not mapped by extents.
    fn map(&mut self, ino: u32) -> Result<Option<&mut FileMap>, VolumeError> {
        self.check(ino)?;
        let Ok(inode) = self.w.volume.inode(nr(ino)) else { return Ok(None) };
        let fits = inode.flags().contains(InodeFlags::EXTENTS) && self.w.volume.has_map(&inode) && !inode.is_dir();
        if inode.i_links_count.get() == 0 || !fits {
            return Ok(None);
        }
        self.touch(ino)?;
        Ok(Some(match self.maps.entry(ino) {
            std::collections::btree_map::Entry::Occupied(o) => o.into_mut(),
            std::collections::btree_map::Entry::Vacant(v) => {
                v.insert(FileMap::new(self.w.volume.extents(&inode).collect::<Result<_, _>>()?))
            }
        }))
    }

    fn add_range(&mut self, ino: u32, e: &Extent) -> Result<(), VolumeError> {
        let run = Mapping {
            logical: e.ee_block.get().into(),
            physical: BlockNr(e.start()),
            len: e.len().into(),
            written: e.is_written(),
        };
        if run.len == 0 || run.end() > 1 << 32 || !self.w.volume.geometry().has_blocks(run.physical.get(), run.len) {
            let why =
                ReplayError::Range { inode: ino, logical: run.logical, end: run.end(), physical: run.physical.get() };
            return Err(VolumeError::bad_inode(nr(ino), why));
        }
        if let Some(map) = self.map(ino)? {
            map.insert(run);
        }
        Ok(())
    }

    /// Takes over everything of an inode but its map (`ext4_fc_replay_inode`).
    fn inode(&mut self, ino: u32, new: &[u8]) -> Result<(), VolumeError> {
        const MAP: std::ops::Range<usize> = 0x28..0x64;
        self.check(ino)?;
        let existed = self.exists(ino);
        self.touch(ino)?;
        let mut raw = self.w.volume.raw_inode(nr(ino))?;
        if !existed {
            // What a former inode left behind must not come back as attributes or blocks.
            raw.fill(0);
        }
        let old_map = raw.get(MAP).unwrap_or_default().to_vec();
        raw.iter_mut().zip(new).for_each(|(d, s)| *d = *s);
        let inode = self.w.volume.decode_inode(nr(ino), raw.clone());
        let keeps_map = inode.flags().contains(InodeFlags::EXTENTS);
        let keeps_new = inode.has_inline_data() || !self.w.volume.has_map(&inode);
        if let Some(place) = raw.get_mut(MAP)
            && (keeps_map || !keeps_new)
        {
            place.copy_from_slice(&old_map);
            if keeps_map && place.get(..2) != Some(&MAGIC.to_le_bytes()) {
                place.fill(0);
                // An empty root: magic, no entries, room for four, depth 0.
                let root = [MAGIC.to_le_bytes(), [0, 0], [4, 0], [0, 0]];
                place.iter_mut().zip(root.as_flattened()).for_each(|(d, s)| *d = *s);
            }
        }
        if !keeps_map {
            self.maps.remove(&ino);
        }
        self.w.write_inode(nr(ino), raw)?;
        self.space.mark_inode(&self.w, nr(ino), true, inode.is_dir())
    }

    fn name_ok(name: &[u8]) -> bool {
        let dots = matches!(name, b"." | b"..");
        !dots && (1..=NAME_LEN).contains(&name.len()) && !name.iter().any(|b| matches!(b, 0 | b'/'))
    }

    /// The two inodes of a name, when both can have one.
    fn ends(&self, info: &FcDentryInfo, name: &[u8]) -> Result<Option<(u32, u32)>, VolumeError> {
        let (dir, ino) = (info.fc_parent_ino.get(), info.fc_ino.get());
        self.check(dir)?;
        self.check(ino)?;
        let is_dir = self.w.volume.inode(nr(dir)).is_ok_and(|i| i.is_dir() && i.i_links_count.get() > 0);
        Ok((is_dir && Self::name_ok(name)).then_some((dir, ino)))
    }

    fn add_name(&mut self, dir: u32, name: &[u8], ino: u32) -> Result<bool, VolumeError> {
        self.touch(dir)?;
        let mode = self.w.volume.inode(nr(ino))?.i_mode.get();
        self.dirs.insert(dir);
        fc_dir::add(&self.w, &mut self.space, nr(dir), NewName { name, inode: ino, mode })
    }

    fn creat(&mut self, info: &FcDentryInfo, name: &[u8]) -> Result<(), VolumeError> {
        let Some((dir, ino)) = self.ends(info, name)? else { return Ok(()) };
        let inode = self.w.volume.inode(nr(ino))?;
        if inode.i_links_count.get() == 0 {
            return Err(VolumeError::bad_inode(nr(ino), ReplayError::Inode { inode: ino }));
        }
        self.touch(ino)?;
        self.space.mark_inode(&self.w, nr(ino), true, inode.is_dir())?;
        if inode.is_dir() {
            fc_dir::init(&self.w, &mut self.space, nr(ino), nr(dir))?;
            self.dirs.insert(ino);
        } else {
            self.w.change_inode(nr(ino), |i| i.i_links_count.set(1))?;
        }
        self.add_name(dir, name, ino)?;
        Ok(())
    }

    fn link(&mut self, info: &FcDentryInfo, name: &[u8]) -> Result<(), VolumeError> {
        let Some((dir, ino)) = self.ends(info, name)? else { return Ok(()) };
        if !self.exists(ino) {
            return Ok(());
        }
        self.touch(ino)?;
        if self.add_name(dir, name, ino)? {
            self.w.change_inode(nr(ino), |i| i.i_links_count.set(i.i_links_count.get().saturating_add(1)))?;
        }
        Ok(())
    }

    fn unlink(&mut self, info: &FcDentryInfo, name: &[u8]) -> Result<(), VolumeError> {
        let Some((dir, ino)) = self.ends(info, name)? else { return Ok(()) };
        if !self.exists(ino) {
            return Ok(());
        }
        self.touch(dir)?;
        self.touch(ino)?;
        if !fc_dir::remove(&self.w, nr(dir), name, ino)? {
            return Ok(());
        }
        self.dirs.insert(dir);
        let inode = self.w.volume.inode(nr(ino))?;
        let links = if !inode.is_dir() {
            inode.i_links_count.get().saturating_sub(1)
        } else if self.is_empty_dir(ino)? {
            0
        } else {
            inode.i_links_count.get()
        };
        self.w.change_inode(nr(ino), |i| i.i_links_count.set(links))?;
        if links == 0 {
            // At once, because the number may be used again by a later tag.
            self.free_inode(ino)?;
        }
        Ok(())
    }

    fn is_empty_dir(&self, ino: u32) -> Result<bool, VolumeError> {
        let inode = self.w.volume.inode(nr(ino))?;
        for entry in self.w.volume.read_dir(&inode)? {
            if !entry?.is_dot() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn finish(mut self) -> Result<(), VolumeError> {
        for (ino, map) in std::mem::take(&mut self.maps) {
            if self.exists(ino) {
                map.write(&self.w, &mut self.space, nr(ino))?;
                count_blocks(&self.w, nr(ino))?;
            }
        }
        for ino in std::mem::take(&mut self.dirs) {
            if self.exists(ino) {
                self.count_links(ino)?;
            }
        }
        let touched: Vec<u32> = self.before.keys().copied().collect();
        // First all that was, then all that is: a block may have gone from one inode to another.
        for blocks in std::mem::take(&mut self.before).into_values() {
            for (first, len) in blocks {
                self.space.mark(&self.w, first, len, false)?;
            }
        }
        let mut dead = Vec::new();
        for ino in touched {
            if self.exists(ino) {
                for (first, len) in blocks_of(&self.w, nr(ino))? {
                    self.space.mark(&self.w, first, len, true)?;
                }
            } else {
                dead.push(ino);
            }
        }
        for ino in dead {
            self.free_inode(ino)?;
        }
        self.space.flush(&self.w)
    }

    /// Counts the links of a directory: two and one for each directory in it.
    fn count_links(&self, ino: u32) -> Result<(), VolumeError> {
        let inode = self.w.volume.inode(nr(ino))?;
        let dir_nlink = self.w.volume.has_ro_compat(RoCompat::DIR_NLINK);
        let mut links = 2u32;
        for entry in self.w.volume.read_dir(&inode)? {
            let entry = entry?;
            if !entry.is_dot() && self.w.volume.inode(entry.inode).is_ok_and(|i| i.is_dir()) {
                links = links.saturating_add(1);
            }
        }
        // One link means "too many to count", and stays.
        if inode.i_links_count.get() == 1 && dir_nlink || links >= LINK_MAX {
            links = 1;
        }
        self.w.change_inode(nr(ino), |i| i.i_links_count.set(u16::try_from(links).unwrap_or(1)))
    }

    /// Frees an inode that has no links any more.
    fn free_inode(&mut self, ino: u32) -> Result<(), VolumeError> {
        self.maps.remove(&ino);
        let inode = self.w.volume.inode_unverified(nr(ino))?;
        if inode.file_acl() != 0 && inode.i_mode.get() != 0 {
            self.drop_xattr_block(&inode)?;
        }
        let is_dir = inode.is_dir();
        self.w.change_inode(nr(ino), |i| {
            i.i_dtime.set(i.i_ctime.get().max(1));
            i.i_block = [0; 60];
            i.set_size(0);
            i.set_blocks_stored(0);
            i.set_file_acl(0);
        })?;
        self.space.mark_inode(&self.w, nr(ino), false, is_dir)
    }

    /// Takes one reference from an attribute block, and frees it with the last.
    fn drop_xattr_block(&mut self, inode: &super::super::inode::Inode) -> Result<(), VolumeError> {
        let (block, mut bytes) = match self.w.volume.xattr_block(inode) {
            Ok(found) => found,
            Err(VolumeError::Corrupt { why: Corruption::BlockRange { .. } | Corruption::Magic { .. }, .. }) => {
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let Some(head) = XattrHeader::peek_mut(&mut bytes) else { return Ok(()) };
        let count = head.h_refcount.get();
        if count <= 1 {
            return self.space.mark(&self.w, block.get(), 1, false);
        }
        head.h_refcount.set(count - 1);
        if let Some(seed) = self.w.seed() {
            xattr::seal_block(seed, block.get(), &mut bytes);
        }
        self.w.write_block(block, &bytes)
    }
}
