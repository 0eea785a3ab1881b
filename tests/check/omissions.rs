//! What e2fsck 1.47 does not notice, or does not accept although it is right: a short list, each with its reason and a recipe for an image that
//! shows it.

use crate::bases::{self, Base};
use crate::by_hand::{image, image_with_a_value, scripted};
use crate::fixtures::broken;
use crate::verdict::{ours, theirs, write};
use daxkit_check::{Code, Finding, Severity};
use std::collections::BTreeSet;

/// A kind of finding of which e2fsck says nothing, or says it with exit status 0.
struct Row {
    name: &'static str,
    /// What the findings of the row say, where not all of their code are meant.
    says: &'static str,
    /// The codes, and what shows each.
    codes: &'static [(Code, Recipe)],
}

/// How an image is made that e2fsck finds clean: what it is made from, what is changed in it (`PLACE=HEX`), and all errors that we find.
struct Recipe(From, &'static [&'static str], &'static [&'static str]);

enum From {
    /// One of the images that are broken at random.
    Base(&'static str),
    /// An image by mke2fs: arguments, size, and a script for debugfs.
    Made(&'static str, &'static str, &'static str),
    /// A directory of several blocks without an index.
    Names,
    /// An image in which a name leads to the value of an attribute.
    NamedValue,
}

const EXT4: From = From::Base("mke2fs -t ext4 -b 1024 -N 160");
const EXT2: From = From::Base("mke2fs -t ext2 -b 1024 -N 160");
const NO_JOURNAL: From = From::Base("mke2fs -t ext4 -b 4096 -N 160 -O ^has_journal");
const META_BG: From = From::Base("mke2fs -t ext4 -b 1024 -N 256 -g 256 -O meta_bg,^resize_inode,^has_journal");
const INLINE: From = From::Base("mke2fs -t ext4 -b 1024 -N 160 -O inline_data,^has_journal");
const QUOTA: From =
    From::Base("mke2fs -t ext4 -b 1024 -N 160 -O quota,project,^has_journal -E quotatype=usrquota:grpquota:prjquota");

/// The rows.
const OMISSIONS: &[Row] = &[
    Row {
        name: "descriptors: what is wrong with them is said, and the exit status is 0",
        says: "",
        codes: &[
            (Code::GroupChecksum, Recipe(NO_JOURNAL, &["group.0.bg_checksum=1a00!"], &["GDT004 group.0.bg_checksum"])),
            (Code::GroupUninit, Recipe(EXT2, &["group.0.bg_itable_unused_lo=1300"], &["GDT005 group.0.bg_flags"])),
            (
                Code::GroupItableUnused,
                Recipe(META_BG, &["group.3.bg_itable_unused_lo=ffff"], &["GDT006 group.3.bg_itable_unused"]),
            ),
            (
                Code::GroupUninitLast,
                Recipe(
                    // No bit lies behind the end of the last group, or it would be missed.
                    From::Made("-t ext4 -b 1024 -N 256 -g 256 -O meta_bg,^resize_inode,^has_journal", "1025", ""),
                    &["group.3.bg_flags=0300"],
                    &["GDT007 group.3.bg_flags"],
                ),
            ),
        ],
    },
    Row {
        name: "the list of orphans, which is not looked at with -n",
        says: "",
        codes: &[(Code::OrphanList, Recipe(EXT4, &["super.s_last_orphan=00000040"], &["ORP001 super.s_last_orphan"]))],
    },
    Row {
        name: "the size of a file with inline data",
        says: "",
        codes: &[(Code::InlineSize, Recipe(INLINE, &["inode:48.i_size_lo=00002000"], &["INO039 inode:48.i_size_lo"]))],
    },
    Row {
        name: "the sums of free blocks and inodes in the superblock, which are written anew in silence",
        says: "",
        codes: &[
            (
                Code::SuperFreeBlocks,
                Recipe(
                    NO_JOURNAL,
                    &["super.s_free_blocks_count_lo=00000000"],
                    &["SUP020 super.s_free_blocks_count_lo"],
                ),
            ),
            (
                Code::SuperFreeInodes,
                Recipe(NO_JOURNAL, &["super.s_free_inodes_count=05000000"], &["SUP021 super.s_free_inodes_count"]),
            ),
        ],
    },
    Row {
        name: "a journal that is named without its feature: it is said, and the exit status is 0",
        says: "",
        codes: &[(
            Code::JournalNoFeature,
            Recipe(EXT4, &["super.s_feature_compat=38000000"], &["JNL004 super.s_journal_inum"]),
        )],
    },
    Row {
        name: "the depth of an extent tree with nothing in it: it is said, and the exit status is 0",
        says: "",
        codes: &[(Code::ExtentHeader, Recipe(EXT4, &["inode:13.i_block+0x6=0600"], &["EXT001 inode:13/block:0"]))],
    },
    Row {
        name: "times that lie before 1970, or too far ahead: it is said, and the exit status is 0",
        says: "",
        codes: &[(
            Code::InodeTime,
            Recipe(EXT4, &["inode:16.i_atime=000000f0", "inode:16.i_atime_extra=03000000"], &["INO030 inode:16"]),
        )],
    },
    Row {
        name: "features and numbers of the superblock: what is wrong with them is said, and the exit status is 0",
        says: "",
        codes: &[
            (
                Code::SuperReservedGdt,
                Recipe(META_BG, &["super.s_reserved_gdt_blocks=0100"], &["SUP008 super.s_reserved_gdt_blocks"]),
            ),
            (
                Code::SuperTwoChecksums,
                Recipe(NO_JOURNAL, &["super.s_feature_ro_compat=7b040000"], &["SUP010 super.s_feature_ro_compat"]),
            ),
            (
                Code::SuperSeedAlone,
                Recipe(EXT2, &["super.s_feature_incompat=02200000"], &["SUP011 super.s_feature_incompat"]),
            ),
            (
                Code::Super64BitAlone,
                Recipe(
                    EXT2,
                    &["super.s_desc_size=4000", "super.s_feature_incompat=82000000"],
                    &["SUP012 super.s_feature_incompat"],
                ),
            ),
            (Code::SuperFuture, Recipe(EXT4, &["super.s_mtime=ffffffff"], &["SUP017 super.s_mtime"])),
            (
                Code::SuperQuotaInode,
                Recipe(EXT2, &["super.s_usr_quota_inum=0a000000"], &["SUP022 super.s_usr_quota_inum"]),
            ),
            (
                Code::SuperResizeMetaBg,
                Recipe(NO_JOURNAL, &["super.s_feature_incompat=d2020000"], &["SUP009 super.s_feature_compat"]),
            ),
            (
                Code::SuperRevision,
                Recipe(
                    From::Made("-t ext2 -b 1024 -N 64 -I 128", "1M", ""),
                    &["super.s_rev_level=00000000"],
                    &["SUP007 super.s_rev_level"],
                ),
            ),
        ],
    },
    Row {
        name: "a journal whose size is beyond its map, taken for a negative number",
        says: "",
        codes: &[(Code::JournalInode, Recipe(EXT4, &["inode:8.i_size_high=01000000"], &["JNL001 journal"]))],
    },
    Row {
        name: "the resize inode, of whose blocks a quarter is looked at",
        says: "",
        codes: &[(
            Code::ResizeInode,
            Recipe(EXT4, &["block:90+0x18=07000000", "block:90+0x1c=06000000"], &["INO035 inode:7"]),
        )],
    },
    Row {
        name: "a quota file whose last block is cut, of which it reads what there is",
        says: "",
        codes: &[(Code::QuotaCut, Recipe(QUOTA, &["inode:12.i_size_lo=ff170000"], &["QTA004 inode:12.i_size_lo"]))],
    },
    Row {
        name: "a quota file with the magic number of none, which it takes for one that is not there",
        says: "and version 1)",
        codes: &[(Code::QuotaFile, Recipe(QUOTA, &["inode:3/block:0+0x0=05000000"], &["QTA001 quota.user:0"]))],
    },
    Row {
        name: "a name of an inode that holds an attribute's value (noticed since 1.47.1)",
        says: "",
        codes: &[(Code::EntryEaInode, Recipe(From::NamedValue, &[], &["DIR019 inode:2/block:0+0x38"]))],
    },
    Row {
        name: "a name that comes twice in two blocks of a directory, where no index contradicts",
        says: "",
        codes: &[(
            Code::EntryDuplicate,
            Recipe(From::Names, &["inode:12/block:1+0x1e=3035"], &["DIR013 inode:12/block:1+0x0"]),
        )],
    },
];

/// The row that explains all findings, if one does.
pub(crate) fn explanation(findings: &[Finding]) -> Option<&'static str> {
    let row = |finding: &Finding| {
        let explains = |row: &&Row| {
            row.codes.iter().any(|(code, _)| *code == finding.code) && finding.to_string().contains(row.says)
        };
        OMISSIONS.iter().find(explains).map(|row| row.name)
    };
    let mut errors = findings.iter().filter(|finding| finding.code.severity() != Severity::Advice);
    let first = row(errors.next()?)?;
    errors.all(|finding| row(finding).is_some()).then_some(first)
}

fn made(from: &From, bases: &[Base]) -> Vec<u8> {
    match from {
        From::Base(name) => bases.iter().find(|base| base.name == *name).expect(name).bytes.clone(),
        From::Made(args, size, script) => image(&args.split(' ').collect::<Vec<_>>(), size, script),
        From::Names => {
            let names: String = (0..40).map(|nr| format!("mkdir /d/a-name-of-some-length-{nr:02}\n")).collect();
            image(&["-t", "ext2", "-b", "1024", "-N", "64", "-O", "^dir_index"], "1M", &format!("mkdir /d\n{names}"))
        }
        From::NamedValue => {
            let (bytes, value) = image_with_a_value();
            scripted(&bytes, &format!("ln <{value}> /v\n"))
        }
    }
}

#[test]
fn every_row_has_an_image_that_shows_it() {
    let scratch = bases::scratch();
    let bases = bases::make(scratch.path());
    let file = scratch.path().join("image");
    let (mut wrong, mut all) = (Vec::new(), BTreeSet::new());
    for row in OMISSIONS {
        assert!(!row.codes.is_empty(), "nothing shows {:?}", row.name);
        for (code, Recipe(from, changes, expected)) in row.codes {
            assert!(all.insert(*code), "{} is in two rows", code.id());
            let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
            let base = Base { name: row.name.to_owned(), bytes: made(from, &bases) };
            let bytes = broken(&base, &changes);
            write(&file, &bytes);
            let (status, said) = theirs(&file, "-fn");
            let findings = ours(&bytes).findings;
            let errors: Vec<String> = findings
                .iter()
                .filter(|finding| finding.code.severity() != Severity::Advice)
                .map(|finding| format!("{} {}", finding.code.id(), finding.at))
                .collect();
            if status != 0
                || errors != *expected
                || !findings.iter().any(|finding| finding.code == *code)
                || explanation(&findings) != Some(row.name)
            {
                wrong.push(format!("{}: {}: we find {errors:?}, e2fsck {status}:\n{said}", code.id(), row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
