//! Quota: what owners, groups and projects use, held against what their files say.

use std::collections::{BTreeMap, HashMap};

use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::quota::{BLOCK_SIZE, DqInfo, QuotaKind};

use super::inodes::{Checked, set_size};
use super::{Context, Local};
use crate::code::Code;
use crate::finding::{At, Finding};
use crate::repair::Fix;
use crate::state::Kind;

/// Space in bytes and inodes, by kind of quota and id.
pub(crate) type Charges = HashMap<(u8, u32), (u64, u64)>;

impl Context<'_> {
    /// Charges an inode to whom it belongs.
    pub(crate) fn charge(&self, local: &mut Local, checked: &Checked<'_>, bytes: u64, inodes: u64) {
        let image = self.image;
        let ino = checked.ino;
        let inline_link = checked.kind == Kind::Link && checked.flags.contains(InodeFlags::INLINE_DATA);
        if !image.has.quota
            || (ino != 2 && ino < image.geo.first_ino)
            || inline_link
            || checked.flags.contains(InodeFlags::EA_INODE)
            || image.is_own_inode(ino)
        {
            return;
        }
        let has_project = checked.raw.len() > 128 && checked.disk.has_until(0xA0);
        let project = if has_project { checked.disk.i_projid.get() } else { 0 };
        for (kind, id) in [checked.disk.uid(), checked.disk.gid(), project].into_iter().enumerate() {
            let used = local.charges.entry((kind as u8, id)).or_default();
            *used = (used.0 + bytes, used.1 + inodes);
        }
    }

    /// Holds what was charged against the quota files.
    pub(crate) fn quota(&self, charges: &Charges, local: &mut Local) {
        let image = self.image;
        for (index, kind) in QuotaKind::ALL.into_iter().enumerate() {
            if image.volume.quota_inode(kind).is_none() {
                continue;
            }
            let mut used: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
            used.extend(charges.iter().filter(|((k, _), _)| usize::from(*k) == index).map(|((_, id), n)| (*id, *n)));
            let all = || used.iter().map(|(id, n)| (*id, n.0, n.1)).collect::<Vec<_>>();
            let file = match image.volume.quota(kind) {
                Ok(Some(file)) => file,
                Ok(None) => continue,
                Err(error) => {
                    local.find(
                        Finding::new(Code::QuotaFile, At::Quota(index as u8, 0))
                            .stored(error.to_string())
                            .fix(Fix::Quota(kind, true, all())),
                    );
                    continue;
                }
            };
            if !head_is_sound(&file.info) {
                local.find(
                    Finding::new(Code::QuotaFile, At::Quota(index as u8, 0))
                        .stored("its head names blocks that it does not count")
                        .fix(Fix::Quota(kind, true, all())),
                );
                continue;
            }
            let inum = image.quota_inodes().get(index).copied().unwrap_or(0);
            let size = self.has_inode(inum).map_or(0, |inode| inode.size());
            let whole = u64::from(file.info.dqi_blocks.get()) * BLOCK_SIZE as u64;
            if size < whole {
                // What ids use is known when the whole of the last block is read.
                local.find(
                    Finding::new(Code::QuotaCut, At::Inode(inum, "i_size_lo"))
                        .stored(size)
                        .observed(whole)
                        .fix(Fix::Inode(inum, set_size, whole)),
                );
            }
            // Limits stay where an id uses nothing any more.
            let mut usage = all();
            usage.extend(file.entries.keys().filter(|id| !used.contains_key(id)).map(|id| (*id, 0, 0)));
            let mut first = None;
            for (id, entry) in &file.entries {
                let stored = (entry.dqb_curspace.get(), entry.dqb_curinodes.get());
                let observed = used.remove(id).unwrap_or_default();
                if stored != observed {
                    first.get_or_insert((*id, stored, observed));
                }
            }
            for (id, observed) in used {
                first.get_or_insert((id, (0, 0), observed));
            }
            if let Some((id, stored, observed)) = first {
                let said = |(bytes, inodes): (u64, u64)| format!("{bytes} bytes and {inodes} inodes");
                local.find(
                    Finding::new(Code::QuotaUsage, At::Quota(index as u8, id))
                        .stored(said(stored))
                        .observed(said(observed))
                        .fix(Fix::Quota(kind, false, usage)),
                );
            }
        }
    }
}

/// Whether a head names no block beyond those that it counts, as the lists of blocks with room begin there.
fn head_is_sound(info: &DqInfo) -> bool {
    let blocks = info.dqi_blocks.get();
    info.dqi_free_blk.get() < blocks && info.dqi_free_entry.get() < blocks
}
