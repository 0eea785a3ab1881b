//! Names made and removed while fast commits are carried out.
//!
//! A hashed directory keeps its index as long as the leaf that a name belongs to has room. When it has not, the index is given
//! up: the directory becomes a linear one with the same names, which every kernel reads.

use daxkit_format::ext4::dir_block::NewEntry;
use daxkit_format::ext4::dir_entry::{self, file_type};
use daxkit_format::ext4::features::{Compat, Incompat};
use daxkit_format::ext4::inline_data::{DOTDOT_SIZE, XATTR_NAME};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::xattr::{INDEX_SYSTEM, XattrEntry};
use daxkit_format::{BlockNr, InodeNr, OnDisk};

use super::super::error::{ReplayError, VolumeError};
use super::super::inode::Inode;
use super::super::map::Mapping;
use super::fc_map::{FileMap, count_blocks, home};
use super::fc_space::Space;
use super::writer::Writer;

/// A name to be made.
#[derive(Clone, Copy)]
pub(super) struct NewName<'a> {
    pub(super) name: &'a [u8],
    pub(super) inode: u32,
    pub(super) mode: u16,
}

fn ino(nr: InodeNr) -> u32 {
    u32::try_from(nr.get()).unwrap_or(u32::MAX)
}

/// Makes a name; false when there is one already.
pub(super) fn add(w: &Writer<'_>, space: &mut Space, dir: InodeNr, new: NewName<'_>) -> Result<bool, VolumeError> {
    let inode = w.volume.inode(dir)?;
    if w.volume.lookup(&inode, new.name)?.is_some() {
        return Ok(false);
    }
    if inode.is_encrypted() && inode.flags().contains(InodeFlags::CASEFOLD) {
        return Err(VolumeError::bad_inode(dir, ReplayError::NoKey { inode: ino(dir) }));
    }
    if inode.has_inline_data() {
        if add_inline(w, &inode, new)? {
            return Ok(true);
        }
        leave_inline(w, space, &inode)?;
        return add(w, space, dir, new);
    }
    if inode.flags().contains(InodeFlags::INDEX) {
        if w.volume.has_compat(Compat::DIR_INDEX)
            && let Some(leaf) = w.volume.htree_leaf(&inode, new.name)?
            && add_to_block(w, &inode, leaf.into(), new)?
        {
            return Ok(true);
        }
        give_up_index(w, &inode)?;
    }
    let inode = w.volume.inode(dir)?;
    let runs: Vec<Mapping> = w.volume.extents(&inode).collect::<Result<_, _>>()?;
    for run in &runs {
        for logical in run.logical..run.end() {
            if add_to_block(w, &inode, logical, new)? {
                return Ok(true);
            }
        }
    }
    let mut block = vec![0; w.volume.block_size() as usize];
    let area = block.get_mut(..w.volume.dir_area()).unwrap_or_default();
    w.volume.entry_style().clear(area);
    put_name(w, &inode, area, new)?;
    append(w, space, &inode, runs, &mut block)?;
    Ok(true)
}

/// Removes a name if it leads to `target`; false when it is not there.
pub(super) fn remove(w: &Writer<'_>, dir: InodeNr, name: &[u8], target: u32) -> Result<bool, VolumeError> {
    let inode = w.volume.inode(dir)?;
    let Some(entry) = w.volume.lookup(&inode, name)? else { return Ok(false) };
    if entry.inode != InodeNr(target.into()) {
        return Ok(false);
    }
    let at = entry.offset as usize;
    if let Some(block) = entry.block {
        let mut bytes = w.volume.read_block(block)?;
        cut(w, &inode, bytes.get_mut(..w.volume.dir_area()).unwrap_or_default(), at)?;
        seal(w, &inode, &mut bytes);
        w.write_block(block, &bytes)?;
    } else {
        let mut raw = inode.raw().to_vec();
        for (part, base) in inline_parts(w, &inode)? {
            if let Some(inside) = at.checked_sub(base).filter(|inside| *inside < part.len())
                && let Some(bytes) = raw.get_mut(part)
            {
                cut(w, &inode, bytes, inside)?;
            }
        }
        w.write_inode(dir, raw)?;
    }
    Ok(true)
}

/// Gives a new directory its first block (`ext4_init_new_dir`), unless it has one.
pub(super) fn init(w: &Writer<'_>, space: &mut Space, dir: InodeNr, parent: InodeNr) -> Result<(), VolumeError> {
    let inode = w.volume.inode(dir)?;
    if inode.has_inline_data() {
        let mut raw = inode.raw().to_vec();
        let [a, b, c, d, ..] = inode.i_block;
        if u32::from_le_bytes([a, b, c, d]) == 0
            && let Some(area) = raw.get_mut(0x28..0x28 + 60)
        {
            area.fill(0);
            area.iter_mut().zip(ino(parent).to_le_bytes()).for_each(|(d, s)| *d = s);
            w.volume.entry_style().clear(area.get_mut(DOTDOT_SIZE..).unwrap_or_default());
        }
        return w.write_inode(dir, raw);
    }
    if w.volume.lookup(&inode, b".").is_ok_and(|e| e.is_some_and(|e| e.inode == dir)) {
        return Ok(());
    }
    let mut block = vec![0; w.volume.block_size() as usize];
    w.volume.entry_style().dots(block.get_mut(..w.volume.dir_area()).unwrap_or_default(), ino(dir), ino(parent));
    w.change_inode(dir, |i| {
        i.set_size(0);
        i.set_flags(i.flags().difference(InodeFlags::INDEX));
    })?;
    let inode = w.volume.inode(dir)?;
    append(w, space, &inode, Vec::new(), &mut block)
}

/// Puts a name where there is room; false when there is none.
fn put_name(w: &Writer<'_>, dir: &Inode, area: &mut [u8], new: NewName<'_>) -> Result<bool, VolumeError> {
    let entry = NewEntry { inode: new.inode, name: new.name, file_type: file_type::of_mode(new.mode) };
    w.volume.entry_style().add(area, &entry).map_err(|e| VolumeError::bad_inode(dir.nr(), e))
}

/// Takes the entry at byte `at` out.
fn cut(w: &Writer<'_>, dir: &Inode, area: &mut [u8], at: usize) -> Result<bool, VolumeError> {
    w.volume.entry_style().remove(area, at).map_err(|e| VolumeError::bad_inode(dir.nr(), e))
}

fn seal(w: &Writer<'_>, inode: &Inode, bytes: &mut [u8]) {
    if let Some(seed) = w.inode_seed(inode) {
        dir_entry::seal_block(seed, bytes);
    }
}

fn add_to_block(w: &Writer<'_>, dir: &Inode, logical: u64, new: NewName<'_>) -> Result<bool, VolumeError> {
    let Some((block, bytes)) = w.volume.dir_block(dir, logical)? else { return Ok(false) };
    let mut bytes = bytes.to_vec();
    if !put_name(w, dir, bytes.get_mut(..w.volume.dir_area()).unwrap_or_default(), new)? {
        return Ok(false);
    }
    seal(w, dir, &mut bytes);
    w.write_block(block, &bytes)?;
    Ok(true)
}

/// Adds a block to a directory whose runs are `runs`.
fn append(
    w: &Writer<'_>,
    space: &mut Space,
    dir: &Inode,
    runs: Vec<Mapping>,
    block: &mut [u8],
) -> Result<(), VolumeError> {
    let nr = dir.nr();
    let logical = w.volume.geometry().blocks_for(dir.size());
    let goal = runs.last().map_or_else(|| home(w, nr), |r| BlockNr(r.physical.get() + r.len));
    let at = space.take(w, goal)?;
    seal(w, dir, block);
    w.write_block(at, block)?;
    if dir.flags().contains(InodeFlags::EXTENTS) {
        let old: Vec<_> = w.volume.metadata_blocks(dir).collect::<Result<_, _>>()?;
        let mut map = FileMap::new(runs);
        map.insert(Mapping { logical, physical: at, len: 1, written: true });
        map.write(w, space, nr)?;
        for (node, _) in old {
            space.mark(w, node.get(), 1, false)?;
        }
    } else {
        // The direct blocks of an old map are enough for what fast commits do.
        let slot = usize::try_from(logical).ok().filter(|slot| *slot < 12);
        let number = u32::try_from(at.get()).ok();
        let (Some(slot), Some(number)) = (slot, number) else {
            return Err(VolumeError::bad_inode(nr, ReplayError::DirFull { inode: ino(nr) }));
        };
        w.change_inode(nr, |i| {
            if let Some(place) = i.i_block.get_mut(slot * 4..slot * 4 + 4) {
                place.copy_from_slice(&number.to_le_bytes());
            }
        })?;
    }
    let size = (logical + 1).saturating_mul(w.volume.block_size().into());
    w.change_inode(nr, |i| i.set_size(size))?;
    count_blocks(w, nr)
}

/// Makes a linear directory of a hashed one.
fn give_up_index(w: &Writer<'_>, dir: &Inode) -> Result<(), VolumeError> {
    let runs: Vec<Mapping> = w.volume.extents(dir).collect::<Result<_, _>>()?;
    for run in &runs {
        for logical in run.logical..run.end() {
            if let Some((block, bytes)) = w.volume.dir_block(dir, logical)?
                && let Some(mut plain) = w.volume.without_index(dir, logical, &bytes)?
            {
                seal(w, dir, &mut plain);
                w.write_block(block, &plain)?;
            }
        }
    }
    w.change_inode(dir.nr(), |i| i.set_flags(i.flags().difference(InodeFlags::INDEX)))
}

/// Where the two parts of an inline directory lie in the inode's bytes, and where each begins in the directory's content.
fn inline_parts(w: &Writer<'_>, inode: &Inode) -> Result<Vec<(std::ops::Range<usize>, usize)>, VolumeError> {
    let mut parts = vec![(0x28 + DOTDOT_SIZE..0x28 + 60, DOTDOT_SIZE)];
    let area = 128 + usize::from(inode.i_extra_isize.get());
    for attribute in w.volume.inode_attributes(inode)?.into_iter().flatten().flatten() {
        if attribute.index == INDEX_SYSTEM && attribute.name == XATTR_NAME && !attribute.value.is_empty() {
            let head = inode.raw().get(area + attribute.offset..).and_then(XattrEntry::peek);
            let from = area + 4 + head.map_or(0, |h| usize::from(h.e_value_offs.get()));
            parts.push((from..from + attribute.value.len(), 60));
        }
    }
    Ok(parts)
}

fn add_inline(w: &Writer<'_>, dir: &Inode, new: NewName<'_>) -> Result<bool, VolumeError> {
    let mut raw = dir.raw().to_vec();
    for (part, _) in inline_parts(w, dir)? {
        if let Some(bytes) = raw.get_mut(part)
            && put_name(w, dir, bytes, new)?
        {
            w.write_inode(dir.nr(), raw)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Moves the names of an inline directory into a block (`ext4_convert_inline_data_nolock`).
fn leave_inline(w: &Writer<'_>, space: &mut Space, dir: &Inode) -> Result<(), VolumeError> {
    let mut block = w.volume.inline_dir_as_block(dir)?;
    let mut entries = w.volume.body_entries(dir)?;
    entries.retain(|e| !e.is_inline_tail());
    let raw = w.volume.with_body(dir, &entries).map_or_else(|| dir.raw().to_vec(), |i| i.raw().to_vec());
    w.write_inode(dir.nr(), raw)?;
    let extents = w.volume.has_incompat(Incompat::EXTENTS);
    w.change_inode(dir.nr(), |i| {
        i.i_block = [0; 60];
        let mut flags = i.flags().difference(InodeFlags::INLINE_DATA);
        flags.set(InodeFlags::EXTENTS, extents);
        i.set_flags(flags);
        i.set_size(0);
    })?;
    if extents {
        FileMap::default().write(w, space, dir.nr())?;
    }
    let inode = w.volume.inode(dir.nr())?;
    append(w, space, &inode, Vec::new(), &mut block)
}
