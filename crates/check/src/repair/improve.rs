//! What is done besides mending, once nothing is left to mend: directories and maps built anew.

use std::collections::BTreeSet;

use daxkit_format::InodeNr;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::{EditError, Editor};

use super::fixer::{Done, Fixer};
use crate::pass::Dir;
use crate::state::Kind;
use crate::wishes::{Directories, Improved};

/// A directory of fewer blocks gains nothing from an index.
const WORTH_AN_INDEX: u32 = 3;
/// Inodes that are changed under one edit.
const AT_ONCE: usize = 256;
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
}
