//! Files that share blocks, or lie where they cannot: copied. Holes of directories: filled.

use std::collections::{HashMap, HashSet};

use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::{BlockNr, InodeNr};

use super::edit_inode;
use super::fixer::{Done, Fixer, words};
use crate::code::Code;
use crate::pass::inode_blocks::{map_rules, tree_rules};
use crate::pass::inodes::Checked;
use crate::pass::{extents, indirect};

/// Holes of a directory that are filled; when there are more the blocks behind move up.
const MOST_HOLES: u64 = 16;

/// The blocks of a map, as they are.
#[derive(Default)]
struct Runs {
    runs: Vec<(u64, u64, u64, bool)>,
}

impl extents::Seen for Runs {
    fn node(&mut self, _: u64) {}
    fn extent(&mut self, logical: u32, physical: u64, len: u32, written: bool) {
        self.runs.push((logical.into(), physical, len.into(), written));
    }
    fn wrong(&mut self, _: Code, _: u64, _: u64) {}
}

impl indirect::Seen for Runs {
    fn node(&mut self, _: u64) {}
    fn block(&mut self, logical: u64, physical: u64) {
        self.runs.push((logical, physical, 1, true));
    }
    fn wrong(&mut self, _: Code, _: u64, _: u64) {}
}

/// A block of a file: where in the file, where it lies, whether it is written.
type Block = (u64, u64, bool);

impl Fixer<'_, '_> {
    /// All blocks of a file.
    pub(crate) fn blocks_of(&self, ino: u32) -> Done<Vec<Block>> {
        let raw = self.raw_inode(ino)?;
        let checked = Checked::new(ino, &raw).ok_or("the inode is too short")?;
        let mut runs = Runs::default();
        if checked.flags.contains(InodeFlags::EXTENTS) {
            extents::walk(tree_rules(self.image, &checked, None), &checked.disk.i_block, &mut runs);
        } else {
            indirect::walk(map_rules(self.image, &checked, None), &checked.disk.i_block, &mut runs);
        }
        let blocks = |(logical, physical, len, written): (u64, u64, u64, bool)| {
            (0..len).map(move |i| (logical + i, physical + i, written))
        };
        Ok(runs.runs.into_iter().flat_map(blocks).collect())
    }

    /// Gives a file a map of these blocks, and nothing else.
    fn set_blocks(&self, ino: u32, blocks: &[Block]) -> Done {
        let geo = &self.image.geo;
        let cluster = |block: u64| block.saturating_sub(geo.first_data_block) / u64::from(geo.cluster_ratio);
        let mut clusters: HashSet<u64> = blocks.iter().map(|block| cluster(block.1)).collect();
        let acl = self.disk_inode(ino)?.file_acl();
        if acl != 0 {
            clusters.insert(cluster(acl));
        }
        // The editor counts what the map itself takes.
        let sectors = u64::from(geo.cluster_ratio) * (self.image.block_size() as u64 / 512);
        let counted = clusters.len() as u64 * sectors;
        self.edit(|editor| {
            let mut inode = editor.inode(InodeNr(ino.into()))?;
            editor.new_map(&mut inode);
            editor.modify(&mut inode, |disk| disk.set_blocks_stored(counted));
            for (logical, physical, written) in blocks {
                editor.set_block(&mut inode, *logical, Some((*physical, *written)))?;
            }
            editor.store_inode(&mut inode)
        })
    }

    /// Copies the blocks of a file that others claim as well. With `keeps` the first claim of each stays.
    pub(crate) fn clone_blocks(&self, ino: u32, keeps: bool, ranges: &[(u64, u64)]) -> Done {
        if matches!(ino, 1 | 7) {
            // Lists of blocks that belong to others: made anew by who checks them.
            return self.change_inode(ino, |raw| raw.fill(0));
        }
        let shared = |block: u64| ranges.iter().any(|(first, last)| (*first..=*last).contains(&block));
        let acl = self.disk_inode(ino)?.file_acl();
        if acl != 0 && shared(acl) && !keeps {
            self.copy_attributes(ino, acl)?;
        }
        if self.disk_inode(ino)?.flags().contains(InodeFlags::INLINE_DATA) {
            return Ok(());
        }
        let mut blocks = self.blocks_of(ino)?;
        let ratio = u64::from(self.image.geo.cluster_ratio);
        let base = self.image.geo.first_data_block;
        // Clusters of the file that have to go elsewhere, whole.
        let mut seen: HashMap<u64, u64> = HashMap::new();
        if acl != 0 {
            seen.insert(acl.saturating_sub(base) / ratio, u64::MAX);
        }
        let mut leave: HashSet<u64> = HashSet::new();
        for (logical, physical, _) in &blocks {
            let place = *logical / ratio;
            let stays = keeps && *seen.entry((*physical - base) / ratio).or_insert(place) == place;
            if shared(*physical) && !stays {
                leave.insert(place);
            }
        }
        let mut copies: HashMap<u64, u64> = HashMap::new();
        let mut near = blocks.first().map_or(0, |b| b.1);
        for (logical, physical, _) in blocks.iter_mut().filter(|b| leave.contains(&(b.0 / ratio))) {
            let place = *logical / ratio;
            let copy = match copies.get(&place) {
                Some(copy) => *copy,
                None => {
                    let run = self.edit(|editor| editor.take_blocks(BlockNr(near), ratio))?;
                    self.state.cx.blocks.mark(self.image.cluster(run.first.get()), 1);
                    copies.insert(place, run.first.get());
                    run.first.get()
                }
            };
            let to = copy + *logical % ratio;
            let bytes = self.block(*physical).unwrap_or_else(|_| vec![0; self.image.block_size()]);
            self.write_block(to, &bytes)?;
            near = to;
            *physical = to;
        }
        self.set_blocks(ino, &blocks)
    }

    /// Gives an inode a copy of its block of attributes.
    fn copy_attributes(&self, ino: u32, block: u64) -> Done {
        let mut bytes = self.block(block)?;
        let run = self.edit(|editor| editor.take_blocks(BlockNr(block), 1))?;
        let to = run.first.get();
        if let Some(count) = bytes.get_mut(4..8) {
            count.copy_from_slice(&1u32.to_le_bytes());
        }
        if let Some(seed) = self.image.seed {
            daxkit_format::ext4::xattr::seal_block(seed, to, &mut bytes);
        }
        self.write_block(to, &bytes)?;
        self.change_inode(ino, |raw| edit_inode(raw, |inode| inode.set_file_acl(to)))
    }

    /// Gives blocks to the holes of a directory; where there are many the blocks behind them move up.
    pub(crate) fn fill_holes(&self, ino: u32) -> Done {
        let inode = self.disk_inode(ino)?;
        let mut blocks = self.blocks_of(ino)?;
        blocks.sort_unstable();
        let dirs = self.state.dirs;
        let count =
            dirs.binary_search_by_key(&ino, |dir| dir.ino).ok().and_then(|i| dirs.get(i)).map_or(1, |d| d.blocks);
        let count = u64::from(count.max(1));
        let mapped = blocks.iter().filter(|(logical, ..)| *logical < count).count() as u64;
        if count - mapped.min(count) > MOST_HOLES {
            for (index, block) in blocks.iter_mut().enumerate() {
                block.0 = index as u64;
            }
            self.set_blocks(ino, &blocks)?;
            let size = (blocks.len() as u64).max(1) * u64::from(self.image.geo.block_size);
            return self.change_inode(ino, |raw| crate::pass::inodes::set_size(raw, size));
        }
        for logical in 0..count {
            if blocks.iter().any(|(at, ..)| *at == logical) {
                continue;
            }
            let near = blocks.first().map_or(0, |b| b.1);
            let run = self.edit(|editor| editor.take_blocks(BlockNr(near), 1))?;
            let to = run.first.get();
            let bytes = self.empty_dir_block(ino, logical, 2, inode.i_generation.get());
            self.write_block(to, &bytes)?;
            blocks.push((logical, to, true));
        }
        blocks.sort_unstable();
        self.set_blocks(ino, &blocks).map_err(words)
    }
}
