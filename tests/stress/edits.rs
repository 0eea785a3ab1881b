//! A million edits of every kind, over images of every shape, in whatever order comes: after each piece the image is committed, by
//! the journal or in place as it may be, and `dax-fsck -n` and `e2fsck -fn` find it clean.
//!
//! What each kind of edit should come to is held against models where that kind is tested; here it is that they go together.

use super::judge;
use super::tools::{output, system};
use daxkit_device::{BlockDevice, FileDevice, FileOptions};
use daxkit_format::ext4::inode::{Timestamp, mode};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::ext4::edit::{Fill, NewInode, Rename, RenameRule};
use daxkit_volume::{Committed, EditError, Editor, InodeNr, OpenOptions, Volume};
use std::path::Path;
use std::sync::Arc;

/// All of them.
const EDITS: u64 = 1_000_000;

/// Between two commits.
const PIECE: u64 = 31_250;

/// Arguments of mke2fs, and a size.
const KINDS: &[(&str, &str)] = &[
    ("-t ext4", "192M"),
    ("-t ext4 -b 1024 -N 20000", "96M"),
    ("-t ext4 -O inline_data,ea_inode -I 512", "192M"),
    ("-t ext4 -O quota,project -E quotatype=usrquota:grpquota:prjquota", "192M"),
    ("-t ext4 -O bigalloc -C 16384", "256M"),
    ("-t ext4 -O ^metadata_csum,^64bit,uninit_bg", "192M"),
    ("-t ext3", "128M"),
    ("-t ext2 -b 2048 -O ^dir_index -N 30000", "128M"),
];

/// xorshift64*.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % limit.max(1)
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(usize::try_from(self.below(all.len() as u64)).ok()?)
    }
}

/// A name, as far as the test remembers it.
#[derive(Clone)]
struct Name {
    dir: InodeNr,
    name: Vec<u8>,
    inode: InodeNr,
    is_dir: bool,
}

/// What the test knows to be there: names to choose from. A name may be gone by the time it is chosen.
struct Known {
    dirs: Vec<InodeNr>,
    names: Vec<Name>,
}

/// What the editor may refuse because of what came before.
fn is_expected(error: &EditError) -> bool {
    use daxkit_volume::VolumeError;
    matches!(
        error,
        EditError::NoSpace { .. }
            | EditError::NoInodes
            | EditError::Exists { .. }
            | EditError::NotEmpty { .. }
            | EditError::IsADirectory { .. }
            | EditError::TooManyLinks { .. }
            | EditError::FileTooLarge { .. }
            | EditError::NoAttribute { .. }
            | EditError::NameTooLong { .. }
            | EditError::Refused { .. }
            | EditError::Volume(
                VolumeError::NotFound { .. }
                    | VolumeError::NotADirectory { .. }
                    | VolumeError::NoSuchInode { .. }
                    | VolumeError::NoContent { .. }
            )
    )
}

fn one(editor: &mut Editor<'_>, rng: &mut Rng, known: &mut Known) -> Result<(), EditError> {
    let dir = rng.pick(&known.dirs).copied().unwrap_or(InodeNr::ROOT);
    let long = if rng.below(20) == 0 { 200 } else { 12 };
    let name = format!("{:0long$x}", rng.below(1 << 40), long = long).into_bytes();
    let new = NewInode {
        mode: 0o644,
        uid: rng.below(5) as u32 * 70_000,
        gid: rng.below(3) as u32,
        project: None,
        keep_group: false,
    };
    let remember = |known: &mut Known, inode: InodeNr, is_dir: bool| {
        known.names.push(Name { dir, name: name.clone(), inode, is_dir });
        if is_dir && known.dirs.len() < 400 {
            known.dirs.push(inode);
        }
    };
    match rng.below(100) {
        0..22 => {
            let inode = editor.create(dir, &name, &new)?;
            remember(known, inode.nr(), false);
        }
        22..26 => {
            let inode = editor.mkdir(dir, &name, &NewInode { mode: 0o755, ..new })?;
            remember(known, inode.nr(), true);
        }
        26..29 => {
            let most = if rng.below(3) == 0 { 300 } else { 59 };
            let target = vec![b't'; 1 + rng.below(most) as usize];
            let inode = editor.symlink(dir, &name, &target, &new)?;
            remember(known, inode.nr(), false);
        }
        29..31 => {
            let kind = if rng.below(2) == 0 { mode::IFIFO } else { mode::IFCHR };
            let inode = editor.mknod(dir, &name, &NewInode { mode: kind | 0o600, ..new }, (1, 3))?;
            remember(known, inode.nr(), false);
        }
        31..34 => {
            if let Some(old) = rng.pick(&known.names).cloned().filter(|n| !n.is_dir) {
                editor.link(dir, &name, old.inode)?;
                remember(known, old.inode, false);
            }
        }
        34..56 => {
            if known.names.is_empty() {
                return Ok(());
            }
            let at = rng.below(known.names.len() as u64) as usize;
            let old = known.names.swap_remove(at);
            if old.is_dir {
                editor.rmdir(old.dir, &old.name)?;
                known.dirs.retain(|d| *d != old.inode);
            } else {
                editor.unlink(old.dir, &old.name)?;
            }
        }
        56..62 => {
            if known.names.is_empty() {
                return Ok(());
            }
            let at = rng.below(known.names.len() as u64) as usize;
            let old = known.names[at].clone();
            let rule = if rng.below(4) == 0 { RenameRule::Replace } else { RenameRule::Keep };
            let rename =
                Rename { from: old.dir, name: &old.name, to: dir, new_name: &name, rule, keep_replaced: false };
            editor.rename(&rename)?;
            known.names[at] = Name { dir, name, ..old };
        }
        kind => {
            let Some(old) = rng.pick(&known.names).cloned() else { return Ok(()) };
            let mut inode = editor.inode(old.inode)?;
            if inode.is_free() {
                return Ok(());
            }
            let bs = u64::from(editor.block_size());
            let at = rng.below(bs * 40);
            match kind {
                62..74 if inode.is_file() => {
                    let bytes = vec![rng.below(256) as u8; rng.below(bs * 3) as usize];
                    editor.write_content(&mut inode, at, &bytes)?;
                }
                74..79 if inode.is_file() => editor.truncate(&mut inode, at)?,
                79..83 if inode.is_file() => editor.punch(&mut inode, at / bs..at / bs + rng.below(10))?,
                83..85 if inode.is_file() => {
                    let fill = if rng.below(2) == 0 { Fill::Unwritten } else { Fill::Zeroes };
                    editor.fallocate(&mut inode, at..at + rng.below(bs * 20), fill, rng.below(2) == 0)?;
                }
                85..92 => {
                    let name = format!("user.{}", rng.below(6));
                    let len = if rng.below(10) == 0 { 3000 } else { 1 + rng.below(60) };
                    editor.set_xattr(&mut inode, name.as_bytes(), &vec![7; len as usize])?;
                }
                92..94 => editor.remove_xattr(&mut inode, format!("user.{}", rng.below(6)).as_bytes())?,
                94..96 => editor.set_owner(&mut inode, rng.below(9) as u32, rng.below(9) as u32)?,
                96 => editor.set_project(&mut inode, rng.below(4) as u32)?,
                97..99 if inode.is_file() || inode.is_dir() => {
                    let flags = inode.flags() ^ InodeFlags::DAX;
                    editor.set_flags(&mut inode, flags)?;
                }
                99 if inode.is_file() => {
                    let extents = !inode.flags().contains(InodeFlags::EXTENTS);
                    editor.convert_map(&mut inode, extents)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn open(image: &Path) -> (Arc<dyn BlockDevice>, Volume) {
    let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open(image, FileOptions::read_write()).expect("opens"));
    let options = OpenOptions { writable: true, ..OpenOptions::default() };
    let volume = Volume::open(Arc::clone(&device), &options).expect("a volume");
    (device, volume)
}

fn run(which: usize, args: &str, size: &str, edits: u64) -> (u64, u64) {
    let seed = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(which as u64 + 17);
    println!("{args}: seed {seed}");
    let mut rng = Rng(seed);
    let scratch = tempfile::tempdir().expect("a directory");
    let image = scratch.path().join("image");
    let mut mke2fs = vec!["-q", "-F"];
    mke2fs.extend(args.split_whitespace());
    let path = image.to_str().expect("text");
    mke2fs.extend([path, size]);
    let made = output(system("mke2fs").args(&mke2fs));
    assert!(made.status.success(), "{args}: {}", String::from_utf8_lossy(&made.stderr));
    let (device, mut volume) = open(&image);
    let mut known = Known { dirs: vec![InodeNr::ROOT], names: Vec::new() };
    let (mut refused, mut through_journal) = (0, 0);
    for edit in 1..=edits {
        let now = Timestamp { seconds: 1_700_000_000 + edit as i64, nanos: 3 };
        match volume.change(now, |editor| one(editor, &mut rng, &mut known)) {
            Ok(()) => {}
            Err(e) if is_expected(&e) => refused += 1,
            Err(e) => panic!("{args}, seed {seed}, edit {edit}: {e}"),
        }
        if edit % PIECE == 0 || edit == edits {
            let done = volume.commit(&image, 0, &*device, now).expect("committed");
            through_journal += u64::from(matches!(done, Committed::Journal(_)));
            judge::assert_clean(&image, &format!("{args}, seed {seed}, edit {edit}"));
        }
    }
    (refused, through_journal)
}

#[test]
fn a_million_edits_leave_clean_images() {
    let each = EDITS / KINDS.len() as u64;
    // Two at a time: there are images enough, and each takes its time with the judges.
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let which = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some((args, size)) = KINDS.get(which) else { break };
                    let start = std::time::Instant::now();
                    let (refused, through_journal) = run(which, args, size, each);
                    assert!(refused < each / 2, "{args}: {refused} of {each} edits were refused");
                    let has_journal = !args.contains("ext2");
                    assert_eq!(through_journal > 0, has_journal, "{args}");
                    println!("{args}: {each} edits, {refused} refused, in {:?}", start.elapsed());
                }
            });
        }
    });
}
