//! What is done besides mending, once nothing is left to mend: directories and maps built anew, the list of bad blocks made.

use std::collections::BTreeSet;

use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::{BlockNr, InodeNr};
use daxkit_volume::ext4::edit::Run;
use daxkit_volume::{EditError, Editor};

use super::fixer::{Done, Fixer};
use crate::pass::Dir;
use crate::state::Kind;
use crate::wishes::{BadBlocks, Directories, Improved};

/// A directory of fewer blocks gains nothing from an index.
const WORTH_AN_INDEX: u32 = 3;
/// Inodes that are changed under one edit.
const AT_ONCE: usize = 256;
/// Bytes read at once when the device is searched for bad blocks.
const SCAN: u64 = 1 << 20;
/// The inode with the list of bad blocks.
const BAD: u32 = 1;
const ROOT: u32 = 2;

/// What is done to one inode; whether it changed anything.
type Work = fn(&mut Editor<'_>, u32) -> Result<bool, EditError>;

fn rebuild(editor: &mut Editor<'_>, ino: u32) -> Result<bool, EditError> {
    let mut dir = editor.inode(InodeNr(ino.into()))?;
    editor.rebuild_dir(&mut dir)
}

fn convert(editor: &mut Editor<'_>, ino: u32) -> Result<bool, EditError> {
    let mut inode = editor.inode(InodeNr(ino.into()))?;
    editor.convert_map(&mut inode, true).map(|()| true)
}

impl Fixer<'_, '_> {
    /// Builds the extent tree of an inode anew.
    pub(crate) fn pack_tree(&self, ino: u32) -> Done {
        self.edit(|editor| {
            let mut inode = editor.inode(InodeNr(ino.into()))?;
            editor.pack_map(&mut inode)
        })
    }

    /// Does what is wished for; `lost` are directories that lost their index.
    pub(crate) fn improve(&self, lost: &BTreeSet<u32>, improved: &mut Improved) {
        if self.options.wishes.convert_maps {
            if self.image.has.extents {
                improved.converted = self.each(&self.mapped_by_blocks(), convert, improved);
            } else {
                improved.left.push("bmap2extent: the file system has no feature extent".to_owned());
            }
        }
        let wanted = self.directories_to_build(lost, improved);
        improved.directories = self.each(&wanted, rebuild, improved);
    }

    /// Does something to each of these inodes. Returns those that it changed.
    fn each(&self, all: &[u32], work: Work, improved: &mut Improved) -> Vec<u32> {
        let mut changed = Vec::new();
        for some in all.chunks(AT_ONCE) {
            let done = self.edit(|editor| {
                let mut changed = Vec::new();
                for ino in some {
                    if work(editor, *ino)? {
                        changed.push(*ino);
                    }
                }
                Ok(changed)
            });
            if let Ok(mut done) = done {
                changed.append(&mut done);
                continue;
            }
            // One of them cannot be: the others can.
            for ino in some {
                match self.edit(|editor| work(editor, *ino)) {
                    Ok(true) => changed.push(*ino),
                    Ok(false) => {}
                    Err(why) => improved.left.push(format!("inode:{ino}: {why}")),
                }
            }
        }
        changed
    }

    /// Files and directories with a map of blocks.
    fn mapped_by_blocks(&self) -> Vec<u32> {
        let inodes = &self.state.cx.inodes;
        let all = (0..inodes.groups()).flat_map(|group| inodes.of_group(group));
        let all = all.filter(|(ino, known, _)| {
            matches!(known.kind, Kind::File | Kind::Dir) && (*ino == ROOT || *ino >= self.image.geo.first_ino)
        });
        all.map(|(ino, ..)| ino)
            .filter(|ino| {
                let flags = InodeFlags::EXTENTS | InodeFlags::INLINE_DATA;
                self.disk_inode(*ino).is_ok_and(|inode| !inode.flags().intersects(flags))
            })
            .collect()
    }

    fn directories_to_build(&self, lost: &BTreeSet<u32>, improved: &mut Improved) -> Vec<u32> {
        let which = self.options.wishes.directories;
        // Its blocks are kept in store.
        let lost_found = self.edit(|editor| {
            let root = editor.inode(InodeNr(ROOT.into()))?;
            Ok(editor.lookup(&root, b"lost+found")?.map(|entry| entry.inode.get()))
        });
        let lost_found = lost_found.ok().flatten();
        let wants = |dir: &Dir| match which {
            Directories::None => false,
            Directories::All => true,
            Directories::Needed => {
                self.image.has.dir_index
                    && !dir.has(InodeFlags::INDEX)
                    && (lost.contains(&dir.ino) || dir.blocks >= WORTH_AN_INDEX)
            }
        };
        let keyed = |dir: &Dir| dir.has(InodeFlags::ENCRYPT) && dir.has(InodeFlags::CASEFOLD);
        let mut wanted = Vec::new();
        for dir in self.state.dirs {
            if dir.inline || lost_found == Some(dir.ino.into()) || !wants(dir) {
                continue;
            }
            if !keyed(dir) {
                wanted.push(dir.ino);
            } else if which == Directories::All {
                improved.left.push(format!("inode:{}: the directory's names are hashed with its key", dir.ino));
            }
        }
        wanted
    }

    /// Makes the list of bad blocks. Blocks that files have there are given up by who checks them next.
    pub(crate) fn set_bad_blocks(&self, wish: &BadBlocks, improved: &mut Improved) -> Done {
        if self.image.has.bigalloc {
            return Err("bad blocks: the file system has clusters of several blocks (bigalloc)".to_owned());
        }
        let mut list: BTreeSet<u64> = wish.blocks.iter().copied().collect();
        if wish.scan {
            self.search_bad(&mut list)?;
        }
        if wish.keep {
            list.extend(self.blocks_of(BAD)?.iter().map(|(_, block, _)| *block));
        }
        let outside: Vec<u64> = list.iter().copied().filter(|block| !self.image.is_block(*block, 1)).collect();
        for block in outside {
            list.remove(&block);
            improved.left.push(format!("bad blocks: block {block} is out of range"));
        }
        if list.last().is_some_and(|last| *last > u32::MAX.into()) {
            return Err("bad blocks: the list cannot name a block beyond 2^32".to_owned());
        }
        self.change_inode(BAD, |raw| raw.fill(0))?;
        improved.bad_blocks = Some(list.len() as u64);
        if list.is_empty() {
            return Ok(());
        }
        let size = u64::from(self.image.geo.block_size);
        let (count, now) = (list.len() as u64, self.options.now as u32);
        self.edit(|editor| {
            // Before the list takes blocks for itself: none of these may be one.
            for block in &list {
                editor.mark_blocks_raw(Run { first: BlockNr(*block), len: 1 }, true)?;
            }
            let mut inode = editor.inode(InodeNr(BAD.into()))?;
            editor.modify(&mut inode, |disk| {
                disk.set_size(count.saturating_mul(size));
                disk.set_blocks_stored(count.saturating_mul(size / 512));
                (disk.i_atime, disk.i_mtime, disk.i_ctime) = (now.into(), now.into(), now.into());
            });
            for (index, block) in list.iter().enumerate() {
                editor.set_block(&mut inode, index as u64, Some((*block, true)))?;
            }
            editor.store_inode(&mut inode)
        })
        .map_err(|why| format!("bad blocks: {why}"))
    }

    /// Reads every block, and lists those that cannot be.
    fn search_bad(&self, list: &mut BTreeSet<u64>) -> Done {
        let geo = &self.image.geo;
        let (size, device) = (u64::from(geo.block_size), self.edits.base());
        let step = (SCAN / size).max(1);
        let mut buffer = vec![0; (step * size) as usize];
        let mut at = geo.first_data_block;
        while at < geo.blocks_count {
            if self.state.cx.stopped() {
                return Err("bad blocks: stopped".to_owned());
            }
            let many = step.min(geo.blocks_count - at);
            let read = |first: u64, part: &mut [u8]| device.read_at(first * size, part);
            if read(at, buffer.get_mut(..(many * size) as usize).unwrap_or_default()).is_err() {
                for block in at..at + many {
                    if read(block, buffer.get_mut(..size as usize).unwrap_or_default()).is_err() {
                        list.insert(block);
                    }
                }
            }
            at += many;
        }
        Ok(())
    }
}
