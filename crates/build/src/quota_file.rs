//! The bytes of a quota file (`vfsv1`): who uses how much of the image, as `mke2fs -O quota` and the kernel's
//! `fs/quota/quota_tree.c` (Linux 6.12) lay it out when ids are entered in ascending order.
//!
//! Blocks are handed out as they are needed: head, root of the tree, then for each id the tree blocks its path lacks, and a
//! leaf whenever the last one is full. The only leaf with room is the last one, so the list of free entries has one member
//! or none, and there are no free blocks.

use daxkit_format::OnDisk;
use daxkit_format::ext4::quota::{
    BLOCK_SIZE, DqBlk, DqDataHeader, ENTRIES_PER_BLOCK, QuotaKind, TREE_DEPTH, TREE_ROOT, empty_file, file_head,
    tree_index,
};
use std::collections::BTreeMap;
use zerocopy::IntoBytes;

/// What one id uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Inodes it owns.
    pub inodes: u64,
    /// Bytes of the blocks they take (`i_blocks` times 512).
    pub space_bytes: u64,
}

/// Blocks of 1 KiB the file has for these ids, which must come in ascending order, without repetition.
#[must_use]
pub fn block_count(ids: impl IntoIterator<Item = u32>) -> u32 {
    let mut blocks = TREE_ROOT + 1;
    let mut last = None;
    for (count, id) in ids.into_iter().enumerate() {
        blocks += new_levels(last, id);
        if count % ENTRIES_PER_BLOCK == 0 {
            blocks += 1;
        }
        last = Some(id);
    }
    blocks
}

/// How many tree blocks below the root the path to `id` does not share with the path to `last`.
fn new_levels(last: Option<u32>, id: u32) -> u32 {
    (1..TREE_DEPTH).filter(|depth| last.is_none_or(|last| (last ^ id) >> ((TREE_DEPTH - depth) * 8) != 0)).count()
        as u32
}

/// The file of one kind of quota; no limits are set.
#[must_use]
pub fn build(kind: QuotaKind, usage: &BTreeMap<u32, Usage>) -> Vec<u8> {
    let mut file = Blocks { bytes: empty_file(kind) };
    // The tree blocks on the way to the last id, the root first.
    let mut path = [TREE_ROOT; TREE_DEPTH as usize];
    let mut last = None;
    let mut leaf = 0;
    let mut in_leaf = ENTRIES_PER_BLOCK;
    for (id, usage) in usage {
        let first_new = TREE_DEPTH - new_levels(last, *id);
        for depth in first_new..TREE_DEPTH {
            let block = file.add();
            file.refer(path[depth as usize - 1], tree_index(*id, depth - 1), block);
            path[depth as usize] = block;
        }
        if in_leaf == ENTRIES_PER_BLOCK {
            (leaf, in_leaf) = (file.add(), 0);
        }
        file.refer(path[TREE_DEPTH as usize - 1], tree_index(*id, TREE_DEPTH - 1), leaf);
        file.enter(leaf, in_leaf, &entry(*id, usage));
        in_leaf += 1;
        last = Some(*id);
    }
    let blocks = (file.bytes.len() / BLOCK_SIZE) as u32;
    file.put(0, &file_head(kind, blocks, if in_leaf == ENTRIES_PER_BLOCK { 0 } else { leaf }));
    file.bytes
}

fn entry(id: u32, usage: &Usage) -> DqBlk {
    let mut entry = DqBlk::zeroed();
    entry.dqb_id.set(id);
    entry.dqb_curinodes.set(usage.inodes);
    entry.dqb_curspace.set(usage.space_bytes);
    if id == 0 && *usage == Usage::default() {
        // An entry of nothing but zeroes is a free one; the kernel marks this case so too.
        entry.dqb_itime.set(1);
    }
    entry
}

/// The file as it grows. All places come from this module: they lie within.
struct Blocks {
    bytes: Vec<u8>,
}

impl Blocks {
    fn add(&mut self) -> u32 {
        let block = self.bytes.len() / BLOCK_SIZE;
        self.bytes.resize(self.bytes.len() + BLOCK_SIZE, 0);
        block as u32
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn refer(&mut self, tree_block: u32, index: usize, to: u32) {
        self.put(tree_block as usize * BLOCK_SIZE + index * 4, &to.to_le_bytes());
    }

    fn enter(&mut self, leaf: u32, index: usize, entry: &DqBlk) {
        let at = leaf as usize * BLOCK_SIZE;
        let mut header = DqDataHeader::zeroed();
        header.dqdh_entries.set(index as u16 + 1);
        self.put(at, header.as_bytes());
        self.put(at + size_of::<DqDataHeader>() + index * size_of::<DqBlk>(), entry.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daxkit_format::ext4::quota::{DqHeader, DqInfo};
    use std::path::Path;
    use std::process::Command;

    fn run(program: &str, args: &[&str]) -> String {
        let out = Command::new(program)
            .args(args)
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .output()
            .unwrap_or_else(|e| panic!("this test needs {program} (package e2fsprogs): {e}"));
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{program} {args:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
        text
    }

    /// A fresh image with files of these owners, its quota files written by tune2fs; their bytes.
    fn by_tune2fs(dir: &Path, owners: &[u32]) -> [Vec<u8>; 3] {
        let image = dir.join("image");
        let name = image.to_str().expect("UTF-8");
        let _ = std::fs::remove_file(&image);
        run("mke2fs", &["-q", "-F", "-t", "ext4", "-O", "project", "-I", "256", "-N", "4000", name, "64M"]);
        let mut script = String::new();
        for (i, owner) in owners.iter().enumerate() {
            script.push_str(&format!("write /dev/null f{i}\n"));
            for field in ["uid", "gid"] {
                let high = owner >> 16;
                script.push_str(&format!("sif f{i} {field} {}\nsif f{i} {field}_high {high}\n", owner & 0xffff));
            }
        }
        let commands = dir.join("commands");
        std::fs::write(&commands, script).expect("write");
        run("debugfs", &["-w", "-f", commands.to_str().expect("UTF-8"), name]);
        run("tune2fs", &["-O", "quota,project", "-Q", "usrquota,grpquota,prjquota", name]);
        run("e2fsck", &["-fn", name]);
        let superblock = run("dumpe2fs", &["-h", name]);
        ["User", "Group", "Project"].map(|kind| {
            let line =
                superblock.lines().find(|l| l.starts_with(&format!("{kind} quota inode:"))).expect("a quota inode");
            let inode = line.rsplit(' ').next().expect("a number");
            let out = dir.join(kind);
            run("debugfs", &["-R", &format!("dump <{inode}> {}", out.display()), name]);
            std::fs::read(out).expect("the dump")
        })
    }

    fn parsed(kind: QuotaKind, file: &[u8]) -> BTreeMap<u32, Usage> {
        assert_eq!(DqHeader::peek(file).expect("a head").dqh_magic.get(), kind.magic());
        let mut usage = BTreeMap::new();
        let mut tree = vec![(TREE_ROOT, 0u32)];
        let mut leaves = std::collections::BTreeSet::new();
        while let Some((block, depth)) = tree.pop() {
            for word in file[block as usize * BLOCK_SIZE..][..BLOCK_SIZE].chunks(4) {
                match u32::from_le_bytes(word.try_into().expect("4 bytes")) {
                    0 => {}
                    to if depth + 1 < TREE_DEPTH => tree.push((to, depth + 1)),
                    to => drop(leaves.insert(to)),
                }
            }
        }
        for leaf in leaves {
            for entry in file[leaf as usize * BLOCK_SIZE + 16..][..BLOCK_SIZE - 16].chunks_exact(72) {
                if entry.iter().any(|b| *b != 0) {
                    let e = DqBlk::peek(entry).expect("an entry");
                    let u = Usage { inodes: e.dqb_curinodes.get(), space_bytes: e.dqb_curspace.get() };
                    usage.insert(e.dqb_id.get(), u);
                }
            }
        }
        usage
    }

    #[test]
    fn files_are_those_of_tune2fs_byte_for_byte() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let few = [1, 5, 70_000, u32::MAX - 1];
        // With root, whom the metadata belongs to: 14 ids fill a leaf, 28 two, 29 need a third.
        let sets: [&[u32]; 5] = [
            &[],
            &few,
            &(1..14).collect::<Vec<_>>(),
            &(1..29).map(|i| i * 77).collect::<Vec<_>>(),
            &(0..300u32).map(|i| i.wrapping_mul(2_654_435_761) | 1).collect::<Vec<_>>(),
        ];
        for owners in sets {
            for (kind, expected) in QuotaKind::ALL.into_iter().zip(by_tune2fs(dir.path(), owners)) {
                let usage = parsed(kind, &expected);
                if kind != QuotaKind::Project {
                    assert_eq!(usage.len(), owners.len() + 1);
                }
                let built = build(kind, &usage);
                assert!(built == expected, "{kind:?} of {} owners", owners.len());
                assert_eq!(block_count(usage.keys().copied()) as usize * BLOCK_SIZE, built.len());
            }
        }
    }

    #[test]
    fn an_id_without_usage_is_not_taken_for_a_free_entry() {
        let usage = BTreeMap::from([(0, Usage::default())]);
        let file = build(QuotaKind::Project, &usage);
        assert_eq!(parsed(QuotaKind::Project, &file), usage);
        let none = build(QuotaKind::User, &BTreeMap::new());
        assert_eq!((none.len(), block_count([])), (2048, 2));
        assert_eq!(DqInfo::peek(&none[8..]).map(|i| (i.dqi_blocks.get(), i.dqi_free_entry.get())), Some((2, 0)));
    }
}
