//! Maps and content of files changed, against bytes in memory, exact expectations, e2fsck, debugfs and the kernel.

#![allow(missing_docs, unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;
mod convert;
mod damaged;
mod place;
mod random;
mod size;
mod tree;

use std::path::PathBuf;

use common::edit::{NOW, open_writable};
use common::mke2fs;
use daxkit_device::BlockDevice;
use daxkit_volume::ext4::edit::NewInode;
use daxkit_volume::{EditError, Editor, Inode, InodeNr, Mapping, Volume};
use std::sync::Arc;

/// Two new files: whatever is done to one must leave the other alone.
pub fn files(volume: &mut Volume) -> [InodeNr; 2] {
    ["a", "b"].map(|name| {
        let new = NewInode::of_root(0o100_644);
        let made = volume.change(NOW, |e| e.create(InodeNr::ROOT, name.as_bytes(), &new));
        made.expect("a new file").nr()
    })
}

/// An image with the file `/a`, open for changes.
pub struct Fixture {
    pub image: PathBuf,
    pub nr: InodeNr,
    pub volume: Volume,
    device: Arc<dyn BlockDevice>,
    _dir: tempfile::TempDir,
}

impl Fixture {
    pub fn new(mke2fs_args: &str, size: &str) -> Self {
        let dir = common::scratch();
        let image = mke2fs(dir.path(), "image", mke2fs_args, None, size);
        let (device, mut volume) = open_writable(&image);
        let [nr, _] = files(&mut volume);
        volume.commit(&image, 0, &*device, NOW).expect("committed");
        Self { image, nr, volume, device, _dir: dir }
    }

    /// Changes the file.
    pub fn change<T>(
        &mut self,
        edit: impl FnOnce(&mut Editor<'_>, &mut Inode) -> Result<T, EditError>,
    ) -> Result<T, EditError> {
        let nr = self.nr;
        self.volume.change(NOW, |editor| {
            let mut inode = editor.inode(nr)?;
            let done = edit(editor, &mut inode)?;
            assert_eq!(inode, editor.inode(nr)?, "what is in memory was stored");
            Ok(done)
        })
    }

    /// Writes the changes into the image, which must then be clean.
    pub fn commit(&mut self, what: &str) {
        self.volume.commit(&self.image, 0, &*self.device, NOW).expect("committed");
        common::edit::assert_clean(&self.image, what);
    }

    pub fn inode(&self) -> Inode {
        self.volume.inode(self.nr).expect("an inode")
    }

    pub fn content(&self) -> Vec<u8> {
        content(&self.volume, self.nr)
    }

    pub fn extents(&self) -> Vec<Mapping> {
        self.volume.extents(&self.inode()).map(|r| r.expect("sound")).collect()
    }

    /// Blocks of the map itself, by their level.
    pub fn levels(&self) -> Vec<u16> {
        let mut levels: Vec<u16> = self.volume.metadata_blocks(&self.inode()).map(|n| n.expect("sound").1).collect();
        levels.sort_unstable();
        levels
    }

    pub fn free(&self) -> u64 {
        self.volume.super_block().free_blocks_count()
    }

    pub fn block_size(&self) -> u64 {
        self.volume.block_size().into()
    }
}

pub fn content(volume: &Volume, nr: InodeNr) -> Vec<u8> {
    let inode = volume.inode(nr).expect("an inode");
    volume.read_file(&inode, 0..inode.size()).expect("content")
}
