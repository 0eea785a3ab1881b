//! What all repairs stand on: structures read as they lie now, changed, sealed and written.

use std::sync::Arc;

use daxkit_device::BlockDevice;
use daxkit_format::ext4::group_desc::GroupDesc;
use daxkit_format::ext4::inode::{self, Inode as DiskInode, Timestamp};
use daxkit_format::ext4::super_block::{self, SUPER_BLOCK_OFFSET, SuperBlock};
use daxkit_format::ext4::xattr;
use daxkit_volume::{EditError, Editor, OpenOptions, Volume};
use zerocopy::IntoBytes;

use super::Fix;
use crate::check::{Options, State};
use crate::image::Image;
use crate::open::Edits;

/// Why something could not be mended.
pub(crate) type Done<T = ()> = Result<T, String>;

/// Any error as words.
pub(crate) fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What is known of an image, and the overlay in which it is mended.
pub(crate) struct Fixer<'f, 'i> {
    pub(crate) state: &'f State<'f, 'i>,
    pub(crate) image: &'f Image,
    pub(crate) edits: &'f Arc<Edits>,
    pub(crate) options: &'f Options,
    pub(crate) journal_blocks: Option<u64>,
}

/// Changes the superblock below `edits`, and seals it.
pub(crate) fn change_super(edits: &Edits, change: impl FnOnce(&mut SuperBlock)) -> Done {
    let mut bytes = [0; size_of::<SuperBlock>()];
    edits.read_at(SUPER_BLOCK_OFFSET, &mut bytes).map_err(words)?;
    let mut sb = super_block::parse(&bytes).ok_or("there is no superblock")?;
    change(&mut sb);
    if sb.has_metadata_csum() {
        sb.seal();
    }
    edits.write_at(SUPER_BLOCK_OFFSET, sb.as_bytes()).map_err(words)
}

/// Edits the volume below `edits` as any tool would.
pub(crate) fn edit<T>(
    edits: &Arc<Edits>,
    now: u64,
    work: impl FnOnce(&mut Editor<'_>) -> Result<T, EditError>,
) -> Done<T> {
    let options = OpenOptions { ignore_checksums: true, replay: false, writable: true, ..OpenOptions::default() };
    let mut volume = Volume::open(Arc::clone(edits) as Arc<dyn BlockDevice>, &options).map_err(words)?;
    let now = Timestamp { seconds: i64::try_from(now).unwrap_or(i64::MAX), nanos: 0 };
    let done = volume.change_raw(now, work).map_err(words)?;
    if let Some(changes) = volume.edits() {
        changes.apply_to(&**edits).map_err(words)?;
    }
    Ok(done)
}

impl<'f, 'i> Fixer<'f, 'i> {
    pub(crate) fn new(state: &'f State<'f, 'i>, edits: &'f Arc<Edits>, options: &'f Options) -> Self {
        Self { state, image: state.cx.image, edits, options, journal_blocks: None }
    }

    /// Mends one thing.
    pub(crate) fn apply(&mut self, fix: &Fix) -> Done {
        match fix {
            Fix::Done => Ok(()),
            Fix::Super(change, n) => change_super(self.edits, |sb| change(sb, *n)),
            Fix::Group(group, change, n) => self.change_group(*group, |desc| change(desc, *n)),
            Fix::Bytes(at, bytes) => self.edits.write_at(*at, bytes).map_err(words),
            Fix::Inode(ino, change, n) => self.change_inode(*ino, |raw| change(raw, *n)),
            Fix::InodeWord(ino, at, word) => self.change_inode(*ino, |raw| {
                if let Some(place) = raw.get_mut(*at..at + 4) {
                    place.copy_from_slice(&word.to_le_bytes());
                }
            }),
            Fix::Clear(ino) => self.change_inode(*ino, |raw| raw.fill(0)),
            Fix::PruneMap(ino) => self.prune_map(*ino),
            Fix::EmptyMap(ino) => self.empty_map(*ino),
            Fix::InlineAttribute(ino) => self.inline_attribute(*ino),
            Fix::XattrWord(block, at, word) => self.xattr_word(*block, *at, *word),
            Fix::XattrBlockGone(block) => self.xattr_block_gone(*block),
            Fix::MovePart(group, part) => self.move_part(*group, *part),
            Fix::DirBlock(ino, logical, block) => self.dir_block(*ino, *logical, *block),
            Fix::InlineDir(ino) => self.inline_dir(*ino),
            Fix::Entry(ino, logical, block, at, how) => self.entry(*ino, *logical, *block, *at, *how),
            Fix::DotDot(ino, parent) => self.dotdot(*ino, *parent),
            Fix::DropIndex(ino) => self.drop_index(*ino),
            Fix::FillHoles(ino) => self.fill_holes(*ino),
            Fix::Clone(ino, keeps, ranges) => self.clone_blocks(*ino, *keeps, ranges),
            Fix::Rebuild(ino) => self.clone_blocks(*ino, false, &[(0, u64::MAX)]),
            Fix::Root => self.make_root(),
            Fix::Connect(ino) => self.connect(*ino),
            Fix::LostFound => self.lost_found().map(|_| ()),
            Fix::BlockBitmap(group) => self.write_block_bitmap(*group),
            Fix::InodeBitmap(group) => self.write_inode_bitmap(*group),
            Fix::Quota(kind, anew, usage) => self.set_quota(*kind, *anew, usage),
            Fix::Uuid => {
                let uuid = self.options.uuid;
                change_super(self.edits, |sb| sb.s_uuid = uuid)
            }
            Fix::Mmp => self.clean_mmp(),
            Fix::ResizeInode => self.make_resize_inode(),
            Fix::NewJournal => self.drop_journal(),
            Fix::Orphans => self.release_orphans(),
            Fix::NoOrphans => change_super(self.edits, crate::pass::journal::clear_orphan_present),
            Fix::NoOrphanFile => self.drop_orphan_file(),
            Fix::NewOrphanFile => self.new_orphan_file(),
            Fix::PackTree(ino) => self.pack_tree(*ino),
        }
    }

    pub(crate) fn block(&self, block: u64) -> Done<Vec<u8>> {
        let mut bytes = vec![0; self.image.block_size()];
        self.edits.read_at(self.byte(block)?, &mut bytes).map_err(words)?;
        Ok(bytes)
    }

    pub(crate) fn write_block(&self, block: u64, bytes: &[u8]) -> Done {
        self.edits.write_at(self.byte(block)?, bytes).map_err(words)
    }

    fn byte(&self, block: u64) -> Done<u64> {
        block.checked_mul(self.image.geo.block_size.into()).ok_or_else(|| format!("block {block}: there is no such"))
    }

    /// The bytes of an inode as they lie now.
    pub(crate) fn raw_inode(&self, ino: u32) -> Done<Vec<u8>> {
        let at = self.image.inode_at(ino).ok_or_else(|| format!("inode {ino}: there is no such"))?;
        let mut raw = vec![0; self.image.geo.inode_size.into()];
        self.edits.read_at(at, &mut raw).map_err(words)?;
        Ok(raw)
    }

    pub(crate) fn disk_inode(&self, ino: u32) -> Done<DiskInode> {
        DiskInode::from_disk(&self.raw_inode(ino)?).ok_or_else(|| format!("inode {ino}: it is too short"))
    }

    /// Changes the bytes of an inode, and seals it.
    pub(crate) fn change_inode(&self, ino: u32, change: impl FnOnce(&mut [u8])) -> Done {
        let at = self.image.inode_at(ino).ok_or_else(|| format!("inode {ino}: there is no such"))?;
        let mut raw = self.raw_inode(ino)?;
        change(&mut raw);
        if let Some(seed) = self.image.seed
            && raw.iter().any(|b| *b != 0)
        {
            inode::seal(seed, ino, &mut raw);
        }
        self.edits.write_at(at, &raw).map_err(words)
    }

    /// The descriptor of a group as it lies now.
    pub(crate) fn group(&self, group: u32) -> Done<GroupDesc> {
        let mut bytes = vec![0; self.image.geo.desc_size.into()];
        self.edits.read_at(self.image.desc_at(group), &mut bytes).map_err(words)?;
        GroupDesc::from_disk(&bytes).ok_or_else(|| format!("group {group}: its descriptor is too short"))
    }

    /// Changes a descriptor, and seals it.
    pub(crate) fn change_group(&self, group: u32, change: impl FnOnce(&mut GroupDesc)) -> Done {
        let mut desc = self.group(group)?;
        change(&mut desc);
        let bytes = self.image.desc_bytes(&desc);
        if let Some(sum) = self.image.group_checksum(group, &bytes) {
            desc.bg_checksum = sum.into();
        }
        self.edits.write_at(self.image.desc_at(group), &self.image.desc_bytes(&desc)).map_err(words)
    }

    /// Takes free blocks in a row, which nothing else has, near a block.
    pub(crate) fn take(&self, near: u64, len: u64) -> Done<u64> {
        let image = self.image;
        let (from, want) = (image.cluster(near), image.clusters(image.geo.first_data_block, len).1);
        let all = image.clusters_count();
        let fits = |at: u64| at + want <= all && !self.state.cx.blocks.any(at, want);
        let found = (from..all).chain(0..from).find(|at| fits(*at)).ok_or("no space is left")?;
        self.state.cx.blocks.mark(found, want);
        self.state.cx.meta.mark(found, want);
        Ok(image.geo.first_data_block + found * u64::from(image.geo.cluster_ratio))
    }

    /// Edits as any tool would.
    pub(crate) fn edit<T>(&self, work: impl FnOnce(&mut Editor<'_>) -> Result<T, EditError>) -> Done<T> {
        edit(self.edits, self.options.now, work)
    }

    /// Changes four bytes of a block of attributes, and seals it.
    fn xattr_word(&self, block: u64, at: usize, word: u32) -> Done {
        let mut bytes = self.block(block)?;
        bytes.get_mut(at..at + 4).ok_or("the entry is not inside the block")?.copy_from_slice(&word.to_le_bytes());
        if let Some(seed) = self.image.seed {
            xattr::seal_block(seed, block, &mut bytes);
        }
        self.write_block(block, &bytes)
    }
}
