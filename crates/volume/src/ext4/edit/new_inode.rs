//! New inodes: taken, every field filled, stored; without a name and without links (`__ext4_new_inode`, Linux 6.12).

use daxkit_format::InodeNr;
use daxkit_format::checksum::crc32c;
use daxkit_format::dax::ext4::{Created, Creation, create};
use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::acl;
use daxkit_format::ext4::acl_inherit::inherit;
use daxkit_format::ext4::features::{Incompat, RoCompat};
use daxkit_format::ext4::inode::{EXTRA_ISIZE, GOOD_OLD_INODE_SIZE, mode};
use daxkit_format::ext4::inode_flags::InodeFlags;
use zerocopy::little_endian::U32;

use super::super::error::Corruption;
use super::super::inode::Inode;
use super::{EditError, Editor};

/// Set-group-ID of a mode.
const ISGID: u16 = 0o2000;

/// The ACL that files made in a directory get, and the one that counts for itself.
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";
const ACCESS_ACL: &[u8] = b"system.posix_acl_access";

/// The name of an ACL and its value as system calls hold it.
type NamedAcl = (&'static [u8], Vec<u8>);

/// What a new inode is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewInode {
    /// Type and permissions. No mask is applied.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Project; `None` for the one that follows from the directory.
    pub project: Option<u32>,
    /// Group and mode are as given, although the directory has the set-group-ID bit, by which children get its group.
    pub keep_group: bool,
}

impl NewInode {
    /// One that belongs to the superuser, with type and permissions of `mode`.
    #[must_use]
    pub const fn of_root(mode: u16) -> Self {
        Self { mode, uid: 0, gid: 0, project: None, keep_group: false }
    }

    /// The same with another file type.
    #[must_use]
    pub(super) const fn typed(self, file_type: u16) -> Self {
        Self { mode: self.mode & !mode::IFMT | file_type, ..self }
    }
}

impl Editor<'_> {
    /// Takes an inode in or near the group of `parent`, and fills it in: owner and mode, times, what it inherits, an empty map. It
    /// has no links and no name.
    ///
    /// # Errors
    /// No such type; the directory is encrypted, so that children are made only with its key; no inode is free, or a quota
    /// cannot be kept.
    pub fn new_inode(&mut self, parent: &Inode, new: &NewInode) -> Result<Inode, EditError> {
        self.new_inode_with(parent, new, 0)
    }

    /// As [`Editor::new_inode`], with links.
    pub(super) fn new_inode_with(&mut self, parent: &Inode, new: &NewInode, links: u16) -> Result<Inode, EditError> {
        let Some(kind) = FileKind::from_mode(new.mode) else {
            return Err(EditError::refused(parent.nr(), Errno::EINVAL, "no such type of file"));
        };
        if parent.is_encrypted() {
            return Err(EditError::refused(parent.nr(), Errno::ENOKEY, "files of an encrypted directory need its key"));
        }
        let flags = self.inherited_flags(kind, parent)?;
        let is_dir = kind == FileKind::Directory;
        let nr = self.take_inode(parent.nr(), is_dir)?;
        let generation = self.new_generation(nr)?;
        let now = self.now();
        let inode_size = self.geometry().inode_size;
        let extra = self.extra_isize();
        let project = self.new_project(parent, new);
        let (mode, acls) = self.inherited_acls(kind, parent, new.mode)?;
        let mut inode = self.decode_inode(nr, vec![0; inode_size.into()]);
        self.modify(&mut inode, |d| {
            d.i_extra_isize.set(extra);
            d.i_mode.set(mode);
            d.i_links_count.set(links);
            d.set_uid(new.uid);
            d.set_gid(new.gid);
            if parent.i_mode.get() & ISGID != 0 && !new.keep_group {
                d.set_gid(parent.gid());
                d.i_mode.set(if is_dir { mode | ISGID } else { mode });
            }
            d.set_flags(flags);
            d.set_atime(now);
            d.set_mtime(now);
            d.set_ctime(now);
            d.set_crtime(now);
            d.i_generation.set(generation);
            d.bump_version();
            if d.has_until(0xA0) {
                d.i_projid.set(project);
            }
        });
        self.new_map(&mut inode);
        self.store_inode(&mut inode)?;
        self.charge(&inode, 0, 1)?;
        for (name, acl) in acls {
            self.set_xattr(&mut inode, name, &acl)?;
        }
        Ok(inode)
    }

    /// The mode of a child, and the ACLs that it gets from the default ACL of its directory (`ext4_init_acl`).
    fn inherited_acls(&self, kind: FileKind, parent: &Inode, mode: u16) -> Result<(u16, Vec<NamedAcl>), EditError> {
        let default = if kind == FileKind::Symlink { None } else { self.xattr_by_name(parent, DEFAULT_ACL)? };
        let Some(default) = default else { return Ok((mode, Vec::new())) };
        let damaged = |e| EditError::damaged(parent.nr(), Corruption::Acl(e));
        let default = acl::from_disk(&default.value).map_err(damaged)?;
        let (mode, access) = inherit(&default, mode).map_err(damaged)?;
        let mut acls: Vec<NamedAcl> = access.map(|acl| (ACCESS_ACL, acl)).into_iter().collect();
        if kind == FileKind::Directory {
            acls.push((DEFAULT_ACL, default));
        }
        Ok((mode, acls))
    }

    /// The flags that a child of a directory begins with.
    fn inherited_flags(&self, kind: FileKind, parent: &Inode) -> Result<InodeFlags, EditError> {
        let creation = Creation {
            kind,
            parent: parent.flags(),
            encrypt: false,
            extents: self.has_incompat(Incompat::EXTENTS),
            inline_data: self.has_incompat(Incompat::INLINE_DATA),
        };
        match create(&creation) {
            Ok(Created { flags, .. }) => Ok(flags),
            Err(errno) => {
                Err(EditError::refused(parent.nr(), errno, "its children cannot have the flags they inherit"))
            }
        }
    }

    /// `i_extra_isize` of new inodes (`ext4_inode_info_init`).
    pub(super) fn extra_isize(&self) -> u16 {
        let sb = self.super_block();
        let room = self.geometry().inode_size.saturating_sub(GOOD_OLD_INODE_SIZE);
        if room == 0 {
            return 0;
        }
        let mut want = EXTRA_ISIZE;
        if self.has_ro_compat(RoCompat::EXTRA_ISIZE) {
            want = want.max(sb.s_want_extra_isize.get()).max(sb.s_min_extra_isize.get());
        }
        if want > room || !want.is_multiple_of(4) { EXTRA_ISIZE.min(room) } else { want }
    }

    /// The project of a child.
    fn new_project(&self, parent: &Inode, new: &NewInode) -> u32 {
        if !self.has_ro_compat(RoCompat::PROJECT) {
            return 0;
        }
        let inherits = parent.flags().contains(InodeFlags::PROJINHERIT);
        new.project.or_else(|| parent.project().filter(|_| inherits)).unwrap_or(0)
    }

    /// A generation number that no inode of this number had before, as far as can be told without a random number: it
    /// follows from the file system, the number, the time, and the generation that lies in the table.
    pub(super) fn new_generation(&self, nr: InodeNr) -> Result<u32, EditError> {
        let sb = self.super_block();
        let old = self.inode_unverified(nr)?.i_generation;
        let now = self.now();
        let mut crc = crc32c(!0, &sb.s_uuid);
        for word in sb.s_hash_seed.iter().chain([&old]) {
            crc = crc32c(crc, &U32::get(*word).to_le_bytes());
        }
        for number in [nr.get(), now.seconds.cast_unsigned(), now.nanos.into()] {
            crc = crc32c(crc, &number.to_le_bytes());
        }
        Ok(crc)
    }
}
