//! Changing inode flags as chattr(1) names them, the data along with them where a flag says how data lies.
//!
//! Unlike the kernel this can be done to any inode: nothing is open. What the kernel would refuse to a user is the caller's business
//! (`daxkit_format::dax::ext4::fileattr_set`); here only what would make the image wrong is refused.

use daxkit_format::InodeNr;
use daxkit_format::dax::ext4::{DAX_MUT_EXCL, mask_flags};
use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inode::Inode as DiskInode;
use daxkit_format::ext4::inode_flags::{InodeFlags, LSATTR_LETTERS};

use super::super::inode::Inode;
use super::{EditError, Editor};

/// Flags that say how an inode is stored or what protects it: they follow from its data and are never set alone.
const STRUCTURAL: InodeFlags = InodeFlags::ENCRYPT
    .union(InodeFlags::INDEX)
    .union(InodeFlags::INLINE_DATA)
    .union(InodeFlags::VERITY)
    .union(InodeFlags::DIRTY)
    .union(InodeFlags::COMPRBLK);

/// The letters of chattr(1).
const CHATTR_LETTERS: &str = "aAcCdDeFijmPsStTux";

/// The flag of a letter of chattr(1).
#[must_use]
pub fn chattr_letter(letter: char) -> Option<InodeFlags> {
    let known = CHATTR_LETTERS.contains(letter).then_some(LSATTR_LETTERS)?;
    known.iter().find(|(l, _)| *l == letter).map(|(_, flag)| *flag)
}

/// All flags that letters of chattr(1) stand for.
#[must_use]
pub fn chattr_flags() -> InodeFlags {
    CHATTR_LETTERS.chars().filter_map(chattr_letter).collect()
}

/// A mode of chattr(1): `+x-d`, `=A`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlagChange {
    /// Flags to set.
    pub add: InodeFlags,
    /// Flags to clear.
    pub remove: InodeFlags,
    /// The only ones to have, of those that letters stand for (`=`). How the file is mapped (`e`) is then left as it is.
    pub only: Option<InodeFlags>,
}

impl FlagChange {
    /// The flags after the change.
    #[must_use]
    pub fn of(&self, old: InodeFlags) -> InodeFlags {
        match self.only {
            Some(only) => (old - (chattr_flags() - InodeFlags::EXTENTS)) | only,
            None => (old - self.remove) | self.add,
        }
    }
}

/// What a change of flags takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagStep {
    /// Nothing: they are so already.
    Nothing,
    /// Bits of the inode.
    Bits,
    /// Its data must move first.
    Data,
}

/// Whether flags of an inode may change from `old` to `new`, and what that takes.
///
/// # Errors
/// Why not, and the errno of a kernel that refuses the same.
pub fn flag_step(kind: FileKind, old: InodeFlags, new: InodeFlags) -> Result<FlagStep, (Errno, &'static str)> {
    let changed = old ^ new;
    if changed.is_empty() {
        return Ok(FlagStep::Nothing);
    }
    if changed.intersects(STRUCTURAL) {
        return Err((Errno::EOPNOTSUPP, "this flag follows from how the inode is stored and cannot be set alone"));
    }
    let set = new - old;
    if set.contains(InodeFlags::DAX) && !kind.can_hold_dax() {
        return Err((Errno::EINVAL, "only regular files and directories can have the DAX flag"));
    }
    if mask_flags(kind, set) != set {
        return Err((Errno::EOPNOTSUPP, "an inode of this type cannot have this flag"));
    }
    // Directories hold no pages that could be mapped, so how they are stored does not matter.
    let movable = InodeFlags::INLINE_DATA;
    let both = new.contains(InodeFlags::DAX) && new.intersects(DAX_MUT_EXCL - movable);
    if both && changed.intersects(InodeFlags::DAX | DAX_MUT_EXCL) {
        return Err((Errno::EOPNOTSUPP, "the DAX flag and encryption, verity or data journalling exclude each other"));
    }
    let leaves_inline = set.contains(InodeFlags::DAX) && old.contains(movable) && kind == FileKind::Regular;
    let moves = leaves_inline || changed.intersects(InodeFlags::EXTENTS | InodeFlags::CASEFOLD);
    Ok(if moves { FlagStep::Data } else { FlagStep::Bits })
}

impl Editor<'_> {
    /// Changes the flags of an inode. Data that lies otherwise than the flags say is moved: out of the inode for the DAX
    /// flag, into extents or out of them for `e`.
    ///
    /// # Errors
    /// The inode cannot have these flags, or its data cannot be moved.
    pub fn set_flags(&mut self, inode: &mut Inode, new: InodeFlags) -> Result<(), EditError> {
        let nr = inode.nr();
        let kind = kind_of(inode)?;
        let refuse = |(errno, what)| EditError::refused(nr, errno, what);
        if flag_step(kind, inode.flags(), new).map_err(refuse)? == FlagStep::Nothing {
            return Ok(());
        }
        let mut new = new;
        let changed = inode.flags() ^ new;
        if changed.contains(InodeFlags::CASEFOLD) {
            self.check_casefold(inode)?;
        }
        if new.contains(InodeFlags::DAX) && inode.has_inline_data() && inode.is_file() {
            self.leave_inline(inode)?;
            new -= InodeFlags::INLINE_DATA;
            // Where its content lies now is said by the flag that it got on the way.
            new.set(InodeFlags::EXTENTS, inode.flags().contains(InodeFlags::EXTENTS));
        } else if changed.contains(InodeFlags::EXTENTS) {
            self.convert_map(inode, new.contains(InodeFlags::EXTENTS))?;
        }
        let now = self.now();
        self.modify(inode, |disk| change_bits(disk, new, now));
        self.store_inode(inode)
    }

    /// Changes the flags of many inodes. `accept` is told each refusal; where it has no error of its own the inode is left out and the
    /// others are changed. How many were changed.
    ///
    /// # Errors
    /// An inode cannot be read; or those of `accept`.
    pub fn change_flags<E: From<EditError>>(
        &mut self,
        inodes: &[InodeNr],
        mut wanted: impl FnMut(InodeNr, &DiskInode) -> Result<Option<InodeFlags>, E>,
        mut accept: impl FnMut(EditError) -> Result<(), E>,
    ) -> Result<u64, E> {
        let now = self.now();
        let (mut changed, mut later) = (0, Vec::new());
        self.change_inodes(inodes, |nr, raw| {
            let Some(disk) = DiskInode::from_disk(raw) else { return Ok(false) };
            let Some(new) = wanted(nr, &disk)? else { return Ok(false) };
            let Some(kind) = FileKind::from_mode(disk.i_mode.get()) else { return Ok(false) };
            match flag_step(kind, disk.flags(), new) {
                Ok(FlagStep::Nothing) => Ok(false),
                Ok(FlagStep::Data) => {
                    later.push((nr, new));
                    Ok(false)
                }
                Ok(FlagStep::Bits) => {
                    changed += 1;
                    change_raw_bits(raw, &disk, new, now);
                    Ok(true)
                }
                Err((errno, what)) => accept(EditError::refused(nr, errno, what)).map(|()| false),
            }
        })?;
        for (nr, new) in later {
            let done = self.attempt(|editor| {
                let mut inode = editor.inode(nr).map_err(EditError::from)?;
                editor.set_flags(&mut inode, new)
            });
            match done {
                Ok(()) => changed += 1,
                Err(e) => accept(e)?,
            }
        }
        Ok(changed)
    }

    /// Sets the generation of an inode.
    ///
    /// # Errors
    /// Checksums of its blocks depend on it.
    pub fn set_generation(&mut self, inode: &mut Inode, generation: u32) -> Result<(), EditError> {
        if self.seal_seed().is_some() && (inode.is_dir() || self.metadata_blocks(inode).next().is_some()) {
            let why = "the checksums of its blocks are made from its version";
            return Err(EditError::refused(inode.nr(), Errno::EOPNOTSUPP, why));
        }
        let now = self.now();
        self.modify(inode, |disk| {
            disk.i_generation.set(generation);
            disk.set_ctime(now);
        });
        self.store_inode(inode)
    }

    fn check_casefold(&self, dir: &Inode) -> Result<(), EditError> {
        let refuse = |errno, what| Err(EditError::refused(dir.nr(), errno, what));
        if !self.has_incompat(Incompat::CASEFOLD) {
            return refuse(Errno::EOPNOTSUPP, "the file system has no feature casefold");
        }
        if !dir.is_dir() {
            return refuse(Errno::ENOTDIR, "only directories compare names without case");
        }
        for entry in self.read_dir(dir)? {
            if !entry?.is_dot() {
                return refuse(Errno::ENOTEMPTY, "names are hashed otherwise then: only an empty directory can change");
            }
        }
        Ok(())
    }
}

fn kind_of(inode: &Inode) -> Result<FileKind, EditError> {
    FileKind::from_mode(inode.i_mode.get())
        .ok_or_else(|| EditError::refused(inode.nr(), Errno::EINVAL, "has no file type"))
}

fn change_bits(disk: &mut DiskInode, new: InodeFlags, now: daxkit_format::ext4::inode::Timestamp) {
    disk.set_flags(new);
    disk.set_ctime(now);
}

/// The same in the bytes of an inode, which may be shorter than the structure.
fn change_raw_bits(raw: &mut [u8], disk: &DiskInode, new: InodeFlags, now: daxkit_format::ext4::inode::Timestamp) {
    use daxkit_format::OnDisk;
    if let Some(disk) = DiskInode::peek_mut(raw) {
        change_bits(disk, new, now);
        return;
    }
    let mut whole = *disk;
    change_bits(&mut whole, new, now);
    raw.iter_mut().zip(zerocopy::IntoBytes::as_bytes(&whole)).for_each(|(d, s)| *d = *s);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_of_chattr() {
        assert_eq!(chattr_letter('x'), Some(InodeFlags::DAX));
        assert_eq!((chattr_letter('I'), chattr_letter('q')), (None, None));
        assert!(CHATTR_LETTERS.chars().all(|l| chattr_letter(l).is_some()));
    }

    #[test]
    fn only_keeps_how_files_are_mapped_and_what_no_letter_stands_for() {
        let change = FlagChange { only: Some(InodeFlags::DAX), ..FlagChange::default() };
        let old = InodeFlags::EXTENTS | InodeFlags::INDEX | InodeFlags::NOATIME;
        assert_eq!(change.of(old), InodeFlags::EXTENTS | InodeFlags::INDEX | InodeFlags::DAX);
        let change = FlagChange { add: InodeFlags::DAX, remove: InodeFlags::NOATIME, only: None };
        assert_eq!(change.of(old), InodeFlags::EXTENTS | InodeFlags::INDEX | InodeFlags::DAX);
    }

    #[test]
    fn what_excludes_the_dax_flag_refuses_it_and_inline_data_moves() {
        let dax = InodeFlags::DAX;
        let step = |kind, old, new| flag_step(kind, old, new).map_err(|(errno, _)| errno);
        assert_eq!(step(FileKind::Regular, dax, dax), Ok(FlagStep::Nothing));
        assert_eq!(step(FileKind::Regular, InodeFlags::EXTENTS, InodeFlags::EXTENTS | dax), Ok(FlagStep::Bits));
        assert_eq!(step(FileKind::Symlink, InodeFlags::empty(), dax), Err(Errno::EINVAL));
        assert_eq!(step(FileKind::Regular, InodeFlags::empty(), InodeFlags::CASEFOLD), Err(Errno::EOPNOTSUPP));
        let inline = InodeFlags::INLINE_DATA;
        assert_eq!(step(FileKind::Regular, inline, inline | dax), Ok(FlagStep::Data));
        assert_eq!(step(FileKind::Directory, inline, inline | dax), Ok(FlagStep::Bits));
        for other in [InodeFlags::VERITY, InodeFlags::ENCRYPT, InodeFlags::JOURNAL_DATA] {
            assert_eq!(step(FileKind::Regular, other, other | dax), Err(Errno::EOPNOTSUPP));
        }
        // Getting out of a state that one call of the kernel can make.
        let journalled = InodeFlags::JOURNAL_DATA;
        assert_eq!(step(FileKind::Regular, dax | journalled, dax), Ok(FlagStep::Bits));
        assert_eq!(step(FileKind::Regular, dax | inline, inline), Ok(FlagStep::Bits));
    }
}
