//! Extended attributes: those in inodes, in blocks that several inodes share, and values in inodes of their own.

use daxkit_format::OnDisk;
use daxkit_format::ext4::inode::Inode as DiskInode;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::xattr::{
    self, MAGIC, XattrEntry, XattrHeader, entry_hash, entry_hash_signed, entry_len, value_len, value_words,
};

use super::{Context, Local};
use crate::code::Code;
use crate::finding::{At, Finding};
use crate::repair::Fix;

/// `h_magic` of version 1, from before attributes came into the kernel.
const MAGIC_V1: u32 = 0xEA01_0000;

/// An area of attributes: its bytes, where the entries begin, what value offsets count from.
#[derive(Clone, Copy)]
pub(crate) struct Area<'a> {
    pub(crate) bytes: &'a [u8],
    first: usize,
    base: usize,
    /// Names are those of version 1, which has no index.
    old: bool,
}

/// What is wrong with an area, and at which entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) code: Code,
    pub(crate) offset: usize,
    /// The hash that the entry should have.
    pub(crate) hash: Option<u32>,
}

/// An entry of an area.
pub(crate) struct Entry<'a> {
    pub(crate) offset: usize,
    pub(crate) index: u8,
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) value_inum: u32,
    pub(crate) value_size: u32,
}

impl<'a> Area<'a> {
    pub(crate) fn block(bytes: &'a [u8]) -> Self {
        Self { bytes, first: 32, base: 0, old: false }
    }

    /// The area behind the fields of an inode; `None` when there is none.
    pub(crate) fn inode(raw: &'a [u8]) -> Option<Self> {
        let extra = usize::from(u16::from_le_bytes(raw.get(0x80..0x82)?.try_into().ok()?));
        let bytes = raw.get(128 + extra..)?;
        let magic = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
        (magic == MAGIC && bytes.len() > 4).then_some(Self { bytes, first: 4, base: 4, old: false })
    }

    fn is_block(self) -> bool {
        self.base == 0
    }

    /// The entries up to the first that cannot be.
    pub(crate) fn entries(self) -> Vec<Entry<'a>> {
        let mut entries = Vec::new();
        // A list that runs out of its area has been noticed elsewhere.
        let _ = self.walk(&mut |entry| {
            entries.push(entry);
            None
        });
        entries
    }

    /// Calls `each` for the entries, until it or the list says that something is wrong.
    fn walk(self, each: &mut dyn FnMut(Entry<'a>) -> Option<Wrong>) -> Option<Wrong> {
        let mut at = self.first;
        let wrong = |code, offset| Some(Wrong { code, offset, hash: None });
        let (bad_name, bad_value) = match self.is_block() {
            true => (Code::XattrName, Code::XattrValue),
            false => (Code::XattrInode, Code::XattrInode),
        };
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            match rest.get(..4) {
                None => return if self.is_block() { wrong(bad_name, at) } else { None },
                Some([0, 0, 0, 0]) => return None,
                Some(_) => {}
            }
            let Some(entry) = XattrEntry::peek(rest) else { return wrong(bad_name, at) };
            let len = usize::from(entry.e_name_len);
            let Some(name) = rest.get(16..16 + len) else { return wrong(bad_name, at) };
            let no_name = match self.old {
                true => len == 0 || entry.e_name_index != 0,
                false => entry.e_name_index == 0 && self.is_block(),
            };
            if rest.len() < entry_len(len) || no_name {
                return wrong(bad_name, at);
            }
            let size = entry.e_value_size.get();
            let mut value = &[][..];
            if entry.e_value_inum.get() == 0 {
                let from = self.base + usize::from(entry.e_value_offs.get());
                match usize::try_from(size).ok().and_then(|size| self.bytes.get(from..from.checked_add(size)?)) {
                    Some(bytes) => value = bytes,
                    None => return wrong(bad_value, at),
                }
            }
            let entry = Entry {
                offset: at,
                index: entry.e_name_index,
                name,
                value,
                value_inum: entry.e_value_inum.get(),
                value_size: size,
            };
            if let Some(wrong) = each(entry) {
                return Some(wrong);
            }
            at += entry_len(len);
        }
    }

    /// The first thing that is wrong with it.
    pub(crate) fn wrong(self) -> Option<Wrong> {
        let mut taken: Vec<(usize, usize)> = Vec::new();
        let mut end_of_entries = self.first;
        let mut hash = None;
        let bytes = self.bytes;
        let collision = if self.is_block() { Code::XattrCollision } else { Code::XattrInode };
        let found = self.walk(&mut |entry| {
            end_of_entries = entry.offset + entry_len(entry.name.len());
            if entry.value_inum == 0 && entry.value_size > 0 {
                let head = XattrEntry::peek(bytes.get(entry.offset..)?)?;
                let from = self.base + usize::from(head.e_value_offs.get());
                let to = (from + value_len(entry.value.len())).min(bytes.len());
                if taken.iter().any(|(a, b)| from < *b && *a < to) {
                    return Some(Wrong { code: collision, offset: entry.offset, hash: None });
                }
                taken.push((from, to));
            }
            if hash.is_none() {
                hash = self.wrong_hash(&entry);
            }
            None
        });
        if found.is_some() {
            return found;
        }
        // The four bytes of zero belong to the entries, where there is room for them.
        let end = end_of_entries + if end_of_entries > self.first { 4 } else { 0 };
        if taken.iter().any(|(from, _)| *from < end) {
            return Some(Wrong { code: collision, offset: self.first, hash: None });
        }
        hash
    }

    /// An entry whose hash does not fit. Values in inodes are hashed by these.
    fn wrong_hash(self, entry: &Entry<'_>) -> Option<Wrong> {
        let stored = XattrEntry::peek(self.bytes.get(entry.offset..)?)?.e_hash.get();
        if entry.value_inum != 0 || (!self.is_block() && stored == 0) {
            return None;
        }
        // Whole words are summed up, with whatever lies behind the value.
        let head = XattrEntry::peek(self.bytes.get(entry.offset..)?)?;
        let from = self.base + usize::from(head.e_value_offs.get());
        let value = self.bytes.get(from..from + value_len(entry.value.len())).unwrap_or(entry.value);
        let expected = entry_hash(entry.name, value_words(value));
        if stored == expected || stored == entry_hash_signed(entry.name, value_words(value)) {
            return None;
        }
        Some(Wrong { code: Code::XattrHash, offset: entry.offset, hash: Some(expected) })
    }
}

/// How an inode holds a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// Several may use it; it counts them, and its space counts for each.
    Counted,
    /// It belongs to one.
    Owned,
}

impl Context<'_> {
    /// The attributes in an inode.
    pub(crate) fn inode_xattrs(&self, local: &mut Local, ino: u32, raw: &[u8]) {
        let Some(area) = Area::inode(raw) else { return };
        let start = raw.len() - area.bytes.len();
        if let Some(wrong) = area.wrong() {
            let finding = Finding::new(wrong.code, At::Inode(ino, "")).stored(format!("entry at {:#x}", wrong.offset));
            let fix = match wrong.hash {
                Some(hash) => Fix::InodeWord(ino, start + wrong.offset + 12, hash),
                None => Fix::InodeWord(ino, start + wrong.offset, 0),
            };
            local.find(finding.fix(fix));
            return;
        }
        self.values(local, ino, area, &|offset| Fix::InodeWord(ino, start + offset, 0));
    }

    /// Values that lie in inodes of their own.
    fn values(&self, local: &mut Local, ino: u32, area: Area<'_>, cut: &dyn Fn(usize) -> Fix) {
        for entry in area.entries() {
            if entry.value_inum == 0 {
                continue;
            }
            match self.holder(&entry, ino, area) {
                Some(Holder::Counted) => *local.ea_inodes.entry(entry.value_inum).or_default() += 1,
                // Known, and not counted.
                Some(Holder::Owned) => *local.ea_inodes.entry(entry.value_inum).or_default() += 0,
                None => {
                    local.find(
                        Finding::new(Code::XattrEaInode, At::Inode(ino, ""))
                            .stored(entry.value_inum)
                            .fix(cut(entry.offset)),
                    );
                    return;
                }
            }
        }
    }

    /// How an inode holds the value of an entry; `None` when it does not.
    fn holder(&self, entry: &Entry<'_>, owner: u32, area: Area<'_>) -> Option<Holder> {
        let (ino, first) = (entry.value_inum, self.image.geo.first_ino);
        if !self.image.has.ea_inode || ino == owner || ino < first || !self.inodes.exists(ino) {
            return None;
        }
        let inode = self.image.raw_inode(ino).as_deref().and_then(DiskInode::from_disk)?;
        let holds = inode.is_file()
            && inode.i_links_count.get() > 0
            && inode.flags().contains(InodeFlags::EA_INODE)
            && inode.size() == u64::from(entry.value_size);
        if !holds {
            return None;
        }
        let stored = XattrEntry::peek(area.bytes.get(entry.offset..)?)?.e_hash.get();
        let words = || std::iter::once(inode.i_atime.get());
        if stored == entry_hash(entry.name, words()) || stored == entry_hash_signed(entry.name, words()) {
            return Some(Holder::Counted);
        }
        // Lustre's: the inode names its owner.
        let owned = self
            .has_inode(owner)
            .is_some_and(|owner_inode| inode.i_mtime.get() == owner && inode.i_generation == owner_inode.i_generation);
        owned.then_some(Holder::Owned)
    }

    /// Clusters of values in inodes of their own, and those inodes, which count for whoever has the attributes.
    pub(crate) fn value_space(&self, ino: u32, raw: &[u8], acl: u64) -> (u64, u64) {
        let cluster = self.image.block_size() as u64 * u64::from(self.image.geo.cluster_ratio);
        let space = |area: Area<'_>| -> (u64, u64) {
            let counted =
                |entry: &Entry<'_>| entry.value_inum != 0 && self.holder(entry, ino, area) == Some(Holder::Counted);
            let in_inodes = area.entries().into_iter().filter(counted);
            let one = |entry: Entry<'_>| u64::from(entry.value_size).div_ceil(cluster);
            in_inodes.fold((0, 0), |(clusters, inodes), entry| (clusters + one(entry), inodes + 1))
        };
        let block = Some(acl).filter(|b| self.image.is_block(*b, 1)).and_then(|b| self.image.block(b).ok());
        let (a, b) = (Area::inode(raw).map_or((0, 0), space), block.map_or((0, 0), |bytes| space(Area::block(&bytes))));
        (a.0 + b.0, a.1 + b.1)
    }

    /// The block of attributes of an inode. Returns whether there is one that counts.
    ///
    /// With `soft` it is an inline symbolic link's, which e2fsck does not count: either count will do.
    pub(crate) fn xattr_block(&self, local: &mut Local, ino: u32, block: u64, soft: bool) -> bool {
        let image = self.image;
        let clear = |code: Code| {
            Finding::new(code, At::Inode(ino, "i_file_acl_lo")).stored(block).fix(Fix::Inode(ino, clear_file_acl, 0))
        };
        if !image.has.ext_attr || !image.is_block(block, 1) {
            local.find(clear(Code::InodeFileAcl));
            return false;
        }
        let users = local.xattr_blocks.entry(block).or_insert(super::Users { uses: 0, soft: 0, ino });
        users.uses += 1;
        users.soft += u32::from(soft);
        true
    }

    /// The blocks of attributes: each is claimed and checked once, whoever uses it.
    pub(crate) fn xattr_blocks(&self, local: &mut Local) {
        let mut blocks: Vec<_> = local.xattr_blocks.iter().map(|(block, users)| (*block, *users)).collect();
        blocks.sort_unstable_by_key(|(block, _)| *block);
        for (block, users) in blocks {
            let (first, len) = self.image.clusters(block, 1);
            if self.blocks.mark(first, len) {
                local.twice.push((first, len));
            }
            self.shared_block(local, block, users);
        }
    }

    fn shared_block(&self, local: &mut Local, block: u64, users: super::Users) {
        let (uses, ino) = (users.uses, users.ino);
        let gone = |code: Code| Finding::new(code, At::Block(block)).fix(Fix::XattrBlockGone(block));
        let Ok(bytes) = self.image.block(block) else { return local.find(gone(Code::XattrBlock)) };
        let old = self.wishes.old_attributes;
        let magic = if old { MAGIC_V1 } else { MAGIC };
        let Some(header) = XattrHeader::peek(&bytes).filter(|h| h.h_magic.get() == magic && h.h_blocks.get() == 1)
        else {
            return local.find(gone(Code::XattrBlock));
        };
        let area = Area { old, ..Area::block(&bytes) };
        match area.wrong() {
            Some(Wrong { hash: Some(hash), offset, .. }) => {
                let finding = Finding::new(Code::XattrHash, At::Block(block)).stored(format!("entry at {offset:#x}"));
                local.find(finding.fix(Fix::XattrWord(block, offset + 12, hash)));
            }
            Some(wrong) => return local.find(gone(wrong.code)),
            None => {
                if self.image.seed.is_some_and(|seed| !xattr::verify_block(seed, block, &bytes)) {
                    let seal = Fix::XattrWord(block, 0, magic);
                    local.find(Finding::new(Code::XattrChecksum, At::Block(block)).fix(seal));
                }
                self.values(local, ino, area, &|offset| Fix::XattrWord(block, offset, 0));
            }
        }
        let stored = header.h_refcount.get();
        if stored != uses && stored != uses - users.soft {
            local.find(
                Finding::new(Code::XattrRefcount, At::Block(block))
                    .stored(stored)
                    .observed(uses)
                    .fix(Fix::XattrWord(block, 4, uses)),
            );
        }
    }
}

/// Takes the block of attributes from an inode.
pub(crate) fn clear_file_acl(raw: &mut [u8], _: u64) {
    crate::repair::edit_inode(raw, |inode| inode.set_file_acl(0));
}
