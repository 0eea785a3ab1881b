//! Tests of fast commits: what the builder makes reads back, what is broken ends where the kernel ends.

use super::*;
use proptest::prelude::*;

fn ranges(builder: &mut FcBuilder, count: u32) {
    for n in 0..count {
        let range = FcAddRange { fc_ino: n.into(), fc_ex: [0x5a; 12] };
        assert!(builder.push(TAG_ADD_RANGE, &[range.as_bytes()]));
    }
}

/// Two commits; the first fills more than two blocks.
fn two_commits() -> Vec<Vec<u8>> {
    let mut b = FcBuilder::new(1024, 7);
    ranges(&mut b, 120);
    b.commit();
    let del = FcDelRange { fc_ino: 1.into(), fc_lblk: 2.into(), fc_len: 3.into() };
    assert!(b.push(TAG_DEL_RANGE, &[del.as_bytes()]));
    let dentry = FcDentryInfo { fc_parent_ino: 2.into(), fc_ino: 12.into() };
    for tag in [TAG_CREAT, TAG_LINK, TAG_UNLINK] {
        assert!(b.push(tag, &[dentry.as_bytes(), b"name"]));
    }
    assert!(b.push(TAG_INODE, &[&12u32.to_le_bytes(), &[1; 160]]));
    b.commit();
    b.finish()
}

fn read(blocks: &[Vec<u8>], tid: u32) -> Result<Vec<FcTag<'_>>, FcError> {
    complete_tags(blocks.iter().map(Vec::as_slice), tid, 256)
}

#[test]
fn what_was_made_reads_back() {
    let blocks = two_commits();
    assert!(blocks.iter().all(|b| b.len() == 1024));
    let tags = read(&blocks, 7).unwrap();
    let count = |f: fn(&FcBody<'_>) -> bool| tags.iter().filter(|t| f(&t.body)).count();
    assert_eq!(count(|b| matches!(b, FcBody::Head(_))), 1);
    assert_eq!(count(|b| matches!(b, FcBody::AddRange(_))), 120);
    assert_eq!(count(|b| matches!(b, FcBody::Pad)), 2);
    assert_eq!(count(|b| matches!(b, FcBody::Tail(_))), 2);
    assert_eq!(count(|b| matches!(b, FcBody::Creat(d, b"name") if d.fc_ino.get() == 12)), 1);
    assert_eq!(count(|b| matches!(b, FcBody::Link(..) | FcBody::Unlink(..))), 2);
    assert_eq!(count(|b| matches!(b, FcBody::Inode(i, raw) if i.fc_ino.get() == 12 && raw.len() == 160)), 1);
    assert_eq!(count(|b| matches!(b, FcBody::DelRange(d) if d.fc_len.get() == 3)), 1);
    assert_eq!(blocks.len(), 4);
}

#[test]
fn only_the_expected_transaction_counts() {
    let blocks = two_commits();
    assert_eq!(read(&blocks, 8), Ok(vec![]));
    // An area that does not begin with a head has no fast commits.
    assert_eq!(read(&blocks[1..], 7), Ok(vec![]));
    assert_eq!(read(&[vec![0; 1024]], 7), Ok(vec![]));
    assert_eq!(read(&[], 7), Ok(vec![]));
}

#[test]
fn before_the_first_good_tail_damage_is_an_error_and_after_it_the_end() {
    let mut blocks = two_commits();
    let whole = read(&blocks, 7).unwrap().len();
    let first = whole - 6;
    blocks[3][4] ^= 1;
    assert_eq!(read(&blocks, 7).unwrap().len(), first);
    blocks[3][0] = 77;
    assert_eq!(read(&blocks, 7).unwrap().len(), first);
    blocks.truncate(3);
    assert_eq!(read(&blocks, 7).unwrap().len(), first);
    blocks[1][9] ^= 1;
    assert!(matches!(read(&blocks, 7), Err(FcError::Checksum { .. })));
    blocks[1][0] = 77;
    assert_eq!(read(&blocks, 7), Err(FcError::Tag { offset: 0, tag: 77, len: 16 }));
    // Features come first of all.
    blocks[0][4] = 1;
    assert_eq!(read(&blocks, 7), Err(FcError::Features(1)));
}

#[test]
fn a_stale_tail_is_not_ours() {
    let mut b = FcBuilder::new(1024, 7);
    b.commit();
    let mut blocks = b.finish();
    let mut stale = FcBuilder::new(1024, 6);
    ranges(&mut stale, 1);
    stale.commit();
    // Without its head, as a later block of an older transaction would lie there.
    let old = stale.finish().remove(0);
    let mut shifted = old[12..].to_vec();
    shifted.resize(1024, 0);
    blocks.push(shifted.clone());
    assert_eq!(read(&blocks, 7).unwrap().len(), 2);
    let mut head = vec![9, 0, 8, 0, 0, 0, 0, 0, 7, 0, 0, 0];
    head.extend(&old[12..]);
    assert_eq!(read(&[head], 7), Err(FcError::Transaction { found: 6, expected: 7 }));
}

#[test]
fn lengths_the_kernel_refuses() {
    let one = |tag: u16, len: u16| {
        let mut block = vec![0; 1024];
        block[..2].copy_from_slice(&tag.to_le_bytes());
        block[2..4].copy_from_slice(&len.to_le_bytes());
        tags(&block, 256).next().unwrap().is_ok()
    };
    for (tag, good, bad) in [
        (TAG_ADD_RANGE, &[16][..], &[0, 15, 17][..]),
        (TAG_DEL_RANGE, &[12], &[11, 13]),
        (TAG_CREAT, &[9, 263], &[0, 8, 264]),
        (TAG_LINK, &[9, 263], &[8, 264]),
        (TAG_UNLINK, &[9, 263], &[8, 264]),
        (TAG_INODE, &[132, 260], &[0, 131, 261]),
        (TAG_PAD, &[0, 1020], &[1021, 65535]),
        (TAG_TAIL, &[8, 1020], &[7, 1021]),
        (TAG_HEAD, &[8], &[7, 9]),
        (0, &[], &[0, 8]),
        (10, &[], &[8]),
    ] {
        good.iter().for_each(|len| assert!(one(tag, *len), "{tag} {len}"));
        bad.iter().for_each(|len| assert!(!one(tag, *len), "{tag} {len}"));
    }
}

#[test]
fn what_no_block_holds_is_refused() {
    let mut b = FcBuilder::new(1024, 1);
    assert!(b.push(TAG_PAD, &[&[0; 1016]]));
    assert!(!b.push(TAG_PAD, &[&[0; 1017]]));
}

proptest! {
    #[test]
    fn any_bytes_end(block in proptest::collection::vec(any::<u8>(), 0..3000), small in proptest::collection::vec(0u8..12, 0..600)) {
        for bytes in [&block, &small] {
            prop_assert!(tags(bytes, 256).count() <= bytes.len() / 4 + 1);
            let _ = complete_tags([bytes.as_slice(), bytes], 7, 256);
        }
    }

    #[test]
    fn a_flipped_bit_is_never_taken_for_good(at in 0usize..3072, bit in 0u8..8) {
        let mut blocks = two_commits();
        let good: Vec<Vec<u8>> = read(&blocks, 7).unwrap().iter().map(|t| t.bytes.to_vec()).collect();
        blocks[at / 1024][at % 1024] ^= 1 << bit;
        // Either it lies behind a tail, where nobody looks, or in the first commit, and then nothing is taken.
        if let Ok(tags) = read(&blocks, 7) {
            let same = tags.iter().zip(&good).all(|(t, g)| t.bytes == g || matches!(t.body, FcBody::Tail(_)));
            prop_assert!(tags.is_empty() || (same && tags.len() == good.len()));
        }
    }
}
