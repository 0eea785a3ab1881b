//! Inodes: their fields, and whatever hangs on them.

use super::DumpError;
use super::content::short;
use super::cover::Cover;
use super::fields::{Known, fields};
use super::image::{Geometry, Image};
use super::maps::Sink;
use daxkit_format::ext4::inode::{self, Inode, Timestamp, mode};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::quota::QuotaKind;
use daxkit_format::field::{Structure, format_time, quote};

/// Inodes read at once.
const CHUNK: u64 = 64 << 10;

/// What the blocks of an inode hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    File,
    Directory,
    Symlink,
    Journal,
    Quota(QuotaKind),
    Orphans,
}

/// An inode being printed.
pub(super) struct Subject {
    pub(super) ino: u32,
    pub(super) inode: Inode,
    pub(super) role: Role,
    /// Seed of the checksums of its blocks.
    pub(super) seed: Option<u32>,
}

impl Image<'_> {
    pub(super) fn inode_table(
        &mut self,
        geo: &Geometry,
        group: u32,
        block: u64,
        bitmap: &[u8],
    ) -> Result<(), DumpError> {
        let Some(range) = self.table_range(geo, block) else { return Ok(()) };
        if !self.tables.contains(range.clone()) {
            return Ok(());
        }
        self.tables.remove(range.clone());
        let size = u64::from(geo.inode_size);
        let mut at = range.start;
        while at < range.end {
            let data = self.data_from(at)?.unwrap_or(range.end).min(range.end);
            at = range.start + (data - range.start) / size * size;
            if data == range.end {
                break;
            }
            let n = (range.end - at).min(CHUNK);
            let chunk = self.read(at, n as usize)?;
            for (i, raw) in (0..).zip(chunk.chunks_exact(size as usize)) {
                if raw.iter().all(|b| *b == 0) {
                    continue;
                }
                let index = (at - range.start) / size + i;
                let used = usize::try_from(index / 8)
                    .ok()
                    .and_then(|byte| bitmap.get(byte))
                    .is_some_and(|b| b >> (index % 8) & 1 == 1);
                let ino = u64::from(group) * u64::from(geo.inodes_per_group) + index + 1;
                if let Ok(ino) = u32::try_from(ino) {
                    self.inode(geo, ino, raw, used)?;
                }
            }
            at += n;
        }
        Ok(())
    }

    fn role(&self, ino: u32, inode: &Inode) -> Role {
        let sb = &self.sb;
        let quotas = [
            (sb.s_usr_quota_inum.get(), QuotaKind::User),
            (sb.s_grp_quota_inum.get(), QuotaKind::Group),
            (sb.s_prj_quota_inum.get(), QuotaKind::Project),
        ];
        if ino == sb.s_journal_inum.get() {
            return Role::Journal;
        }
        if let Some((_, kind)) = quotas.iter().find(|(n, _)| *n == ino) {
            return Role::Quota(*kind);
        }
        if ino == sb.s_orphan_file_inum.get() {
            return Role::Orphans;
        }
        match inode.file_type() {
            mode::IFDIR => Role::Directory,
            mode::IFLNK => Role::Symlink,
            _ => Role::File,
        }
    }

    fn inode(&mut self, geo: &Geometry, ino: u32, raw: &[u8], used: bool) -> Result<(), DumpError> {
        let Some(inode) = Inode::from_disk(raw) else { return Ok(()) };
        let subject = Subject {
            ino,
            inode,
            role: self.role(ino, &inode),
            seed: geo.seed.map(|s| inode::checksum_seed(s, ino, inode.i_generation.get())),
        };
        let kind = match inode.file_type() {
            mode::IFREG => "file",
            mode::IFDIR => "dir",
            mode::IFLNK => "symlink",
            mode::IFCHR => "chr",
            mode::IFBLK => "blk",
            mode::IFIFO => "fifo",
            mode::IFSOCK => "sock",
            _ => "other",
        };
        // Reserved inodes that nobody uses have a checksum and nothing else.
        let mut bare = vec![0; raw.len()];
        if let Some(seed) = geo.seed {
            inode::seal(seed, ino, &mut bare);
            if raw == bare {
                writeln!(self.out, "inode:{ino} empty{}", if used { "" } else { " free" })?;
                return Ok(());
            }
        }
        let name = self.names.get(ino).map(|n| format!(" {}", quote(n))).unwrap_or_default();
        writeln!(self.out, "inode:{ino} {kind}{}{name}", if used { "" } else { " free" })?;
        let mut cover = Cover::new(raw);
        let extra_end = self.inode_fields(geo, &subject, &mut cover)?;
        let mut sink = Sink::new(subject.role);
        self.i_block(&subject, &mut cover, used, &mut sink)?;
        self.inode_xattrs(&mut cover, extra_end)?;
        cover.rest(self.out, "  ", "", 0)?;
        if used {
            self.map_blocks(geo, &subject, &mut sink)?;
            self.finish(geo, &subject, sink)?;
            self.xattr_block(geo, inode.file_acl())?;
        }
        Ok(())
    }

    /// Prints the fields; returns where the extra fields end.
    fn inode_fields(&mut self, geo: &Geometry, s: &Subject, cover: &mut Cover<'_>) -> Result<usize, DumpError> {
        let raw = cover.bytes();
        let (end, sound) = fields_end(raw);
        let high = inode::checksum_has_high(raw) && sound;
        let sum = geo.seed.map(|seed| inode::checksum(seed, s.ino, raw));
        let whole = sum.filter(|sum| {
            let i = &s.inode;
            high && *sum == u32::from(i.i_checksum_hi.get()) << 16 | u32::from(i.l_i_checksum_lo.get())
        });
        if whole.is_some() && cover.take(0x7C..0x7E) {
            cover.mark(0x82..0x84);
            writeln!(self.out, "  .i_checksum ok")?;
        }
        let known = |name: &str| match name {
            "i_block" => Some(Known::Elsewhere),
            "l_i_checksum_lo" => sum.map(|sum| Known::Fits(u64::from(sum & 0xffff))),
            _ => time(&s.inode, name, end),
        };
        fields(self.out, cover, Structure::Inode, 0, end, &known)?;
        Ok(end)
    }

    /// The sixty bytes of `i_block`, by what they are. Blocks they lead to are left to `sink`.
    fn i_block(&mut self, s: &Subject, cover: &mut Cover<'_>, used: bool, sink: &mut Sink) -> Result<(), DumpError> {
        const AT: usize = 0x28;
        let block = s.inode.i_block;
        if block.iter().all(|b| *b == 0) {
            return Ok(());
        }
        let flags = s.inode.flags();
        let mapped = matches!(s.inode.file_type(), mode::IFREG | mode::IFDIR | mode::IFLNK)
            || s.role != Role::File
            || s.ino < 11;
        let fast_symlink = s.inode.is_symlink() && s.inode.size() < 60 && !flags.contains(InodeFlags::EXTENTS);
        if flags.contains(InodeFlags::INLINE_DATA) || fast_symlink {
            writeln!(self.out, "  .i_block {}", short(&block))?;
        } else if flags.contains(InodeFlags::EXTENTS) {
            // Marks what it prints; the rest of i_block is printed with what is left over.
            return self.extent_root(s, cover, AT, used, sink);
        } else if mapped {
            self.indirect_root(&block, used, sink)?;
        } else if let Some((major, minor)) = device(&s.inode) {
            writeln!(self.out, "  .i_block device {major}:{minor}")?;
        } else {
            writeln!(self.out, "  .i_block {}", short(&block))?;
        }
        cover.mark(AT..AT + 60);
        Ok(())
    }
}

/// Where the fields of an inode end, and whether its `i_extra_isize` lies inside it: one that does not is a field, what it would
/// cover is none.
pub(crate) fn fields_end(raw: &[u8]) -> (usize, bool) {
    let Some(extra) = raw.get(128..130).and_then(|b| b.try_into().ok()) else { return (128, true) };
    let end = 128 + usize::from(u16::from_le_bytes(extra));
    if end <= raw.len() { (end.max(130), true) } else { (130, false) }
}

/// The device number, when `i_block` holds that and nothing else.
fn device(inode: &Inode) -> Option<(u32, u32)> {
    if !matches!(inode.file_type(), mode::IFCHR | mode::IFBLK) {
        return None;
    }
    let (major, minor) = inode.device();
    let mut again = *inode;
    again.set_device(major, minor);
    (again.i_block == inode.i_block).then_some((major, minor))
}

/// A time whose extra word is there and says something: seconds and nanoseconds are one text, and the extra word is left out.
fn time(i: &Inode, name: &str, end: usize) -> Option<Known> {
    let (low, extra, extra_at) = match name.strip_suffix("_extra").unwrap_or(name) {
        "i_atime" => (i.i_atime, i.i_atime_extra, 0x8C),
        "i_ctime" => (i.i_ctime, i.i_ctime_extra, 0x84),
        "i_mtime" => (i.i_mtime, i.i_mtime_extra, 0x88),
        "i_crtime" => (i.i_crtime, i.i_crtime_extra, 0x94),
        _ => return None,
    };
    let (low, extra) = (low.get(), extra.get());
    let time = Timestamp::decode(low, Some(extra));
    if extra_at + 4 > end || extra == 0 || time.nanos >= 1_000_000_000 || time.encode(true) != (low, extra) {
        return None;
    }
    Some(if name.ends_with("_extra") { Known::Usual(extra.into()) } else { Known::Text(format_time(time)) })
}
