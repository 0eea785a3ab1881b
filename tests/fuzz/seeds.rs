//! Seeds: real structures for each target, taken out of images made with mke2fs and debugfs, and the mutations of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use daxkit_build::dump::{Data, DumpOptions, dump};
use daxkit_device::{BlockDevice, MemoryDevice};
use daxkit_format::OnDisk;
use daxkit_format::ext4::dir_entry::Entries;
use daxkit_format::ext4::group_desc::GroupDesc;
use daxkit_format::ext4::{dx, extent, super_block, xattr};
use daxkit_format::jbd2::{BlockType, JournalHeader};

/// Seeds by target.
pub(crate) type Seeds = BTreeMap<&'static str, Vec<Vec<u8>>>;

/// How an image is made: a name, what mke2fs is told, and the lines for debugfs.
struct Recipe {
    name: &'static str,
    mke2fs: &'static str,
    size: &'static str,
    debugfs: &'static str,
}

/// Attributes small, large and as ACLs; a transaction in the journal that was never written home.
const ATTRIBUTES: &str = "\
ea_set /dir/file user.short value
ea_set /dir/file user.long 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789
ea_set /dir/file user.longer 012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678
";

const DIRTY_JOURNAL: &str = "\
jo
jw -b 900-903,1000 /source
jr -b 2000-2010
jw -b 901 /source
jc
";

const RECIPES: &[Recipe] = &[
    Recipe { name: "ext4", mke2fs: "-t ext4 -b 1024 -I 256 -N 400 -O orphan_file", size: "4M", debugfs: DIRTY_JOURNAL },
    Recipe {
        name: "inline",
        mke2fs: "-t ext4 -b 1024 -N 400 -O ^has_journal,inline_data,ea_inode,project,quota",
        size: "2M",
        debugfs: ATTRIBUTES,
    },
    Recipe { name: "ext2", mke2fs: "-t ext2 -b 1024 -I 128 -N 400", size: "2M", debugfs: ATTRIBUTES },
    Recipe {
        name: "casefold",
        mke2fs: "-t ext4 -b 4096 -N 400 -O ^has_journal,casefold,metadata_csum_seed,mmp,^resize_inode",
        size: "4M",
        debugfs: "",
    },
    Recipe {
        name: "gdt_csum",
        mke2fs: "-t ext4 -b 1024 -g 1024 -N 400 -O ^metadata_csum,uninit_bg,^64bit,^has_journal",
        size: "4M",
        debugfs: ATTRIBUTES,
    },
];

/// Runs an oracle's program, which must be there and succeed.
fn run(program: &str, args: &[&str], input: &str) {
    let path = ["/usr/sbin", "/sbin"].into_iter().map(|dir| Path::new(dir).join(program)).find(|path| path.exists());
    let mut child = Command::new(path.unwrap_or_else(|| program.into()))
        .args(args)
        .env("E2FSPROGS_FAKE_TIME", "1767225600")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("oracle missing: cannot run {program}: {error}"));
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("the program reads");
    let output = child.wait_with_output().expect("the program ends");
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A tree with a directory of two levels of htree at 1 KiB blocks, a file of many extents, links.
fn source_tree(root: &Path) {
    let dir = root.join("dir");
    fs::create_dir_all(dir.join("deep/deeper")).expect("a directory");
    fs::create_dir(root.join("many")).expect("a directory");
    for nr in 0..200 {
        fs::write(root.join(format!("many/entry-{nr:03}")), "").expect("a file");
    }
    fs::write(dir.join("file"), "a few bytes\n").expect("a file");
    fs::write(dir.join("deep/deeper/medium"), vec![b'm'; 3000]).expect("a file");
    let mut sparse = fs::File::create(dir.join("sparse")).expect("a file");
    for piece in 0..24 {
        sparse.seek(SeekFrom::Start(piece * 16384)).expect("seek");
        sparse.write_all(b"data between holes").expect("written");
    }
    symlink("file", dir.join("link")).expect("a link");
    symlink("x".repeat(200), dir.join("long-link")).expect("a link");
}

fn make_image(dir: &Path, tree: &Path, recipe: &Recipe) -> Vec<u8> {
    let image: PathBuf = dir.join(recipe.name);
    let (image_arg, tree_arg) = (image.to_str().expect("UTF-8"), tree.to_str().expect("UTF-8"));
    let mut args = vec!["-q", "-F", "-U", "01234567-89ab-cdef-0123-456789abcdef", "-E"];
    args.push("hash_seed=fedcba98-7654-3210-fedc-ba9876543210,lazy_itable_init=0");
    args.extend(recipe.mke2fs.split(' '));
    args.extend(["-d", tree_arg, image_arg, recipe.size]);
    run("mke2fs", &args, "");
    if !recipe.debugfs.is_empty() {
        let script = recipe.debugfs.replace("/source", &format!("{tree_arg}/dir/deep/deeper/medium"));
        run("debugfs", &["-w", "-f", "-", image_arg], &script);
    }
    fs::read(&image).expect("the image is there")
}

/// All seeds. `scratch` is an empty directory.
pub(crate) fn make(scratch: &Path) -> Seeds {
    let tree = scratch.join("tree");
    source_tree(&tree);
    let mut seeds = Seeds::new();
    for recipe in RECIPES {
        let image = make_image(scratch, &tree, recipe);
        take_apart(&image, &mut seeds);
        for target in ["check_repair", "dump_image", "volume", "volume_unchecked"] {
            add(&mut seeds, target, &[], &image);
        }
        let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(&image));
        let mut text = Vec::new();
        dump(&device, &DumpOptions { data: Data::Full }, &mut text).expect("memory takes text");
        add(&mut seeds, "restore_image", &[], &text);
    }
    journals(&mut seeds);
    undo_file(scratch, &mut seeds);
    archives(scratch, &tree, &mut seeds);
    spelled(&mut seeds);
    // A target's own arguments stand before what it parses; for these any bytes will do.
    for (name, _) in super::targets::TARGETS {
        let list = seeds.entry(name).or_default();
        if list.is_empty() {
            let mut bytes = vec![0; 400];
            Xorshift::new(name.len() as u64).fill(&mut bytes);
            list.push(bytes);
        }
    }
    seeds
}

/// Adds a seed: the target's own arguments, then what it parses.
fn add(seeds: &mut Seeds, target: &'static str, arguments: &[u8], bytes: &[u8]) {
    seeds.entry(target).or_default().push([arguments, bytes].concat());
}

/// Sorts an image's structures out to the targets that read them.
fn take_apart(image: &[u8], seeds: &mut Seeds) {
    let sb = super_block::parse(image.get(1024..).unwrap_or_default()).expect("mke2fs makes a superblock");
    let block_size = sb.block_size().expect("mke2fs gives it a block size") as usize;
    let size_choice = if block_size == 1024 { 0 } else { 1 };
    add(seeds, "super_block", &[], &image[1024..2048]);
    add(seeds, "fields", &[0], &image[1024..2048]);
    for block in image.chunks(block_size).filter(|block| block.iter().any(|byte| *byte != 0)) {
        if extent::Node::parse(block, None).is_ok() {
            add(seeds, "extent_node", &[0xff, 1, 2, 3, 4], block);
        } else if block.starts_with(&xattr::MAGIC.to_le_bytes()) {
            add(seeds, "xattr_block", &[0; 12], block);
        } else if let Some((kind, _)) = JournalHeader::of(block) {
            journal_block(kind, block, seeds);
        } else if dx::entries_offset(block).is_some() {
            add(seeds, "htree_block", &[1, 1, 2, 3, 4], block);
        } else if Entries::new(block, block_size as u32, true).filter(Result::is_ok).count() > 2 {
            add(seeds, "dir_block", &[size_choice, 1], block);
        } else if seeds.get("tails").map_or(0, Vec::len) < 20 {
            add(seeds, "tails", &[0; 16], block);
        }
    }
    let desc_size = usize::from(sb.desc_size());
    let first = (sb.s_first_data_block.get() as usize + 1) * block_size;
    let desc = &image[first..first + desc_size];
    add(seeds, "group_desc", &[0; 12], desc);
    let table = GroupDesc::from_disk(desc).expect("a descriptor").inode_table() as usize * block_size;
    let inode_size = usize::from(sb.inode_size());
    for (index, raw) in image[table..].chunks_exact(inode_size).take(60).enumerate() {
        if raw[..2] == [0, 0] {
            continue;
        }
        let mut arguments = vec![9, 9, 9, 9];
        arguments.extend((index as u32 + 1).to_le_bytes());
        arguments.extend((inode_size as u16).to_le_bytes());
        add(seeds, "inode", &arguments, raw);
        if raw[40..42] == extent::MAGIC.to_le_bytes() {
            add(seeds, "extent_node", &[0xff, 0, 0, 0, 0], &raw[40..100]);
        }
        if let Some(area) = raw.get(160..).filter(|area| area.iter().any(|byte| *byte != 0)) {
            add(seeds, "xattr_inode", &[], area);
        }
    }
}

fn journal_block(kind: BlockType, block: &[u8], seeds: &mut Seeds) {
    // Version 3 and 64 bits first: what mke2fs makes; then the older shapes over the same bytes.
    for format in [[2, 1], [1, 0], [0, 1], [0, 0]] {
        match kind {
            BlockType::Descriptor => add(seeds, "jbd2_descriptor", &[&format[..], &[0; 8]].concat(), block),
            BlockType::Revoke => add(seeds, "jbd2_revoke", &[&format[..], &[0; 4]].concat(), block),
            _ => {}
        }
    }
    match kind {
        BlockType::Commit => add(seeds, "jbd2_commit", &[0; 9], block),
        BlockType::SuperBlockV1 | BlockType::SuperBlockV2 => {
            for size in 0..3 {
                add(seeds, "jbd2_super_block", &[size, 0, 0, 1, 0, 0, 0, 0, 0], block);
            }
        }
        _ => {}
    }
}

/// Logs written by a Linux kernel, kept with the format crate's tests.
fn journals(seeds: &mut Seeds) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/format/tests/data");
    let read = |name: &str| fs::read(data.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    for name in ["kernel-journal-v1.bin", "kernel-journal-v3.bin"] {
        for block in read(name).chunks(1024) {
            if let Some((kind, _)) = JournalHeader::of(block) {
                journal_block(kind, block, seeds);
            }
        }
    }
    let area = read("kernel-fast-commit.bin");
    for start in (0..area.len()).step_by(1024) {
        let block = &area[start..];
        let tid = daxkit_format::jbd2::fast_commit::FcHead::peek(block.get(4..).unwrap_or_default());
        let tid = tid.map_or(1, |head| head.fc_tid.get());
        add(seeds, "fast_commit", &[&tid.to_le_bytes()[..], &[1, 0]].concat(), block);
    }
}

/// An undo file as e2fsprogs writes it.
fn undo_file(scratch: &Path, seeds: &mut Seeds) {
    let (image, undo) = (scratch.join(RECIPES[0].name), scratch.join("undo"));
    let arguments = ["-z", undo.to_str().expect("UTF-8"), "-L", "changed", image.to_str().expect("UTF-8")];
    run("tune2fs", &arguments, "");
    add(seeds, "undo_file", &[], &fs::read(&undo).expect("tune2fs keeps what it overwrites"));
}

/// A few members of a tree in each form of archive, read in each way.
fn archives(scratch: &Path, tree: &Path, seeds: &mut Seeds) {
    let file = scratch.join("archive");
    let (file_arg, tree_arg) = (file.to_str().expect("UTF-8"), tree.to_str().expect("UTF-8"));
    let gnu = ["-c", "-C", tree_arg, "-f", file_arg, "-b1", "--owner=3000000000"];
    let libarchive = ["-c", "-C", tree_arg, "-f", file_arg, "-b1"];
    let members = ["dir/file", "dir/link", "dir/deep/deeper", "dir/long-link", "dir/sparse"];
    // Old forms hold no long names; without maps the sparse file is only long.
    for (program, options, form, members) in [
        ("tar", &gnu[..], &["--format=posix", "-S", "--sparse-version=1.0"][..], &members[..]),
        ("tar", &gnu, &["--format=posix", "-S", "--sparse-version=0.1"], &members),
        (
            "tar",
            &gnu,
            &["--format=posix", "-S", "--sparse-version=0.0", "--acls", "--xattrs", "--mtime=@-5.5"],
            &members,
        ),
        ("tar", &gnu, &["--format=gnu", "-S", "--incremental"], &members),
        ("tar", &gnu[..6], &["--format=ustar"], &members[..3]),
        ("tar", &gnu[..6], &["--format=posix", "-z"], &members[..4]),
        ("tar", &gnu[..6], &["--format=posix", "--zstd"], &members[..4]),
        ("bsdtar", &libarchive, &["--format=pax", "--fflags", "--acls", "--xattrs"], &members),
        ("bsdtar", &libarchive, &["--format=gnutar"], &members[..4]),
    ] {
        run(program, &[options, form, members].concat(), "");
        let bytes = fs::read(&file).expect("the archive is there");
        for choice in [0, 1, 5] {
            add(seeds, "tar", &[choice], &bytes);
        }
    }
}

/// Seeds that can be written down.
fn spelled(seeds: &mut Seeds) {
    for text in [
        "super.s_inodes_count",
        "super:3",
        "group.3.bg_checksum",
        "group.3:1",
        "group.0/block_bitmap",
        "inode:12/node:0.3",
        "inode.\"/a\\\"b\".i_flags.DAX",
        "inode:12/map:12.5",
        "dir:2.entry.\"f\"",
        "dir.\"/d\"/block:3/entry:24.rec_len",
        "dir:2/block:0/dx:1.hash",
        "block:8193+0x40",
        "journal/block:7",
        "quota.user/id:1000",
        "orphan/block:0",
        "mmp.mmp_seq",
        "inode:12.xattr.\"user.a\"",
        "super.s_hash_seed[2]",
    ] {
        add(seeds, "place", &[], text.as_bytes());
    }
    for name in ["Strasse", "STRA\u{df}E", "\u{1e9b}\u{323}", "\u{ac00}\u{11a8}", "A\u{30a}\u{327}"] {
        let arguments = (name.len() as u16).to_le_bytes();
        add(seeds, "casefold", &arguments, format!("{name}{}", name.to_lowercase()).as_bytes());
        add(seeds, "dir_hash", &[7; 16], name.repeat(9).as_bytes());
    }
    // The recipes that are refused stand one behind the other, with a line of `=>` behind each.
    add(seeds, "recipe", &[], include_bytes!("../../crates/build/tests/recipe_full.toml"));
    let mut text = String::new();
    for line in include_str!("../../crates/build/tests/recipe_bad.txt").lines() {
        if line.starts_with("=> ") {
            add(seeds, "recipe", &[], std::mem::take(&mut text).as_bytes());
        } else if !line.starts_with("=====") {
            text.push_str(line);
            text.push('\n');
        }
    }
    // Scenarios as they are, and the examples of their description.
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/scenarios");
    let texts = fs::read_dir(&scenarios).expect("there are scenarios").map(|entry| entry.expect("an entry").path());
    for path in texts.collect::<BTreeSet<_>>() {
        add(seeds, "scenario", &[], &fs::read(&path).expect("a text"));
    }
    for piece in include_str!("../../docs/scenarios.md").split("```dax\n").skip(1) {
        add(seeds, "scenario", &[], piece.split("```").next().unwrap_or(piece).as_bytes());
    }
    // Owner, a user, group, mask, others: as stored, and as system calls hold it.
    add(seeds, "acl", &[], &[1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0, 0xe8, 3, 0, 0, 4, 0, 4, 0, 16, 0, 6, 0, 32, 0, 4, 0]);
    let mut value = vec![2, 0, 0, 0];
    for (tag, id) in [(1u8, u32::MAX), (2, 1000), (4, u32::MAX), (8, 50), (16, u32::MAX), (32, u32::MAX)] {
        value.extend([tag, 0, 6, 0]);
        value.extend(id.to_le_bytes());
    }
    add(seeds, "acl", &[], &value);
    // Block size, place of the image, length of the file, 4 KiB blocks; then extents.
    let mut windows =
        [4096u32.to_le_bytes().to_vec(), vec![0; 8], (9u64 << 20).to_le_bytes().to_vec(), vec![2]].concat();
    for (logical, physical, len) in [(0u64, 512u64, 512u32), (512, 2048, 1024), (1600, 4000, 100)] {
        windows.extend(logical.to_le_bytes());
        windows.extend(physical.to_le_bytes());
        windows.extend(len.to_le_bytes());
        windows.push(1);
    }
    add(seeds, "pmd_windows", &[], &windows);
    for structure in 0..daxkit_format::field::structures().len() as u8 {
        let mut bytes = vec![0; 1100];
        Xorshift::new(u64::from(structure) + 1).fill(&mut bytes);
        add(seeds, "fields", &[structure], &bytes);
    }
}

/// xorshift64*: the same mutations everywhere.
pub(crate) struct Xorshift(u64);

impl Xorshift {
    /// A generator; zero counts as one.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`, which is not zero.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 11) % limit as u64) as usize
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = (self.next() >> 32) as u8);
    }
}

/// What counts and offsets are made to say.
const EXTREMES: [u64; 10] =
    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff];

/// Changes `bytes` in one to five places, mostly where something stands: most of an image is empty.
pub(crate) fn mutate(bytes: &mut Vec<u8>, rng: &mut Xorshift) {
    for _ in 0..=rng.below(5) {
        if bytes.is_empty() {
            return;
        }
        let at = interesting(bytes, rng);
        let width = [1, 2, 4, 8][rng.below(4)];
        let Some(field) = bytes.get_mut(at..at + width) else { continue };
        let old = field.iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        let new = match rng.below(6) {
            0 => old ^ 1 << rng.below(8 * width),
            1 => old.wrapping_add(1),
            2 => old.wrapping_sub(1),
            3 => rng.next(),
            4 => rng.next() % 64,
            _ => EXTREMES[rng.below(EXTREMES.len())],
        };
        let new = if rng.below(4) == 0 { new.swap_bytes() >> (64 - 8 * width) } else { new };
        field.copy_from_slice(&new.to_le_bytes()[..width]);
        match rng.below(40) {
            0 => bytes.truncate(rng.below(bytes.len()) + 1),
            1 => {
                let (from, to) = (interesting(bytes, rng), interesting(bytes, rng));
                let len = rng.below(64).min(bytes.len() - from.max(to));
                bytes.copy_within(from..from + len, to);
            }
            _ => {}
        }
    }
}

/// A place near which a byte is not zero, if a few tries find one.
fn interesting(bytes: &[u8], rng: &mut Xorshift) -> usize {
    let mut at = rng.below(bytes.len());
    for _ in 0..60 {
        if bytes[at] != 0 {
            break;
        }
        at = rng.below(bytes.len());
    }
    at
}
