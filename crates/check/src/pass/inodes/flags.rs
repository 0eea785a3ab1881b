//! What flags, type and features of an inode say of each other.

use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::{encryption, xattr};

use super::Checked;
use crate::code::Code;
use crate::finding::{At, Finding};
use crate::pass::{Context, extents, inline, xattrs};
use crate::repair::{Fix, edit_inode};
use crate::state::Kind;

/// Bytes at the end of an encryption context that are chosen by chance.
const NONCE: usize = 16;

/// Flags that special files and short links cannot have.
const MAPPED: InodeFlags = InodeFlags::EXTENTS.union(InodeFlags::INLINE_DATA);

/// Sets flags of an inode.
pub(crate) fn clear_flags(raw: &mut [u8], flags: u64) {
    edit_inode(raw, |inode| inode.set_flags(inode.flags().difference(InodeFlags::from_bits_retain(flags as u32))));
}

pub(crate) fn set_flags(raw: &mut [u8], flags: u64) {
    edit_inode(raw, |inode| inode.set_flags(inode.flags().union(InodeFlags::from_bits_retain(flags as u32))));
}

impl Context<'_> {
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
        let tree = extents::header_is_valid(&checked.disk.i_block, None);
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
        let is = |e: &xattrs::Entry<'_>| e.index == xattr::INDEX_ENCRYPTION && e.name == encryption::XATTR_NAME;
        if let Some(area) = xattrs::Area::inode(checked.raw)
            && let Some(entry) = area.entries().iter().find(|e| is(e))
        {
            return Some(entry.value.to_vec());
        }
        let block = self.image.block(Some(checked.disk.file_acl()).filter(|b| self.image.is_block(*b, 1))?).ok()?;
        let entries = xattrs::Area::block(&block).entries();
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
}
