//! The entries of one block of a directory.

use daxkit_device::lanes::crc32c;
use daxkit_format::ext4::casefold;
use daxkit_format::ext4::dir_entry::{self, rec_len_from_disk};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::super_block::ENCODING_STRICT;

use super::htree::{Hasher, Role};
use super::inode_blocks::inode_seed;
use super::names::{Glance, Names};
use super::{Context, Dir, DirLink, Local};
use crate::code::Code;
use crate::finding::{At, Datum, Finding};
use crate::repair::{EntryFix, Fix};
use crate::state::{Kind, bits};

/// Bytes of a cipher's block: no name of an encrypted directory is shorter.
const CIPHER: usize = 16;

/// Names that are hashed side by side.
const AT_ONCE: usize = 8;

/// The names of a block on their way.
struct Run<'a> {
    /// Most names may be plain: nothing about the directory is special.
    plain: bool,
    /// No inode behind this one is the file system's own.
    last_own: u32,
    /// Names that are to be hashed together, and their quick hashes.
    waiting: [(&'a [u8], u32); AT_ONCE],
    count: usize,
    /// A name lies where the index does not look for it.
    misplaced: bool,
}

/// An entry as it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(crate) offset: usize,
    pub(crate) inode: u32,
    pub(crate) len: usize,
    pub(crate) file_type: u8,
    pub(crate) name: &'a [u8],
}

/// The entry at `offset`, if it can be one.
pub(crate) fn entry_at(area: &[u8], offset: usize, block_size: u32) -> Option<Raw<'_>> {
    let head = area.get(offset..offset + 8)?;
    let &[a, b, c, d, e, f, name_len, file_type] = head else { return None };
    let len = rec_len_from_disk(u16::from_le_bytes([e, f]), block_size) as usize;
    if len < 12 || !len.is_multiple_of(4) || offset + len > area.len() || usize::from(name_len) + 8 > len {
        return None;
    }
    let name = area.get(offset + 8..offset + 8 + usize::from(name_len))?;
    Some(Raw { offset, inode: u32::from_le_bytes([a, b, c, d]), len, file_type, name })
}

/// A block, or the inline part, that is being checked.
pub(crate) struct Block<'b, 'c> {
    pub(crate) cx: &'b Context<'c>,
    pub(crate) dir: &'b Dir,
    pub(crate) logical: u32,
    pub(crate) block: u64,
    pub(crate) bytes: &'b [u8],
    pub(crate) role: Option<Role>,
    pub(crate) hash: Option<Hasher>,
    pub(crate) local: &'b mut Local,
}

impl Block<'_, '_> {
    fn at(&self, offset: usize) -> At {
        At::Entry(self.dir.ino, self.logical, offset as u32)
    }

    fn whole(&self, code: Code) -> Finding {
        if self.dir.inline {
            return Finding::new(Code::DirInline, At::Logical(self.dir.ino, self.logical.into()))
                .fix(Fix::InlineDir(self.dir.ino));
        }
        Finding::new(code, At::Logical(self.dir.ino, self.logical.into())).fix(Fix::DirBlock(
            self.dir.ino,
            self.logical,
            self.block,
        ))
    }

    fn entry(&self, code: Code, raw: &Raw<'_>, fix: EntryFix) -> Finding {
        Finding::new(code, self.at(raw.offset)).stored(Datum::Name(raw.name.to_vec())).fix(Fix::Entry(
            self.dir.ino,
            self.logical,
            self.block,
            raw.offset as u32,
            fix,
        ))
    }

    /// Checks the block. Returns whether a name lies where the index does not look for it.
    pub(crate) fn check(&mut self, names: &mut Names) -> bool {
        let seed = inode_seed(self.cx.image, self.dir.ino, self.dir.generation);
        let bytes = self.bytes;
        let is_index = self.role == Some(Role::Index);
        let mut fits = true;
        let mut area = bytes;
        if let Some(seed) = seed
            && !is_index
        {
            match dir_entry::tail(bytes) {
                None => self.local.find(self.whole(Code::DirNoTail)),
                Some(tail) => {
                    area = bytes.get(..bytes.len() - 12).unwrap_or(bytes);
                    fits = tail.det_checksum.get() == crc32c(seed, area);
                }
            }
        }
        let before = self.local.findings.len();
        let misplaced = self.entries(area, 0, names);
        if !fits && self.local.findings.len() == before {
            self.local.find(self.whole(Code::DirChecksum));
        }
        misplaced
    }

    /// Checks the entries of an area that begins at byte `base` of the block.
    pub(crate) fn entries(&mut self, area: &[u8], base: usize, names: &mut Names) -> bool {
        const ODD: InodeFlags = InodeFlags::ENCRYPT.union(InodeFlags::CASEFOLD).union(InodeFlags::DAX);
        let image = self.cx.image;
        let block_size = image.geo.block_size;
        let (mut at, mut count) = (base, 0);
        let mut run = Run {
            plain: self.dir.ino != 2 && self.dir.flags & ODD.bits() == 0 && image.has.filetype,
            last_own: image.last_own_inode(),
            waiting: [(&[], 0); AT_ONCE],
            count: 0,
            misplaced: false,
        };
        while at < area.len() {
            let Some(raw) = entry_at(area, at, block_size) else {
                self.local.find(self.whole(Code::DirCorrupt).stored(at as u64));
                if self.logical == 0 && base == 0 && count < 2 {
                    self.local.dotdots.push((self.dir.ino, 0));
                }
                self.hashes(&mut run, names);
                return run.misplaced;
            };
            let head = self.logical == 0 && base == 0 && count < 2;
            match count {
                0 if head => self.dot(&raw),
                1 if head => self.dotdot(&raw),
                _ if raw.inode != 0 => {
                    if let Some(hash) = self.name(&raw, &run) {
                        names.add(hash);
                        self.place(&raw, hash, &mut run, names);
                    }
                }
                _ => {}
            }
            count += 1;
            at += raw.len;
        }
        if self.logical == 0 && base == 0 && count < 2 {
            self.local.find(self.whole(Code::DirDotDot));
            self.local.dotdots.push((self.dir.ino, 0));
        }
        self.hashes(&mut run, names);
        run.misplaced
    }

    /// Whether no zero follows the name, as it does behind `.` and `..` in what every kernel wrote.
    fn is_open_ended(&self, raw: &Raw<'_>) -> bool {
        self.bytes.get(raw.offset + 8 + raw.name.len()).is_some_and(|b| *b != 0)
    }

    fn dot(&mut self, raw: &Raw<'_>) {
        if raw.name != b"." || raw.inode == 0 || self.is_open_ended(raw) {
            let finding = self.whole(Code::DirDot).stored(Datum::Name(raw.name.to_vec()));
            self.local.find(finding);
        } else if raw.inode != self.dir.ino {
            let finding = self.entry(Code::DirDot, raw, EntryFix::Target(self.dir.ino, 2)).observed(self.dir.ino);
            self.local.find(finding);
        } else if raw.len >= 24 {
            let finding = self.whole(Code::DirDot).stored(raw.len as u64).observed(12u32);
            self.local.find(finding);
        } else {
            self.file_type(raw, Kind::Dir);
        }
        self.cx.inodes.name(self.dir.ino);
    }

    fn dotdot(&mut self, raw: &Raw<'_>) {
        if raw.name != b".." || raw.inode == 0 || self.is_open_ended(raw) {
            let finding = self.whole(Code::DirDotDot).stored(Datum::Name(raw.name.to_vec()));
            self.local.find(finding);
            self.local.dotdots.push((self.dir.ino, 0));
            return;
        }
        self.file_type(raw, Kind::Dir);
        self.local.dotdots.push((self.dir.ino, raw.inode));
    }

    /// An entry that is neither `.` nor `..`. Returns the quick hash of its name if it may stay.
    #[inline]
    fn name(&mut self, raw: &Raw<'_>, run: &Run<'_>) -> Option<u32> {
        let glance = Glance::at(raw.name);
        if run.plain && !glance.has_separator && self.plain_name(raw, run) {
            return Some(glance.hash);
        }
        self.odd_name(raw, glance).then_some(glance.hash)
    }

    /// An entry that is not of the kind that nearly all are. Returns whether it may stay.
    fn odd_name(&mut self, raw: &Raw<'_>, glance: Glance) -> bool {
        let (cx, geo) = (self.cx, &self.cx.image.geo);
        let remove = EntryFix::Remove;
        let ino = raw.inode;
        if (ino != 2 && ino < geo.first_ino) || !cx.inodes.exists(ino) {
            let finding = self.entry(Code::EntryInode, raw, remove).observed(ino);
            self.local.find(finding);
            return false;
        }
        if matches!(raw.name, b"." | b"..") {
            let finding = self.entry(Code::DirDuplicateDot, raw, remove);
            self.local.find(finding);
            return false;
        }
        if ino == 2 {
            let finding = self.entry(Code::EntryDirLink, raw, remove);
            self.local.find(finding);
            return false;
        }
        if raw.name.is_empty() {
            let finding = self.entry(Code::EntryName, raw, remove);
            self.local.find(finding);
            return false;
        }
        if let Some(finding) = self.bad_name(raw, glance) {
            let removed = finding.code == Code::EntryEncrypted;
            self.local.find(finding);
            if removed {
                return false;
            }
        }
        let known = cx.inodes.get_and_name(ino);
        if known.kind == Kind::Free {
            self.unused(raw);
            return false;
        }
        let doomed = bits::RESERVED | bits::DOOMED;
        let in_bad_block = known.kind == Kind::Bad && known.bits & doomed == doomed && ino != 2;
        let holds_value = known.bits & bits::EA_INODE != 0 && known.kind == Kind::File && cx.image.has.ea_inode;
        if holds_value {
            let finding = self.entry(Code::EntryEaInode, raw, remove).observed(ino);
            self.local.find(finding);
            return false;
        }
        if in_bad_block || cx.image.is_own_inode(ino) {
            cx.inodes.unname(ino);
            let finding = self.entry(Code::EntryInode, raw, remove).observed(ino);
            self.local.find(finding);
            return false;
        }
        self.file_type(raw, known.kind);
        if self.dir.ino == 2 && raw.name == b"lost+found" && !matches!(known.kind, Kind::Dir | Kind::Bad) {
            let finding = self.entry(Code::LostFoundKind, raw, remove).observed("a directory");
            self.local.find(finding);
        }
        if known.kind == Kind::Dir {
            self.local.links.push(DirLink {
                child: ino,
                parent: self.dir.ino,
                logical: self.logical,
                offset: raw.offset as u32,
                block: self.block,
                is_lost_found: raw.name == b"lost+found",
            });
            // Which of its names counts is not known yet.
            cx.inodes.unname(ino);
        }
        if self.dir.has(InodeFlags::ENCRYPT)
            && known.bits & (bits::ENCRYPTED | bits::DOOMED) == 0
            && matches!(known.kind, Kind::File | Kind::Dir | Kind::Link)
        {
            let finding = self.entry(Code::EntryEncrypted, raw, remove);
            self.local.find(finding);
            return false;
        }
        if self.dir.has(InodeFlags::ENCRYPT)
            && known.bits & bits::ENCRYPTED != 0
            && !cx.has_policy_of(self.dir.ino, ino)
        {
            let finding = self.entry(Code::EntryEncrypted, raw, remove);
            self.local.find(finding);
            return false;
        }
        let has = known.bits & bits::DAX != 0;
        if has || self.dir.has(InodeFlags::DAX) {
            let dir = (self.dir.ino, InodeFlags::from_bits_retain(self.dir.flags));
            self.cx.dax_name(self.local, dir, (ino, known.kind, has), raw.name);
        }
        true
    }

    /// Notes where a name lies.
    #[inline]
    fn place<'a>(&mut self, raw: &Raw<'a>, hash: u32, run: &mut Run<'a>, names: &Names) {
        match self.role {
            None => {}
            Some(Role::Index) => run.misplaced |= raw.offset >= 24,
            Some(Role::Leaf(..)) => {
                if let Some(place) = run.waiting.get_mut(run.count) {
                    *place = (raw.name, hash);
                    run.count += 1;
                }
                if run.count == AT_ONCE {
                    self.hashes(run, names);
                }
            }
        }
    }

    /// Hashes the names that wait for it, and holds them against what the index says.
    fn hashes(&mut self, run: &mut Run<'_>, names: &Names) {
        let (Some(Role::Leaf(first, last)), Some(hasher)) = (self.role, self.hash) else { return };
        let waiting = run.waiting.iter().take(std::mem::take(&mut run.count));
        for ((_, quick), hash) in waiting.zip(hasher.of(&run.waiting.map(|(name, _)| name))) {
            let Some(hash) = hash else { continue };
            if names.by_leaf && (hash == first || hash | 1 == last) {
                // Names of this hash may lie in the leaf beside it as well.
                self.local.edges.push((self.dir.ino, *quick));
            }
            run.misplaced |= hash < first || hash > last;
        }
    }

    /// An entry of the kind that nearly all are: a name that is one, of an inode in use that is no directory and has nothing special,
    /// with the type that it has. Returns whether it was, and counts it.
    #[inline]
    fn plain_name(&mut self, raw: &Raw<'_>, run: &Run<'_>) -> bool {
        let (cx, ino) = (self.cx, raw.inode);
        ino >= cx.image.geo.first_ino
            && raw.name.first().is_some_and(|b| *b != b'.')
            && raw.file_type != Kind::Dir.file_type()
            && (ino > run.last_own || !cx.image.is_own_inode(ino))
            && cx.inodes.name_plain(&mut self.local.named, ino, raw.file_type)
    }

    /// An entry whose inode is not in use, or in a part of the table that was never looked at.
    fn unused(&mut self, raw: &Raw<'_>) {
        let image = self.cx.image;
        let group = (raw.inode - 1) / image.geo.inodes_per_group;
        let index = (raw.inode - 1) % image.geo.inodes_per_group;
        let scanned = self.cx.scanned(group);
        if index >= scanned && image.raw_inode(raw.inode).is_some_and(|bytes| bytes.get(0x1A..0x1C) != Some(&[0, 0])) {
            self.local.find(
                Finding::new(Code::GroupUnusedInUse, At::Group(group, "bg_itable_unused"))
                    .stored(image.geo.inodes_per_group - scanned)
                    .fix(Fix::Group(
                        group,
                        |desc, _| {
                            use daxkit_format::ext4::group_desc::GroupFlags;
                            super::groups::clear_flags(desc, GroupFlags::INODE_UNINIT);
                            desc.set_itable_unused(0);
                        },
                        0,
                    )),
            );
            return;
        }
        let finding = self.entry(Code::EntryUnused, raw, EntryFix::Remove).observed(raw.inode);
        self.local.find(finding);
    }

    fn file_type(&mut self, raw: &Raw<'_>, kind: Kind) {
        let expected = if self.cx.image.has.filetype { kind.file_type() } else { 0 };
        if raw.file_type == expected || kind == Kind::Bad {
            return;
        }
        let code = if raw.file_type == 0 { Code::EntryNoType } else { Code::EntryType };
        let finding =
            self.entry(code, raw, EntryFix::Type(expected)).observed(format!("{expected}, not {}", raw.file_type));
        self.local.find(finding);
    }

    fn bad_name(&self, raw: &Raw<'_>, glance: Glance) -> Option<Finding> {
        if self.dir.has(InodeFlags::ENCRYPT) {
            return (raw.name.len() < CIPHER).then(|| self.entry(Code::EntryEncrypted, raw, EntryFix::Remove));
        }
        if glance.has_separator {
            return Some(self.entry(Code::EntryName, raw, EntryFix::Dots));
        }
        let strict = self.cx.wishes.check_encoding || self.cx.image.sb.s_encoding_flags.get() & ENCODING_STRICT != 0;
        let folded = self.cx.image.has.casefold && self.dir.has(InodeFlags::CASEFOLD);
        (folded && strict && casefold::validate(raw.name).is_err())
            .then(|| self.entry(Code::EntryEncoding, raw, EntryFix::Ascii))
    }
}
