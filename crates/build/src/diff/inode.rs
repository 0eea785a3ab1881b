//! Two inodes: who owns them, what they say of themselves, what hangs on them.

use super::{Change, Layout, Pair, Side, content};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::field::BitSet;
use daxkit_volume::{Inode, Volume, VolumeError};
use std::collections::{BTreeMap, BTreeSet};

/// Flags that say how an inode is stored.
const LAYOUT_FLAGS: InodeFlags = InodeFlags::EXTENTS
    .union(InodeFlags::INDEX)
    .union(InodeFlags::HUGE_FILE)
    .union(InodeFlags::INLINE_DATA)
    .union(InodeFlags::EOFBLOCKS);

/// Attributes by their whole names.
type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

impl<E> Pair<'_, '_, E> {
    /// Compares everything but the names below a directory.
    pub(super) fn inodes(
        &mut self,
        path: &[u8],
        a: &Inode,
        b: &Inode,
        buffers: &mut content::Buffers,
    ) -> Result<(), E> {
        let (mode_a, mode_b) = (a.i_mode.get(), b.i_mode.get());
        let same_type = a.file_type() == b.file_type();
        if !same_type {
            self.changed(path, Change::Type(mode_a, mode_b))?;
        }
        self.field(path, "i_mode", mode_a & 0o7777, mode_b & 0o7777)?;
        self.field(path, "i_uid", a.uid(), b.uid())?;
        self.field(path, "i_gid", a.gid(), b.gid())?;
        self.field(path, "i_projid", a.project().unwrap_or(0), b.project().unwrap_or(0))?;
        self.times(path, a, b)?;
        self.flags(path, a, b)?;
        self.xattrs(path, a, b)?;
        if !same_type {
            return Ok(());
        }
        self.field(path, "i_links_count", a.i_links_count.get(), b.i_links_count.get())?;
        if a.is_symlink() {
            let (one, other) = (self.a.read_link(a), self.b.read_link(b));
            if let Some((one, other)) = self.both(path, one, other)?
                && one != other
            {
                self.changed(path, Change::Target(one, other))?;
            }
        } else if a.is_file() {
            self.field(path, "i_size", a.size(), b.size())?;
            self.content(path, a, b, buffers)?;
        } else if !a.is_dir() && a.device() != b.device() {
            self.changed(path, Change::Device(a.device(), b.device()))?;
        }
        if self.options.layout { self.layout(path, a, b) } else { Ok(()) }
    }

    fn field<N: Into<u64>>(&mut self, path: &[u8], name: &'static str, a: N, b: N) -> Result<(), E> {
        let (a, b) = (a.into(), b.into());
        if a == b { Ok(()) } else { self.changed(path, Change::Field(name, a, b)) }
    }

    fn times(&mut self, path: &[u8], a: &Inode, b: &Inode) -> Result<(), E> {
        let content = ("mtime", Some(a.mtime()), Some(b.mtime()));
        let others = [
            ("atime", Some(a.atime()), Some(b.atime())),
            ("ctime", Some(a.ctime()), Some(b.ctime())),
            ("crtime", a.crtime(), b.crtime()),
        ];
        let all = self.options.all_times;
        for (name, a, b) in std::iter::once(content).chain(others.into_iter().filter(|_| all)) {
            if a != b {
                self.changed(path, Change::Time(name, a, b))?;
            }
        }
        Ok(())
    }

    /// Flags one by one, those that mean something first.
    fn flags(&mut self, path: &[u8], a: &Inode, b: &Inode) -> Result<(), E> {
        let differing = a.flags() ^ b.flags();
        for layout in [false, true] {
            let shown = if layout { differing & LAYOUT_FLAGS } else { differing - LAYOUT_FLAGS };
            if layout && !self.options.layout {
                continue;
            }
            for bit in (0..32).map(|n| 1u32 << n).filter(|bit| shown.bits() & bit != 0) {
                let side = if a.flags().bits() & bit == 0 { Side::B } else { Side::A };
                let name = BitSet::Inode.format(bit.into());
                let what = if layout { Change::Layout(Layout::Flag(name, side)) } else { Change::Flag(name, side) };
                self.changed(path, what)?;
            }
        }
        Ok(())
    }

    fn xattrs(&mut self, path: &[u8], a: &Inode, b: &Inode) -> Result<(), E> {
        let read = (xattrs(self.a, a), xattrs(self.b, b));
        let Some((mut one, mut other)) = self.both(path, read.0, read.1)? else { return Ok(()) };
        let names: BTreeSet<Vec<u8>> = one.keys().chain(other.keys()).cloned().collect();
        for name in names {
            let (x, y) = (one.remove(&name), other.remove(&name));
            if x != y {
                self.changed(path, Change::Xattr(name, x, y))?;
            }
        }
        Ok(())
    }
}

fn xattrs(volume: &Volume, inode: &Inode) -> Result<Xattrs, VolumeError> {
    let all = volume.xattrs(inode)?.into_iter().map(|x| (x.full_name(), x.value));
    // Inline data is content, and compared as such.
    Ok(all.filter(|(name, _)| name != b"system.data").collect())
}
