//! An image file under edit, and what is asked about it afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daxkit_device::{BlockDevice, FileDevice, FileOptions};
use daxkit_format::ext4::inode::Timestamp;
use daxkit_volume::ext4::edit::{NewInode, Rename, RenameRule};
use daxkit_volume::{EditError, Editor, InodeNr, OpenOptions, Volume};

use crate::common::{self, Mount, Rng};
use crate::model::{Kind, Model, Node, Op, ROOT, Rule};
use crate::tree;

pub struct Session {
    pub image: PathBuf,
    pub device: Arc<FileDevice>,
    pub volume: Volume,
    pub seconds: i64,
}

/// `mke2fs` that makes the same image each time.
pub fn mke2fs(dir: &Path, name: &str, args: &str, source: Option<&Path>, size: &str) -> PathBuf {
    let uuid = "5eed5eed-1234-4321-abcd-123456789abc";
    let extended = args.split_once(" -E ").map(|(_, e)| e.split(' ').next().unwrap_or_default());
    let args = match extended {
        Some(e) => args.replace(e, &format!("{e},hash_seed={uuid}")),
        None => format!("{args} -E hash_seed={uuid}"),
    };
    common::mke2fs(dir, name, &format!("{args} -U {uuid}"), source, size)
}

impl Session {
    pub fn open(image: &Path) -> Self {
        let device = FileDevice::open(image, FileOptions::read_write()).expect("image opens");
        let device = Arc::new(device);
        let volume = Self::volume(&device);
        Self { image: image.to_owned(), device, volume, seconds: 1_700_000_000 }
    }

    fn volume(device: &Arc<FileDevice>) -> Volume {
        let options = OpenOptions { writable: true, ..OpenOptions::default() };
        Volume::open(Arc::<FileDevice>::clone(device), &options).expect("a volume")
    }

    pub fn now(&self) -> Timestamp {
        Timestamp { seconds: self.seconds, nanos: 123_456_789 }
    }

    pub fn edit<T>(&mut self, edit: impl FnOnce(&mut Editor<'_>) -> Result<T, EditError>) -> Result<T, EditError> {
        self.seconds += 1;
        let now = self.now();
        self.volume.change(now, edit)
    }

    /// Carries out an operation; the number of the inode made, if any.
    pub fn apply(&mut self, op: &Op) -> Result<Option<u64>, EditError> {
        self.edit(|e| carry_out(e, op))
    }

    /// Writes the edits into the image and opens it anew.
    pub fn commit(&mut self) {
        let now = self.now();
        self.volume.commit(&self.image, 0, &*self.device, now).expect("committed");
        self.volume = Self::volume(&self.device);
    }

    /// What has been changed, as one number.
    pub fn state(&self) -> u64 {
        let overlay = self.volume.edits().expect("edits");
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut buf = Vec::new();
        for change in overlay.changes() {
            buf.resize((change.range.end - change.range.start) as usize, 0);
            overlay.read_at(change.range.start, &mut buf).expect("readable");
            for word in buf.chunks(8) {
                let word = word.iter().fold(0, |w, b| w << 8 | u64::from(*b));
                hash = (hash ^ word ^ change.range.start).wrapping_mul(0x100_0000_01b3).rotate_left(5);
            }
        }
        hash
    }
}

/// Carries out an operation; the number of the inode made, if any.
pub fn carry_out(e: &mut Editor<'_>, op: &Op) -> Result<Option<u64>, EditError> {
    let nr = InodeNr;
    Ok(match op {
        Op::Make { dir, name, mode, uid, gid, device } => {
            let new = NewInode { mode: *mode, uid: *uid, gid: *gid, project: None, keep_group: false };
            let made =
                if mode >> 12 == 4 { e.mkdir(nr(*dir), name, &new)? } else { e.mknod(nr(*dir), name, &new, *device)? };
            Some(made.nr().get())
        }
        Op::Symlink { dir, name, target } => Some(e.symlink(nr(*dir), name, target, &NewInode::of_root(0))?.nr().get()),
        Op::Link { dir, name, target } => {
            e.link(nr(*dir), name, nr(*target))?;
            None
        }
        Op::Unlink { dir, name } => {
            e.unlink(nr(*dir), name)?;
            None
        }
        Op::Rmdir { dir, name } => {
            e.rmdir(nr(*dir), name)?;
            None
        }
        Op::Rename { from, name, to, new_name, rule } => {
            let rule = match rule {
                Rule::Replace => RenameRule::Replace,
                Rule::Keep => RenameRule::Keep,
                Rule::Exchange => RenameRule::Exchange,
            };
            let (from, to) = (nr(*from), nr(*to));
            e.rename(&Rename { from, name, to, new_name, rule, keep_replaced: false })?;
            None
        }
    })
}

/// `dax-fsck -n` and `e2fsck -fn` are content, and the latter has no advice either.
pub fn assert_clean(image: &Path) {
    let text = common::judge::assert_clean(image, "after edits");
    for advice in ["ptimiz", "could be", "should be", "WARNING", "Pass 3A"] {
        assert!(!text.contains(advice), "e2fsck -fn {} says {advice}:\n{text}", image.display());
    }
}

/// What a volume has under every path, by number and in the terms of the model.
pub fn listing(volume: &Volume) -> BTreeMap<Vec<u8>, (u64, Node)> {
    let mut list = BTreeMap::new();
    for visit in volume.walk(volume.root().expect("root")) {
        let visit = visit.unwrap_or_else(|e| panic!("/{}: {}", e.path.escape_ascii(), e.error));
        let i = &visit.inode;
        let kind = match i.i_mode.get() >> 12 {
            4 => {
                let parent = volume.parent(i).expect("a parent").get();
                Kind::Dir { names: BTreeMap::new(), parent, folded: false }
            }
            0o12 => Kind::Symlink(volume.read_link(i).expect("a target")),
            2 | 6 => Kind::Device(i.device().0, i.device().1),
            _ => Kind::Plain,
        };
        let links = i.i_links_count.get().into();
        let node = Node { kind, mode: i.i_mode.get(), uid: i.uid(), gid: i.gid(), links };
        list.insert(visit.path.clone(), (i.nr().get(), node));
    }
    list
}

/// The volume holds what the model says, under every name, and finds each name.
pub fn assert_same(volume: &Volume, model: &Model, what: &str) {
    let found = listing(volume);
    let expected = model.listing();
    for (path, (nr, node)) in &expected {
        let mut node = (*node).clone();
        if let Kind::Dir { names, folded, .. } = &mut node.kind {
            for name in names.keys() {
                let dir = volume.inode(InodeNr(*nr)).expect("a directory");
                let entry = volume.lookup(&dir, name).expect("a sound directory");
                let entry =
                    entry.unwrap_or_else(|| panic!("{what}: /{}: no {}", path.escape_ascii(), name.escape_ascii()));
                assert_eq!(entry.inode.get(), names[name], "{what}: {}", name.escape_ascii());
            }
            names.clear();
            *folded = false;
        }
        assert_eq!(found.get(path), Some(&(*nr, node)), "{what}: /{}", path.escape_ascii());
    }
    for path in found.keys() {
        assert!(expected.contains_key(path), "{what}: /{} should not be there", path.escape_ascii());
    }
}

/// The kernel sees the same tree, and finds every name. Returns what it sees.
pub fn assert_kernel_agrees(image: &Path, volume: &Volume, options: &str) {
    let at = image.with_extension("mnt");
    let _mount = Mount::new(image, &at, options);
    let (ours, theirs) = (tree::of_volume(volume), tree::of_host(&at));
    tree::assert_same(&ours, &theirs, &image.display().to_string(), |_| false, true);
}

/// Makes up operations.
pub struct Script {
    pub rng: Rng,
    /// Share of operations, of 100, that make something.
    pub growth: u64,
    /// Only letters, so that case can be told.
    pub plain: bool,
    pub max_name: u64,
}

impl Script {
    fn name(&mut self) -> Vec<u8> {
        let len = match self.rng.below(100) {
            0..50 => 1 + self.rng.below(12),
            50..85 => 13 + self.rng.below(70),
            85..99 => 200 + self.rng.below(56),
            _ => 256,
        };
        let len = if len == 256 { 256 } else { len.min(self.max_name) };
        (0..len)
            .map(|_| match self.rng.below(if self.plain { 54 } else { 60 }) {
                n @ 0..26 => b'a' + n as u8,
                n @ 26..52 => b'A' + (n - 26) as u8,
                52 => b'.',
                53 => b'_',
                54 => b' ',
                55 => b'\n',
                _ => 0x80 + self.rng.below(128) as u8,
            })
            .collect::<Vec<u8>>()
    }

    fn dir(&mut self, model: &Model) -> u64 {
        // Some directories get most of it.
        let few = model.dirs.len().min(4) as u64;
        let among = if self.rng.below(3) > 0 { few } else { model.dirs.len() as u64 };
        model.dirs[self.rng.below(among) as usize]
    }

    fn existing(&mut self, model: &Model, dir: u64) -> Option<Vec<u8>> {
        let names = model.names(dir);
        if names.is_empty() {
            return None;
        }
        // A name near some random one.
        let near = self.name();
        let found = names.range(near..).next().or_else(|| names.iter().next());
        // e2fsck wants that one to stay.
        let mut name = found.map(|(n, _)| n.clone()).filter(|n| n != b"lost+found")?;
        if self.plain && self.rng.below(4) == 0 {
            name.make_ascii_uppercase();
        }
        Some(name)
    }

    fn new_or_old(&mut self, model: &Model, dir: u64, old: u64) -> Vec<u8> {
        if self.rng.below(100) < old
            && let Some(name) = self.existing(model, dir)
        {
            return name;
        }
        let name = self.name();
        if matches!(name.as_slice(), b"." | b"..") { b"dots".to_vec() } else { name }
    }

    pub fn next(&mut self, model: &Model) -> Op {
        let dir = self.dir(model);
        if self.rng.below(100) < self.growth {
            let name = self.new_or_old(model, dir, 5);
            return match self.rng.below(100) {
                0..20 => {
                    let mode = 0o040_000 | [0o755, 0o2775, 0o1777][self.rng.below(3) as usize];
                    Op::Make { dir, name, mode, uid: 1000, gid: 70_000, device: (0, 0) }
                }
                20..70 => Op::Make { dir, name, mode: 0o100_644, uid: 70_000, gid: 7, device: (0, 0) },
                70..78 => {
                    let mode = [0o010_600, 0o020_640, 0o060_660, 0o140_755][self.rng.below(4) as usize];
                    let minor = if self.rng.below(2) == 0 { 3 } else { 300_000 };
                    let device =
                        if matches!(mode >> 12, 2 | 6) { (1 + self.rng.below(300) as u32, minor) } else { (0, 0) };
                    Op::Make { dir, name, mode, uid: 0, gid: 0, device }
                }
                78..88 => {
                    let len = [0, 5, 59, 60, 61, 130, 1000, 1023, 1024, 4095, 4096][self.rng.below(11) as usize];
                    Op::Symlink { dir, name, target: (0..len).map(|i| b'a' + (i % 26) as u8).collect() }
                }
                _ => {
                    let numbers: Vec<u64> = model.nodes.keys().copied().collect();
                    Op::Link { dir, name, target: numbers[self.rng.below(numbers.len() as u64) as usize] }
                }
            };
        }
        let name = self.new_or_old(model, dir, 97);
        match self.rng.below(100) {
            0..45 => Op::Unlink { dir, name },
            45..60 => Op::Rmdir { dir, name },
            _ => {
                let to = if self.rng.below(3) == 0 { dir } else { self.dir(model) };
                let new_name = self.new_or_old(model, to, 40);
                let rule = [Rule::Replace, Rule::Replace, Rule::Keep, Rule::Exchange][self.rng.below(4) as usize];
                Op::Rename { from: dir, name, to, new_name, rule }
            }
        }
    }
}

/// What the image has from the beginning.
pub fn adopt(volume: &Volume, model: &mut Model) {
    let mut paths: BTreeMap<Vec<u8>, u64> = BTreeMap::from([(Vec::new(), ROOT)]);
    for (path, (nr, node)) in listing(volume) {
        if path.is_empty() {
            *model.nodes.get_mut(&ROOT).expect("a root") = Node { links: 2, ..node };
            continue;
        }
        let slash = path.iter().rposition(|b| *b == b'/');
        let (above, name) = slash.map_or((&[][..], &path[..]), |s| (&path[..s], &path[s + 1..]));
        let mut node = node;
        if let Kind::Dir { folded, .. } = &mut node.kind {
            let flags = volume.inode(InodeNr(nr)).expect("there").i_flags.get();
            *folded = flags & 0x4000_0000 != 0;
            node.links = 2;
        }
        model.adopt(paths[above], name, nr, node);
        paths.insert(path, nr);
    }
}
