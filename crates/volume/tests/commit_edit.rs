//! `Volume::commit` by both ways, with the tool or the power gone before any write: the image is then the old one or the new one, for us
//! (who roll back and replay) and for e2fsck.

mod common;

use common::edit::{NOW, Rng, seed};
use daxkit_device::block::Geometry;
use daxkit_device::rollback::{honour, rollback_pending};
use daxkit_device::{BlockDevice, DeviceError, MemoryDevice};
use daxkit_volume::ext4::edit::NewInode;
use daxkit_volume::{Committed, EditError, Editor, InodeNr, OpenOptions, Volume};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A disk that is there for so many writes, and keeps what was flushed.
#[derive(Debug)]
struct Disk {
    /// What a process sees that comes after this one.
    cache: MemoryDevice,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    durable: MemoryDevice,
    /// Written and not flushed.
    pending: Vec<(u64, Vec<u8>)>,
    writes: usize,
    limit: usize,
}

impl Disk {
    fn new(content: &MemoryDevice, limit: usize) -> Self {
        let state = State { durable: content.snapshot(), pending: Vec::new(), writes: 0, limit };
        Self { cache: content.snapshot(), state: Mutex::new(state) }
    }

    /// What the power leaves: of what was not flushed, anything; but a superblock, of a file system or a journal, is whole or not there.
    fn after_power_cut(&self, rng: &mut Rng) -> MemoryDevice {
        let state = self.state.lock().expect("no panic");
        let disk = state.durable.snapshot();
        for (at, bytes) in &state.pending {
            for (part, at) in bytes.chunks(1024).zip((*at..).step_by(1024)).filter(|_| rng.below(2) == 0) {
                disk.write_at(at, part).expect("in range");
            }
        }
        disk
    }

    fn gone() -> DeviceError {
        DeviceError::BadSector { offset: 0 }
    }
}

impl BlockDevice for Disk {
    fn len(&self) -> u64 {
        self.cache.len()
    }

    fn geometry(&self) -> Geometry {
        self.cache.geometry()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        self.cache.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        let mut state = self.state.lock().expect("no panic");
        state.writes += 1;
        if state.writes > state.limit {
            return Err(Self::gone());
        }
        state.pending.push((offset, data.to_vec()));
        self.cache.write_at(offset, data)
    }

    fn flush(&self) -> Result<(), DeviceError> {
        let mut state = self.state.lock().expect("no panic");
        if state.writes > state.limit {
            return Err(Self::gone());
        }
        for (at, bytes) in std::mem::take(&mut state.pending) {
            state.durable.write_at(at, &bytes)?;
        }
        Ok(())
    }
}

/// Everything a reader finds: names, modes, links, sizes, flags, content, attributes.
fn state(volume: &Volume) -> Vec<String> {
    let mut lines = vec![format!("{:?}", volume.super_block().free_blocks_count())];
    for visit in volume.walk(volume.root().expect("a root")) {
        let visit = visit.unwrap_or_else(|e| panic!("/{}: {}", e.path.escape_ascii(), e.error));
        let i = &visit.inode;
        let mut sum = 0u64;
        if i.i_mode.get() >> 12 == 0o10 {
            let mut content = vec![0; usize::try_from(i.size()).expect("small")];
            let n = volume.read_at(i, 0, &mut content).expect("readable");
            content.truncate(n);
            sum = content.iter().fold(n as u64, |s, b| (s ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
        }
        let xattrs: Vec<_> = volume.xattrs(i).expect("sound").into_iter().map(|x| format!("{x:?}")).collect();
        lines.push(format!(
            "{} {} {:o} {} {} {:?} {sum:x} {xattrs:?}",
            visit.path.escape_ascii(),
            i.nr(),
            i.i_mode,
            i.i_links_count,
            i.size(),
            i.flags()
        ));
    }
    lines.sort();
    lines
}

fn open(device: Arc<dyn BlockDevice>, writable: bool) -> Volume {
    Volume::open(device, &OpenOptions { writable, ..OpenOptions::default() }).expect("a volume")
}

/// Makes, moves, removes and fills things.
fn edit(e: &mut Editor<'_>, files: u64) -> Result<(), EditError> {
    let dir = e.mkdir(InodeNr::ROOT, b"made", &NewInode::of_root(0o755))?.nr();
    for n in 0..files {
        let mut file = e.create(dir, format!("file {n}").as_bytes(), &NewInode::of_root(0o100_644))?;
        e.write_content(&mut file, n * 1000, &vec![n as u8 + 1; 3000])?;
    }
    for n in 0..6 {
        let old = e.lookup(&e.root()?, format!("d{n}").as_bytes())?.expect("there").inode;
        e.unlink(old, b"f3")?;
        let kept = e.lookup(&e.inode(old)?, b"f5")?.expect("there").inode;
        e.link(dir, format!("again {n}").as_bytes(), kept)?;
        let mut kept = e.inode(kept)?;
        e.set_xattr(&mut kept, b"user.a", &[n; 40])?;
        e.truncate(&mut kept, 4000)?;
    }
    e.change_super_block(|sb| sb.s_volume_name = *b"changed at once\0")
}

fn original(dir: &Path, options: &str) -> MemoryDevice {
    let source = dir.join("source");
    for d in 0..8 {
        std::fs::create_dir_all(source.join(format!("d{d}"))).expect("mkdir");
        for f in 0..8 {
            std::fs::write(source.join(format!("d{d}/f{f}")), vec![f as u8 + 1; 2500 * f]).expect("write");
        }
    }
    let image = common::mke2fs(dir, "made", options, Some(&source), "16M");
    MemoryDevice::from_bytes(&std::fs::read(image).expect("read"))
}

struct Case {
    original: MemoryDevice,
    files: u64,
    old: Vec<String>,
    new: Vec<String>,
    /// Where the image is said to lie; its rollback file does.
    image: PathBuf,
    /// Where e2fsck looks at it.
    copy: PathBuf,
}

impl Case {
    fn new(dir: &Path, original: MemoryDevice, files: u64) -> Self {
        let old = state(&open(Arc::new(original.snapshot()), false));
        let mut volume = open(Arc::new(original.snapshot()), true);
        volume.change(NOW, |e| edit(e, files)).expect("edited");
        let new = state(&volume);
        assert!(old.len() < new.len());
        Self { original, files, old, new, image: dir.join("image"), copy: dir.join("copy") }
    }

    /// Commits to a disk that is there for `limit` writes.
    fn commit(&self, limit: usize) -> (Arc<Disk>, Option<Committed>) {
        let disk = Arc::new(Disk::new(&self.original, limit));
        let mut volume = open(Arc::<Disk>::clone(&disk), true);
        volume.change(NOW, |e| edit(e, self.files)).expect("edited");
        let done = volume.commit(&self.image, 0, &*disk, NOW).ok();
        if done.is_some() {
            assert_eq!(state(&volume), self.new, "the volume goes on");
        }
        (disk, done)
    }

    /// What is found of the image afterwards: whether it is the new one.
    fn found(&self, left: MemoryDevice, check: bool, what: &str) -> bool {
        // The rollback file may be needed again.
        let rollback = daxkit_device::rollback::rollback_path(&self.image);
        let kept = std::fs::read(&rollback).ok();
        let left = Arc::new(left);
        let device: Arc<dyn BlockDevice> = Arc::<MemoryDevice>::clone(&left);
        let (device, _) = honour(&self.image, 0, device).unwrap_or_else(|e| panic!("{what}: {e}"));
        let volume = open(device, false);
        let found = state(&volume);
        let new = found == self.new;
        assert!(new || found == self.old, "{what}: neither the old state nor the new one: {found:#?}");
        if check {
            std::fs::write(&self.copy, left.to_vec()).expect("write");
            let out = common::output("e2fsck", &[&"-fy", &self.copy]);
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            assert!(out.status.code().is_some_and(|code| code <= 1), "{what}: {text}");
            // It replays a journal, and has nothing else to do.
            for complaint in ["? yes", "checksum", "FILE SYSTEM WAS MODIFIED"] {
                let replayed = complaint.starts_with("FILE") && text.contains("recovering journal");
                assert!(!text.contains(complaint) || replayed, "{what}: {text}");
            }
            let after = MemoryDevice::from_bytes(&std::fs::read(&self.copy).expect("read"));
            assert_eq!(state(&open(Arc::new(after), false)), found, "{what}: e2fsck agrees");
        }
        if let Some(kept) = kept {
            std::fs::write(&rollback, kept).expect("write");
        }
        new
    }

    /// Whatever write is the last.
    fn run(&self, wanted: fn(Committed) -> bool, rng: &mut Rng, what: &str) {
        let (mut olds, mut news) = (0, 0);
        for limit in 0.. {
            let (disk, done) = self.commit(limit);
            let what = format!("{what}, cut before write {limit}");
            let check = done.is_some() || limit % 16 == 5;
            let killed = self.found(disk.cache.snapshot(), check, &format!("{what}, killed"));
            for _ in 0..2 {
                let off = self.found(disk.after_power_cut(rng), check, &format!("{what}, power off"));
                // It can only have got less far; what is committed has got there.
                assert!((!off || killed) && (off || done.is_none()), "{what}");
            }
            olds += usize::from(!killed);
            news += usize::from(killed);
            if let Some(done) = done {
                assert!(wanted(done) && killed && !rollback_pending(&self.image), "{what}: {done:?}");
                break;
            }
            let _ = std::fs::remove_file(daxkit_device::rollback::rollback_path(&self.image));
        }
        assert!(olds > 3 && news >= 1, "{what}: {olds} old, {news} new");
    }
}

#[test]
fn through_the_journal_the_old_or_the_new_state_is_there() {
    let mut rng = Rng::new(seed(20));
    for options in
        ["-t ext4 -b 4096", "-t ext4 -b 1024 -O ^metadata_csum", "-t ext3 -b 1024", "-t ext4 -b 1024 -O bigalloc"]
    {
        let dir = common::scratch();
        let case = Case::new(dir.path(), original(dir.path(), options), 12);
        case.run(|done| matches!(done, Committed::Journal(_)), &mut rng, options);
    }
}

#[test]
fn in_place_the_old_or_the_new_state_is_there() {
    let mut rng = Rng::new(seed(21));
    for options in ["-t ext2 -b 1024", "-t ext4 -b 4096 -O ^has_journal"] {
        let dir = common::scratch();
        let case = Case::new(dir.path(), original(dir.path(), options), 12);
        case.run(|done| done == Committed::InPlace, &mut rng, options);
    }
}

#[test]
fn over_a_journal_that_has_to_be_replayed_the_old_or_the_new_state_is_there() {
    let mut rng = Rng::new(seed(22));
    let options = "-t ext4 -b 4096";
    let dir = common::scratch();
    let clean = Case::new(dir.path(), original(dir.path(), options), 3);
    // A commit that got as far as its commit block: the old state is what its replay gives.
    let pending = (0..)
        .map(|limit| clean.commit(limit).0.cache.snapshot())
        .find(|left| state(&open(Arc::new(left.snapshot()), false)) == clean.new)
        .expect("at some write");
    let volume = open(Arc::new(pending.snapshot()), false);
    assert!(volume.replay_overlay().is_some());
    let old = state(&volume);
    let again = |e: &mut Editor<'_>| -> Result<(), EditError> {
        let dir = e.lookup(&e.root()?, b"made")?.expect("there").inode;
        for n in 0..20 {
            e.mkdir(dir, format!("dir {n}").as_bytes(), &NewInode::of_root(0o700))?;
        }
        Ok(())
    };
    let mut volume = open(Arc::new(pending.snapshot()), true);
    volume.change(NOW, again).expect("edited");
    let new = state(&volume);
    let case = Case { original: pending, old, new, ..clean };
    let (mut olds, mut news) = (0, 0);
    for limit in 0.. {
        let disk = Arc::new(Disk::new(&case.original, limit));
        let mut volume = open(Arc::<Disk>::clone(&disk), true);
        volume.change(NOW, again).expect("edited");
        let done = volume.commit(&case.image, 0, &*disk, NOW).ok();
        let what = format!("cut before write {limit}");
        let killed = case.found(disk.cache.snapshot(), limit % 4 == 0, &what);
        case.found(disk.after_power_cut(&mut rng), limit % 4 == 0, &what);
        olds += usize::from(!killed);
        news += usize::from(killed);
        if let Some(done) = done {
            assert!(done == Committed::InPlace && killed, "{done:?}");
            break;
        }
        let _ = std::fs::remove_file(daxkit_device::rollback::rollback_path(&case.image));
    }
    assert!(olds > 5 && news == 1, "{olds} old, {news} new");
}
