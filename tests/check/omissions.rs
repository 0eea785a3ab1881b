//! What e2fsck 1.47 does not notice, or does not accept although it is right: a short list, each with its reason.

use daxkit_check::{Code, Finding, Severity};

/// The rows: a name, and the findings of ours of which e2fsck says nothing, or says it with exit status 0.
const OMISSIONS: &[(&str, &[Code])] = &[
    (
        "descriptors: what is wrong with them is said, and the exit status is 0",
        &[Code::GroupChecksum, Code::GroupUninit, Code::GroupItableUnused, Code::GroupUninitLast],
    ),
    ("the list of orphans, which is not looked at with -n", &[Code::OrphanList]),
    ("the size of a file with inline data", &[Code::InlineSize]),
    (
        "the sums of free blocks and inodes in the superblock, which are written anew in silence",
        &[Code::SuperFreeBlocks, Code::SuperFreeInodes],
    ),
    ("a journal that is named without its feature", &[Code::JournalNoFeature]),
    ("the depth of an extent tree with nothing in it", &[Code::ExtentHeader]),
    (
        "features and numbers of the superblock: what is wrong with them is said, and the exit status is 0",
        &[
            Code::SuperReservedGdt,
            Code::SuperTwoChecksums,
            Code::SuperSeedAlone,
            Code::Super64BitAlone,
            Code::SuperFuture,
            Code::SuperQuotaInode,
            Code::SuperResizeMetaBg,
            Code::SuperRevision,
        ],
    ),
    ("a journal whose size is beyond its map, taken for a negative number", &[Code::JournalInode]),
    ("the resize inode, of whose blocks a quarter is looked at", &[Code::ResizeInode]),
    ("a quota file whose last block is cut, of which it reads what there is", &[Code::QuotaCut]),
    ("a quota file that is named without the feature", &[Code::QuotaFeature]),
    ("a name of an inode that holds an attribute's value (noticed since 1.47.1)", &[Code::EntryEaInode]),
    ("a name that comes twice in two blocks of a directory, where no index contradicts", &[Code::EntryDuplicate]),
];

/// The row that explains all findings, if one does.
pub(crate) fn explanation(findings: &[Finding]) -> Option<&'static str> {
    let row = |code: Code| OMISSIONS.iter().find(|(_, codes)| codes.contains(&code)).map(|(name, _)| *name);
    let mut errors = findings.iter().filter(|finding| finding.code.severity() != Severity::Advice);
    let first = row(errors.next()?.code)?;
    errors.all(|finding| row(finding.code).is_some()).then_some(first)
}
