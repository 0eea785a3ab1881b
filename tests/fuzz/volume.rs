//! Targets for whole images, and for the undo file: open it, and use everything a reader has.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use daxkit_build::dump::{Data, DumpOptions, dump};
use daxkit_build::restore::restore;
use daxkit_device::BlockDevice;
use daxkit_device::MemoryDevice;
use daxkit_device::undo::apply_undo;
use daxkit_format::ext4::quota::QuotaKind;
use daxkit_format::{GroupNr, InodeNr};
use daxkit_volume::{Inode, OpenOptions, Volume};

/// How far a list is followed. Longer ones are sound, only long.
const ENOUGH: usize = 2000;

/// Every structure has to pass its checksum.
pub(crate) fn volume(data: &[u8]) {
    explore(data, &OpenOptions::default());
}

/// Checksums do not stop anything, so that mutations reach what lies behind them.
pub(crate) fn volume_unchecked(data: &[u8]) {
    explore(data, &OpenOptions { ignore_checksums: true, ..OpenOptions::default() });
    let options = OpenOptions { catastrophic: true, ignore_checksums: true, replay: false, ..OpenOptions::default() };
    explore(data, &options);
}

fn explore(data: &[u8], options: &OpenOptions) {
    let Ok(volume) = Volume::open(Arc::new(MemoryDevice::from_bytes(data)), options) else { return };
    for group in (0..volume.geometry().groups_count.min(64)).map(GroupNr) {
        let _ = (volume.group_desc(group), volume.block_bitmap(group), volume.inode_bitmap(group));
    }
    let _ = (volume.orphans(), volume.reserved_gdt(), volume.mmp());
    for kind in [QuotaKind::User, QuotaKind::Group, QuotaKind::Project] {
        let _ = volume.quota(kind);
    }
    for nr in 1..=volume.geometry().inodes_count.min(150) {
        if let Ok(inode) = volume.inode_unverified(InodeNr(nr.into())) {
            use_inode(&volume, &inode);
        }
    }
    let _ = volume.resolve(b"/dir/../dir/link/./file", true);
    let Ok(root) = volume.root() else { return };
    for visit in volume.walk(root).take(ENOUGH).flatten() {
        if visit.first {
            use_inode(&volume, &visit.inode);
        }
        if let Some(entry) = visit.entry
            && let Ok(parent) = volume.inode(visit.parent)
        {
            let _ = volume.lookup(&parent, &entry.name);
        }
    }
}

fn use_inode(volume: &Volume, inode: &Inode) {
    for item in volume.extents(inode).take(ENOUGH) {
        if item.is_err() {
            break;
        }
    }
    let _ = volume.metadata_blocks(inode).take(ENOUGH).count();
    let _ = volume.data_ranges(inode).take(ENOUGH).count();
    let size = inode.size();
    for at in [0, size / 2, size.saturating_sub(10)] {
        let mut buf = [0; 5000];
        if let Ok(read) = volume.read_at(inode, at, &mut buf) {
            assert!(read <= buf.len());
        }
    }
    if let Ok(attributes) = volume.xattrs(inode) {
        for attribute in attributes {
            let _ = (attribute.full_name(), attribute.for_user());
        }
    }
    let _ = (volume.inline_data(inode), volume.verity_descriptor(inode), volume.encryption_context(inode));
    if inode.disk().is_symlink() {
        let _ = volume.read_link(inode);
    }
    if inode.disk().is_dir() {
        let _ = (volume.parent(inode), volume.path_of_dir(inode), volume.lookup(inode, b"entry-042"));
        if let Ok(entries) = volume.read_dir(inode) {
            let _ = entries.take(ENOUGH).count();
        }
    }
}

/// Longest image that a text is built into here.
const LONGEST: u64 = 64 << 20;

/// The text form of an image takes damage as it finds it.
pub(crate) fn dump_image(data: &[u8]) {
    let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(data));
    let _ = dump(&device, &DumpOptions { data: Data::Hash }, &mut std::io::sink());
}

/// A text is built into an image or refused, whatever it says.
pub(crate) fn restore_image(mut data: &[u8]) {
    let _ = restore(&mut data, &mut |len| match len {
        0..=LONGEST => Ok(Arc::new(MemoryDevice::new(len))),
        _ => Err(std::io::ErrorKind::FileTooLarge.into()),
    });
}

/// An undo file, applied to an image it was not made for.
pub(crate) fn undo_file(data: &[u8]) {
    let memory = rustix::fs::memfd_create("undo", rustix::fs::MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = File::from(memory);
    file.write_all(data).expect("memory takes bytes");
    let _ = apply_undo(&file, &MemoryDevice::new(1 << 20));
}
