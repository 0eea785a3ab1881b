//! Quota files made true by hand: for who has counted what is used.

use daxkit_format::ext4::quota::{QuotaKind, empty_file};

use super::super::{EditError, Editor};

impl Editor<'_> {
    /// Sets what an id uses, whatever was counted before. Limits stay.
    ///
    /// # Errors
    /// The quota file is damaged, or no space is left for it to grow.
    pub fn set_quota_usage(&mut self, kind: QuotaKind, id: u32, bytes: u64, inodes: u64) -> Result<(), EditError> {
        let Some(file) = self.quota_inode(kind) else { return Ok(()) };
        let tree = self.quota_tree(kind, file)?;
        let (mut space, mut count) = (0, 0);
        if let Some(slot) = self.find_quota(&tree, id)? {
            let at = self.quota_position(&tree, slot)?;
            let entry = self.read_quota_entry(file, at)?;
            (space, count) = (entry.dqb_curspace.get(), entry.dqb_curinodes.get());
        }
        let by = |to: u64, from: u64| i64::try_from(i128::from(to) - i128::from(from)).unwrap_or(i64::MAX);
        self.charge_id(kind, id, by(bytes, space), by(inodes, count))
    }

    /// Makes a quota file an empty one. Its inode has to be a regular file.
    ///
    /// # Errors
    /// Its map is damaged, or no space is left.
    pub fn reset_quota_file(&mut self, kind: QuotaKind) -> Result<(), EditError> {
        let Some(file) = self.quota_inode(kind) else { return Ok(()) };
        let mut inode = self.inode(file)?;
        self.truncate(&mut inode, 0)?;
        self.volume.hints_mut().quota = super::QuotaHints::default();
        self.write_content(&mut inode, 0, &empty_file(kind))
    }
}
