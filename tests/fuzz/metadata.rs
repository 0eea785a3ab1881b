//! Targets for ext4's metadata. The first bytes choose what a reader knows from elsewhere; the rest is the block.

use daxkit_format::OnDisk;
use daxkit_format::ext4::features::Features;
use daxkit_format::ext4::group_desc::{self, GroupDesc};
use daxkit_format::ext4::inode::{self, Inode};
use daxkit_format::ext4::mmp::MmpStruct;
use daxkit_format::ext4::xattr::{self, Attribute, Attributes, XattrError};
use daxkit_format::ext4::{dir_entry, dx, encryption, extent, inline_data, orphan, super_block, verity};

use super::input::Input;

pub(crate) fn super_block(data: &[u8]) {
    let Some(mut sb) = super_block::parse(data) else { return };
    let _ = (sb.block_size(), sb.cluster_ratio(), sb.groups_count(), sb.desc_size(), sb.inode_size(), sb.first_ino());
    let _ = (sb.blocks_count(), sb.free_blocks_count(), sb.r_blocks_count(), sb.checksum_seed(), sb.hash_seed());
    let features = Features::of(&sb);
    for feature in features.iter() {
        assert!(features.has(feature), "{} is listed and not there", feature.name());
    }
    let copies = (0..1000).filter(|group| sb.group_has_super(*group)).count();
    assert!(copies <= 1000);
    sb.seal();
    assert!(sb.verify() || !sb.has_metadata_csum(), "a sealed superblock is not verified");
}

pub(crate) fn group_desc(data: &[u8]) {
    let mut input = Input(data);
    let (group, seed, bits) = (input.u32(), input.u32(), input.u32());
    let rest = input.0;
    let _ = group_desc::checksum_with_seed(seed, group, rest);
    let _ = group_desc::bitmap_checksum(seed, rest, bits);
    if let Some(sb) = super_block::parse(rest) {
        let _ = group_desc::checksum(&sb, group, rest);
    }
    let Some(mut desc) = GroupDesc::from_disk(rest) else { return };
    let bitmap = desc.inode_bitmap();
    desc.set_inode_bitmap(bitmap);
    assert_eq!(desc.inode_bitmap(), bitmap);
    let _ = (desc.flags(), desc.itable_unused(), desc.free_blocks_count(), desc.block_bitmap_csum());
}

pub(crate) fn inode(data: &[u8]) {
    let mut input = Input(data);
    let (seed, nr, size) = (input.u32(), input.u32(), input.u16());
    let rest = input.0.get(..usize::from(size)).unwrap_or(input.0);
    let _ = (inode::verify(seed, nr, rest), inode::checksum_has_high(rest));
    let mut sealed = rest.to_vec();
    inode::seal(seed, nr, &mut sealed);
    if rest.len() >= 128 {
        assert!(inode::verify(seed, nr, &sealed), "a sealed inode is not verified");
    }
    let Some(mut disk) = Inode::from_disk(rest) else { return };
    let (size, device) = (disk.size(), disk.device());
    disk.set_size(size);
    assert_eq!(disk.size(), size);
    let _ = (disk.atime(), disk.ctime(), disk.mtime(), disk.crtime(), device, disk.flags(), disk.file_acl());
    let (low, extra) = disk.mtime().encode(disk.has_until(160));
    let _ = (low, extra, disk.blocks_stored(), disk.uid(), disk.gid(), disk.file_type());
}

pub(crate) fn extent_node(data: &[u8]) {
    let mut input = Input(data);
    let (promised, seed) = (input.u8(), input.u32());
    let depth = (promised != 0xff).then_some(u16::from(promised));
    let block = input.0;
    let mut sealed = block.to_vec();
    extent::seal_block(seed, &mut sealed);
    let verified = extent::verify_block(seed, &sealed);
    let Ok(node) = extent::Node::parse(block, depth) else { return };
    // The root lies in an inode and has no tail.
    let has_tail = extent::tail_offset(node.header().eh_max.get()) + 4 <= block.len();
    assert_eq!(verified, has_tail, "a sealed extent block is verified");
    assert_eq!(depth.unwrap_or(node.depth()), node.depth());
    let room = block.len() / 12;
    assert!(node.extents().len() < room && node.indexes().len() < room);
    for e in node.extents() {
        let again = extent::Extent::new(e.ee_block.get(), e.start(), e.len(), e.is_written());
        assert_eq!((again.start(), again.len()), (e.start(), e.len()));
    }
    for index in node.indexes() {
        let _ = index.leaf();
    }
}

pub(crate) fn dir_block(data: &[u8]) {
    let mut input = Input(data);
    let block_size = input.pick(&[1024, 4096, 65536]);
    let has_file_type = input.u8() & 1 != 0;
    let block = input.0;
    let mut next = 0;
    for entry in dir_entry::Entries::new(block, block_size, has_file_type) {
        let Ok(entry) = entry else { break };
        assert_eq!(entry.offset, next, "entries lie one behind the other");
        assert!(entry.rec_len >= 8 && entry.name.len() + 8 <= entry.rec_len as usize);
        next += entry.rec_len as usize;
        assert!(next <= block.len());
    }
    let seed = input.u32();
    let mut sealed = block.to_vec();
    dir_entry::seal_block(seed, &mut sealed);
    let _ = (dir_entry::tail(&sealed), dir_entry::verify_block(seed, block));
}

pub(crate) fn htree_block(data: &[u8]) {
    let mut input = Input(data);
    let (tail, seed) = (input.u8() & 1 != 0, input.u32());
    let block = input.0;
    for parsed in [dx::DxBlock::parse_root(block, tail), dx::DxBlock::parse_node(block, tail)] {
        let Ok(node) = parsed else { continue };
        assert!(node.offset + usize::from(node.limit) * 8 <= block.len());
        assert_eq!(node.iter().count(), node.entries.len());
        assert_eq!(node.iter().next().map(|(hash, _)| hash), Some(0));
    }
    if let Some(offset) = dx::entries_offset(block) {
        let mut sealed = block.to_vec();
        dx::seal_block(seed, &mut sealed, offset);
        let _ = (dx::verify_block(seed, &sealed, offset), dx::block_checksum(seed, block, offset));
    }
}

/// Goes over a list of attributes; their names and values lie inside the area.
fn attributes<'a>(list: impl Iterator<Item = Result<Attribute<'a>, XattrError>>, area: &[u8]) {
    let mut count = 0;
    for attribute in list {
        let Ok(a) = attribute else { break };
        count += 1;
        assert!(a.offset + 16 + a.name.len() <= area.len() && a.value.len() <= area.len());
        let _ = xattr::entry_hash(a.name, xattr::value_words(a.value));
        let _ = xattr::entry_hash_signed(a.name, xattr::value_words(a.value));
        if let Some(prefix) = xattr::prefix(a.index) {
            let full = [prefix.as_bytes(), a.name].concat();
            let _ = xattr::split_name(&full);
        }
    }
    assert!(count <= area.len() / 16);
}

pub(crate) fn xattr_block(data: &[u8]) {
    let mut input = Input(data);
    let (seed, nr) = (input.u32(), input.u64());
    let block = input.0;
    attributes(Attributes::in_block(block), block);
    let mut sealed = block.to_vec();
    xattr::seal_block(seed, nr, &mut sealed);
    if block.len() >= 32 {
        assert!(xattr::verify_block(seed, nr, &sealed), "a sealed attribute block is not verified");
    }
}

pub(crate) fn xattr_inode(data: &[u8]) {
    if let Some(list) = Attributes::in_inode(data) {
        attributes(list, data);
    }
}

/// Structures that stand at the end of a block, or alone.
pub(crate) fn tails(data: &[u8]) {
    let mut input = Input(data);
    let (seed, nr, inode_size, extra) = (input.u32(), input.u64(), input.u16(), input.u16());
    let block = input.0;
    let mut sealed = block.to_vec();
    orphan::seal_block(Some(seed), nr, &mut sealed);
    assert_eq!(orphan::tail(block).is_some(), orphan::verify_block(seed, nr, &sealed));
    if let Some(mmp) = MmpStruct::peek(block) {
        let mut mmp = *mmp;
        mmp.seal(seed);
        assert!(mmp.verify(seed));
    }
    let _ = (encryption::is_context(block), verity::metadata_offset(nr));
    assert!(inline_data::capacity(inode_size, extra) <= 60 + usize::from(inode_size));
}
