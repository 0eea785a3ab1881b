//! Tests of the journal's superblock: what `check` refuses, one line each, and what survives.

use super::super::block_tag::TagChecksum;
use super::*;

const MAKE: NewJournal = NewJournal {
    block_size: 4096,
    blocks: 1024,
    num_fc_blks: 0,
    uuid: [0x11; 16],
    external: false,
    compat: JournalCompat::empty(),
    incompat: JournalIncompat::empty(),
};

fn v3() -> JournalSuperBlock {
    JournalSuperBlock::new(&NewJournal {
        num_fc_blks: 16,
        incompat: JournalIncompat::CSUM_V3 | JournalIncompat::BIT64 | JournalIncompat::FAST_COMMIT,
        ..MAKE
    })
}

#[test]
fn a_new_journal_is_clean() {
    let j = JournalSuperBlock::new(&MAKE).check(4096, 1024).unwrap();
    assert!(j.is_empty());
    assert_eq!((j.version, j.first, j.last, j.sequence, j.errno), (2, 1, 1024, 1, 0));
    assert_eq!(j.fast_commit, None);
    assert_eq!((j.next(1), j.next(1022), j.next(1023), j.next(u32::MAX)), (2, 1023, 1, 1));

    let j = v3().check(4096, 1040).unwrap();
    assert_eq!((j.last, j.maxlen, j.fast_commit), (1024, 1040, Some(1025..1040)));
    assert_eq!(j.format, TagFormat { checksum: TagChecksum::V3, wide: true });
    assert_eq!(j.seed, crc32c(!0, &[0x11; 16]));
}

#[test]
fn version_1_has_no_features() {
    let mut sb = JournalSuperBlock::new_v1(1024, 4096);
    sb.s_feature_incompat = 0xffff_ffff.into();
    sb.s_uuid = [9; 16];
    let j = sb.check(1024, 4096).unwrap();
    assert_eq!((j.version, j.incompat, j.uuid), (1, JournalIncompat::empty(), [0; 16]));
}

type Row = (&'static str, fn(&mut JournalSuperBlock), JournalError);

#[test]
fn what_is_refused() {
    let rows: &[Row] = &[
        ("magic", |s| s.h_magic = 1.into(), JournalError::Magic { found: 1 }),
        ("type", |s| s.h_blocktype = 1.into(), JournalError::BlockType { found: 1, expected: "journal superblock" }),
        ("block size", |s| s.s_blocksize = 1024.into(), JournalError::BlockSize { found: 1024, expected: 4096 }),
        ("unknown incompat", |s| s.s_feature_incompat = 0x72.into(), JournalError::UnknownIncompat(0x40)),
        ("unknown ro compat", |s| s.s_feature_ro_compat = 1.into(), JournalError::UnknownRoCompat(1)),
        (
            "v2 and v3",
            |s| s.s_feature_incompat = 0x18.into(),
            JournalError::ChecksumFeatures { compat: 0, incompat: 0x18 },
        ),
        ("v1 and v3", |s| s.s_feature_compat = 1.into(), JournalError::ChecksumFeatures { compat: 1, incompat: 0x32 }),
        ("checksum type", |s| s.s_checksum_type = 1, JournalError::ChecksumType(1)),
        ("too long", |s| s.s_maxlen = 1041.into(), JournalError::TooLong { maxlen: 1041, available: 1040 }),
        (
            "log too short for its fast commits",
            |s| s.s_num_fc_blks = 17.into(),
            JournalError::FastCommitBlocks { fc_blocks: 17, maxlen: 1040 },
        ),
        (
            "default fast-commit area is too large here",
            |s| s.s_num_fc_blks = 0.into(),
            JournalError::FastCommitBlocks { fc_blocks: 256, maxlen: 1040 },
        ),
        (
            "huge fast-commit area",
            |s| s.s_num_fc_blks = u32::MAX.into(),
            JournalError::FastCommitBlocks { fc_blocks: u32::MAX, maxlen: 1040 },
        ),
        ("first 0", |s| s.s_first = 0.into(), JournalError::First { first: 0, last: 1024 }),
        ("first at the end", |s| s.s_first = 1024.into(), JournalError::First { first: 1024, last: 1024 }),
        ("ring too short", |s| s.s_first = 2.into(), JournalError::TooShort { blocks: 1022 }),
        (
            "start in the fast commits",
            |s| s.s_start = 1024.into(),
            JournalError::Start { start: 1024, first: 1, last: 1024 },
        ),
    ];
    for (name, break_it, expected) in rows {
        let mut sb = v3();
        break_it(&mut sb);
        sb.seal();
        assert_eq!(sb.check(4096, 1040), Err(*expected), "{name}");
    }
}

#[test]
fn a_bad_checksum_is_refused_and_the_seal_mends_it() {
    let mut sb = v3();
    sb.s_sequence = 5.into();
    assert!(matches!(sb.check(4096, 1040), Err(JournalError::Checksum { structure: "journal_superblock_s", .. })));
    sb.seal();
    assert_eq!(sb.check(4096, 1040).map(|j| j.sequence), Ok(5));
    // Without the feature the field is nobody's.
    let mut plain = JournalSuperBlock::new(&MAKE);
    plain.s_checksum = 7.into();
    plain.seal();
    assert_eq!(plain.s_checksum.get(), 7);
    assert_eq!(plain.verify(), Ok(()));
}

#[test]
fn an_external_journal_counts_its_users() {
    let mut sb = JournalSuperBlock::new(&NewJournal { external: true, ..MAKE });
    assert_eq!((sb.s_nr_users.get(), sb.s_first.get()), (0, 2));
    for n in 0..48 {
        assert!(sb.add_user([n; 16]));
    }
    assert!(!sb.add_user([48; 16]));
    assert_eq!(sb.users().map(|u| u[0]).collect::<Vec<_>>(), (0..48).collect::<Vec<_>>());
    sb.s_nr_users = u32::MAX.into();
    assert_eq!(sb.users().count(), 48);
    assert!(!sb.add_user([1; 16]));
}
