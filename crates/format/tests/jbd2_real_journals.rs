//! Journals written by others: three by a Linux kernel (6.18, kept as files: a version 1 checksum with revokes and an
//! escaped block, version 3 with an escaped block, and fast commits), the rest made by mke2fs and debugfs during the test.

use daxkit_format::OnDisk;
use daxkit_format::jbd2::fast_commit::{self, FcBody};
use daxkit_format::jbd2::{
    BlockTail, BlockType, DescriptorBuilder, Journal, JournalHeader, JournalIncompat, JournalSuperBlock, NewJournal,
    RevokeBuilder, TagFlags, commit_block, crc32_be, default_fast_commit_blocks, descriptor_block, revoke_block,
};
use std::path::{Path, PathBuf};
use std::process::Command;
use zerocopy::IntoBytes;

fn data(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

/// Block of the file system, block of the log, escaped.
type Logged = (u64, u32, bool);

/// What one pass over a log found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Log {
    /// Per transaction.
    data: Vec<(u32, Vec<Logged>)>,
    revoked: Vec<(u32, u64)>,
    blocks: u32,
}

/// Reads a log from its start to its end, verifying every checksum there is.
fn walk(bytes: &[u8], journal: &Journal) -> Log {
    let size = journal.block_size as usize;
    let block = |n: u32| bytes.get(n as usize * size..(n as usize + 1) * size);
    let mut log = Log::default();
    let (mut at, mut sequence) = (journal.start, journal.sequence);
    let (mut crc, mut tags) = (!0, Vec::new());
    while let Some(b) = block(at) {
        let Some((kind, seq)) = JournalHeader::of(b) else {
            break;
        };
        assert_eq!(seq, sequence);
        let tail = journal.format.tail_bytes() != 0;
        match kind {
            BlockType::Descriptor => {
                assert!(!tail || BlockTail::verify(b, journal.seed).is_ok());
                crc = crc32_be(crc, b);
                for tag in descriptor_block::tags(b, journal.format) {
                    at = journal.next(at);
                    let d = block(at).unwrap();
                    assert!(tag.verify(journal.format, journal.seed, sequence, d));
                    crc = crc32_be(crc, d);
                    tags.push((tag.block, at, tag.flags.contains(TagFlags::ESCAPE)));
                }
            }
            BlockType::Revoke => {
                assert!(!tail || BlockTail::verify(b, journal.seed).is_ok());
                let (_, records) = revoke_block::records(b, journal.format).unwrap();
                log.revoked.extend(records.map(|r| (sequence, r)));
            }
            BlockType::Commit => {
                if tail {
                    commit_block::verify(b, journal.seed).unwrap();
                    commit_block::verify_partial(b, journal.seed).unwrap();
                } else if !journal.compat.is_empty() {
                    commit_block::verify_v1(b, crc, true).unwrap();
                }
                log.data.push((sequence, std::mem::take(&mut tags)));
                sequence += 1;
                crc = !0;
            }
            other => panic!("{other:?} inside the log"),
        }
        at = journal.next(at);
        log.blocks += 1;
    }
    log
}

fn journal_of(bytes: &[u8], available: u64) -> Journal {
    let sb = JournalSuperBlock::peek(bytes).unwrap();
    sb.check(sb.s_blocksize.get(), available).unwrap()
}

#[test]
fn a_kernels_version_1_checksum() {
    let bytes = data("kernel-journal-v1.bin");
    let journal = journal_of(&bytes, 1024);
    let log = walk(&bytes, &journal);
    assert_eq!(log.data.iter().map(|(t, d)| (*t, d.len())).collect::<Vec<_>>(), [(2, 6), (3, 6), (4, 9)]);
    assert!(!log.revoked.is_empty() && log.revoked.iter().all(|(t, _)| *t == 4));
    // One byte of a data block away, the commit block notices.
    let mut broken = bytes.clone();
    broken[3 * 1024] ^= 1;
    assert!(std::panic::catch_unwind(|| walk(&broken, &journal)).is_err());
}

#[test]
fn a_kernels_version_3_checksum_and_escaped_block() {
    let bytes = data("kernel-journal-v3.bin");
    let journal = journal_of(&bytes, 1024);
    assert_eq!(journal.incompat, JournalIncompat::CSUM_V3 | JournalIncompat::BIT64);
    let log = walk(&bytes, &journal);
    assert_eq!(log.data.iter().map(|(t, d)| (*t, d.len())).collect::<Vec<_>>(), [(2, 8)]);
    let escaped: Vec<_> = log.data.iter().flat_map(|(_, d)| d).filter(|(_, _, e)| *e).collect();
    assert_eq!(escaped.len(), 1);
    let at = escaped[0].1 as usize * 1024;
    let mut block = bytes[at..at + 1024].to_vec();
    assert_eq!(block[..8], [0, 0, 0, 0, 0xC0, 0x3B, 0x39, 0x98]);
    let tag = descriptor_block::tags(&bytes[1024..2048], journal.format).find(|t| t.flags.contains(TagFlags::ESCAPE));
    tag.unwrap().unescape(&mut block);
    assert_eq!(block[..4], [0xC0, 0x3B, 0x39, 0x98]);

    // The same descriptor block comes out of the builder.
    let mut b = DescriptorBuilder::new(1024, journal.format, journal.seed, 2);
    for (block, at, escaped) in &log.data[0].1 {
        let at = *at as usize * 1024;
        assert!(b.push(*block, &bytes[at..at + 1024], *escaped));
    }
    assert_eq!(b.finish(), bytes[1024..2048]);
    // And so does the commit block.
    let stored = &bytes[10 * 1024..];
    let head = daxkit_format::jbd2::CommitHeader::peek(stored).unwrap();
    let made = commit_block::build(1024, 2, head.h_commit_sec.get(), head.h_commit_nsec.get(), Some(journal.seed));
    assert_eq!(made, stored);
}

#[test]
fn a_kernels_fast_commits() {
    let bytes = data("kernel-fast-commit.bin");
    let tags = fast_commit::complete_tags(bytes.chunks(1024), 3, 256).unwrap();
    let kinds: String = tags
        .iter()
        .map(|t| match t.body {
            FcBody::Head(_) => 'H',
            FcBody::AddRange(_) => 'A',
            FcBody::DelRange(_) => 'D',
            FcBody::Creat(_, name) => {
                assert_eq!(name, b"newfile_b");
                'C'
            }
            FcBody::Link(_, name) => {
                assert_eq!(name, b"c");
                'L'
            }
            FcBody::Unlink(_, name) => {
                assert_eq!(name, b"c");
                'U'
            }
            FcBody::Inode(..) => 'I',
            FcBody::Pad => 'P',
            FcBody::Tail(_) => 'T',
        })
        .collect();
    assert_eq!(kinds, "HAITIACITLITUIT");
    assert_eq!(fast_commit::complete_tags(bytes.chunks(1024), 4, 256), Ok(vec![]));
}

/// A directory of this test's own; what a previous run left there is overwritten.
fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("jbd2").join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Runs an oracle; a machine without it fails the test.
fn oracle(program: &str, args: &[&str], dir: &Path) {
    let run = Command::new(program).args(args).current_dir(dir).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").output();
    let out = run.unwrap_or_else(|e| panic!("oracle {program} is missing (package e2fsprogs): {e}"));
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

const UUID: &str = "11111111-2222-3333-4444-555555555555";
const UUID_BYTES: [u8; 16] =
    [0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55];

fn image(dir: &Path, mib: u64, args: &[&str]) -> Vec<u8> {
    let file = std::fs::File::create(dir.join("img")).unwrap();
    file.set_len(mib << 20).unwrap();
    let all: Vec<&str> = ["-q", "-F", "-U", UUID].into_iter().chain(args.iter().copied()).chain(["img"]).collect();
    oracle("mke2fs", &all, dir);
    std::fs::read(dir.join("img")).unwrap()
}

fn internal(dir: &Path) -> Vec<u8> {
    oracle("debugfs", &["-R", "dump <8> journal", "img"], dir);
    std::fs::read(dir.join("journal")).unwrap()
}

#[test]
fn mke2fs_makes_the_same_superblock() {
    let base = NewJournal {
        block_size: 1024,
        blocks: 4096,
        num_fc_blks: 0,
        uuid: UUID_BYTES,
        external: false,
        compat: Default::default(),
        incompat: Default::default(),
    };
    let fc = default_fast_commit_blocks;
    let rows: &[(&str, u64, &[&str], NewJournal)] = &[
        ("ext3", 64, &["-t", "ext3", "-b", "1024"], base),
        ("metadata_csum", 64, &["-t", "ext4", "-b", "1024", "-O", "metadata_csum,64bit"], base),
        ("4k", 64, &["-t", "ext4", "-b", "4096"], NewJournal { block_size: 4096, blocks: 1024, ..base }),
        ("fc", 64, &["-t", "ext4", "-b", "1024", "-O", "fast_commit"], NewJournal { num_fc_blks: fc(4096), ..base }),
        (
            "fc 4k",
            64,
            &["-t", "ext4", "-b", "4096", "-O", "fast_commit"],
            NewJournal { block_size: 4096, blocks: 1024, num_fc_blks: fc(1024), ..base },
        ),
        (
            "fc large",
            1100,
            &["-t", "ext4", "-b", "4096", "-O", "fast_commit"],
            NewJournal { block_size: 4096, blocks: 8192, num_fc_blks: fc(8192), ..base },
        ),
    ];
    for (name, mib, args, journal) in rows {
        let dir = scratch(&format!("mke2fs {name}"));
        image(&dir, *mib, args);
        let made = internal(&dir);
        let ours = JournalSuperBlock::new(journal);
        assert_eq!(&made[..1024], ours.as_bytes(), "{name}");
        let checked = ours.check(journal.block_size, made.len() as u64 / u64::from(journal.block_size));
        assert!(checked.unwrap().is_empty());
        std::fs::remove_dir_all(dir).unwrap();
    }
    for (block_size, at) in [(1024u32, 2048usize), (4096, 4096)] {
        let dir = scratch(&format!("mke2fs external {block_size}"));
        let img = image(&dir, 64, &["-b", &block_size.to_string(), "-O", "journal_dev"]);
        let ours =
            JournalSuperBlock::new(&NewJournal { block_size, blocks: (64 << 20) / block_size, external: true, ..base });
        assert_eq!(&img[at..at + 1024], ours.as_bytes(), "external {block_size}");
        std::fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn debugfs_writes_what_we_read_and_the_builders_write() {
    for (name, options, open, expected) in [
        ("none", "^metadata_csum,^64bit", "jo", JournalIncompat::empty()),
        ("none wide", "^metadata_csum,64bit", "jo", JournalIncompat::BIT64),
        ("v2", "metadata_csum,^64bit", "jo -c -v 2", JournalIncompat::CSUM_V2),
        ("v2 wide", "metadata_csum,64bit", "jo -c -v 2", JournalIncompat::CSUM_V2 | JournalIncompat::BIT64),
        ("v3", "metadata_csum,^64bit", "jo -c -v 3", JournalIncompat::CSUM_V3),
        ("v3 wide", "metadata_csum,64bit", "jo -c -v 3", JournalIncompat::CSUM_V3 | JournalIncompat::BIT64),
    ] {
        let dir = scratch(&format!("debugfs {name}"));
        image(&dir, 32, &["-t", "ext4", "-b", "1024", "-O", options]);
        let mut content = vec![0x41; 3072];
        content[1024..1028].copy_from_slice(&[0xC0, 0x3B, 0x39, 0x98]);
        std::fs::write(dir.join("content"), content).unwrap();
        let commands =
            format!("{open}\njw -b 20000,20001,20002 content\njw -r 20005,20006\njw -b 20007 -r 20008 content\njc\n");
        std::fs::write(dir.join("commands"), commands).unwrap();
        oracle("debugfs", &["-w", "-f", "commands", "img"], &dir);
        let bytes = internal(&dir);
        let journal = journal_of(&bytes, 4096);
        assert_eq!(journal.incompat - JournalIncompat::REVOKE, expected, "{name}");
        let log = walk(&bytes, &journal);
        assert_eq!(
            log.data,
            [
                (1, vec![(20000, 2, false), (20001, 3, true), (20002, 4, false)]),
                (2, vec![]),
                (3, vec![(20007, 9, false)])
            ],
            "{name}"
        );
        assert_eq!(log.revoked, [(2, 20005), (2, 20006), (3, 20008)], "{name}");
        let mut revoke = RevokeBuilder::new(1024, journal.format, journal.seed, 2);
        assert!(revoke.push(20005) && revoke.push(20006));
        assert_eq!(revoke.finish(), bytes[6 * 1024..7 * 1024], "{name}");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
