//! What an inode holds: its map, or the target of a link.

use daxkit_format::ext4::inode_flags::InodeFlags;

use super::{Checked, clear_flags, set_size};
use crate::code::Code;
use crate::finding::{At, Finding};
use crate::pass::claims::Claims;
use crate::pass::inode_blocks::{self, Blocks};
use crate::pass::{Context, Dir, Local, entries, inline, special};
use crate::repair::Fix;
use crate::state::{Kind, bits};

impl Context<'_> {
    /// Whether what an inode holds is a directory, whatever its mode says.
    pub(super) fn is_really_dir(&self, checked: &Checked<'_>) -> bool {
        let block_size = self.image.geo.block_size;
        if checked.flags.contains(InodeFlags::INLINE_DATA) {
            let map = &checked.disk.i_block;
            return entries::entry_at(map, 4, block_size)
                .is_some_and(|entry| self.inodes.exists(entry.inode) && !entry.name.is_empty());
        }
        let inode = self.image.volume.decode_inode(daxkit_format::InodeNr(checked.ino.into()), checked.raw.to_vec());
        let Ok(daxkit_volume::Segment::Mapped(run)) = self.image.volume.map_block(&inode, 0) else { return false };
        let Ok(bytes) = self.image.block(run.physical.get()) else { return false };
        let entry = |at| entries::entry_at(&bytes, at, block_size);
        entry(0).is_some_and(|dot| {
            dot.name == b"." && dot.inode == checked.ino && entry(dot.len).is_some_and(|dotdot| dotdot.name == b"..")
        })
    }

    /// What the inode holds. Returns bits to remember.
    pub(super) fn content(&self, local: &mut Local, checked: &Checked<'_>) -> u8 {
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
    pub(super) fn link_is_valid(&self, checked: &Checked<'_>) -> bool {
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
            let dind = u64::from(special::word(&checked.disk.i_block, special::DIND));
            if self.image.is_block(dind, 1) {
                claims.own(ino, dind, 1);
            }
        }
        if (!special || ino == 1) && checked.is_mapped() && !checked.flags.contains(InodeFlags::INLINE_DATA) && ino != 7
        {
            inode_blocks::claim(self.image, &checked, Some(&self.meta), claims);
        }
    }
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
