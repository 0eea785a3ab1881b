//! The inodes of a tree, without their names: what an edit of everything below a directory starts from.
//!
//! Directories are read once each, entries by the type that stands in them, so inodes of files are not read at all.

use std::collections::HashSet;

use daxkit_format::InodeNr;
use daxkit_format::ext4::dir_entry::file_type;

use super::inode::Inode;
use super::open::Volume;
use super::tables::ScanErrors;

/// What lies below a directory.
#[derive(Debug, Default)]
pub struct Subtree {
    /// Numbers of regular files and directories, the directory itself among them; ascending, each once.
    pub inodes: Vec<InodeNr>,
    /// What could not be read.
    pub errors: ScanErrors,
}

impl Volume {
    /// The regular files and directories of the tree that begins at `begin`. Where entries have no types, symbolic links and special
    /// files come along.
    #[must_use]
    pub fn subtree(&self, begin: &Inode) -> Subtree {
        let mut tree = Subtree { inodes: vec![begin.nr()], errors: ScanErrors::default() };
        let (mut entered, mut read) = (HashSet::from([begin.nr()]), HashSet::new());
        let mut todo = Vec::new();
        todo.extend(begin.is_dir().then(|| begin.clone()));
        while let Some(dir) = todo.pop() {
            let Subtree { inodes, errors } = &mut tree;
            let mut below = Vec::new();
            self.scan_dir(&dir, &mut read, errors, &mut |nr, kind, name| {
                if matches!(name, b"." | b"..") {
                    return;
                }
                match kind {
                    file_type::REG_FILE => inodes.push(nr),
                    file_type::DIR | file_type::UNKNOWN => below.push(nr),
                    _ => {}
                }
            });
            for nr in below {
                if !entered.insert(nr) {
                    continue;
                }
                match self.inode(nr) {
                    Ok(inode) => {
                        tree.inodes.push(nr);
                        todo.extend(inode.is_dir().then_some(inode));
                    }
                    Err(e) => tree.errors.push(e),
                }
            }
        }
        tree.inodes.sort_unstable();
        tree.inodes.dedup();
        tree
    }
}
