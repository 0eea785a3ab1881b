//! The scan of the inode tables: each inode once, in the order in which they lie, groups side by side.

use daxkit_device::lanes::LANES;
use daxkit_format::ext4::inode::{self, Inode as DiskInode, mode};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::{encryption, xattr};

use super::claims::Claims;
use super::inline;
use super::inode_blocks::Blocks;
use super::{Context, Dir, Local, sums};
use crate::code::Code;
use crate::finding::{At, Finding};
use crate::repair::{Fix, edit_inode};
use crate::state::{Kind, Known, bits};

/// Bytes at the end of an encryption context that are chosen by chance.
const NONCE: usize = 16;

/// Inodes of a group that one thread takes at once.
const PART: u32 = 1024;

/// Flags that special files and short links cannot have.
const MAPPED: InodeFlags = InodeFlags::EXTENTS.union(InodeFlags::INLINE_DATA);

/// An inode that is being checked.
pub(crate) struct Checked<'a> {
    pub(crate) ino: u32,
    pub(crate) raw: &'a [u8],
    pub(crate) disk: DiskInode,
    pub(crate) kind: Kind,
    pub(crate) flags: InodeFlags,
    pub(crate) size: u64,
}

impl<'a> Checked<'a> {
    pub(crate) fn new(ino: u32, raw: &'a [u8]) -> Option<Self> {
        let disk = DiskInode::from_disk(raw)?;
        let kind = Kind::of(disk.i_mode.get());
        let low = u64::from(disk.i_size_lo.get());
        Some(Self { ino, raw, kind, flags: disk.flags(), size: low | u64::from(disk.i_size_high.get()) << 32, disk })
    }

    pub(crate) fn at(&self, field: &'static str) -> At {
        At::Inode(self.ino, field)
    }

    /// Whether the words of the map are a short target.
    fn is_fast_link(&self) -> bool {
        self.kind == Kind::Link && self.size < 60 && !self.flags.contains(InodeFlags::INLINE_DATA)
    }

    /// Whether the words of the map are walked all the same: by what e2fsck knows a link with blocks (`ext2fs_inode_has_valid_blocks2`).
    fn is_mapped(&self) -> bool {
        if self.kind != Kind::Link || self.flags.contains(InodeFlags::INLINE_DATA) {
            return true;
        }
        if self.disk.file_acl() == 0 {
            // A long target in an extent tree is kept, though e2fsck would take the flag from it.
            return self.disk.blocks_stored() != 0 || (self.size >= 60 && self.flags.contains(InodeFlags::EXTENTS));
        }
        let second = self.disk.i_block.get(4..8);
        self.size >= 60 || (self.size > 4 && second == Some(&[0; 4]))
    }
}

/// Sets flags of an inode.
pub(crate) fn clear_flags(raw: &mut [u8], flags: u64) {
    edit_inode(raw, |inode| inode.set_flags(inode.flags().difference(InodeFlags::from_bits_retain(flags as u32))));
}

pub(crate) fn set_flags(raw: &mut [u8], flags: u64) {
    edit_inode(raw, |inode| inode.set_flags(inode.flags().union(InodeFlags::from_bits_retain(flags as u32))));
}

impl Context<'_> {
    /// Scans all tables.
    pub(crate) fn scan(&self) -> Local {
        let scans = &self.scans;
        let mut work = Vec::new();
        for (group, scan) in scans.iter().enumerate() {
            let starts = (0..scan.inodes).step_by(PART as usize);
            work.extend(starts.map(|start| (group as u32, start, PART.min(scan.inodes - start))));
        }
        let mut found = self.parallel(1, &work, |local, part| self.scan_part(local, *part));
        found.dirs_of.sort_unstable();
        found.dirs_of.dedup_by(|(group, more), (first, count)| {
            let same = group == first;
            *count += if same { *more } else { 0 };
            same
        });
        found
    }

    /// Scans a part of a group's table: from this inode of the group on, so many.
    fn scan_part(&self, local: &mut Local, (group, start, count): (u32, u32, u32)) {
        let geo = &self.image.geo;
        let size = usize::from(geo.inode_size);
        let first = group * geo.inodes_per_group + 1 + start;
        let Some(at) = self.image.inode_at(first) else { return };
        local.group_dirs = 0;
        let mut room = std::mem::take(&mut local.room);
        room.resize(count as usize * size, 0);
        if self.image.device.read_at(at, &mut room).is_err() {
            self.scan_slowly(local, at, first, &mut room);
        } else {
            self.scan_bytes(local, first, &room, size);
        }
        local.room = room;
        if local.group_dirs > 0 {
            local.dirs_of.push((group, local.group_dirs));
        }
    }

    /// Scans inodes that were read.
    fn scan_bytes(&self, local: &mut Local, first: u32, bytes: &[u8], size: usize) {
        let mut ino = first;
        let at_once = if size == sums::SIZE { LANES } else { 1 };
        for batch in bytes.chunks(size * at_once) {
            let inodes: Option<&[[u8; sums::SIZE]; LANES]> = batch.as_chunks().0.try_into().ok();
            let inodes = inodes.filter(|_| at_once > 1);
            match inodes.zip(self.image.seed).and_then(|(raw, seed)| Some((raw, sums::fit(seed, ino, raw)?))) {
                Some((inodes, fit)) => self.batch(local, ino, inodes, fit),
                None => {
                    for (raw, ino) in batch.chunks_exact(size).zip(ino..) {
                        self.inode(local, ino, raw, None);
                    }
                }
            }
            ino += at_once as u32;
        }
    }

    /// Checks inodes side by side, of which it is known whether their checksums fit.
    #[inline]
    fn batch(&self, local: &mut Local, first: u32, inodes: &[[u8; sums::SIZE]; LANES], fit: [bool; LANES]) {
        let none_reserved = first >= self.image.geo.first_ino && self.bad.is_empty();
        let (mut plain, mut empty) = (0, 0);
        for (index, ((raw, fits), ino)) in inodes.iter().zip(fit).zip(first..).enumerate() {
            match if fits && none_reserved { self.plain_file(local, raw) } else { None } {
                Some(Known { links: 1, bits, .. }) => {
                    plain |= 1 << index;
                    empty |= u64::from(bits & bits::EMPTY != 0) << index;
                }
                Some(known) => self.inodes.set(ino, known),
                None => self.inode(local, ino, raw, Some(fits)),
            }
        }
        self.inodes.set_plain(first, plain, empty);
    }

    /// Reads a part of a table block by block, because some of it cannot be read.
    fn scan_slowly(&self, local: &mut Local, at: u64, first: u32, chunk: &mut [u8]) {
        let (size, block) = (usize::from(self.image.geo.inode_size), self.image.block_size());
        let mut ino = first;
        for (index, part) in chunk.chunks_mut(block).enumerate() {
            let at = at + (index * block) as u64;
            if self.image.device.read_at(at, part).is_err() {
                local.find(Finding::new(Code::Unreadable, At::Block(at / block as u64)));
                ino += (part.len() / size) as u32;
                continue;
            }
            self.scan_bytes(local, ino, part, size);
            ino += (part.len() / size) as u32;
        }
    }

    /// An inode; `fits` says whether its checksum does, if that is known already.
    fn inode(&self, local: &mut Local, ino: u32, raw: &[u8], fits: Option<bool>) {
        let half = |at: usize| raw.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes);
        let (mode, links) = (half(0), half(0x1A));
        let reserved = ino < self.image.geo.first_ino;
        let blank = mode == 0 && links == 0 && self.bad.is_empty();
        if blank && !reserved && raw.iter().all(|b| *b == 0) {
            return;
        }
        if !reserved && self.is_in_bad_block(ino) {
            let known = Known { kind: Kind::Bad, links: 0, bits: bits::RESERVED | bits::DOOMED };
            return self.inodes.set(ino, known);
        }
        let before = local.findings.len();
        let fits = fits.unwrap_or_else(|| self.image.seed.is_none_or(|seed| inode::verify(seed, ino, raw)))
            || raw.iter().all(|b| *b == 0);
        if fits
            && !reserved
            && let Some(known) = self.plain_file(local, raw)
        {
            return self.inodes.set(ino, known);
        }
        let Some(mut checked) = Checked::new(ino, raw) else { return };
        if reserved {
            self.reserved_inode(local, &mut checked);
        } else if links == 0 {
            let dtime = checked.disk.i_dtime.get();
            if (mode != 0 && dtime == 0) || self.is_low_dtime(dtime) {
                let now = self.now;
                local.find(
                    Finding::new(Code::InodeZeroDtime, checked.at("i_dtime")).fix(Fix::Inode(ino, set_dtime, now)),
                );
            }
        } else {
            self.used_inode(local, &mut checked);
        }
        if !fits && local.findings.len() == before {
            local.find(Finding::new(Code::InodeChecksum, checked.at("i_checksum_lo")).fix(Fix::Inode(
                ino,
                |_, _| {},
                0,
            )));
        }
    }

    /// An inode in use.
    pub(crate) fn used_inode(&self, local: &mut Local, checked: &mut Checked<'_>) {
        let ino = checked.ino;
        if !self.image.is_own_inode(ino) {
            self.times(local, checked);
            self.obsolete(local, checked);
            self.extra(local, checked);
        } else {
            self.own_dtime(local, checked, 0);
        }
        let mut known = Known { kind: checked.kind, links: checked.disk.i_links_count.get(), bits: 0 };
        let doomed = |code: Code, field: &'static str| Finding::new(code, At::Inode(ino, field)).fix(Fix::Clear(ino));
        if checked.kind == Kind::Bad && self.is_really_dir(checked) {
            let fix =
                |raw: &mut [u8], _| edit_inode(raw, |i| i.i_mode = (i.i_mode.get() & 0o7777 | mode::IFDIR).into());
            local.find(
                Finding::new(Code::InodeReallyDir, checked.at("i_mode"))
                    .stored(checked.disk.i_mode.get())
                    .fix(Fix::Inode(ino, fix, 0)),
            );
            known.kind = Kind::Dir;
            known.bits |= bits::DOOMED;
        } else if checked.kind == Kind::Bad {
            local.find(doomed(Code::InodeMode, "i_mode").stored(checked.disk.i_mode.get()));
            known.bits |= bits::DOOMED;
        }
        if let Some(finding) = self.inode_flags(checked) {
            known.bits |= if matches!(finding.fix, Some(Fix::Clear(_))) { bits::DOOMED } else { 0 };
            local.find(finding);
        }
        if checked.flags.contains(InodeFlags::EA_INODE) {
            known.bits |= bits::EA_INODE;
            if checked.kind != Kind::File {
                let fix = Fix::Inode(ino, clear_flags, InodeFlags::EA_INODE.bits().into());
                local.find(Finding::new(Code::InodeEaFlag, checked.at("i_flags")).fix(fix));
            }
        }
        if checked.kind == Kind::Dir && checked.flags.contains(InodeFlags::INDEX) {
            known.bits |= bits::INDEXED;
        }
        if checked.flags.contains(InodeFlags::ENCRYPT) {
            known.bits |= bits::ENCRYPTED;
        }
        if checked.flags.contains(InodeFlags::DAX) {
            known.bits |= bits::DAX;
            local.usage.dax += 1;
            self.dax_inode(local, checked);
        }
        if known.bits & bits::DOOMED == 0 {
            known.bits |= self.content(local, checked);
        }
        local.usage.inodes += 1;
        match checked.kind {
            Kind::File => local.usage.files += 1,
            Kind::Dir => local.usage.dirs += 1,
            Kind::Link => local.usage.links += 1,
            _ => local.usage.special += 1,
        }
        local.group_dirs += u32::from(checked.kind == Kind::Dir);
        self.inodes.set(ino, known);
    }

    /// Whether a time of deletion is the number of an inode: a list of orphans that was cut off.
    fn is_low_dtime(&self, dtime: u32) -> bool {
        let sb = &self.image.sb;
        let count = sb.s_inodes_count.get();
        // A clock that begins at 1970 cannot be told from it.
        let young = |time: u32| time != 0 && time < count;
        dtime != 0
            && dtime < count
            && ![sb.s_wtime.get(), sb.s_mtime.get(), sb.s_mkfs_time.get()].into_iter().any(young)
    }

    /// Of the file system's own inodes, nothing else is asked of the time of deletion.
    fn own_dtime(&self, local: &mut Local, checked: &Checked<'_>, to: u64) {
        let dtime = checked.disk.i_dtime.get();
        if self.is_low_dtime(dtime) {
            local.find(Finding::new(Code::InodeDtime, checked.at("i_dtime")).stored(dtime).fix(Fix::Inode(
                checked.ino,
                set_dtime,
                to,
            )));
        }
    }

    fn times(&self, local: &mut Local, checked: &Checked<'_>) {
        if checked.disk.i_dtime.get() != 0 {
            local.find(
                Finding::new(Code::InodeDtime, checked.at("i_dtime"))
                    .stored(checked.disk.i_dtime.get())
                    .observed(0u32)
                    .fix(Fix::Inode(checked.ino, set_dtime, 0)),
            );
        }
        // Until 2242 no time is before 1901 by way of the extra bits.
        let late = self.now >= 8_589_934_592;
        let has = |end| checked.raw.len() > 128 && checked.disk.has_until(end);
        let disk = &checked.disk;
        let pairs = [
            (disk.i_atime.get(), disk.i_atime_extra.get(), 0x90),
            (disk.i_ctime.get(), disk.i_ctime_extra.get(), 0x88),
            (disk.i_mtime.get(), disk.i_mtime_extra.get(), 0x8C),
            (disk.i_crtime.get(), disk.i_crtime_extra.get(), 0x98),
        ];
        if !late && pairs.iter().any(|(low, extra, end)| has(*end) && low >> 31 == 1 && extra & 3 == 3) {
            local.find(Finding::new(Code::InodeTime, checked.at("")).fix(Fix::Inode(checked.ino, clear_epochs, 0)));
        }
    }

    /// Whether what an inode holds is a directory, whatever its mode says.
    fn is_really_dir(&self, checked: &Checked<'_>) -> bool {
        let block_size = self.image.geo.block_size;
        if checked.flags.contains(InodeFlags::INLINE_DATA) {
            let map = &checked.disk.i_block;
            return super::entries::entry_at(map, 4, block_size)
                .is_some_and(|entry| self.inodes.exists(entry.inode) && !entry.name.is_empty());
        }
        let inode = self.image.volume.decode_inode(daxkit_format::InodeNr(checked.ino.into()), checked.raw.to_vec());
        let Ok(daxkit_volume::Segment::Mapped(run)) = self.image.volume.map_block(&inode, 0) else { return false };
        let Ok(bytes) = self.image.block(run.physical.get()) else { return false };
        let entry = |at| super::entries::entry_at(&bytes, at, block_size);
        entry(0).is_some_and(|dot| {
            dot.name == b"." && dot.inode == checked.ino && entry(dot.len).is_some_and(|dotdot| dotdot.name == b"..")
        })
    }

    /// Fields that nothing uses any more, or that a feature would have to allow.
    fn obsolete(&self, local: &mut Local, checked: &mut Checked<'_>) {
        let (ino, disk, has) = (checked.ino, &checked.disk, &self.image.has);
        let mut wrong = |field: &'static str, stored: u64, fix: fn(&mut [u8], u64)| {
            local.find(
                Finding::new(Code::InodeObsolete, At::Inode(ino, field))
                    .stored(stored)
                    .observed(0u32)
                    .fix(Fix::Inode(ino, fix, 0)),
            );
        };
        if disk.i_obso_faddr.get() != 0 {
            wrong("i_obso_faddr", disk.i_obso_faddr.get().into(), |raw, _| {
                edit_inode(raw, |i| i.i_obso_faddr = 0.into())
            });
        }
        if checked.kind == Kind::Dir && disk.i_size_high.get() != 0 && !has.large_dir {
            wrong("i_size_high", disk.i_size_high.get().into(), |raw, _| edit_inode(raw, |i| i.i_size_high = 0.into()));
            checked.size &= 0xffff_ffff;
        }
        if !has.huge_file && disk.l_i_blocks_high.get() != 0 {
            wrong("l_i_blocks_high", disk.l_i_blocks_high.get().into(), |raw, _| {
                edit_inode(raw, |i| i.l_i_blocks_high = 0.into());
            });
        }
        if !has.bit64 && disk.l_i_file_acl_high.get() != 0 {
            wrong("l_i_file_acl_high", disk.l_i_file_acl_high.get().into(), |raw, _| {
                edit_inode(raw, |i| i.l_i_file_acl_high = 0.into());
            });
            checked.disk.l_i_file_acl_high = 0.into();
        }
        if checked.flags.contains(InodeFlags::IMAGIC) && !has.imagic {
            local.find(Finding::new(Code::InodeImagic, At::Inode(ino, "i_flags")).fix(Fix::Inode(
                ino,
                clear_flags,
                InodeFlags::IMAGIC.bits().into(),
            )));
        }
    }

    /// What lies behind the first 128 bytes.
    fn extra(&self, local: &mut Local, checked: &Checked<'_>) {
        if checked.raw.len() <= 128 {
            return;
        }
        let (extra, room) = (checked.disk.i_extra_isize.get(), (checked.raw.len() - 128) as u16);
        if extra != 0 && (extra < 4 || extra > room || extra & 3 != 0) {
            let want = match self.image.sb.s_want_extra_isize.get() {
                0 => 32,
                want => want,
            };
            local.find(
                Finding::new(Code::InodeExtraIsize, checked.at("i_extra_isize"))
                    .stored(extra)
                    .observed(want.min(room))
                    .fix(Fix::Inode(
                        checked.ino,
                        |raw, n| {
                            if let Some(at) = raw.get_mut(0x80..0x82) {
                                at.copy_from_slice(&(n as u16).to_le_bytes());
                            }
                        },
                        want.min(room).into(),
                    )),
            );
            return;
        }
        if extra < room.saturating_sub(4) {
            self.inode_xattrs(local, checked.ino, checked.raw);
        }
    }

    /// What flags, type and features say of each other; the first thing that does not go together.
    pub(crate) fn inode_flags(&self, checked: &mut Checked<'_>) -> Option<Finding> {
        let (ino, has) = (checked.ino, &self.image.has);
        let at = At::Inode(ino, "i_flags");
        let inline = checked.flags.contains(InodeFlags::INLINE_DATA);
        let extents = checked.flags.contains(InodeFlags::EXTENTS);
        let without = |code: Code, flags: InodeFlags| {
            Finding::new(code, at).stored(format!("{:#x}", checked.flags.bits())).fix(Fix::Inode(
                ino,
                clear_flags,
                flags.bits().into(),
            ))
        };
        let special = matches!(checked.kind, Kind::Chr | Kind::Blk | Kind::Fifo | Kind::Sock);
        let fast = checked.is_fast_link() && checked.size > 0 && extents;
        if (special && checked.flags.intersects(MAPPED)) || (fast && self.link_is_valid(checked)) {
            let finding = without(Code::InodeSpecialFlags, MAPPED);
            checked.flags.remove(MAPPED);
            return Some(finding);
        }
        let tree = super::extents::header_is_valid(&checked.disk.i_block, None);
        if inline && extents {
            let fits = inline::capacity(checked.raw).is_some_and(|room| checked.size <= room as u64);
            let words = checked.disk.i_block.as_chunks::<4>().0.iter().map(|b| u64::from(u32::from_le_bytes(*b)));
            let map = words.into_iter().all(|block| block == 0 || self.image.is_block(block, 1));
            let finding = match (fits, tree) {
                (_, true) => without(Code::InlineAndExtents, InodeFlags::INLINE_DATA),
                (true, false) => without(Code::InlineAndExtents, InodeFlags::EXTENTS),
                (false, false) if map => without(Code::InlineAndExtents, MAPPED),
                _ => Finding::new(Code::InlineAndExtents, at).fix(Fix::Clear(ino)),
            };
            checked.flags.remove(if tree { InodeFlags::INLINE_DATA } else { InodeFlags::EXTENTS });
            return Some(finding);
        }
        if inline && !has.inline_data {
            let set = |sb: &mut daxkit_format::ext4::super_block::SuperBlock, _| {
                sb.s_feature_incompat.set(sb.s_feature_incompat.get() | 0x8000);
            };
            let fits = inline::capacity(checked.raw).is_some();
            let fix = if fits { Fix::Super(set, 0) } else { Fix::Clear(ino) };
            return Some(Finding::new(Code::InlineFeature, at).fix(fix));
        }
        if extents && !has.extents {
            let set = |sb: &mut daxkit_format::ext4::super_block::SuperBlock, _| {
                sb.s_feature_incompat.set(sb.s_feature_incompat.get() | 0x40);
            };
            let fix = if tree { Fix::Super(set, 0) } else { Fix::Clear(ino) };
            return Some(Finding::new(Code::InodeExtentFeature, at).fix(fix));
        }
        let mapped = matches!(checked.kind, Kind::File | Kind::Dir);
        if has.extents && !extents && !inline && mapped && tree {
            checked.flags.insert(InodeFlags::EXTENTS);
            let flag = InodeFlags::EXTENTS.bits().into();
            return Some(Finding::new(Code::InodeExtentFlagMissing, at).fix(Fix::Inode(ino, set_flags, flag)));
        }
        if checked.flags.contains(InodeFlags::CASEFOLD) && (checked.kind != Kind::Dir || !has.casefold) {
            return Some(without(Code::InodeCasefold, InodeFlags::CASEFOLD));
        }
        if checked.flags.contains(InodeFlags::ENCRYPT) && !self.is_special_ino(ino) {
            match self.encryption_context(checked) {
                None => return Some(without(Code::InodeEncryption, InodeFlags::ENCRYPT)),
                Some(false) => {
                    return Some(Finding::new(Code::InodeEncryption, At::Inode(ino, "")).fix(Fix::Clear(ino)));
                }
                Some(true) => {}
            }
        }
        None
    }

    fn is_special_ino(&self, ino: u32) -> bool {
        ino < self.image.geo.first_ino && ino != 2
    }

    /// Whether the encryption context is one; `None` when there is none.
    fn encryption_context(&self, checked: &Checked<'_>) -> Option<bool> {
        // A version that is not known is one to come.
        self.context_of(checked).map(|value| encryption::is_context(&value) || value.first().is_some_and(|v| *v > 2))
    }

    /// The encryption context of an inode.
    fn context_of(&self, checked: &Checked<'_>) -> Option<Vec<u8>> {
        let is = |e: &super::xattrs::Entry<'_>| e.index == xattr::INDEX_ENCRYPTION && e.name == encryption::XATTR_NAME;
        if let Some(area) = super::xattrs::Area::inode(checked.raw)
            && let Some(entry) = area.entries().iter().find(|e| is(e))
        {
            return Some(entry.value.to_vec());
        }
        let block = self.image.block(Some(checked.disk.file_acl()).filter(|b| self.image.is_block(*b, 1))?).ok()?;
        let entries = super::xattrs::Area::block(&block).entries();
        entries.iter().find(|e| is(e)).map(|entry| entry.value.to_vec())
    }

    /// Whether two encrypted inodes have one policy: all of their contexts but what each was given by chance.
    pub(crate) fn has_policy_of(&self, dir: u32, ino: u32) -> bool {
        let context = |ino: u32| {
            let raw = self.image.raw_inode(ino)?;
            self.context_of(&Checked::new(ino, &raw)?)
        };
        match (context(dir), context(ino)) {
            (Some(a), Some(b)) => {
                let policy = |c: &[u8]| c.get(..c.len().saturating_sub(NONCE)).map(<[u8]>::to_vec);
                policy(&a) == policy(&b)
            }
            // Who has none has been noticed.
            _ => true,
        }
    }

    /// What the inode holds. Returns bits to remember.
    fn content(&self, local: &mut Local, checked: &Checked<'_>) -> u8 {
        let ino = checked.ino;
        let doomed = |code: Code, field: &'static str| Finding::new(code, At::Inode(ino, field)).fix(Fix::Clear(ino));
        let immutable = InodeFlags::IMMUTABLE | InodeFlags::APPEND;
        let special = matches!(checked.kind, Kind::Chr | Kind::Blk | Kind::Fifo | Kind::Sock);
        if special {
            if checked.flags.contains(InodeFlags::INDEX) {
                local.find(doomed(Code::InodeDevice, "i_flags"));
                return bits::DOOMED;
            }
            if checked.flags.intersects(immutable) {
                local.find(Finding::new(Code::InodeSpecialImmutable, checked.at("i_flags")).fix(Fix::Inode(
                    ino,
                    clear_flags,
                    immutable.bits().into(),
                )));
            }
            if checked.size != 0 {
                local.find(
                    Finding::new(Code::InodeSize, checked.at("i_size_lo"))
                        .stored(checked.size)
                        .observed(0u32)
                        .fix(Fix::Inode(ino, set_size, 0)),
                );
            }
        }
        if checked.kind == Kind::Link && !self.link_is_valid(checked) {
            local.find(doomed(Code::InodeSymlink, "i_size_lo").stored(checked.size));
            return bits::DOOMED;
        }
        let mut blocks = Blocks::new(self, local, checked);
        if !special && checked.is_mapped() {
            blocks.map();
        }
        let (bits, dir) = blocks.finish();
        if let Some(dir) = dir {
            local.dirs.push(dir);
        }
        bits
    }

    /// Whether a symbolic link's target is as long as its size.
    fn link_is_valid(&self, checked: &Checked<'_>) -> bool {
        let (size, block_size) = (checked.size, self.image.block_size() as u64);
        if size == 0 || checked.disk.i_size_high.get() != 0 || checked.flags.contains(InodeFlags::INDEX) {
            return false;
        }
        if checked.flags.contains(InodeFlags::INLINE_DATA) {
            // As e2fsck has it: the whole room is the target.
            return inline::capacity(checked.raw).is_none_or(|room| room as u64 == size);
        }
        if checked.is_fast_link() {
            return self.target_len(checked, &checked.disk.i_block).is_some_and(|len| len == size && len < 60);
        }
        if size >= block_size {
            return false;
        }
        let inode = self.image.volume.decode_inode(daxkit_format::InodeNr(checked.ino.into()), checked.raw.to_vec());
        let Ok(segment) = self.image.volume.map_block(&inode, 0) else { return true };
        let daxkit_volume::Segment::Mapped(run) = segment else { return false };
        match self.image.block(run.physical.get()) {
            Ok(bytes) => self.target_len(checked, &bytes).is_some_and(|len| len == size && len < block_size),
            Err(_) => true,
        }
    }

    /// The length of a target: up to the first zero, or what an encrypted one says.
    fn target_len(&self, checked: &Checked<'_>, bytes: &[u8]) -> Option<u64> {
        if checked.flags.contains(InodeFlags::ENCRYPT) {
            return Some(u64::from(u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?)) + 2);
        }
        Some(bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len()) as u64)
    }

    /// The inodes before the first of users.
    fn reserved_inode(&self, local: &mut Local, checked: &mut Checked<'_>) {
        let free = checked.disk.i_links_count.get() == 0;
        if checked.ino == 2 {
            if free || checked.kind != Kind::Dir {
                local.find(
                    Finding::new(Code::RootNotDir, checked.at("i_mode"))
                        .stored(checked.disk.i_mode.get())
                        .fix(Fix::Root),
                );
                let bits = bits::RESERVED | bits::DOOMED;
                return self.inodes.set(2, Known { kind: Kind::Bad, links: 0, bits });
            }
            return self.used_inode(local, checked);
        }
        self.own_dtime(local, checked, if free { self.now } else { 0 });
        let bits = self.special_inode(local, checked);
        let known = Known { kind: checked.kind, links: checked.disk.i_links_count.get(), bits: bits | bits::RESERVED };
        self.inodes.set(checked.ino, known);
    }

    /// Claims what an inode of the file system's own maps.
    pub(crate) fn claim_content(&self, local: &mut Local, checked: &Checked<'_>) {
        let mut blocks = Blocks::new(self, local, checked);
        blocks.map();
        blocks.finish();
    }

    /// As the scan claims, for who only lists claims.
    pub(crate) fn list_claims(&self, ino: u32, claims: &mut dyn Claims) {
        let Some(raw) = self.image.raw_inode(ino) else { return };
        let Some(checked) = Checked::new(ino, &raw) else { return };
        let special = matches!(checked.kind, Kind::Chr | Kind::Blk | Kind::Fifo | Kind::Sock | Kind::Bad);
        if checked.disk.file_acl() != 0 && self.image.is_block(checked.disk.file_acl(), 1) && !matches!(ino, 1 | 7) {
            claims.own(ino, checked.disk.file_acl(), 1);
        }
        if ino == 7 && self.image.has.resize_inode {
            let dind = u64::from(super::special::word(&checked.disk.i_block, super::special::DIND));
            if self.image.is_block(dind, 1) {
                claims.own(ino, dind, 1);
            }
        }
        if (!special || ino == 1) && checked.is_mapped() && !checked.flags.contains(InodeFlags::INLINE_DATA) && ino != 7
        {
            super::inode_blocks::claim(self.image, &checked, Some(&self.meta), claims);
        }
    }
}

pub(crate) fn set_dtime(raw: &mut [u8], to: u64) {
    edit_inode(raw, |inode| inode.i_dtime = (to as u32).into());
}

pub(crate) fn set_size(raw: &mut [u8], to: u64) {
    edit_inode(raw, |inode| inode.set_size(to));
}

/// Takes the bits of the centuries from times before 1970.
fn clear_epochs(raw: &mut [u8], _: u64) {
    edit_inode(raw, |inode| {
        for (low, extra) in [
            (inode.i_atime, &mut inode.i_atime_extra),
            (inode.i_ctime, &mut inode.i_ctime_extra),
            (inode.i_mtime, &mut inode.i_mtime_extra),
            (inode.i_crtime, &mut inode.i_crtime_extra),
        ] {
            if low.get() >> 31 == 1 && extra.get() & 3 == 3 {
                *extra = (extra.get() & !3).into();
            }
        }
    });
}

/// A directory as the scan saw it.
pub(crate) fn dir_of(checked: &Checked<'_>) -> Dir {
    Dir {
        ino: checked.ino,
        flags: checked.flags.bits(),
        generation: checked.disk.i_generation.get(),
        inline: checked.flags.contains(InodeFlags::INLINE_DATA),
        ..Dir::default()
    }
}
