//! Asks a volume everything there is to ask. Only that it comes to an end counts; what it answers does not.
#![allow(dead_code, unreachable_pub)]

use daxkit_format::ext4::quota::QuotaKind;
use daxkit_volume::{GroupNr, Inode, InodeNr, Volume};

/// Most bytes read of one file, so that a file that claims to be huge is tried and not read to its end.
const MOST: u64 = 4 << 20;

/// How much was found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub names: u64,
    pub errors: u64,
    pub bytes: u64,
}

/// Walks the tree, reads what can be read, and looks at every inode of the table.
pub fn all(volume: &Volume) -> Seen {
    let mut seen = Seen::default();
    let begin = volume.inode(InodeNr::ROOT);
    if let Ok(root) = begin {
        for visit in volume.walk(root) {
            match visit {
                Ok(visit) => {
                    seen.names += 1;
                    // A hostile directory may name one file as often as it likes.
                    if visit.first || seen.names < 10_000 {
                        one(volume, &visit.inode, &mut seen);
                    }
                    if visit.inode.is_dir() && seen.names < 1000 {
                        let _ = volume.path_of_dir(&visit.inode);
                    }
                    if seen.names < 1000 {
                        let path = [b"/", visit.path.as_slice()].concat();
                        let _ = volume.resolve(&path, true);
                    }
                }
                Err(e) => {
                    assert!(!e.error.to_string().contains('\n'));
                    seen.errors += 1;
                }
            }
            if seen.names + seen.errors > 200_000 {
                break;
            }
        }
    }
    let g = *volume.geometry();
    for nr in 1..=u64::from(g.inodes_count.min(4096)) {
        if let Ok(inode) = volume.inode_unverified(InodeNr(nr)) {
            one(volume, &inode, &mut seen);
        }
    }
    for group in (0..g.groups_count.min(64)).map(GroupNr) {
        let _ = volume.block_bitmap(group).map(|b| b.count_clear());
        let _ = volume.inode_bitmap(group).map(|b| b.next_clear(0));
    }
    let _ = volume.orphans();
    let _ = volume.mmp();
    let _ = volume.reserved_gdt();
    for kind in QuotaKind::ALL {
        let _ = volume.quota(kind);
    }
    seen
}

fn one(volume: &Volume, inode: &Inode, seen: &mut Seen) {
    let _ = volume.xattrs(inode).map(|x| x.iter().filter(|x| x.for_user().is_ok()).count());
    let _ = volume.verity_descriptor(inode);
    let _ = volume.encryption_context(inode);
    if inode.is_symlink() {
        let _ = volume.read_link(inode);
    }
    let mut end = 0;
    for run in volume.extents(inode).map_while(Result::ok) {
        assert!(run.logical >= end, "runs in order");
        end = run.end();
    }
    let _ = volume.metadata_blocks(inode).count();
    let _ = volume.data_ranges(inode).count();
    for logical in [0, 11, 12, 300, 70_000, end, u64::from(u32::MAX)] {
        let _ = volume.map_block(inode, logical);
    }
    if inode.is_dir() {
        let mut names = Vec::new();
        for entry in volume.read_dir(inode).into_iter().flatten().take(20_000).flatten() {
            if names.len() < 50 {
                names.push(entry.name);
            }
        }
        for name in names {
            let _ = volume.lookup(inode, &name);
        }
        let _ = volume.lookup(inode, b"surely not there");
    }
    for offset in [0, inode.size().saturating_sub(MOST / 2)] {
        if let Ok(bytes) = volume.read_file(inode, offset..offset.saturating_add(MOST)) {
            seen.bytes += bytes.len() as u64;
        }
        if inode.size() <= MOST {
            break;
        }
    }
}
