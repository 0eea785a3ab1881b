//! Random calls. Few names, few slots and few pages, so that calls meet.

use crate::call::{Call, Fsx, On, Op, Pages, User, When};
use crate::pair::Kind;
use crate::random::Random;

const SLOTS: u64 = 5;
const PAGE: u64 = 4096;

const O_CREAT: u32 = 0o100;
const O_EXCL: u32 = 0o200;
const O_TRUNC: u32 = 0o1000;
const O_APPEND: u32 = 0o2000;
const O_DIRECTORY: u32 = 0o200_000;
const O_NOFOLLOW: u32 = 0o400_000;
const O_PATH: u32 = 0o10_000_000;
const O_TMPFILE: u32 = 0o20_000_000 | O_DIRECTORY;

pub(crate) struct Generator {
    random: Random,
    kind: Kind,
    /// Parts of the calls that are made alone, separated by commas (`DAXKIT_KERNEL_ONLY`): `open`, `names`, `data`, `flags`, `attributes`,
    /// `memory`, `mount`.
    only: Option<String>,
}

impl Generator {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        Self { random: Random(seed), kind, only: std::env::var("DAXKIT_KERNEL_ONLY").ok() }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random.below(n)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    fn dir(&mut self) -> &'static str {
        self.random.of::<&str>(&["", "", "/p", "/q", "/p/r", "/q/s", "/l"])
    }

    fn path(&mut self) -> String {
        let dir = self.dir();
        match self.below(60) {
            0 => format!("{dir}/"),
            1 => format!("{dir}/a/"),
            2 => format!("{dir}/p/."),
            3 => format!("{dir}/p/../a"),
            4 => format!("{dir}/{}", "n".repeat(255)),
            5 => format!("{dir}/{}", "n".repeat(256)),
            6 => format!("{dir}/q/"),
            _ => format!("{dir}/{}", self.random.of(&["a", "b", "c", "d", "e", "l", "m", "p", "q", "r", "s"])),
        }
    }

    fn file(&mut self) -> String {
        if self.one_in(4) {
            return self.path();
        }
        let dir = self.dir();
        format!("{dir}/{}", self.random.of(&["a", "b", "c", "d", "e"]))
    }

    fn folder(&mut self) -> String {
        if self.one_in(5) {
            return self.path();
        }
        (*self.random.of(&["/", "/p", "/q", "/p/r", "/q/s", "/r", "/s"])).to_owned()
    }

    fn slot(&mut self) -> usize {
        self.below(SLOTS) as usize
    }

    fn on(&mut self) -> On {
        match self.below(3) {
            0 => On::Slot(self.slot()),
            1 => On::Path(self.folder()),
            _ => On::Path(self.file()),
        }
    }

    fn mode(&mut self) -> u16 {
        *self.random.of(&[0o644, 0o666, 0o777, 0o755, 0o600, 0o000, 0o1777, 0o2775, 0o6755, 0o444])
    }

    fn offset(&mut self) -> u64 {
        match self.below(5) {
            0 => self.below(200),
            1 => self.below(20) * PAGE,
            2 => (self.below(20) * PAGE + 4090).saturating_add(self.below(12)),
            3 if self.one_in(10) => (1 << 32) + self.below(5 * PAGE),
            _ => self.below(20 * PAGE),
        }
    }

    fn len(&mut self) -> usize {
        match self.below(6) {
            0 => 0,
            1 => self.below(3 * PAGE) as usize,
            2 => PAGE as usize * (1 + self.below(2) as usize),
            _ => 1 + self.below(40) as usize,
        }
    }

    fn position(&mut self) -> Option<u64> {
        (!self.one_in(4)).then(|| self.offset())
    }

    fn open(&mut self) -> Op {
        let mut flags = *self.random.of(&[2, 2, 2, 2, 2, 0, 0, 0, 1, 1]);
        if self.one_in(40) {
            flags = 3;
        }
        if self.one_in(12) {
            return Op::Open(self.slot(), self.folder(), flags | O_TMPFILE, self.mode());
        }
        for (flag, odds) in
            [(O_CREAT, 2), (O_EXCL, 8), (O_TRUNC, 8), (O_APPEND, 7), (O_NOFOLLOW, 6), (O_DIRECTORY, 12), (O_PATH, 12)]
        {
            if self.one_in(odds) {
                flags |= flag;
            }
        }
        // Without the other the kernel does what it likes with the one.
        if flags & O_CREAT == 0 {
            flags &= !O_EXCL;
        }
        let mut path = if flags & O_DIRECTORY != 0 || self.one_in(8) { self.folder() } else { self.file() };
        if flags & O_CREAT != 0 && path == "/" {
            path.push('p');
        }
        if flags & O_DIRECTORY != 0 && !self.one_in(4) {
            flags &= !(O_CREAT | 3);
        }
        Op::Open(self.slot(), path, flags, self.mode())
    }

    /// Not of the root, which is a mount point to the one and no name to the other.
    fn name(&mut self) -> Op {
        let op = self.any_name();
        let root = |path: &String| path == "/";
        let roots = match &op {
            Op::Rename(old, new, _) | Op::Link(old, new) => root(old) || root(new),
            Op::Mkdir(path, _)
            | Op::Mknod(path, ..)
            | Op::Symlink(_, path)
            | Op::LinkFile(_, path)
            | Op::Unlink(path)
            | Op::Rmdir(path)
            | Op::Readlink(path) => root(path),
            _ => false,
        };
        if roots { Op::Readdir("/".to_owned()) } else { op }
    }

    fn any_name(&mut self) -> Op {
        match self.below(30) {
            0..5 => {
                let path = if self.one_in(3) { self.path() } else { self.folder() };
                Op::Mkdir(path, self.mode())
            }
            5..7 => {
                let kind = *self.random.of(&[0o1_0000, 0o2_0000, 0o6_0000, 0o14_0000, 0o10_0000, 0]);
                Op::Mknod(self.path(), kind | self.mode(), 0xFE07)
            }
            7..10 => {
                let target = match self.below(8) {
                    0 => "x".repeat(70),
                    1 => String::new(),
                    2 => "l".to_owned(),
                    _ => (*self.random.of(&["p", "a", "b", "p/r", "m", "q/"])).to_owned(),
                };
                Op::Symlink(target, if self.one_in(2) { "/l".to_owned() } else { self.path() })
            }
            10..13 => Op::Link(self.file(), self.path()),
            13..14 => Op::LinkFile(self.slot(), self.file()),
            14..17 => Op::Unlink(self.path()),
            17..19 => Op::Rmdir(self.folder()),
            19..24 => {
                let (old, new) = match self.below(3) {
                    0 => (self.folder(), self.folder()),
                    1 => (self.path(), self.path()),
                    _ => (self.file(), self.file()),
                };
                Op::Rename(old, new, self.below(3) as u32)
            }
            24..26 => Op::Readdir(self.folder()),
            26..27 => Op::Readlink(self.path()),
            27..29 => Op::Stat(self.path(), self.one_in(2)),
            _ => Op::Fstat(self.slot()),
        }
    }

    fn data(&mut self) -> Op {
        let slot = self.slot();
        match self.below(20) {
            0..6 => Op::Write(slot, self.position(), self.below(256) as u8, self.len()),
            6..10 => Op::Read(slot, self.position(), self.len()),
            10..12 => Op::Ftruncate(slot, self.size()),
            12..13 => Op::Truncate(self.file(), self.size()),
            13..16 => {
                let mode = *self.random.of(&[0, 1, 3, 3, 8, 0x10, 0x11, 0x20, 0x40, 0x41]);
                let aligned = mode & 0x28 != 0 && !self.one_in(6);
                let offset = self.offset();
                let len = self.below(4 * PAGE);
                let (offset, len) =
                    if aligned { (offset / PAGE * PAGE, PAGE * (1 + len / PAGE)) } else { (offset, len) };
                Op::Fallocate(slot, mode, offset as i64, len as i64)
            }
            16..19 => {
                let offset = if self.one_in(9) { -1 - self.below(100) as i64 } else { self.offset() as i64 };
                Op::Seek(slot, offset, self.below(5) as u32)
            }
            _ if self.one_in(8) => Op::Sync,
            _ => Op::Fsync(slot, self.one_in(2)),
        }
    }

    fn size(&mut self) -> i64 {
        match self.below(12) {
            0 => 0,
            1 => -1,
            2 => (1 << 40) + self.below(5000) as i64,
            _ => self.offset() as i64,
        }
    }

    fn bits(&mut self) -> u32 {
        const DAX: u32 = 0x0200_0000;
        const USUAL: [u32; 16] = [
            DAX,
            DAX,
            DAX,
            0x10,
            0x20,
            0x40,
            0x80,
            0x08,
            0x4000,
            0x2000_0000,
            0x1_0000,
            0x2_0000,
            0x800,
            0x10_0000,
            0x4000_0000,
            0x1000_0000,
        ];
        match self.below(8) {
            0 => 1 << self.below(32),
            1 => *self.random.of(&USUAL) | *self.random.of(&USUAL) | *self.random.of(&USUAL),
            2 => *self.random.of(&USUAL) | *self.random.of(&USUAL),
            3 => self.random.next() as u32 & 0x63FF_FFFF,
            _ => *self.random.of(&USUAL),
        }
    }

    fn xbits(&mut self) -> u32 {
        const USUAL: [u32; 12] = [0x8000, 0x8000, 0x8000, 0x8, 0x10, 0x20, 0x40, 0x80, 0x200, 0x800, 0x1000, 0x1_0000];
        match self.below(8) {
            0 => 1 << self.below(32),
            1 => *self.random.of(&USUAL) | *self.random.of(&USUAL) | *self.random.of(&USUAL),
            2 => *self.random.of(&USUAL) | *self.random.of(&USUAL),
            3 => self.random.next() as u32,
            _ => *self.random.of(&USUAL),
        }
    }

    fn flags(&mut self) -> Op {
        let on = self.on();
        let extents = if self.kind == Kind::Ext4 { 0x8_0000 } else { 0 };
        match self.below(10) {
            0..1 => Op::GetFlags(on),
            1..2 => Op::GetFsx(on),
            // No map is made anew: EXTENTS stays, where there is such a bit.
            2..5 => Op::ToggleFlags(on, self.bits() & !extents),
            5..6 => Op::SetFlags(on, self.bits() & !extents | if self.one_in(8) { 0x8_0000 } else { extents }),
            6..8 => Op::ToggleFsx(on, self.xbits()),
            8..9 => Op::Loosen(if self.one_in(2) { self.folder() } else { self.file() }),
            _ => Op::SetFsx(
                on,
                Fsx {
                    xflags: self.xbits(),
                    extsize: *self.random.of(&[0, 0, 4096, 8192, 5, 1 << 20]),
                    projid: *self.random.of(&[0, 0, 0, 1, 42, u32::MAX]),
                    cowextsize: *self.random.of(&[0, 0, 4096, 7, 1 << 20]),
                },
            ),
        }
    }

    fn attribute(&mut self) -> Op {
        let on = self.on();
        match self.below(10) {
            0..2 => Op::Chmod(on, self.mode()),
            2..4 => Op::Chown(on, *self.random.of(&[0, 1000, 1000, 70_000]), *self.random.of(&[0, 1000, 1000, 70_000])),
            4..5 => Op::Utimens(on, self.when(), self.when()),
            5..8 => {
                let name = self.xattr();
                let value = (!self.one_in(3)).then(|| self.below(300) as usize);
                Op::SetXattr(on, name, value)
            }
            8..9 => Op::GetXattr(on, self.xattr()),
            _ => Op::ListXattr(on),
        }
    }

    fn when(&mut self) -> When {
        *self.random.of(&[When::Now, When::Omit, When::At(5), When::At(1_000_000)])
    }

    fn xattr(&mut self) -> String {
        let space = *self.random.of(&["user.", "user.", "user.", "trusted.", "security.", "other."]);
        format!("{space}{}", self.below(4))
    }

    fn pages(&mut self) -> Pages {
        Pages { first: self.below(24), count: self.below(8) }
    }

    fn memory(&mut self) -> Op {
        let pages = self.pages();
        let address = pages.first * PAGE + if self.one_in(3) { 4080 + self.below(20) } else { self.below(PAGE) };
        let len = if self.one_in(4) { self.below(2 * PAGE) } else { self.below(30) } as usize;
        match self.below(24) {
            0..5 => {
                let slot = (!self.one_in(12)).then(|| self.slot());
                let (prot, flags) =
                    (*self.random.of(&[3, 3, 3, 1, 2, 0]), *self.random.of(&[1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 0x8_0003]));
                // Shared memory without a file is a file system of its own (tmpfs).
                let flags = if slot.is_none() && flags == 1 { 2 } else { flags };
                Op::Mmap { at: pages, slot, offset: self.below(16), prot, flags }
            }
            5..7 => Op::Munmap(pages),
            7..8 => Op::Mprotect(pages, *self.random.of(&[0, 1, 3, 2])),
            // Which neighbours are one mapping is the kernel's own business: what grows is one page.
            8..9 if self.one_in(2) => Op::Mremap(Pages { count: pages.count.min(1), ..pages }, self.below(10)),
            8..9 => Op::Mremap(pages, self.below(pages.count + 1)),
            9..10 => Op::Msync(pages, *self.random.of(&[1, 4])),
            10..12 => Op::Madvise(pages, *self.random.of(&[3, 4, 9, 10, 20, 21, 22, 23])),
            12..16 => Op::Load(address, len),
            16..21 => Op::Store(address, self.below(256) as u8, len),
            21..22 => Op::ReadTo(self.slot(), self.offset(), address, len),
            22..23 => Op::WriteFrom(self.slot(), self.offset(), address, len),
            _ => self.data(),
        }
    }

    fn mount(&mut self) -> Op {
        match self.below(8) {
            0..2 => Op::Remount(true),
            2..6 => Op::Remount(false),
            6 => {
                let ops = (0..self.below(5))
                    .map(|_| match self.below(6) {
                        0 => Op::Freeze,
                        1 => Op::Remount(self.one_in(2)),
                        2 => Op::Stat(self.path(), true),
                        3 => Op::GetFlags(self.on()),
                        4 => Op::Read(self.slot(), self.position(), self.len()),
                        _ => Op::Readdir(self.folder()),
                    })
                    .collect();
                Op::Frozen(ops)
            }
            _ => Op::Thaw,
        }
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.split(',').any(|one| one == part))
    }

    /// The next call.
    pub(crate) fn call(&mut self) -> Call {
        loop {
            let user = if self.one_in(4) { User::Plain } else { User::Root };
            let (part, op) = match self.below(100) {
                0..16 => ("open", self.open()),
                16..18 => ("open", Op::Close(self.slot())),
                18..36 => ("names", self.name()),
                36..56 => ("data", self.data()),
                56..68 => ("flags", self.flags()),
                68..75 => ("attributes", self.attribute()),
                75..98 => ("memory", self.memory()),
                _ => ("mount", self.mount()),
            };
            // Links of others' files are refused where the machine's owner wants that (`fs.protected_hardlinks`).
            let root = matches!(
                op,
                Op::Link(..) | Op::LinkFile(..) | Op::Loosen(_) | Op::Remount(_) | Op::Frozen(_) | Op::Thaw | Op::Sync
            );
            if self.wants(part) {
                return Call { user: if root { User::Root } else { user }, op };
            }
        }
    }
}
