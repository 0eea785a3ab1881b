//! The rules of the DAX flag, which no other checker looks at. All of it is advice: the kernel takes such images, and does something else
//! than somebody wanted.

use daxkit_format::dax::FileKind;
use daxkit_format::dax::ext4::inherited;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::super_block::DefaultMountOpts;
use daxkit_format::pmd::PMD_SIZE;
use daxkit_volume::InodeNr;

use super::inodes::{Checked, clear_flags};
use super::{Context, Local};
use crate::code::Code;
use crate::finding::{At, Datum, Finding};
use crate::repair::Fix;
use crate::state::Kind;

/// Flags that a file with the DAX flag cannot have.
const EXCLUDED: InodeFlags = InodeFlags::JOURNAL_DATA.union(InodeFlags::VERITY).union(InodeFlags::ENCRYPT);

/// How the rules of the DAX flag are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaxRules {
    /// Say what concerns the whole image even when no inode has the flag.
    pub always: bool,
    /// Bytes from the start of the persistent memory to the file system.
    pub data_offset: u64,
    /// Bytes of a page of the machine.
    pub page_size: u32,
}

impl Default for DaxRules {
    fn default() -> Self {
        Self { always: false, data_offset: 0, page_size: 4096 }
    }
}

/// A child whose flag is not that of its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diverging {
    pub(crate) dir: u32,
    pub(crate) child: u32,
    pub(crate) name: Vec<u8>,
    pub(crate) child_has: bool,
}

/// What kind of file the rules see.
fn file_kind(kind: Kind) -> Option<FileKind> {
    match kind {
        Kind::File => Some(FileKind::Regular),
        Kind::Dir => Some(FileKind::Directory),
        _ => None,
    }
}

impl Context<'_> {
    /// An inode with the DAX flag.
    pub(crate) fn dax_inode(&self, local: &mut Local, checked: &Checked<'_>) {
        let ino = checked.ino;
        let at = At::Inode(ino, "i_flags");
        if !matches!(checked.kind, Kind::File | Kind::Dir) {
            local.find(
                Finding::new(Code::DaxType, at).stored(format!("{:o}", checked.disk.i_mode.get())).fix(Fix::Inode(
                    ino,
                    clear_flags,
                    InodeFlags::DAX.bits().into(),
                )),
            );
            return;
        }
        let mut excluded = checked.flags.intersection(EXCLUDED);
        if checked.kind == Kind::File {
            excluded |= checked.flags.intersection(InodeFlags::INLINE_DATA);
        }
        if !excluded.is_empty() {
            local.find(Finding::new(Code::DaxExcluded, at).stored(excluded.lsattr()));
        }
        if checked.kind == Kind::File {
            local.dax.push(ino);
        }
    }

    /// A name in a directory: whether the child's flag is what the directory would have given it.
    pub(crate) fn dax_name(&self, local: &mut Local, dir: (u32, InodeFlags), child: (u32, Kind, bool), name: &[u8]) {
        let Some(kind) = file_kind(child.1) else { return };
        let would = inherited(kind, dir.1).contains(InodeFlags::DAX);
        if would != child.2 {
            local.diverging.push(Diverging { dir: dir.0, child: child.0, name: name.to_vec(), child_has: child.2 });
        }
    }

    /// What all inodes together come to.
    pub(crate) fn dax(&self, local: &mut Local) {
        let image = self.image;
        let rules = self.dax_rules;
        let mut files = std::mem::take(&mut local.dax);
        files.sort_unstable();
        let anybody = local.usage.dax > 0;
        for way in std::mem::take(&mut local.diverging) {
            let code = if way.child_has { Code::DaxNotFromDir } else { Code::DaxNotInherited };
            local.find(
                Finding::new(code, At::Inode(way.child, "i_flags"))
                    .stored(Datum::Name(way.name))
                    .observed(format!("as inode:{}", way.dir)),
            );
        }
        for ino in files {
            let Ok(inode) = image.volume.inode(InodeNr(ino.into())) else { continue };
            let Some(sum) = image.volume.pmd_summary(&inode, rules.data_offset) else { continue };
            if !sum.is_complete() {
                local.find(
                    Finding::new(Code::DaxNotMappable, At::Inode(ino, ""))
                        .stored(format!("{} windows", sum.mappable))
                        .observed(format!("{} windows", sum.windows)),
                );
            }
        }
        if anybody || rules.always {
            self.dax_image(local);
        }
    }

    fn dax_image(&self, local: &mut Local) {
        let (image, rules) = (self.image, self.dax_rules);
        if image.geo.block_size != rules.page_size {
            local.find(
                Finding::new(Code::DaxBlockSize, At::Super("s_log_block_size"))
                    .stored(image.geo.block_size)
                    .observed(rules.page_size),
            );
        }
        let both = DefaultMountOpts::JOURNAL_DATA | DefaultMountOpts::JOURNAL_DATA_ORDERED;
        let options = DefaultMountOpts::from_bits_retain(image.sb.s_default_mount_opts.get());
        if options.intersection(both) == DefaultMountOpts::JOURNAL_DATA {
            local.find(Finding::new(Code::DaxDataJournal, At::Super("s_default_mount_opts")).stored("data=journal"));
        }
        if image.has.inline_data {
            local.find(Finding::new(Code::DaxInlineFeature, At::Super("s_feature_incompat")).stored("inline_data"));
        }
        if !rules.data_offset.is_multiple_of(PMD_SIZE) {
            local.find(
                Finding::new(Code::DaxDataOffset, At::Image).stored(rules.data_offset).observed("a multiple of 2 MiB"),
            );
        }
        let len = image.device.len();
        if !len.is_multiple_of(PMD_SIZE) {
            local.find(
                Finding::new(Code::DaxImageLength, At::Image).stored(len).observed(len.next_multiple_of(PMD_SIZE)),
            );
        }
    }
}
