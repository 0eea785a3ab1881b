//! Damage with intent: maps and indexes that lead back to themselves, lists without end, trees whose branches grow together,
//! blocks that belong to everybody.

use super::cases::{Add, Rng, Sound};
use super::places::{Edit, chosen};
use daxkit_format::InodeNr;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::jbd2::MAGIC;
use daxkit_volume::{Inode, Volume};

fn le16(value: u16) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

fn le32(value: u32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// Offset of an inode in the image.
fn place(volume: &Volume, nr: InodeNr) -> u64 {
    let (block, offset) = volume.inode_location(nr).expect("an inode of a sound image");
    block.get() * u64::from(volume.block_size()) + offset as u64
}

/// A header of a node of an extent tree.
fn header(entries: u16, max: u16, depth: u16) -> Vec<u8> {
    [le16(0xf30a), le16(entries), le16(max), le16(depth), le32(0)].concat()
}

fn index(block: u32, leaf: u32) -> Vec<u8> {
    [le32(block), le32(leaf), le32(0)].concat()
}

fn extent(block: u32, len: u16, start: u32) -> Vec<u8> {
    [le32(block), le16(len), le16(0), le32(start)].concat()
}

pub(crate) fn all(sound: &Sound, rng: &mut Rng, add: &mut Add<'_>) {
    let volume = &sound.volume;
    for (what, inode) in chosen(volume) {
        let extents = inode.flags().contains(InodeFlags::EXTENTS);
        if extents {
            extent_trees(volume, &what, &inode, add);
        } else if volume.has_map(&inode) {
            indirect_maps(volume, &what, &inode, add);
        }
        if inode.is_dir() {
            directories(volume, &what, &inode, rng, add);
        }
        attributes(volume, &what, &inode, add);
    }
    orphans(volume, add);
    groups(volume, add);
    quota(volume, add);
    journal(volume, add);
}

fn extent_trees(volume: &Volume, what: &str, inode: &Inode, add: &mut Add<'_>) {
    let bs = u64::from(volume.block_size());
    let root = place(volume, inode.nr()) + 0x28;
    let blocks = volume.geometry().blocks_count as u32;
    let last = blocks - 1;
    // A block that a tree can be built in: its own, or any data block of it.
    let node = volume.metadata_blocks(inode).flatten().next().map(|(block, _)| block.get());
    let node = node.or_else(|| volume.extents(inode).flatten().next().map(|r| r.physical.get()));
    if let Some(node) = node {
        let max = (bs / 12 - 2) as u16;
        let n = node as u32;
        for depth in 1..=6 {
            // The root leads to a node that leads to itself, whatever depth it claims.
            for claimed in [depth - 1, depth, 5, 0xffff] {
                let edits = vec![
                    (root, [header(1, 4, depth), index(0, n)].concat()),
                    (node * bs, [header(1, max, claimed), index(0, n)].concat()),
                ];
                add(
                    format!("{what}: a tree of depth {depth} whose node of depth {claimed} is its own child"),
                    edits,
                    None,
                );
            }
        }
        let mut many = header(max, max, 1);
        let mut leaf = header(max, max, 0);
        for i in 0..max {
            many.extend(index(u32::from(i) * 65_536, n));
            leaf.extend(extent(u32::from(i) * 32_768, 32_768, 0));
        }
        let start = vec![(root, [header(1, 4, 2), index(0, n)].concat()), (node * bs, many)];
        add(format!("{what}: {max} children that are all the node itself"), start, None);
        for (text, entry) in [("the whole image", extent(0, 32_768, 0)), ("its end", extent(0, 32_768, last))] {
            let mut same = header(max, max, 0);
            (0..max).for_each(|_| same.extend(&entry));
            let edits = vec![(root, [header(1, 4, 1), index(0, n)].concat()), (node * bs, same)];
            add(format!("{what}: {max} extents of {text}, one over the other"), edits, None);
        }
        // Mapped as far as a leaf can, always to what is there.
        let mut far = header(max, max, 0);
        for i in 0..u32::from(max) {
            far.extend(extent(i * 2000, 2000, (i * 7) % (last / 2)));
        }
        let edits = vec![
            (root, [header(1, 4, 1), index(0, n)].concat()),
            (node * bs, far),
            (place(volume, inode.nr()) + 4, le32(u32::MAX)),
            (place(volume, inode.nr()) + 0x6c, le32(0x00ff_ffff)),
        ];
        add(format!("{what}: {max} extents of 2,000 blocks and a size without end"), edits, None);
        let edits = vec![(root, [header(1, 4, 1), index(0, n)].concat()), (node * bs, leaf)];
        add(format!("{what}: {max} extents of 32,768 blocks from block 0"), edits, None);
    }
    for (text, entries) in [
        ("extents that overlap", [extent(0, 10, 100), extent(5, 10, 100), extent(6, 1, 100), extent(7, 9, 100)]),
        ("extents that go back", [extent(30, 1, 100), extent(20, 1, 101), extent(10, 1, 102), extent(0, 1, 103)]),
        ("extents of nothing", [extent(0, 0, 0), extent(0, 0, 100), extent(1, 0, last), extent(2, 0, u32::MAX)]),
        (
            "extents at the end",
            [extent(0, 32_769, last), extent(u32::MAX - 1, 5, 10), extent(u32::MAX, 1, 1), extent(u32::MAX, 1, last)],
        ),
        ("extents of metadata", [extent(0, 1, 0), extent(1, 1, 1), extent(2, 32, 2), extent(40, 200, 10)]),
        ("all the same block", [extent(0, 1, last), extent(1, 1, last), extent(2, 1, last), extent(3, 32_767, last)]),
    ] {
        for len in [None, Some(u32::MAX)] {
            let mut edits = vec![(root, [header(4, 4, 0), entries.concat()].concat())];
            edits.extend(len.map(|len| (place(volume, inode.nr()) + 4, le32(len))));
            add(format!("{what}: {text}, size {len:?}"), edits, None);
        }
    }
    for (entries, max) in [(4, 0), (5, 4), (0xffff, 0xffff), (340, 340), (0, 0)] {
        add(
            format!("{what}: {entries} entries of at most {max} in the inode"),
            vec![(root, header(entries, max, 0))],
            None,
        );
    }
}

fn indirect_maps(volume: &Volume, what: &str, inode: &Inode, add: &mut Add<'_>) {
    let bs = u64::from(volume.block_size());
    let at = place(volume, inode.nr());
    let map = at + 0x28;
    let blocks = volume.geometry().blocks_count as u32;
    let mine = volume.metadata_blocks(inode).flatten().next().map(|(b, _)| b.get());
    let mine = mine.or_else(|| volume.extents(inode).flatten().next().map(|r| r.physical.get())).unwrap_or(100);
    let filled = |block: u32| le32(block).repeat(bs as usize / 4);
    let pointers = |all: [u32; 15]| all.map(le32).concat();
    let n = mine as u32;
    let cases: [(&str, Vec<Edit>); 8] = [
        ("an indirect block full of itself", vec![(mine * bs, filled(n)), (map, pointers([n; 15]))]),
        ("a triple map of itself", vec![(mine * bs, filled(n)), (map, [vec![0; 56], le32(n)].concat())]),
        ("a double map of itself", vec![(mine * bs, filled(n)), (map + 52, le32(n))]),
        ("a map of the superblock", vec![(map, pointers([1; 15]))]),
        ("a map of the last block", vec![(map, pointers([blocks - 1; 15]))]),
        ("a map past the end", vec![(map, pointers([blocks; 15])), (mine * bs, filled(u32::MAX))]),
        (
            "an indirect block of its neighbours",
            vec![(mine * bs, (0..bs as u32 / 4).flat_map(|i| le32(n ^ (i & 7))).collect())],
        ),
        ("a map that is the inode table", vec![(map, pointers([(at / bs) as u32; 15]))]),
    ];
    for (text, edits) in cases {
        for size in [None, Some(u32::MAX)] {
            let mut edits = edits.clone();
            edits.extend(size.map(|size| (at + 4, le32(size))));
            add(format!("{what}: {text}, size {size:?}"), edits, None);
        }
    }
}

fn directories(volume: &Volume, what: &str, inode: &Inode, rng: &mut Rng, add: &mut Add<'_>) {
    let bs = u64::from(volume.block_size());
    let blocks: Vec<(u64, u64)> = volume
        .extents(inode)
        .flatten()
        .flat_map(|r| (0..r.len).map(move |i| (r.logical + i, r.physical.get() + i)))
        .take(200)
        .collect();
    let inodes = volume.geometry().inodes_count;
    // Every entry leads to the directory itself, to the root, to its parent, to nothing.
    for to in [inode.nr().get() as u32, 2, 11, inodes, inodes + 1, 1, 0, u32::MAX] {
        let mut edits = Vec::new();
        for (_, physical) in &blocks {
            let Ok(bytes) = volume.read_block(daxkit_volume::BlockNr(*physical)) else { continue };
            let entries = daxkit_format::ext4::dir_entry::Entries::new(&bytes, bs as u32, true);
            edits.extend(entries.flatten().map(|e| (physical * bs + e.offset as u64, le32(to))));
        }
        if !edits.is_empty() {
            add(format!("{what}: all entries lead to inode {to}"), edits, None);
        }
    }
    for len in [0u16, 1, 4, 7, 8, 11, 0xfffc, 0xffff] {
        let Some((logical, physical)) = blocks.get(rng.below(blocks.len())) else { break };
        let edits = vec![(physical * bs + 4, le16(len))];
        add(format!("{what}: an entry of {len} bytes in block {logical}"), edits, None);
    }
    // A size without end, over blocks that are there.
    let at = place(volume, inode.nr());
    for (low, high) in [(u32::MAX, 0), (0, 1), (u32::MAX, u32::MAX)] {
        add(format!("{what}: {high:#x}{low:08x} bytes"), vec![(at + 4, le32(low)), (at + 0x6c, le32(high))], None);
    }
    if !inode.flags().contains(InodeFlags::INDEX) {
        // An index that is none.
        let flags = inode.flags().bits() | InodeFlags::INDEX.bits();
        add(format!("{what}: an index that is not there"), vec![(at + 0x20, le32(flags))], None);
        return;
    }
    let Some((_, root)) = blocks.first() else { return };
    let root = root * bs;
    let entries = root + 32;
    let limit = u16::try_from((bs - 40) / 8).unwrap_or(u16::MAX);
    for (logical, physical) in blocks.iter().take(4) {
        // Root and nodes whose every entry is one block: themselves, each other, a leaf, one that is not there.
        for to in [0, 1, 2, blocks.len() as u32, 0x0fff_ffff, u32::MAX] {
            let all = |count: u16| -> Vec<u8> {
                let mut bytes = [le16(limit), le16(count), le32(to)].concat();
                (1..u32::from(count)).for_each(|i| bytes.extend([le32(i * 2), le32(to)].concat()));
                bytes
            };
            let place = if *logical == 0 { entries } else { physical * bs + 8 };
            add(
                format!("{what}: block {logical} of the index leads to {to} only"),
                vec![(place, all(limit - 1))],
                None,
            );
            for levels in [0, 1, 2, 3, 255] {
                let edits = vec![(place, all(3)), (root + 0x1e, vec![levels])];
                add(format!("{what}: {levels} levels, block {logical} leads to {to}"), edits, None);
            }
        }
    }
    for (limit, count) in [(0, 0), (limit, 0), (0, 1), (u16::MAX, u16::MAX), (limit, limit + 1), (1, 1)] {
        let edits = vec![(entries, [le16(limit), le16(count)].concat())];
        add(format!("{what}: {count} entries of at most {limit} in the root of the index"), edits, None);
    }
    let falling: Vec<u8> = (1..20u32).flat_map(|i| [le32(u32::MAX - i * 1000), le32(1)].concat()).collect();
    let edits = vec![(entries, [le16(limit), le16(20)].concat()), (entries + 8, falling)];
    add(format!("{what}: hashes that fall"), edits, None);
}

fn attributes(volume: &Volume, what: &str, inode: &Inode, add: &mut Add<'_>) {
    let bs = u64::from(volume.block_size());
    let at = place(volume, inode.nr());
    let extra = u64::from(inode.i_extra_isize.get());
    let size = inode.raw().len() as u64;
    let mut areas = Vec::new();
    if size > 128 && extra > 0 {
        areas.push(("in the inode", at + 128 + extra, 4, (size - 128 - extra) as usize));
    }
    if inode.file_acl() != 0 {
        areas.push(("in a block", inode.file_acl() * bs, 32, bs as usize));
    }
    for (text, area, head, len) in areas {
        let magic = |mut bytes: Vec<u8>| -> Edit {
            let mut all = le32(0xea02_0000);
            if head == 32 {
                all.extend([le32(1), le32(1), le32(0)].concat());
            }
            all.resize(head, 0);
            all.append(&mut bytes);
            all.truncate(len);
            (area, all)
        };
        let entry = |name_len: u8, offset: u16, inum: u32, size: u32| {
            let mut bytes = [vec![name_len, 1], le16(offset), le32(inum), le32(size), le32(0)].concat();
            bytes.extend(vec![b'n'; usize::from(name_len).next_multiple_of(4)]);
            bytes
        };
        for inum in [inode.nr().get() as u32, 2, 8, 11, 12, volume.geometry().inodes_count, u32::MAX] {
            for size in [0, 1, 65_536, 65_537, u32::MAX] {
                let edit = magic(entry(1, 0, inum, size));
                add(format!("{what}: {size} bytes of a value of inode {inum} {text}"), vec![edit], None);
            }
        }
        let same = entry(0, 0, 0, len as u32 / 2).repeat(len / 16);
        add(format!("{what}: attributes without names, all of one value, {text}"), vec![magic(same)], None);
        let to_the_end = entry(255, u16::MAX, 0, u32::MAX).repeat(len / 256 + 1);
        add(format!("{what}: long names, values past the end, {text}"), vec![magic(to_the_end)], None);
    }
    let nodes = [1, 2, volume.geometry().blocks_count as u32 - 1, volume.geometry().blocks_count as u32, u32::MAX];
    for block in nodes {
        add(format!("{what}: attributes in block {block}"), vec![(at + 0x68, le32(block))], None);
    }
    // As a symbolic link, a file in its inode, an inode of a value, with an index, encrypted.
    for flags in [0, 0x0008_0000, 0x1000_0000, 0x0020_0000, 0x1000, 0x800, 0x4000_0000, 0x0010_0000, u32::MAX] {
        for mode in [0x4000, 0x8000, 0xa000, 0xf000u16] {
            let edits = vec![(at + 0x20, le32(flags)), (at, le16(mode | 0o644))];
            if u32::from(inode.nr().get() as u8).is_multiple_of(4) || inode.nr().get() < 3 {
                add(format!("{what}: mode {mode:#x} with flags {flags:#x}"), edits, None);
            }
        }
    }
}

/// Lists of inodes to be deleted.
fn orphans(volume: &Volume, add: &mut Add<'_>) {
    let files: Vec<InodeNr> = chosen(volume).into_iter().map(|(_, i)| i.nr()).filter(|nr| nr.get() > 11).collect();
    let [a, b, ..] = files[..] else { return };
    let (at_a, at_b) = (place(volume, a), place(volume, b));
    let list = 1024 + 0xe8;
    for (text, edits) in [
        ("itself", vec![(list, le32(a.get() as u32)), (at_a + 0x14, le32(a.get() as u32))]),
        (
            "each other",
            vec![
                (list, le32(a.get() as u32)),
                (at_a + 0x14, le32(b.get() as u32)),
                (at_b + 0x14, le32(a.get() as u32)),
            ],
        ),
        ("no inode", vec![(list, le32(u32::MAX))]),
        ("the root", vec![(list, le32(2)), (place(volume, InodeNr::ROOT) + 0x14, le32(2))]),
    ] {
        add(format!("orphans: a list that leads to {text}"), edits, None);
    }
}

/// Descriptors that share what they describe.
fn groups(volume: &Volume, add: &mut Add<'_>) {
    let bs = u64::from(volume.block_size());
    let count = volume.geometry().groups_count;
    let places: Vec<u64> = (0..count)
        .filter_map(|g| volume.group_desc_location(daxkit_volume::GroupNr(g)).ok())
        .map(|(block, offset)| block.get() * bs + offset as u64)
        .collect();
    let last = volume.geometry().blocks_count as u32 - 1;
    for block in [0, 1, 2, 5, last, last + 1, u32::MAX] {
        for field in [0, 4, 8] {
            let edits = places.iter().map(|at| (at + field, le32(block))).collect();
            add(format!("groups: field {field} of all is block {block}"), edits, None);
        }
        let edits = places.iter().map(|at| (*at, le32(block).repeat(3))).collect();
        add(format!("groups: bitmaps and tables of all in block {block}"), edits, None);
    }
    // Sizes that multiply to more than there is.
    let field = |offset: u64, value: u32| (1024 + offset, le32(value));
    for (blocks, per_group, inodes) in [
        (u32::MAX, 8, 8),
        (u32::MAX, 1, 1),
        (u32::MAX, 32_768, 65_536),
        (last + 1, 1, 8),
        (last + 1, 256, u32::MAX),
        (u32::MAX, u32::MAX, u32::MAX),
    ] {
        for high in [0, 1, 0xffff, u32::MAX] {
            let edits = vec![
                field(4, blocks),
                field(0x150, high),
                field(0x20, per_group),
                field(0x24, per_group),
                field(0x28, inodes),
                field(0, inodes.wrapping_mul(blocks / per_group.max(1))),
            ];
            add(
                format!("super: {blocks} and {high} << 32 blocks in groups of {per_group}, {inodes} inodes each"),
                edits,
                None,
            );
        }
    }
}

/// Trees of quota files that lead back.
fn quota(volume: &Volume, add: &mut Add<'_>) {
    let sb = volume.super_block();
    let bs = u64::from(volume.block_size());
    for nr in [sb.s_usr_quota_inum.get(), sb.s_grp_quota_inum.get(), sb.s_prj_quota_inum.get()] {
        let Some(inode) = (nr != 0).then(|| volume.inode(InodeNr(nr.into())).ok()).flatten() else { continue };
        let Some(first) = volume.extents(&inode).flatten().next().map(|r| r.physical.get() * bs) else { continue };
        for to in [0, 1, 2, 3, 5, 6, u32::MAX] {
            let tree = le32(to).repeat(256);
            for block in 1..5 {
                let edits = vec![(first + block * 1024, tree.clone())];
                add(format!("quota {nr}: block {block} leads to {to} only"), edits, None);
            }
            add(format!("quota {nr}: all blocks lead to {to}"), vec![(first + 1024, tree.repeat(4))], None);
        }
    }
}

/// Logs that never end, or that write everywhere.
fn journal(volume: &Volume, add: &mut Add<'_>) {
    let bs = u64::from(volume.block_size());
    let Ok(inode) = volume.inode(InodeNr(8)) else { return };
    let Some(run) = volume.extents(&inode).flatten().next() else { return };
    let first = run.physical.get() * bs;
    let recover = (1024 + 0x60, le32(volume.super_block().s_feature_incompat.get() | 4));
    let be = |value: u32| value.to_be_bytes().to_vec();
    // From block 1, with transaction 1.
    let start = (first + 0x14, [be(1), be(1), be(1)].concat());
    add("journal: to be replayed, of nothing".into(), vec![recover.clone(), start.clone()], None);
    for kind in [1, 2, 5, 3, 4, 0, u32::MAX] {
        for rest in [0u32, 1, 8, 0xff, 0xffff, u32::MAX] {
            let mut edits = vec![recover.clone(), start.clone()];
            for block in 1..run.len.min(1024) {
                let sequence = if kind == 2 { block as u32 } else { 1 };
                let mut bytes = [be(MAGIC), be(kind), be(sequence)].concat();
                while bytes.len() < 400 {
                    bytes.extend(be(rest));
                }
                edits.push((first + block * bs, bytes));
            }
            add(format!("journal: all blocks of kind {kind}, filled with {rest:#x}"), edits, None);
        }
    }
    // Descriptor and commit by turns, over and over.
    let mut edits = vec![recover.clone(), start.clone()];
    for block in 1..run.len.min(1024) {
        let (kind, sequence) = ((block & 1 ^ 1) as u32 + 1, (block as u32).div_ceil(2));
        edits.push((first + block * bs, [be(MAGIC), be(kind), be(sequence), be(0), be(8), be(0)].concat()));
    }
    add("journal: transactions without end".into(), edits, None);
    for (len, from, begin) in
        [(u32::MAX, 1, 1), (1, 1, 1), (0, 0, 1), (1024, 1024, 1023), (1024, 1, u32::MAX), (2, 1, 1)]
    {
        let edits = vec![recover.clone(), (first + 0x10, [be(len), be(from), be(u32::MAX), be(begin)].concat())];
        add(format!("journal: {len} blocks from {from}, beginning at {begin}"), edits, None);
    }
    // Fast commits of more than there is.
    for count in [1, 2, 256, 1023, 1024, u32::MAX] {
        add(format!("journal: {count} blocks of fast commits"), vec![recover.clone(), (first + 0x54, be(count))], None);
    }
}
