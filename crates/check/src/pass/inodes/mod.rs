//! The scan of the inode tables: each inode once, in the order in which they lie, groups side by side.

mod content;
mod fields;
mod flags;
mod scan;

pub(crate) use content::dir_of;
pub(crate) use fields::{set_dtime, set_size};
pub(crate) use flags::clear_flags;

use daxkit_format::ext4::inode::{self, Inode as DiskInode, mode};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::{Context, Local};
use crate::code::Code;
use crate::finding::{At, Finding};
use crate::repair::{Fix, edit_inode};
use crate::state::{Kind, Known, bits};

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

impl Context<'_> {
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
}
