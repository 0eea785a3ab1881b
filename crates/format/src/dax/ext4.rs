//! ext4's rules (`fs/ext4/ialloc.c`, `ioctl.c`, `inode.c`, `super.c`, `crypto.c`, `verity.c`; Linux 6.12). The flag exists
//! since 5.8.

use super::fileattr::{FileAttr, XFlags, to_xflags};
use super::{DaxDecision, DaxMode, DaxReason, Errno, FileKind};
use crate::ext4::features::Compat;
use crate::ext4::inode_flags::InodeFlags;
use crate::ext4::super_block::{DefaultMountOpts, SuperBlock};
use core::fmt;

/// What a child may inherit (`EXT4_FL_INHERITED`).
pub const INHERITED: InodeFlags = InodeFlags::SECRM
    .union(InodeFlags::UNRM)
    .union(InodeFlags::COMPR)
    .union(InodeFlags::SYNC)
    .union(InodeFlags::NODUMP)
    .union(InodeFlags::NOATIME)
    .union(InodeFlags::NOCOMPR)
    .union(InodeFlags::JOURNAL_DATA)
    .union(InodeFlags::NOTAIL)
    .union(InodeFlags::DIRSYNC)
    .union(InodeFlags::DAX)
    .union(InodeFlags::PROJINHERIT)
    .union(InodeFlags::CASEFOLD);

/// What a regular file may have (`EXT4_REG_FLMASK`).
pub const REG_FLMASK: InodeFlags = InodeFlags::all().difference(
    InodeFlags::DIRSYNC.union(InodeFlags::TOPDIR).union(InodeFlags::CASEFOLD).union(InodeFlags::PROJINHERIT),
);

/// What anything but regular files and directories may have (`EXT4_OTHER_FLMASK`).
pub const OTHER_FLMASK: InodeFlags = InodeFlags::NODUMP.union(InodeFlags::NOATIME);

/// What a set call may change (`EXT4_FL_USER_MODIFIABLE`).
pub const USER_MODIFIABLE: InodeFlags = InodeFlags::SECRM
    .union(InodeFlags::UNRM)
    .union(InodeFlags::COMPR)
    .union(InodeFlags::SYNC)
    .union(InodeFlags::IMMUTABLE)
    .union(InodeFlags::APPEND)
    .union(InodeFlags::NODUMP)
    .union(InodeFlags::NOATIME)
    .union(InodeFlags::JOURNAL_DATA)
    .union(InodeFlags::NOTAIL)
    .union(InodeFlags::DIRSYNC)
    .union(InodeFlags::TOPDIR)
    .union(InodeFlags::EXTENTS)
    .union(InodeFlags::EOFBLOCKS)
    .union(InodeFlags::DAX)
    .union(InodeFlags::PROJINHERIT)
    .union(InodeFlags::CASEFOLD);

/// What a get call shows (`EXT4_FL_USER_VISIBLE`).
pub const USER_VISIBLE: InodeFlags = USER_MODIFIABLE
    .union(InodeFlags::DIRTY)
    .union(InodeFlags::COMPRBLK)
    .union(InodeFlags::NOCOMPR)
    .union(InodeFlags::ENCRYPT)
    .union(InodeFlags::INDEX)
    .union(InodeFlags::VERITY)
    .union(InodeFlags::INLINE_DATA);

/// What excludes the DAX flag (`EXT4_DAX_MUT_EXCL`).
pub const DAX_MUT_EXCL: InodeFlags =
    InodeFlags::VERITY.union(InodeFlags::ENCRYPT).union(InodeFlags::JOURNAL_DATA).union(InodeFlags::INLINE_DATA);

/// What of `flags` an inode of this kind may have (`ext4_mask_flags`).
#[must_use]
pub fn mask_flags(kind: FileKind, flags: InodeFlags) -> InodeFlags {
    match kind {
        FileKind::Directory => flags,
        FileKind::Regular => flags & REG_FLMASK,
        FileKind::Symlink | FileKind::Special => flags & OTHER_FLMASK,
    }
}

/// What a child of this kind inherits from a directory with these flags.
#[must_use]
pub fn inherited(kind: FileKind, parent: InodeFlags) -> InodeFlags {
    mask_flags(kind, parent & INHERITED)
}

/// A creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Creation {
    /// What is made.
    pub kind: FileKind,
    /// Flags of the directory it is made in.
    pub parent: InodeFlags,
    /// The child is to be encrypted (its directory is).
    pub encrypt: bool,
    /// The file system has the feature `extent`.
    pub extents: bool,
    /// The file system has the feature `inline_data`.
    pub inline_data: bool,
}

/// A created inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// Its flags when `S_DAX` is decided.
    pub at_decision: InodeFlags,
    /// Its flags on disk.
    pub flags: InodeFlags,
    /// Its data may be kept in the inode (`EXT4_STATE_MAY_INLINE_DATA`); a file with the DAX flag never is.
    pub may_inline: bool,
}

/// Flags of a new inode (`__ext4_new_inode`).
///
/// # Errors
/// `EOPNOTSUPP` when the child would inherit the DAX flag and is to be encrypted: its creation fails.
pub fn create(c: &Creation) -> Result<Created, Errno> {
    let from_parent = inherited(c.kind, c.parent);
    if c.encrypt && from_parent.contains(InodeFlags::DAX) {
        return Err(Errno::EOPNOTSUPP);
    }
    let mut at_decision = from_parent;
    at_decision.set(InodeFlags::ENCRYPT, c.encrypt);
    let mut flags = at_decision;
    flags.set(InodeFlags::EXTENTS, c.extents && c.kind != FileKind::Special);
    let dax_file = flags.contains(InodeFlags::DAX) && c.kind != FileKind::Directory;
    Ok(Created { at_decision, flags, may_inline: c.inline_data && !c.encrypt && !dax_file })
}

/// Whether flags may change from `old` to `new` as far as DAX is concerned (`dax_compatible`). Each side is held against
/// the *old* other side, so setting the DAX flag and `JOURNAL_DATA` in one call passes and leaves both on disk; such
/// an inode gets out of that state only by a call that clears both.
#[must_use]
pub fn dax_compatible(kind: FileKind, old: InodeFlags, new: InodeFlags, verity_in_progress: bool) -> bool {
    // Directories may be inline and have the flag: only their children's pages are mapped.
    let exclude = match kind {
        FileKind::Directory => DAX_MUT_EXCL - InodeFlags::INLINE_DATA,
        _ => DAX_MUT_EXCL,
    };
    let sets_dax = new.contains(InodeFlags::DAX) && (old.intersects(exclude) || verity_in_progress);
    let sets_other = new.intersects(exclude) && old.contains(InodeFlags::DAX);
    !sets_dax && !sets_other
}

/// An inode a set call is made on, and its surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetTarget {
    /// Its type.
    pub kind: FileKind,
    /// Its flags on disk.
    pub flags: InodeFlags,
    /// Its project.
    pub projid: u32,
    /// Its `S_DAX`.
    pub s_dax: bool,
    /// Verity is being enabled.
    pub verity_in_progress: bool,
    /// It is a quota file.
    pub quota_file: bool,
    /// It is a directory with entries other than `.` and `..`.
    pub has_entries: bool,
    /// The caller has `CAP_SYS_RESOURCE`.
    pub cap_sys_resource: bool,
    /// The file system has a journal.
    pub has_journal: bool,
    /// The file system has the feature `casefold`.
    pub casefold: bool,
    /// The file system has the feature `project`.
    pub project: bool,
    /// How it is mounted.
    pub mode: DaxMode,
}

/// What a set call did; it may have changed flags although it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetOutcome {
    /// What the call answers.
    pub result: Result<(), Errno>,
    /// The flags afterwards. `EXTENTS` is as before: see `migrate`.
    pub flags: InodeFlags,
    /// The inode and its present aliases are marked not to be cached.
    pub dontcache: bool,
    /// The block map must still be changed to extents (true) or from them (false), which may fail on its own.
    pub migrate: Option<bool>,
}

/// What a get call reports (`ext4_fileattr_get`).
#[must_use]
pub fn fileattr_get(kind: FileKind, flags: InodeFlags, projid: u32) -> FileAttr {
    let mut shown = flags & USER_VISIBLE;
    if kind == FileKind::Regular {
        shown -= InodeFlags::PROJINHERIT;
    }
    FileAttr::from_flags(shown, projid)
}

/// What of `xflags` ext4 cannot represent, and drops without a word.
#[must_use]
pub fn ignored_xflags(xflags: XFlags) -> XFlags {
    xflags - to_xflags(InodeFlags::all())
}

/// ext4's half of a set call, after [`super::fileattr::set`] (`ext4_fileattr_set`, `ext4_ioctl_setflags`). The project is
/// set by the caller when this succeeds.
#[must_use]
pub fn fileattr_set(target: &SetTarget, attr: &FileAttr) -> SetOutcome {
    let failed = |errno| SetOutcome { result: Err(errno), flags: target.flags, dontcache: false, migrate: None };
    let new = attr.flags & USER_MODIFIABLE;
    if let Err(errno) = check_set(target, attr, new) {
        return failed(errno);
    }
    let old = target.flags;
    let toggled = old ^ new;
    let later = InodeFlags::JOURNAL_DATA | InodeFlags::EXTENTS;
    let now = USER_MODIFIABLE - later;
    let mut out = SetOutcome {
        result: Ok(()),
        flags: (old - now) | (new & now),
        dontcache: target.kind != FileKind::Directory
            && target.mode == DaxMode::Inode
            && toggled.contains(InodeFlags::DAX),
        migrate: None,
    };
    if toggled.contains(InodeFlags::JOURNAL_DATA) {
        // By now the other flags are committed.
        if target.s_dax {
            out.result = Err(Errno::EBUSY);
            return out;
        }
        if target.has_journal {
            out.flags ^= InodeFlags::JOURNAL_DATA;
        }
    }
    out.migrate = toggled.contains(InodeFlags::EXTENTS).then(|| new.contains(InodeFlags::EXTENTS));
    out
}

fn check_set(target: &SetTarget, attr: &FileAttr, new: InodeFlags) -> Result<(), Errno> {
    let check = |ok: bool, errno| if ok { Ok(()) } else { Err(errno) };
    let old = target.flags;
    check(USER_VISIBLE.contains(attr.flags), Errno::EOPNOTSUPP)?;
    check(mask_flags(target.kind, new) == new, Errno::EOPNOTSUPP)?;
    if old.contains(InodeFlags::IMMUTABLE) && new.contains(InodeFlags::IMMUTABLE) {
        // All old flags are compared, also those no call can set: a hashed immutable directory refuses every call.
        check(old == new && (!target.project || attr.projid == target.projid), Errno::EPERM)?;
    }
    check(!target.quota_file, Errno::EPERM)?;
    check(target.cap_sys_resource || !(old ^ new).contains(InodeFlags::JOURNAL_DATA), Errno::EPERM)?;
    check(dax_compatible(target.kind, old, new, target.verity_in_progress), Errno::EOPNOTSUPP)?;
    if (old ^ new).contains(InodeFlags::CASEFOLD) {
        check(target.casefold, Errno::EOPNOTSUPP)?;
        check(target.kind == FileKind::Directory, Errno::ENOTDIR)?;
        check(!target.has_entries, Errno::ENOTEMPTY)?;
    }
    Ok(())
}

/// Whether verity can be enabled (`ext4_begin_enable_verity`). Unlike a set call it also looks at `S_DAX`, and answers
/// with another number.
///
/// # Errors
/// `EINVAL`.
pub fn begin_enable_verity(s_dax: bool, flags: InodeFlags) -> Result<(), Errno> {
    if s_dax || flags.contains(InodeFlags::DAX) { Err(Errno::EINVAL) } else { Ok(()) }
}

/// Whether an encryption context can be set (`ext4_set_context`), on an empty directory or a new inode.
///
/// # Errors
/// `EINVAL` for `S_DAX` with data (which also warns), `EOPNOTSUPP` for the flag.
pub fn set_encryption_context(s_dax: bool, has_data: bool, flags: InodeFlags) -> Result<(), Errno> {
    if s_dax && has_data {
        return Err(Errno::EINVAL);
    }
    if flags.contains(InodeFlags::DAX) { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
}

/// Whether `EXT4_IOC_MOVE_EXT` works.
///
/// # Errors
/// `EOPNOTSUPP`.
pub fn move_extent(s_dax: bool) -> Result<(), Errno> {
    if s_dax { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
}

/// Mount option `data=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataMode {
    /// All data goes through the journal.
    Journal,
    /// Data before metadata; the default.
    Ordered,
    /// No order.
    Writeback,
}

/// What decides whether an inode's data goes through the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JournalInputs {
    /// The file system has a journal.
    pub has_journal: bool,
    /// Mount option.
    pub data: DataMode,
    /// Allocation is delayed: the default, except with `data=journal`.
    pub delalloc: bool,
}

impl JournalInputs {
    /// A journal and no mount options.
    pub const DEFAULT: Self = Self { has_journal: true, data: DataMode::Ordered, delalloc: true };

    /// A mount without options: the defaults that the superblock keeps.
    #[must_use]
    pub fn of_defaults(sb: &SuperBlock) -> Self {
        let options = DefaultMountOpts::from_bits_retain(sb.s_default_mount_opts.get());
        let journal = options.contains(DefaultMountOpts::JOURNAL_DATA);
        let ordered = options.contains(DefaultMountOpts::JOURNAL_DATA_ORDERED);
        let data = match (journal, ordered) {
            (true, true) => DataMode::Writeback,
            (true, false) => DataMode::Journal,
            _ => DataMode::Ordered,
        };
        let delalloc = !options.contains(DefaultMountOpts::NODELALLOC) && data != DataMode::Journal;
        Self { has_journal: sb.compat().contains(Compat::HAS_JOURNAL), data, delalloc }
    }
}

/// How an inode's data is written (`ext4_inode_journal_mode`). The bit `JOURNAL_DATA` counts only without delayed
/// allocation; encrypted files are never journalled.
#[must_use]
pub fn journal_mode(inputs: &JournalInputs, kind: FileKind, flags: InodeFlags) -> DataMode {
    if !inputs.has_journal {
        return DataMode::Writeback;
    }
    let regular = kind == FileKind::Regular;
    let journalled = !regular
        || flags.contains(InodeFlags::EA_INODE)
        || inputs.data == DataMode::Journal
        || (flags.contains(InodeFlags::JOURNAL_DATA) && !inputs.delalloc);
    match (journalled, regular && flags.contains(InodeFlags::ENCRYPT)) {
        (true, true) => DataMode::Ordered,
        (true, false) => DataMode::Journal,
        (false, _) => inputs.data,
    }
}

/// What decides `S_DAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaxInputs {
    /// How the file system is mounted.
    pub mode: DaxMode,
    /// Type of the inode.
    pub kind: FileKind,
    /// Its flags when it is instantiated.
    pub flags: InodeFlags,
    /// It is known to hold inline data (`ext4_has_inline_data`): an inode that is read from disk is not at that moment, because
    /// `__ext4_iget` decides before it looks behind the inode's fields (`i_inline_off`). So Linux sets `S_DAX` for a file
    /// that has both the flag and inline data, and fails on it later (seen with 6.12: reads give EIO, faults SIGBUS).
    pub has_inline_data: bool,
    /// For row 3.
    pub journal: JournalInputs,
    /// The device can be accessed directly ([`super::DaxDevice::usable`]).
    pub device: bool,
    /// Bytes of a block.
    pub block_size: u32,
    /// Bytes of a page of the machine that mounts.
    pub page_size: u32,
}

/// Whether a file is accessed directly (`ext4_should_enable_dax`): nine rules, the first that holds.
#[must_use]
pub fn should_enable_dax(i: &DaxInputs) -> DaxDecision {
    let no = |row, reason| DaxDecision { s_dax: false, row, reason };
    if i.mode == DaxMode::Never {
        return no(1, DaxReason::MountNever);
    }
    if i.kind != FileKind::Regular {
        return no(2, DaxReason::NotRegular);
    }
    if journal_mode(&i.journal, i.kind, i.flags) == DataMode::Journal {
        return no(3, DaxReason::DataJournal);
    }
    if i.has_inline_data {
        return no(4, DaxReason::InlineData);
    }
    if i.flags.contains(InodeFlags::ENCRYPT) {
        return no(5, DaxReason::Encrypted);
    }
    if i.flags.contains(InodeFlags::VERITY) {
        return no(6, DaxReason::Verity);
    }
    if !i.device {
        return no(7, DaxReason::Device);
    }
    if i.block_size != i.page_size {
        return no(7, DaxReason::BlockSize);
    }
    if i.mode == DaxMode::Always {
        return DaxDecision { s_dax: true, row: 8, reason: DaxReason::MountAlways };
    }
    let s_dax = i.flags.contains(InodeFlags::DAX);
    DaxDecision { s_dax, row: 9, reason: if s_dax { DaxReason::FlagSet } else { DaxReason::FlagClear } }
}

/// What decides whether a mount works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountInputs {
    /// The option given, if any.
    pub option: Option<DaxMode>,
    /// The device can be accessed directly.
    pub device: bool,
    /// Bytes of a block.
    pub block_size: u32,
    /// Bytes of a page.
    pub page_size: u32,
    /// The file system has the feature `inline_data`.
    pub inline_data: bool,
    /// Mount option `data=`.
    pub data: DataMode,
}

/// Why a mount with `dax=always` is refused; all are `EINVAL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MountRefusal {
    /// Together with `data=journal`.
    DataJournal,
    /// The file system may contain inline data.
    InlineData,
    /// The device, or the block size on this machine.
    Unsupported,
}

impl MountRefusal {
    /// What mount(2) answers.
    #[must_use]
    pub const fn errno(self) -> Errno {
        Errno::EINVAL
    }
}

impl fmt::Display for MountRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DataJournal => "dax=always and data=journal exclude each other",
            Self::InlineData => "dax=always is not possible on a file system with inline_data",
            Self::Unsupported => "dax=always needs a DAX device and blocks as large as pages",
        })
    }
}

/// A mounted file system, as far as DAX is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mounted {
    /// What counts.
    pub mode: DaxMode,
    /// What `/proc/mounts` shows; also what a remount is compared with.
    pub shown: Option<DaxMode>,
}

/// Mounts (`ext4_fill_super`).
///
/// # Errors
/// Only `dax=always` can be refused; with the other modes the device does not matter.
pub fn mount(m: &MountInputs) -> Result<Mounted, MountRefusal> {
    if m.option == Some(DaxMode::Always) {
        if m.data == DataMode::Journal {
            return Err(MountRefusal::DataJournal);
        }
        if m.inline_data {
            return Err(MountRefusal::InlineData);
        }
        if !m.device || m.block_size != m.page_size {
            return Err(MountRefusal::Unsupported);
        }
    }
    Ok(Mounted { mode: m.option.unwrap_or(DaxMode::Inode), shown: m.option })
}

/// Whether a remount that names `option` is allowed: only what is shown already may be named, so `dax=inode` is refused
/// after a mount without an option. `data` is the mode asked for.
///
/// # Errors
/// `EINVAL`.
pub fn remount(mounted: &Mounted, option: Option<DaxMode>, data: DataMode) -> Result<(), Errno> {
    let changes = option.is_some() && option != mounted.shown;
    if changes || (mounted.mode == DaxMode::Always && data == DataMode::Journal) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

#[cfg(test)]
#[path = "ext4_tests.rs"]
mod tests;
