//! Who uses how much: the hidden quota files follow every change.
//!
//! What counts is what e2fsck counts: space as `i_blocks` has it and one inode each, of the root and of every inode that is not
//! reserved, whether it has a name or not. Files of the file system itself do not count, nor do inodes that hold values of
//! attributes: those are charged to whoever names them. Symbolic links whose target is inline data do not count either, because
//! e2fsck (1.47) passes over them; Linux does not make such links any more.

mod set;
mod tree;

use std::collections::HashMap;

use daxkit_format::dax::Errno;
use daxkit_format::ext4::features::{Compat, RoCompat};
use daxkit_format::ext4::inode::GOOD_OLD_INODE_SIZE;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::quota::{DqBlk, QuotaKind};
use daxkit_format::{InodeNr, OnDisk};
use zerocopy::IntoBytes;

use self::tree::is_used;
use super::super::error::Place;
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
        if inode.is_symlink() && inode.has_inline_data() {
            return false;
        }
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

    /// Charges an inode, and all that it is charged for, to others. Its fields are for the caller to change.
    ///
    /// # Errors
    /// As [`Editor::charge`]; the attributes of the inode are damaged.
    pub fn transfer(&mut self, inode: &Inode, to: QuotaIds) -> Result<(), EditError> {
        let from = QuotaIds::of(inode);
        let kinds = || QuotaKind::ALL.into_iter().filter(|kind| from.get(*kind) != to.get(*kind));
        if !self.is_charged(inode) || kinds().all(|kind| self.quota_inode(kind).is_none()) {
            return Ok(());
        }
        let bytes = i64::try_from(inode.space()).unwrap_or(i64::MAX);
        let inodes = 1 + self.value_inodes(inode)?;
        for kind in kinds() {
            self.charge_id(kind, to.get(kind), bytes, inodes)?;
            self.charge_id(kind, from.get(kind), -bytes, -inodes)?;
        }
        Ok(())
    }

    /// Gives an inode another owner and group.
    ///
    /// # Errors
    /// As [`Editor::transfer`].
    pub fn set_owner(&mut self, inode: &mut Inode, user: u32, group: u32) -> Result<(), EditError> {
        let to = QuotaIds { user, group, ..QuotaIds::of(inode) };
        self.transfer(inode, to)?;
        let now = self.now();
        self.modify(inode, |d| {
            d.set_uid(user);
            d.set_gid(group);
            d.set_ctime(now);
        });
        self.store_inode(inode)
    }

    /// Gives an inode another project (`ext4_ioctl_setproject`).
    ///
    /// # Errors
    /// The file system has no projects, or the inode no room for one; as [`Editor::transfer`].
    pub fn set_project(&mut self, inode: &mut Inode, project: u32) -> Result<(), EditError> {
        let nr = inode.nr();
        if inode.project().unwrap_or(0) == project {
            return Ok(());
        }
        if !self.has_ro_compat(RoCompat::PROJECT) || inode.raw().len() <= usize::from(GOOD_OLD_INODE_SIZE) {
            return Err(EditError::refused(nr, Errno::EOPNOTSUPP, "the file system has no projects"));
        }
        if inode.project().is_none() {
            return Err(EditError::refused(nr, Errno::EOVERFLOW, "the inode has no room for a project"));
        }
        self.transfer(inode, QuotaIds { project, ..QuotaIds::of(inode) })?;
        let now = self.now();
        self.modify(inode, |d| {
            d.i_projid.set(project);
            d.set_ctime(now);
        });
        self.store_inode(inode)
    }

    fn charge_id(&mut self, kind: QuotaKind, id: u32, bytes: i64, inodes: i64) -> Result<(), EditError> {
        let Some(file) = self.quota_inode(kind) else { return Ok(()) };
        let known = self.volume.hints_mut().quota.position(kind, id);
        let mut found = None;
        if let Some(at) = known {
            let entry = self.read_quota_entry(file, at)?;
            found = (is_used(&entry) && entry.dqb_id.get() == id).then_some((at, entry));
        }
        let (at, mut entry) = if let Some(found) = found {
            found
        } else {
            let mut tree = self.quota_tree(kind, file)?;
            let slot = match self.find_quota(&tree, id)? {
                Some(slot) => slot,
                // Nothing was charged to this id, so nothing can be given back.
                None if bytes <= 0 && inodes <= 0 => return Ok(()),
                None => {
                    let mut entry = DqBlk::zeroed();
                    entry.dqb_id.set(id);
                    // An entry of nothing but zeroes is a free one (`v2r1_mem2diskdqb`).
                    entry.dqb_itime.set(u64::from(id == 0));
                    self.insert_quota(&mut tree, &entry)?
                }
            };
            let at = self.quota_position(&tree, slot)?;
            self.volume.hints_mut().quota.remember(kind, id, at);
            (at, self.read_quota_entry(file, at)?)
        };
        entry.dqb_curspace.set(entry.dqb_curspace.get().saturating_add_signed(bytes));
        entry.dqb_curinodes.set(entry.dqb_curinodes.get().saturating_add_signed(inodes));
        self.set_grace(kind, file, &mut entry)?;
        if is_fake(&entry) {
            // Nobody's, as the kernel lets go of it (`qtree_release_dquot`).
            self.volume.hints_mut().quota.forget(kind, id);
            let mut tree = self.quota_tree(kind, file)?;
            return self.remove_quota(&mut tree, id);
        }
        self.write_bytes(Place::Inode(file), at, entry.as_bytes())
    }

    /// When a soft limit began to be exceeded, the time until which that is borne; 0 when it is not exceeded.
    fn set_grace(&self, kind: QuotaKind, file: InodeNr, e: &mut DqBlk) -> Result<(), EditError> {
        let space_over =
            e.dqb_bsoftlimit.get() != 0 && e.dqb_curspace.get() > e.dqb_bsoftlimit.get().saturating_mul(1024);
        let inodes_over = e.dqb_isoftlimit.get() != 0 && e.dqb_curinodes.get() > e.dqb_isoftlimit.get();
        if !space_over {
            e.dqb_btime.set(0);
        }
        if !inodes_over {
            e.dqb_itime.set(0);
        }
        let (begin_space, begin_inodes) = (space_over && e.dqb_btime.get() == 0, inodes_over && e.dqb_itime.get() == 0);
        if begin_space || begin_inodes {
            let info = self.quota_info(kind, &self.inode(file)?)?;
            let now = u64::try_from(self.now().seconds).unwrap_or(0);
            if begin_space {
                e.dqb_btime.set(now.saturating_add(info.dqi_bgrace.get().into()));
            }
            if begin_inodes {
                e.dqb_itime.set(now.saturating_add(info.dqi_igrace.get().into()));
            }
        }
        Ok(())
    }
}

/// An entry that limits nothing and counts nothing.
fn is_fake(entry: &DqBlk) -> bool {
    [entry.dqb_curspace, entry.dqb_curinodes].iter().all(|n| n.get() == 0)
        && [entry.dqb_bhardlimit, entry.dqb_bsoftlimit, entry.dqb_ihardlimit, entry.dqb_isoftlimit]
            .iter()
            .all(|n| n.get() == 0)
}

/// Where entries of quota files lie, by what was charged before.
#[derive(Debug, Default)]
pub(super) struct QuotaHints {
    positions: HashMap<(QuotaKind, u32), u64>,
}

impl QuotaHints {
    /// Positions that are remembered.
    const MOST: usize = 1 << 16;

    fn position(&self, kind: QuotaKind, id: u32) -> Option<u64> {
        self.positions.get(&(kind, id)).copied()
    }

    fn remember(&mut self, kind: QuotaKind, id: u32, at: u64) {
        if self.positions.len() >= Self::MOST {
            self.positions.clear();
        }
        self.positions.insert((kind, id), at);
    }

    fn forget(&mut self, kind: QuotaKind, id: u32) {
        self.positions.remove(&(kind, id));
    }
}
