//! What e2fsck 1.47 does not notice, or does not accept although it is right: a short list, each with its reason.

use daxkit_check::{Code, Finding, Severity};

/// A row: a name, and whether it explains that we find something where e2fsck finds nothing.
pub(crate) struct Omission {
    pub(crate) name: &'static str,
    explains: fn(&Finding) -> bool,
}

/// The rows.
pub(crate) const OMISSIONS: &[Omission] = &[
    Omission {
        name: "descriptors: what is wrong with them is said, and the exit status is 0",
        explains: |finding| {
            matches!(
                finding.code,
                Code::GroupChecksum | Code::GroupUninit | Code::GroupItableUnused | Code::GroupUninitLast
            )
        },
    },
    Omission {
        name: "the list of orphans, which is not looked at with -n",
        explains: |finding| finding.code == Code::OrphanList,
    },
    Omission { name: "the size of a file with inline data", explains: |finding| finding.code == Code::InlineSize },
    Omission {
        name: "the sums of free blocks and inodes in the superblock, which are written anew in silence",
        explains: |finding| matches!(finding.code, Code::SuperFreeBlocks | Code::SuperFreeInodes),
    },
    Omission {
        name: "a journal that is named without its feature",
        explains: |finding| finding.code == Code::JournalNoFeature,
    },
    Omission {
        name: "the depth of an extent tree with nothing in it",
        explains: |finding| finding.code == Code::ExtentHeader,
    },
    Omission {
        name: "features and numbers of the superblock: what is wrong with them is said, and the exit status is 0",
        explains: |finding| {
            matches!(
                finding.code,
                Code::SuperReservedGdt
                    | Code::SuperTwoChecksums
                    | Code::SuperSeedAlone
                    | Code::Super64BitAlone
                    | Code::SuperFuture
                    | Code::SuperQuotaInode
                    | Code::SuperResizeMetaBg
                    | Code::SuperRevision
            )
        },
    },
    Omission {
        name: "a journal whose size is beyond its map, taken for a negative number",
        explains: |finding| finding.code == Code::JournalInode,
    },
    Omission {
        name: "the resize inode, of whose blocks a quarter is looked at",
        explains: |finding| finding.code == Code::ResizeInode,
    },
    Omission {
        name: "a quota file that is named without the feature",
        explains: |finding| finding.code == Code::QuotaFeature,
    },
    Omission {
        name: "a name of an inode that holds an attribute's value (noticed since 1.47.1)",
        explains: |finding| finding.code == Code::EntryEaInode,
    },
    Omission {
        name: "a name that comes twice in two blocks of a directory without an index",
        explains: |finding| finding.code == Code::EntryDuplicate,
    },
];

/// The row that explains all findings, if one does.
pub(crate) fn explanation(findings: &[Finding]) -> Option<&'static str> {
    let errors = || findings.iter().filter(|f| f.code.severity() != Severity::Advice);
    let row = |finding: &Finding| OMISSIONS.iter().find(|row| (row.explains)(finding)).map(|row| row.name);
    let first = errors().find_map(row);
    first.filter(|_| errors().all(|finding| row(finding).is_some()))
}
