//! Fields that stand for themselves: times, what nothing uses any more, and how much lies behind the first 128 bytes.

use daxkit_format::ext4::inode_flags::InodeFlags;

use super::{Checked, clear_flags};
use crate::code::Code;
use crate::finding::{At, Finding};
use crate::pass::{Context, Local};
use crate::repair::{Fix, edit_inode};
use crate::state::Kind;

impl Context<'_> {
    /// Whether a time of deletion is the number of an inode: a list of orphans that was cut off.
    pub(super) fn is_low_dtime(&self, dtime: u32) -> bool {
        let sb = &self.image.sb;
        let count = sb.s_inodes_count.get();
        // A clock that begins at 1970 cannot be told from it.
        let young = |time: u32| time != 0 && time < count;
        dtime != 0
            && dtime < count
            && ![sb.s_wtime.get(), sb.s_mtime.get(), sb.s_mkfs_time.get()].into_iter().any(young)
    }

    /// Of the file system's own inodes, nothing else is asked of the time of deletion.
    pub(super) fn own_dtime(&self, local: &mut Local, checked: &Checked<'_>, to: u64) {
        let dtime = checked.disk.i_dtime.get();
        if self.is_low_dtime(dtime) {
            local.find(Finding::new(Code::InodeDtime, checked.at("i_dtime")).stored(dtime).fix(Fix::Inode(
                checked.ino,
                set_dtime,
                to,
            )));
        }
    }

    pub(super) fn times(&self, local: &mut Local, checked: &Checked<'_>) {
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

    /// Fields that nothing uses any more, or that a feature would have to allow.
    pub(super) fn obsolete(&self, local: &mut Local, checked: &mut Checked<'_>) {
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
    pub(super) fn extra(&self, local: &mut Local, checked: &Checked<'_>) {
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
