//! What the kernel would answer to the ioctl behind chattr(1), and do.

use crate::session::Session;
use daxkit_format::InodeNr;
use daxkit_format::dax::ext4::{DaxInputs, JournalInputs, SetTarget, fileattr_get, fileattr_set, should_enable_dax};
use daxkit_format::dax::fileattr::{Caller, SetCall, XFlags, set};
use daxkit_format::dax::{DaxMode, Errno, FileKind};
use daxkit_format::ext4::features::{Compat, Incompat, RoCompat};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::quota::QuotaKind;
use daxkit_volume::ext4::edit::FlagChange;
use daxkit_volume::{EditError, Editor};

/// The mount that the call would be made on, by root.
pub(super) struct Mount {
    mode: DaxMode,
    journal: daxkit_format::dax::ext4::JournalInputs,
    quota_files: Vec<u32>,
}

impl Mount {
    pub(super) fn of(session: &Session<'_>, mode: DaxMode) -> Self {
        let sb = session.volume.super_block();
        let quota = QuotaKind::ALL.map(|kind| match kind {
            QuotaKind::User => sb.s_usr_quota_inum.get(),
            QuotaKind::Group => sb.s_grp_quota_inum.get(),
            QuotaKind::Project => sb.s_prj_quota_inum.get(),
        });
        Self {
            mode,
            journal: JournalInputs::of_defaults(session.volume.super_block()),
            quota_files: quota.into_iter().filter(|nr| *nr != 0).collect(),
        }
    }

    /// Makes the call; the flags when they changed.
    pub(super) fn set(
        &self,
        editor: &mut Editor<'_>,
        nr: InodeNr,
        change: &FlagChange,
        project: Option<u32>,
    ) -> Result<Option<InodeFlags>, EditError> {
        let mut inode = editor.inode(nr)?;
        let refuse = |errno, what| EditError::Refused { inode: nr, errno, what };
        let kind = FileKind::from_mode(inode.i_mode.get());
        let kind = kind.ok_or_else(|| refuse(Errno::EINVAL, "has no file type"))?;
        if kind == FileKind::Symlink {
            return Err(refuse(Errno::ELOOP, "the kernel opens no symbolic link"));
        }
        let old = fileattr_get(kind, inode.flags(), inode.project().unwrap_or(0));
        let mut outcome = None;
        if *change != FlagChange::default() {
            // chattr(1) asks for the flags, changes them and sets all of them; `=` sets what it names, nothing else.
            let flags = change.only.unwrap_or((old.flags - change.remove) | change.add);
            let flags = if kind == FileKind::Directory { flags } else { flags - InodeFlags::DIRSYNC };
            let attr = set(&SetCall::SetFlags(flags), &Caller::ROOT, kind, &old).map_err(|e| refuse(e, REFUSED))?;
            outcome = Some(fileattr_set(&self.target(editor, &inode, kind)?, &attr));
        }
        if let Some(projid) = project {
            let call = SetCall::FsSetXattr { xflags: old.xflags - XFlags::HASATTR, extsize: 0, cowextsize: 0, projid };
            let attr = set(&call, &Caller::ROOT, kind, &old).map_err(|e| refuse(e, REFUSED))?;
            let target = self.target(editor, &inode, kind)?;
            fileattr_set(&target, &attr).result.map_err(|e| refuse(e, REFUSED))?;
            if !target.project && projid != 0 {
                return Err(refuse(Errno::EOPNOTSUPP, "the file system has no feature project"));
            }
            editor.set_project(&mut inode, projid)?;
        }
        let Some(outcome) = outcome else { return Ok(project.map(|_| inode.flags())) };
        outcome.result.map_err(|e| refuse(e, REFUSED))?;
        let mut flags = outcome.flags;
        if let Some(extents) = outcome.migrate {
            flags.set(InodeFlags::EXTENTS, extents);
        }
        let before = inode.flags();
        editor.set_flags(&mut inode, flags)?;
        Ok((inode.flags() != before).then(|| inode.flags()))
    }

    fn target(
        &self,
        editor: &Editor<'_>,
        inode: &daxkit_volume::Inode,
        kind: FileKind,
    ) -> Result<SetTarget, EditError> {
        let decision = should_enable_dax(&DaxInputs {
            mode: self.mode,
            kind,
            flags: inode.flags(),
            has_inline_data: false,
            journal: self.journal,
            device: true,
            block_size: editor.block_size(),
            page_size: 4096,
        });
        let mut has_entries = false;
        if kind == FileKind::Directory {
            for entry in editor.read_dir(inode)? {
                if !entry?.is_dot() {
                    has_entries = true;
                    break;
                }
            }
        }
        Ok(SetTarget {
            kind,
            flags: inode.flags(),
            projid: inode.project().unwrap_or(0),
            s_dax: decision.s_dax,
            verity_in_progress: false,
            quota_file: u32::try_from(inode.nr().get()).is_ok_and(|nr| self.quota_files.contains(&nr)),
            has_entries,
            cap_sys_resource: true,
            has_journal: editor.has_compat(Compat::HAS_JOURNAL),
            casefold: editor.has_incompat(Incompat::CASEFOLD),
            project: editor.has_ro_compat(RoCompat::PROJECT),
            mode: self.mode,
        })
    }
}

/// What is said of a refusal beside its errno.
const REFUSED: &str = "the kernel refuses this change";
