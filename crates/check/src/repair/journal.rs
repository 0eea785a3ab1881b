//! The journal taken away and made anew; orphans dealt with.

use std::sync::Arc;

use daxkit_device::BlockDevice;
use daxkit_format::InodeNr;
use daxkit_format::ext4::features::{Compat, Incompat};
use daxkit_format::ext4::inode::mode;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::orphan;
use daxkit_format::jbd2::{JournalCompat, JournalIncompat, JournalSuperBlock, NewJournal};
use daxkit_volume::ext4::edit::Fill;
use daxkit_volume::{Segment, Volume};
use zerocopy::IntoBytes;

use super::fixer::{Done, Fixer, change_super, edit, words};
use crate::check::Options;
use crate::image::Image;
use crate::open::Edits;
use crate::pass::inode_blocks::inode_seed;
use crate::pass::journal::{clear_orphan_file, clear_orphan_present, file_blocks, orphan_file};

/// Where a new journal goes.
const JOURNAL: u32 = 8;
/// Orphans followed: more than any list has that a kernel wrote.
const MOST_ORPHANS: usize = 1 << 20;

/// Blocks that mke2fs gives the journal of a file system of so many.
fn usual_size(blocks: u64) -> u64 {
    match blocks {
        0..32_768 => 1024,
        32_768..262_144 => 4096,
        262_144..524_288 => 8192,
        524_288..4_194_304 => 16_384,
        4_194_304..8_388_608 => 32_768,
        _ => 65_536,
    }
}

/// Makes a journal of so many blocks, where everything else is right.
pub(crate) fn make(edits: &Arc<Edits>, blocks: u64, options: &Options) -> Done {
    let image = Image::open(Arc::clone(edits) as Arc<dyn BlockDevice>).map_err(words)?;
    let size = blocks * u64::from(image.geo.block_size);
    let extents = image.has.extents;
    let now = options.now as u32;
    edit(edits, options.now, |editor| {
        let mut inode = editor.inode_unverified(InodeNr(JOURNAL.into()))?;
        let extra = editor.super_block().s_want_extra_isize.get();
        editor.modify_raw(&mut inode, |raw| {
            raw.fill(0);
            if raw.len() > 128 + usize::from(extra)
                && let Some(place) = raw.get_mut(0x80..0x82)
            {
                place.copy_from_slice(&extra.to_le_bytes());
            }
        });
        editor.modify(&mut inode, |disk| {
            disk.i_mode = (mode::IFREG | 0o600).into();
            disk.i_links_count = 1.into();
            (disk.i_atime, disk.i_mtime, disk.i_ctime) = (now.into(), now.into(), now.into());
            disk.set_flags(if extents { InodeFlags::EXTENTS } else { InodeFlags::empty() });
        });
        editor.new_map(&mut inode);
        editor.store_inode(&mut inode)?;
        editor.fallocate(&mut inode, 0..size, Fill::Zeroes, false)
    })?;
    let volume = Volume::open(
        Arc::clone(edits) as Arc<dyn BlockDevice>,
        &daxkit_volume::OpenOptions { ignore_checksums: true, replay: false, ..Default::default() },
    )
    .map_err(words)?;
    let inode = volume.inode(InodeNr(JOURNAL.into())).map_err(words)?;
    let Segment::Mapped(first) = volume.map_block(&inode, 0).map_err(words)? else {
        return Err("the new journal has no blocks".to_owned());
    };
    let sb = JournalSuperBlock::new(&NewJournal {
        block_size: image.geo.block_size,
        blocks: u32::try_from(blocks).map_err(words)?,
        num_fc_blks: 0,
        uuid: [0; 16],
        external: false,
        compat: JournalCompat::empty(),
        incompat: JournalIncompat::empty(),
    });
    let at = first.physical.get() * u64::from(image.geo.block_size);
    edits.write_at(at, sb.as_bytes()).map_err(words)?;
    let map = inode.i_block;
    change_super(edits, |sb| {
        sb.s_feature_compat.set(sb.s_feature_compat.get() | Compat::HAS_JOURNAL.bits());
        sb.s_journal_inum = JOURNAL.into();
        sb.s_jnl_backup_type = 1;
        for (word, bytes) in sb.s_jnl_blocks.iter_mut().zip(map.as_chunks::<4>().0) {
            word.set(u32::from_le_bytes(*bytes));
        }
        let [.., high, low] = &mut sb.s_jnl_blocks;
        high.set((size >> 32) as u32);
        low.set(size as u32);
    })
}

impl Fixer<'_, '_> {
    /// Takes the journal away, and remembers how long it was.
    pub(crate) fn drop_journal(&mut self) -> Done {
        let inum = self.image.sb.s_journal_inum.get();
        let most = self.image.geo.blocks_count / 8;
        let old = self.disk_inode(inum).map_or(0, |inode| inode.size() / u64::from(self.image.geo.block_size));
        let usual = usual_size(self.image.geo.blocks_count);
        self.journal_blocks = Some(if (1024..=most.max(1024)).contains(&old) { old } else { usual });
        if inum == JOURNAL {
            self.change_inode(inum, |raw| raw.fill(0))?;
        }
        change_super(self.edits, |sb| {
            sb.s_feature_compat.set(sb.s_feature_compat.get() & !Compat::HAS_JOURNAL.bits());
            sb.s_feature_incompat.set(sb.s_feature_incompat.get() & !Incompat::RECOVER.bits());
            sb.s_journal_inum = 0.into();
            sb.s_jnl_backup_type = 0;
            sb.s_jnl_blocks = [0.into(); 17];
        })
    }

    /// Does with orphans what a mount does: those without links go, the others are cut to their size.
    pub(crate) fn release_orphans(&mut self) -> Done {
        let mut orphans = Vec::new();
        let mut next = self.image.sb.s_last_orphan.get();
        while next != 0 && orphans.len() < MOST_ORPHANS && !orphans.contains(&next) {
            let Ok(inode) = self.disk_inode(next) else { break };
            orphans.push(next);
            next = inode.i_dtime.get();
        }
        let inum = self.image.sb.s_orphan_file_inum.get();
        let file = self.image.has.orphan_file.then(|| orphan_file(self.image, inum)).flatten();
        if let Some((entries, blocks)) = &file {
            orphans.extend(entries);
            for block in blocks {
                let seed = self.disk_inode(inum).ok().and_then(|i| inode_seed(self.image, inum, i.i_generation.get()));
                let mut bytes = vec![0; self.image.block_size()];
                orphan::seal_block(seed, *block, &mut bytes);
                self.write_block(*block, &bytes)?;
            }
        }
        for ino in orphans {
            if ino < self.image.geo.first_ino || !self.state.cx.inodes.exists(ino) {
                continue;
            }
            let inode = self.disk_inode(ino)?;
            if inode.i_links_count.get() == 0 {
                self.change_inode(ino, |raw| raw.fill(0))?;
                continue;
            }
            self.change_inode(ino, |raw| crate::pass::inodes::set_dtime(raw, 0))?;
            // A map that cannot be cut is pruned when it is checked.
            let _ = self.edit(|editor| {
                let mut inode = editor.inode(InodeNr(ino.into()))?;
                let size = inode.size();
                editor.truncate(&mut inode, size)
            });
        }
        change_super(self.edits, |sb| {
            sb.s_last_orphan = 0.into();
            clear_orphan_present(sb);
        })
    }

    /// Takes the orphan file away.
    pub(crate) fn drop_orphan_file(&mut self) -> Done {
        let inum = self.image.sb.s_orphan_file_inum.get();
        if inum >= self.image.geo.first_ino && self.state.cx.inodes.exists(inum) {
            self.change_inode(inum, |raw| raw.fill(0))?;
        }
        change_super(self.edits, clear_orphan_file)
    }

    /// Makes the orphan file anew where its blocks can be used, else takes it away.
    pub(crate) fn new_orphan_file(&mut self) -> Done {
        let inum = self.image.sb.s_orphan_file_inum.get();
        let size = u64::from(self.image.geo.block_size);
        let blocks = self
            .disk_inode(inum)
            .ok()
            .filter(|i| i.is_file() && i.i_links_count.get() > 0 && i.size() >= size && i.size().is_multiple_of(size))
            .and_then(|i| file_blocks(self.image, inum, (i.size() / size).min(1 << 16)));
        let Some(blocks) = blocks else { return self.drop_orphan_file() };
        let seed = self.disk_inode(inum).ok().and_then(|i| inode_seed(self.image, inum, i.i_generation.get()));
        for block in blocks {
            let mut bytes = vec![0; self.image.block_size()];
            orphan::seal_block(seed, block, &mut bytes);
            self.write_block(block, &bytes)?;
        }
        change_super(self.edits, clear_orphan_present)
    }
}
