//! `-E fragcheck`: where files are in pieces, in e2fsck's words.

use daxkit_format::InodeNr;
use daxkit_volume::Volume;

/// Prints a line for every run of blocks that does not begin where the one before it ends.
pub(crate) fn print(volume: &Volume) {
    let per_group = u64::from(volume.geometry().inodes_per_group);
    let (tables, _) = volume.inode_tables();
    for table in tables {
        let first = u64::from(table.group.0) * per_group + 1;
        for nr in first..first + u64::from(table.inodes) {
            of_inode(volume, InodeNr(nr));
        }
    }
}

fn of_inode(volume: &Volume, nr: InodeNr) {
    let own = nr.get() < u64::from(volume.super_block().first_ino()) && nr != InodeNr::ROOT;
    // What cannot be read is for the check to find.
    let Ok(inode) = volume.inode_unverified(nr) else { return };
    if own || !volume.has_map(&inode) || inode.is_free() {
        return;
    }
    let kind = if inode.is_dir() { 'd' } else { 'f' };
    let mut expected = None;
    for run in volume.extents(&inode) {
        let Ok(run) = run else { return };
        let begins = run.physical.get();
        if let Some(expected) = expected.filter(|expected| *expected != begins) {
            anstream::println!(
                "{:>6}({kind}): expecting {expected:>6} actual extent phys {begins:>6} log {} len {}",
                nr.get(),
                run.logical,
                run.len
            );
        }
        expected = Some(begins.saturating_add(run.len));
    }
}
