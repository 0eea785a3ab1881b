//! Everything a reader can ask of an image. Only that it comes to an end counts; what it answers does not.

use daxkit_build::dump::{Data, DumpOptions, dump};
use daxkit_device::{BlockDevice, MemoryDevice};
use daxkit_format::ext4::quota::QuotaKind;
use daxkit_format::{BlockNr, GroupNr, InodeNr};
use daxkit_volume::{Inode, OpenOptions, Volume};
use std::io::Write;
use std::sync::Arc;

/// How far sound but long lists are followed: a size may claim any number of blocks, and names may be many.
const ENOUGH: usize = 20_000;

/// Bytes read of one file, from its start and from its end.
const MOST: u64 = 1 << 20;

/// Counts what is written, and refuses what cannot be the text of an image: every byte has its place in it once.
struct Bounded {
    left: u64,
}

impl Write for Bounded {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.left = self.left.checked_sub(buf.len() as u64).expect("a text that is longer than its image can be");
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Uses an image in every way, by the options of each mode. How many names were seen.
pub(crate) fn everything(device: &Arc<MemoryDevice>, modes: &[OpenOptions]) -> usize {
    let mut names = 0;
    for options in modes {
        match Volume::open(Arc::<MemoryDevice>::clone(device), options) {
            Ok(volume) => names += tree(&volume),
            Err(e) => assert!(!e.to_string().contains('\n'), "one line: {e}"),
        }
    }
    let device: Arc<dyn BlockDevice> = Arc::<MemoryDevice>::clone(device);
    let mut out = Bounded { left: device.len() * 40 + (4 << 20) };
    dump(&device, &DumpOptions { data: Data::Hash }, &mut out).expect("a device in memory");
    names
}

/// The ways to open an image: as usual, without belief in checksums, without belief in anything.
pub(crate) fn modes() -> [OpenOptions; 4] {
    let usual = OpenOptions::default();
    [
        OpenOptions { ignore_checksums: true, ..usual.clone() },
        OpenOptions { ignore_checksums: true, replay: false, ..usual.clone() },
        OpenOptions { ignore_checksums: true, catastrophic: true, replay: false, ..usual.clone() },
        usual,
    ]
}

fn tree(volume: &Volume) -> usize {
    let mut names = 0;
    if let Ok(root) = volume.root() {
        for visit in volume.walk(root).take(ENOUGH) {
            let Ok(visit) = visit else { continue };
            names += 1;
            if visit.first && names < 2000 {
                one(volume, &visit.inode);
            }
            if names < 100 {
                let path = [b"/", visit.path.as_slice()].concat();
                let _ = (volume.resolve(&path, true), volume.resolve_parent(&path));
            }
        }
    }
    let geometry = volume.geometry();
    for nr in 1..=u64::from(geometry.inodes_count.min(60)) {
        if let Ok(inode) = volume.inode_unverified(InodeNr(nr)) {
            one(volume, &inode);
        }
        let _ = volume.inode_in_use(InodeNr(nr));
    }
    let groups = geometry.groups_count;
    for group in (0..groups.min(40)).chain(groups.saturating_sub(2)..groups).map(GroupNr) {
        let _ = (volume.group_desc(group), volume.descriptor_block(group.get()), volume.group_has_super(group));
        let _ = volume.block_bitmap(group).map(|b| (b.count_clear(), b.next_clear(0)));
        let _ = volume.inode_bitmap(group).map(|b| b.next_clear(0));
    }
    if groups < 10_000 {
        let _ = volume.free_counts();
    }
    for block in [0, 1, geometry.blocks_count.wrapping_sub(1), geometry.blocks_count, u64::MAX] {
        let _ = (volume.read_block(BlockNr(block)), volume.block_in_use(BlockNr(block)));
    }
    let _ = (volume.orphans(), volume.orphan_list(), volume.orphan_file());
    let _ = (volume.mmp(), volume.reserved_gdt());
    for kind in QuotaKind::ALL {
        let _ = volume.quota(kind);
    }
    let _ = volume.resolve(b"/a/../a/./b/c/../../b/c/file", true);
    let _ = volume.resolve(b"/loop/x", true);
    names
}

fn one(volume: &Volume, inode: &Inode) {
    if let Ok(attributes) = volume.xattrs(inode) {
        attributes.iter().for_each(|a| drop((a.full_name(), a.for_user(), a.is_acl())));
    }
    let _ = volume.xattr_by_name(inode, b"user.short");
    let _ = (volume.inline_data(inode), volume.verity_descriptor(inode), volume.encryption_context(inode));
    if inode.is_symlink() {
        let _ = volume.read_link(inode);
    }
    let mut end = 0;
    for run in volume.extents(inode).map_while(Result::ok).take(ENOUGH) {
        assert!(run.logical >= end, "runs overlap or go back");
        assert!(run.physical.get() < volume.geometry().blocks_count, "a run outside of the image");
        end = run.end();
    }
    let _ = volume.metadata_blocks(inode).take(ENOUGH).count();
    for range in volume.data_ranges(inode).map_while(Result::ok).take(ENOUGH) {
        assert!(range.start < range.end && range.end <= inode.size(), "data outside of the file");
    }
    for logical in [0, 11, 12, 268, 70_000, end, u64::from(u32::MAX), u64::MAX] {
        let _ = volume.map_block(inode, logical);
        let _ = volume.extents_from(inode, logical).next();
    }
    if inode.is_dir() {
        let _ = (volume.parent(inode), volume.path_of_dir(inode));
        let mut names = Vec::new();
        for entry in volume.read_dir(inode).into_iter().flatten().take(ENOUGH).flatten() {
            if names.len() < 20 {
                names.push(entry.name);
            }
        }
        names.push(b"surely not there".to_vec());
        names.push(vec![0xff; 255]);
        for name in names {
            let _ = volume.lookup(inode, &name);
        }
    }
    for offset in [0, inode.size().saturating_sub(MOST)] {
        if let Ok(bytes) = volume.read_file(inode, offset..offset.saturating_add(MOST)) {
            assert!(bytes.len() as u64 <= MOST);
        }
    }
    let _ = volume.read_file_block(inode, 3);
}
