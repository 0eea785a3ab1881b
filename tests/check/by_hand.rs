//! Fixtures that need more than a changed field: several structures, a device that fails, a journal that waits.

use crate::bases;
use crate::mutate::change;
use crate::shared::tools;
use crate::verdict::{NOW, ours};
use daxkit_check::{BadBlocks, Code, Finding, Options, Scan, check, repair};
use daxkit_device::{BlockDevice, DeviceError, FaultInjector, FaultPlan, Geometry, MemoryDevice};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The codes that have one here.
pub(crate) fn codes() -> Vec<Code> {
    vec![
        Code::Super64BitAlone,
        Code::SuperFirstMetaBg,
        Code::MmpBlock,
        Code::MmpMagic,
        Code::MmpChecksum,
        Code::GroupTable,
        Code::JournalPending,
        Code::JournalCorrupt,
        Code::DirUnreadable,
        Code::DirLoop,
        Code::BitmapUnreadable,
        Code::DaxDataOffset,
        Code::Unreadable,
        Code::SuperDirNlink,
        Code::XattrEaRefcount,
        Code::ExtentTree,
        Code::SuperShared,
    ]
}

/// An image by mke2fs, after a script for debugfs.
pub(crate) fn image(args: &[&str], size: &str, script: &str) -> Vec<u8> {
    let scratch = bases::scratch();
    let path = scratch.path().join("image");
    let mut command = tools::system("mke2fs");
    command.args(["-q", "-F", "-U", "01234567-89ab-cdef-0123-456789abcdef"]).args(args).arg(&path).arg(size);
    tools::succeed(&mut command).unwrap_or_else(|told| panic!("{told}"));
    scripted(&fs::read(&path).expect("readable"), script)
}

/// An image after a script for debugfs.
pub(crate) fn scripted(bytes: &[u8], script: &str) -> Vec<u8> {
    let scratch = bases::scratch();
    let path = scratch.path().join("image");
    fs::write(&path, bytes).expect("written");
    // debugfs forgets what it wrote of an inode before: what has to be written first comes before an empty line.
    for script in script.split("\n\n").filter(|script| !script.is_empty()) {
        let file = scratch.path().join("script");
        let script = script.replace("$DIR", scratch.path().to_str().expect("UTF-8"));
        fs::write(scratch.path().join("blocks"), vec![7; 2048]).expect("written");
        fs::write(&file, script + "\n").expect("written");
        tools::output(tools::system("debugfs").arg("-w").arg("-f").arg(&file).arg(&path));
    }
    fs::read(&path).expect("readable")
}

pub(crate) fn found(bytes: &[u8]) -> Vec<String> {
    ours(bytes).findings.iter().map(|f| format!("{} {}", f.code.id(), f.at)).collect()
}

pub(crate) fn changed(bytes: &mut [u8], place: &str, value: &[u8]) {
    assert!(change(bytes, place, value, true).is_some(), "{place}");
}

const SMALL: &[&str] = &["-t", "ext4", "-b", "1024", "-N", "64", "-O", "^has_journal"];

#[test]
fn features_that_need_each_other() {
    let mut bytes = image(&["-t", "ext2", "-b", "1024", "-N", "64"], "1M", "");
    changed(&mut bytes, "super.s_desc_size", &64u16.to_le_bytes());
    changed(&mut bytes, "super.s_feature_incompat", &0x82u32.to_le_bytes());
    assert_eq!(found(&bytes), ["SUP012 super.s_feature_incompat"]);
    let mut bytes = image(&["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode,^has_journal"], "1M", "");
    changed(&mut bytes, "super.s_first_meta_bg", &77u32.to_le_bytes());
    assert_eq!(found(&bytes), ["SUP013 super.s_first_meta_bg"]);
}

/// The image as repair leaves it that is told yes by `decide`.
pub(crate) fn repaired(bytes: &[u8], mut decide: impl FnMut(&Finding) -> bool) -> Vec<u8> {
    let device = Arc::new(MemoryDevice::from_bytes(bytes));
    let done = repair(Arc::clone(&device) as Arc<dyn BlockDevice>, &Options::new(NOW), &mut decide);
    done.edits().apply_to(&device).expect("memory is writable");
    device.to_vec()
}

#[test]
fn files_that_share_blocks_are_copied_or_deleted() {
    let write = "write $DIR/blocks /a\nwrite $DIR/blocks /b\n";
    let args = ["-t", "ext2", "-b", "1024", "-N", "64"];
    let sound = image(&args, "1M", write);
    let (_, volume) = crate::mutate::open_any(&sound);
    let volume = volume.expect("sound");
    let first = |path: &[u8]| {
        let inode = volume.resolve(path, true).expect("there");
        volume.extents(&inode).next().expect("mapped").expect("readable").physical.get() as u32
    };
    let mut bytes = sound.clone();
    changed(&mut bytes, "inode:13.i_block", &first(b"/a").to_le_bytes());
    let codes = found(&bytes);
    assert!(codes.contains(&"DUP001 inode:13".to_owned()), "{codes:?}");
    let mut asked = Vec::new();
    let deleted = repaired(&bytes, |finding| {
        if finding.code == Code::BlocksShared {
            asked.push(finding.question());
        }
        finding.question() != "Copy the blocks"
    });
    assert_eq!(asked, ["Copy the blocks", "Delete the file"]);
    let copied = repaired(&bytes, |_| true);
    let scratch = bases::scratch();
    for (bytes, there) in [(deleted, false), (copied, true)] {
        let path = scratch.path().join("image");
        fs::write(&path, &bytes).expect("written");
        let (status, said) = crate::verdict::theirs(&path, "-fn");
        assert_eq!(status, 0, "{said}");
        let volume = crate::mutate::open_any(&bytes).1.expect("sound");
        assert!(volume.resolve(b"/a", true).is_ok());
        assert_eq!(volume.resolve(b"/b", true).is_ok(), there);
    }
    // Who declines both keeps it as it is.
    let kept = repaired(&bytes, |finding| finding.code != Code::BlocksShared);
    assert!(found(&kept).contains(&"DUP001 inode:13".to_owned()));
}

#[test]
fn a_tree_with_more_nodes_than_it_needs() {
    // Five extents need a node; two do not.
    let set = |n: u64| format!("sif /f bmap[{}] {}\n", 2 * n, 700 + 2 * n);
    let clear = |n: u64| format!("sif /f bmap[{}] 0\nfreeb {}\n", 2 * n, 700 + 2 * n);
    let mut script = String::from("write $DIR/blocks /f\n\nsif /f size 20480\n\n");
    script += &(1..9).map(|n| format!("setb {}\n", 700 + 2 * n)).collect::<String>();
    script += &format!("\n{}\n{}", (1..9).map(set).collect::<String>(), (3..9).map(clear).collect::<String>());
    // Counts are mended, the tree is not.
    let bytes = repaired(&image(SMALL, "1M", &script), |finding| finding.code != Code::ExtentTree);
    assert_eq!(found(&bytes), ["EXT011 inode:12.i_block"]);
    let mut options = Options::new(NOW);
    options.wishes.narrow_trees = false;
    let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(&bytes));
    assert!(check(device, &options).findings.is_empty());
}

#[test]
fn blocks_that_are_shared_on_purpose() {
    let bytes = image(SMALL, "1M", "write $DIR/blocks /f\nfeature shared_blocks\n");
    assert_eq!(found(&bytes), [""; 0]);
    let mut options = Options::new(NOW);
    options.wishes.unshare = true;
    let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(&bytes));
    let report = check(device, &options);
    let found: Vec<String> = report.findings.iter().map(|f| format!("{} {}", f.code.id(), f.at)).collect();
    assert_eq!(found, ["SUP029 super.s_feature_ro_compat"]);
}

#[test]
fn bad_blocks_are_found_by_reading() {
    let bytes = image(SMALL, "1M", "write $DIR/blocks /f\n");
    let plan = FaultPlan::new().bad_read(800 * 1024..801 * 1024).bad_read(900 * 1024 + 512..902 * 1024);
    let device: Arc<dyn BlockDevice> = Arc::new(FaultInjector::new(MemoryDevice::from_bytes(&bytes), plan));
    let mut options = Options::new(NOW);
    options.wishes.bad_blocks = Some(BadBlocks { blocks: vec![700], keep: false, scan: Scan::Read });
    let repaired = repair(device, &options, &mut |_| true);
    assert!(repaired.is_clean() && repaired.fixed.is_empty(), "{:?} {:?}", repaired.fixed, repaired.left);
    assert_eq!(repaired.improved.bad_blocks, Some(4));
}

#[test]
fn directories_whose_names_are_encrypted() {
    use daxkit_format::ext4::inode_flags::InodeFlags;
    let names: String = (0..60).map(|i| format!("ln /f /d/a-name-that-takes-some-room-{i}\n")).collect();
    let script = format!("write $DIR/blocks /f\nmkdir /d\n{}{names}", "expand_dir /d\n".repeat(4));
    let args = ["-t", "ext4", "-b", "1024", "-N", "64", "-O", "^has_journal,casefold,encrypt"];
    let bytes = image(&args, "1M", &script);
    let rebuilt = |more: InodeFlags| {
        let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(&bytes));
        let options = daxkit_volume::OpenOptions { writable: true, ..daxkit_volume::OpenOptions::default() };
        let mut volume = daxkit_volume::Volume::open(device, &options).expect("sound");
        let now = daxkit_format::ext4::inode::Timestamp { seconds: 0, nanos: 0 };
        let done = volume.change_raw(now, |editor| {
            let mut dir = editor.resolve(b"/d", true)?;
            editor.modify(&mut dir, |disk| disk.set_flags(disk.flags() | more));
            editor.rebuild_dir(&mut dir)
        });
        let dir = volume.resolve(b"/d", true).expect("there");
        let names = volume.read_dir(&dir).expect("a directory").filter(Result::is_ok).count();
        (done.ok(), dir.flags().contains(InodeFlags::INDEX), names)
    };
    // Names without a key are bytes that can be hashed; folded they cannot.
    assert_eq!(rebuilt(InodeFlags::ENCRYPT), (Some(true), true, 62));
    assert_eq!(rebuilt(InodeFlags::CASEFOLD), (Some(true), true, 62));
    assert_eq!(rebuilt(InodeFlags::ENCRYPT | InodeFlags::CASEFOLD), (None, false, 62));
}

#[test]
fn an_index_where_there_are_no_blocks() {
    let args = ["-t", "ext4", "-b", "1024", "-N", "64", "-O", "^has_journal,inline_data"];
    let bytes = image(&args, "1M", "mkdir /d\n\nsif /d flags 0x10001000\n");
    assert_eq!(found(&bytes), ["HTR002 inode:12.i_flags"]);
    assert_eq!(found(&repaired(&bytes, |_| true)), [""; 0]);
}

#[test]
fn multiple_mount_protection() {
    let sound = image(&["-t", "ext4", "-b", "1024", "-O", "mmp,^has_journal"], "2M", "");
    assert_eq!(found(&sound), [""; 0]);
    let mut bytes = sound.clone();
    changed(&mut bytes, "super.s_mmp_block", &u64::MAX.to_le_bytes());
    let codes = found(&bytes);
    assert!(codes.contains(&"MMP001 super.s_mmp_block".to_owned()), "{codes:?}");
    let mut bytes = sound.clone();
    changed(&mut bytes, "mmp.mmp_magic", &5u32.to_le_bytes());
    assert_eq!(found(&bytes), ["MMP002 mmp"]);
    let mut bytes = sound;
    change(&mut bytes, "mmp.mmp_time", &5u64.to_le_bytes(), false).expect("there");
    assert_eq!(found(&bytes), ["MMP003 mmp"]);
}

#[test]
fn descriptors_of_a_backup() {
    let mut bytes = image(&["-t", "ext4", "-b", "1024", "-O", "^has_journal"], "20M", "");
    bytes[2048..3072].fill(0xff);
    assert_eq!(found(&bytes), ["GDT015 group.0"]);
}

#[test]
fn a_journal_that_waits_and_one_that_is_damaged() {
    let args = ["-t", "ext4", "-b", "1024", "-N", "64"];
    let bytes = image(&args, "2M", "jo\njw -b 1500,1501 $DIR/blocks\njc\n");
    assert_eq!(found(&bytes), ["JNL006 journal"]);
    // A block of the log that its tag's checksum does not fit.
    let script = "jo -c\njw -b 1500,1501 $DIR/blocks\njw -b 1502,1503 $DIR/blocks\njc\n";
    let mut bytes = image(&args, "2M", script);
    let data = bytes.windows(1024).rposition(|w| w.iter().all(|b| *b == 7)).expect("the block");
    bytes[data] = 8;
    assert_eq!(found(&bytes), ["SUP026 super.s_state", "JNL006 journal", "JNL007 journal"]);
}

#[test]
fn a_directory_below_itself() {
    let bytes = image(SMALL, "1M", "mkdir /a\nmkdir /a/b\nlink /a /a/b/again\nunlink /a\n");
    let found = found(&bytes);
    assert!(found.contains(&"CON002 inode:12".to_owned()), "{found:?}");
    assert!(!found.iter().any(|f| f.starts_with("CON001")), "{found:?}");
}

#[test]
fn where_the_file_system_begins() {
    let bytes = image(SMALL, "2M", "mkdir /db\nset_inode_field /db flags 0x2080000\n");
    let mut options = Options::new(NOW);
    options.dax.data_offset = 4096;
    let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(&bytes));
    let report = check(device, &options);
    let found: Vec<&str> = report.findings.iter().map(|f| f.code.id()).collect();
    assert_eq!(found, ["DAX003", "DAX007", "DAX009"]);
}

#[test]
fn a_device_that_fails() {
    let bytes = image(SMALL, "1M", "mkdir /a\n");
    let found = |block: u64| {
        let device = MemoryDevice::from_bytes(&bytes);
        let plan = FaultPlan::new().bad_read(block * 1024..(block + 1) * 1024);
        let device: Arc<dyn BlockDevice> = Arc::new(FaultInjector::new(device, plan));
        let report = check(device, &Options::new(NOW));
        report.findings.iter().map(|f| format!("{} {}", f.code.id(), f.at)).collect::<Vec<_>>()
    };
    let volume =
        daxkit_volume::Volume::open(Arc::new(MemoryDevice::from_bytes(&bytes)), &daxkit_volume::OpenOptions::default())
            .expect("sound");
    let desc = volume.group_desc(daxkit_volume::GroupNr(0)).expect("there");
    assert_eq!(found(desc.block_bitmap()), ["BMP007 group.0"]);
    assert_eq!(found(desc.inode_bitmap()), ["BMP007 group.0"]);
    let root = volume.map_block(&volume.root().expect("there"), 0).expect("mapped");
    let daxkit_volume::Segment::Mapped(root) = root else { panic!("the root has a block") };
    let codes = found(root.physical.get());
    assert!(codes.contains(&"DIR016 inode:2/block:0".to_owned()), "{codes:?}");
    // The block of the table with the inodes from 33 on, none of which is in use.
    let table = desc.inode_table() + 8;
    let codes = found(table);
    assert!(codes.contains(&format!("IOE001 block:{table}")) || codes.is_empty(), "{codes:?}");
    let first = found(desc.inode_table());
    assert!(first.contains(&format!("IOE001 block:{}", desc.inode_table())), "{first:?}");
}

#[test]
fn more_directories_than_links_can_count() {
    let scratch = bases::scratch();
    let tree = scratch.path().join("tree");
    for i in 0..65_001 {
        fs::create_dir_all(tree.join(format!("many/{i}"))).expect("mkdir");
    }
    let path = scratch.path().join("image");
    let mut command = tools::dax_mkfs();
    command
        .args(["-q", "-b", "1024", "-O", "^has_journal", "--pmem-align", "none", "-d"])
        .arg(&tree)
        .arg(&path)
        .arg("128M");
    tools::succeed(&mut command).unwrap_or_else(|told| panic!("{told}"));
    let mut bytes = fs::read(&path).expect("readable");
    assert_eq!(found(&bytes), [""; 0]);
    let (_, volume) = crate::mutate::open_any(&bytes);
    let volume = volume.expect("sound");
    let features = volume.super_block().s_feature_ro_compat.get();
    assert_eq!(features & 0x20, 0x20, "dir_nlink");
    changed(&mut bytes, "super.s_feature_ro_compat", &(features & !0x20).to_le_bytes());
    let many = volume.resolve(b"/many", true).expect("there").nr();
    assert_eq!(found(&bytes), [format!("SUP025 inode:{many}.i_links_count")]);
}

/// An image with a value of an attribute that has an inode of its own, and the number of that inode.
pub(crate) fn image_with_a_value() -> (Vec<u8>, u32) {
    let scratch = bases::scratch();
    let (recipe, path) = (scratch.path().join("recipe.toml"), scratch.path().join("image"));
    let text = format!("[[file]]\npath = \"/f\"\nxattrs = {{ \"user.big\" = \"{}\" }}\n", "v".repeat(3000));
    fs::write(&recipe, text).expect("written");
    let mut command = tools::dax_mkfs();
    command.args(["-q", "-b", "1024", "-O", "ea_inode,^has_journal", "--pmem-align", "none", "--recipe"]);
    tools::succeed(command.arg(&recipe).arg(&path).arg("1M")).unwrap_or_else(|told| panic!("{told}"));
    let bytes = fs::read(&path).expect("readable");
    assert_eq!(found(&bytes), [""; 0]);
    let volume = crate::mutate::open_any(&bytes).1.expect("sound");
    let holds = |n: u32| {
        volume
            .inode(daxkit_format::InodeNr(n.into()))
            .is_ok_and(|inode| inode.flags().contains(daxkit_format::ext4::inode_flags::InodeFlags::EA_INODE))
    };
    let value = (12..64).find(|n| holds(*n)).expect("an inode with the value");
    (bytes, value)
}

#[test]
fn references_of_a_value_in_an_inode() {
    let (mut bytes, value) = image_with_a_value();
    changed(&mut bytes, &format!("inode:{value}.l_i_version"), &7u32.to_le_bytes());
    assert_eq!(found(&bytes), [format!("XAT010 inode:{value}.l_i_version")]);
}

/// Counts what is read and written.
#[derive(Debug)]
struct Counting {
    below: MemoryDevice,
    calls: AtomicU64,
}

impl BlockDevice for Counting {
    fn len(&self) -> u64 {
        self.below.len()
    }

    fn geometry(&self) -> Geometry {
        self.below.geometry()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.below.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.below.write_at(offset, data)
    }

    fn flush(&self) -> Result<(), DeviceError> {
        self.below.flush()
    }
}

#[test]
fn a_superblock_that_claims_far_more_than_there_is() {
    let sound = image(&["-t", "ext2", "-b", "1024", "-N", "64"], "1M", "write $DIR/blocks /f\n");
    let run = |bytes: &[u8]| {
        let device = Arc::new(Counting { below: MemoryDevice::from_bytes(bytes), calls: AtomicU64::new(0) });
        let below = || Arc::clone(&device) as Arc<dyn BlockDevice>;
        let report = check(below(), &Options::new(NOW));
        let done = repair(below(), &Options::new(NOW), &mut |_| true);
        let calls = device.calls.load(Ordering::Relaxed);
        done.edits().apply_to(&device.below).expect("memory is writable");
        let found: Vec<String> = report.findings.iter().map(|f| format!("{} {}", f.code.id(), f.at)).collect();
        (found, done, device.below.to_vec(), calls)
    };
    let (.., usual) = run(&sound);
    // The count of inodes tells how many groups there are: the count of blocks is wrong, and nothing else.
    let mut longer = sound.clone();
    longer[1024 + 7] = 0x32;
    let (found, done, after, calls) = run(&longer);
    assert_eq!(found, ["SUP004 super.s_blocks_count_lo"]);
    assert!(done.is_clean() && done.fixed.len() == 1 && after == sound, "{:?}", done.left);
    assert!(calls < 4 * usual + 100, "{calls} reads, {usual} of the sound image");
    // Both counts claim groups: the most whose bitmaps could lie on the image, and one more.
    let claim = |groups: u32| {
        let mut bytes = sound.clone();
        bytes[1024..1028].copy_from_slice(&(groups * 64).to_le_bytes());
        bytes[1028..1032].copy_from_slice(&(groups * 8192 + 1).to_le_bytes());
        bytes
    };
    let (found, _, _, calls) = run(&claim(512));
    assert!(found.contains(&"SUP004 super.s_blocks_count_lo".to_owned()), "{found:?}");
    assert!(calls < 4 * usual + 200 * 512, "{calls} reads, {usual} of the sound image");
    let longer = claim(513);
    let (found, done, after, calls) = run(&longer);
    assert_eq!(found, ["SUP004 super"]);
    assert!(done.fixed.is_empty() && after == longer);
    assert!(calls < 4 * usual + 1000, "{calls} reads, {usual} of the sound image");
}
