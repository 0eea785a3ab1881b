//! What needs new names: a root, `lost+found`, inodes without one.

use daxkit_format::InodeNr;
use daxkit_format::ext4::inode::mode;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::ext4::edit::NewInode;

use super::edit_inode;
use super::fixer::{Done, Fixer, words};
use crate::pass::extents;
use crate::state::{Kind, bits};

const LOST_FOUND: &[u8] = b"lost+found";
const ROOT: u32 = 2;

impl Fixer<'_, '_> {
    /// Makes a root directory with nothing in it.
    pub(crate) fn make_root(&self) -> Done {
        let block = self.take(self.image.geo.first_data_block, 1)?;
        let bytes = self.empty_dir_block(ROOT, 0, ROOT, 0);
        self.write_block(block, &bytes)?;
        let image = self.image;
        let now = self.options.now as u32;
        let sectors = u64::from(image.geo.block_size / 512) * u64::from(image.geo.cluster_ratio);
        let extra = image.sb.s_want_extra_isize.get().min(image.geo.inode_size.saturating_sub(128));
        self.change_inode(ROOT, |raw| {
            raw.fill(0);
            if let Some(place) = raw.get_mut(0x80..0x82) {
                place.copy_from_slice(&extra.to_le_bytes());
            }
            edit_inode(raw, |inode| {
                inode.i_mode = (mode::IFDIR | 0o755).into();
                inode.i_links_count = 2.into();
                inode.set_size(image.geo.block_size.into());
                inode.set_blocks_stored(sectors);
                (inode.i_atime, inode.i_mtime, inode.i_ctime) = (now.into(), now.into(), now.into());
                if image.has.extents {
                    inode.set_flags(InodeFlags::EXTENTS);
                    extents::empty_root(&mut inode.i_block);
                    put_extent(&mut inode.i_block, block);
                } else if let Some(place) = inode.i_block.get_mut(..4) {
                    place.copy_from_slice(&(block as u32).to_le_bytes());
                }
            });
        })
    }

    /// Gives an inode a name in lost+found, which is made when it is not there.
    pub(crate) fn connect(&mut self, ino: u32) -> Done {
        let known = self.state.cx.inodes.get(ino);
        let dir = self.lost_found()?;
        if dir.get() == u64::from(ino) {
            return self.edit(|editor| editor.link_raw(InodeNr(ROOT.into()), LOST_FOUND, InodeNr(ino.into()), 2));
        }
        if known.bits & bits::EA_INODE != 0 {
            let flag = InodeFlags::EA_INODE.bits();
            self.change_inode(ino, |raw| crate::pass::inodes::clear_flags(raw, flag.into()))?;
        }
        let name = format!("#{ino}");
        let file_type = if known.kind == Kind::Bad { 0 } else { known.kind.file_type() };
        self.edit(|editor| {
            editor.link_raw(dir, name.as_bytes(), InodeNr(ino.into()), file_type)?;
            // As many as it will be found to have: the next look corrects it.
            Ok(())
        })
    }

    /// The directory lost+found, which is made when it is not there, or is not one that can be used.
    pub(crate) fn lost_found(&self) -> Done<InodeNr> {
        let root = InodeNr(ROOT.into());
        let found = self.edit(|editor| {
            let dir = editor.inode(root)?;
            Ok(editor.lookup(&dir, LOST_FOUND)?)
        })?;
        if let Some(entry) = found {
            let inode = self.disk_inode(u32::try_from(entry.inode.get()).map_err(words)?)?;
            if inode.is_dir() && !inode.flags().contains(InodeFlags::ENCRYPT) {
                return Ok(entry.inode);
            }
            self.edit(|editor| editor.unlink_raw(root, LOST_FOUND).map(|_| ()))?;
        }
        self.edit(|editor| {
            let mut dir = editor.mkdir(root, LOST_FOUND, &NewInode::of_root(mode::IFDIR | 0o700))?;
            // It is to hold more than an inode does.
            if dir.has_inline_data() {
                editor.leave_inline(&mut dir)?;
            }
            Ok(dir.nr())
        })
    }
}

/// Puts one block into an empty root of extents.
fn put_extent(root: &mut [u8], block: u64) {
    use zerocopy::IntoBytes;
    let extent = daxkit_format::ext4::extent::Extent::new(0, block, 1, true);
    if let Some(place) = root.get_mut(12..24) {
        place.copy_from_slice(extent.as_bytes());
    }
    if let Some(count) = root.get_mut(2..4) {
        count.copy_from_slice(&1u16.to_le_bytes());
    }
}
