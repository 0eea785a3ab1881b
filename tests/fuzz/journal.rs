//! Targets for jbd2's blocks and ext4's fast commits.

use daxkit_format::OnDisk;
use daxkit_format::jbd2::fast_commit as fc;
use daxkit_format::jbd2::{
    BlockTail, CommitHeader, DescriptorBuilder, JournalHeader, JournalSuperBlock, RevokeBuilder, TagChecksum, TagFlags,
    TagFormat, commit_block, descriptor_block, revoke_block,
};

use super::input::Input;

fn format(input: &mut Input<'_>) -> TagFormat {
    let checksum = input.pick(&[TagChecksum::None, TagChecksum::V2, TagChecksum::V3]);
    TagFormat { checksum, wide: input.u8() & 1 != 0 }
}

pub(crate) fn jbd2_super_block(data: &[u8]) {
    let mut input = Input(data);
    let (block_size, available) = (input.pick(&[1024, 2048, 4096, 65536]), input.u64());
    let Some(sb) = JournalSuperBlock::peek(input.0) else { return };
    let mut sealed = *sb;
    sealed.seal();
    for sb in [sb, &sealed] {
        let _ = (sb.is_v1(), sb.errno(), sb.num_fc_blks(), sb.users().count(), sb.compat(), sb.incompat().names());
        let Ok(journal) = sb.check(block_size, available) else { continue };
        assert!(journal.first < journal.last && journal.last <= journal.maxlen);
        assert!(u64::from(journal.maxlen) <= available);
        for block in [journal.first, journal.last - 1, journal.start] {
            let next = journal.next(block);
            assert!((journal.first..journal.last).contains(&next), "{block} is followed by {next}");
        }
    }
}

pub(crate) fn jbd2_descriptor(data: &[u8]) {
    let mut input = Input(data);
    let (format, seed, sequence) = (format(&mut input), input.u32(), input.u32());
    let block = input.0;
    let _ = (JournalHeader::of(block), BlockTail::verify(block, seed));
    let tags: Vec<_> = descriptor_block::tags(block, format).collect();
    assert!(tags.len() <= block.len() / 8);
    let mut builder = DescriptorBuilder::new(4096, format, seed, sequence);
    let mut kept = Vec::new();
    for tag in &tags {
        let mut logged = block.to_vec();
        let _ = tag.verify(format, seed, sequence, &logged);
        tag.unescape(&mut logged);
        if builder.push(tag.block, block, tag.flags.contains(TagFlags::ESCAPE)) {
            kept.push(tag.block);
        }
    }
    if !kept.is_empty() {
        let built = builder.finish();
        assert!(descriptor_block::tags(&built, format).map(|tag| tag.block).eq(kept), "tags read as they were written");
    }
}

pub(crate) fn jbd2_revoke(data: &[u8]) {
    let mut input = Input(data);
    let (format, seed) = (format(&mut input), input.u32());
    let Ok((sequence, records)) = revoke_block::records(input.0, format) else { return };
    let mut builder = RevokeBuilder::new(4096, format, seed, sequence);
    let kept: Vec<u64> = records.filter(|record| builder.push(*record)).collect();
    let built = builder.finish();
    let (again, records) = revoke_block::records(&built, format).expect("what was built is read");
    assert_eq!(again, sequence);
    assert!(records.eq(kept), "records read as they were written");
}

pub(crate) fn jbd2_commit(data: &[u8]) {
    let mut input = Input(data);
    let (seed, computed, seen) = (input.u32(), input.u32(), input.u8() & 1 != 0);
    let block = input.0;
    let _ = (commit_block::sequence(block), commit_block::verify_v1(block, computed, seen));
    let _ = (commit_block::verify(block, seed), commit_block::verify_partial(block, seed));
    let mut sealed = block.to_vec();
    commit_block::seal(&mut sealed, seed);
    if block.len() >= size_of::<CommitHeader>() {
        assert!(commit_block::verify(&sealed, seed).is_ok(), "a sealed commit block is not verified");
    }
}

pub(crate) fn fast_commit(data: &[u8]) {
    let mut input = Input(data);
    let (tid, inode_size) = (input.u32(), input.pick(&[128, 256, 1024]));
    let block_size = input.pick(&[1024, 4096]);
    let area = input.0;
    for block in area.chunks(block_size) {
        let mut next = 0;
        for tag in fc::tags(block, inode_size) {
            let Ok(tag) = tag else { break };
            assert_eq!(tag.offset, next, "tags lie one behind the other");
            next += tag.bytes.len();
            assert!(next <= block.len());
        }
    }
    if let Ok(tags) = fc::complete_tags(area.chunks(block_size), tid, inode_size) {
        assert!(tags.len() <= area.len() / 4);
    }
}
