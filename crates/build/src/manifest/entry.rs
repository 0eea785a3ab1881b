//! One name of the image.

use crate::plan::Plan;
use crate::plan::inodes::DaxFrom;
use crate::source::{NodeId, Tree};
use daxkit_format::InodeNr;
use daxkit_format::dax::ext4::{DaxInputs, JournalInputs, should_enable_dax};
use daxkit_format::dax::{DaxMode, FileKind};
use daxkit_format::ext4::features::Compat;
use daxkit_format::ext4::inode::{Timestamp, mode};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::field::{format_time, to_hex};
use daxkit_format::pmd::{FileExtent, PmdGeometry, pieces, summary};
use daxkit_volume::{Mapping, Volume, VolumeError};
use schemars::JsonSchema;
use serde::Serialize;

/// One name of the image and the inode behind it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Entry {
    /// Absolute path in the image; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// The path's bytes in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_bytes: Option<String>,
    /// `file`, `directory`, `symlink`, `char`, `block`, `fifo` or `socket`.
    pub r#type: &'static str,
    /// Inode number.
    pub inode: u32,
    /// Link count (`i_links_count`).
    pub links: u16,
    /// Permission bits in octal.
    pub mode: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes (`i_size`).
    pub size: u64,
    /// Space in bytes that is allocated (`i_blocks`).
    pub allocated: u64,
    /// Last change of the content, as a date in UTC.
    pub mtime: String,
    /// Last change of the inode.
    pub ctime: String,
    /// Last access.
    pub atime: String,
    /// Names of the flags on disk (`i_flags`).
    pub flags: Vec<String>,
    /// The flags as a number.
    pub flags_value: u32,
    /// The DAX flag and what it comes to.
    pub dax: Dax,
    /// The blocks, in order of the file. Empty for inline data and where nothing is allocated.
    pub extents: Vec<Extent>,
    /// What 2 MiB faults can map; of regular files with at least one whole window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pmd: Option<Pmd>,
    /// Extended attributes, sorted by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<Xattr>,
    /// Where a symbolic link points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Major and minor number of a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<[u32; 2]>,
    /// SHA-256 of a regular file's content, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The DAX flag and what it comes to.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Dax {
    /// `EXT4_DAX_FL` is set on the inode.
    pub flag: bool,
    /// Where it comes from.
    pub from: DaxOrigin,
    /// Whether `S_DAX` is set when the inode is read under each mount option.
    pub s_dax: Modes,
}

/// Where the flag comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DaxOrigin {
    /// It is not set, and nothing sets it.
    None,
    /// From the directory it was created in.
    Inherited,
    /// From `--dax` with this path.
    Option,
    /// From the recipe, for this inode; also where the recipe keeps it from being inherited.
    Recipe,
}

/// A decision for each mount option.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Modes {
    /// `dax=always`.
    pub always: Decision,
    /// `dax=inode`.
    pub inode: Decision,
    /// `dax=never`.
    pub never: Decision,
}

/// One decision.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Decision {
    /// `S_DAX`.
    pub effective: bool,
    /// Which rule of `ext4_should_enable_dax` decides, counted from 1 in the order in which they are tried: never, not regular, data
    /// journalling, inline data, encrypted, verity, device or block size, always, the flag.
    pub rule: u8,
}

/// A run of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Extent {
    /// First block of the file.
    pub logical: u64,
    /// First block of the file system.
    pub physical: u64,
    /// Blocks.
    pub length: u64,
    /// False for blocks that are allocated and read as zeroes.
    pub written: bool,
}

/// What 2 MiB faults can map.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Pmd {
    /// Whole 2 MiB windows.
    pub windows: u64,
    /// Those that one fault can map.
    pub mappable: u64,
    /// `mappable` by `windows`.
    pub share: f64,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Xattr {
    /// Its full name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Its value in hexadecimal; of an ACL in the form on disk.
    pub value: String,
}

/// The entry of a node, read back from the image.
pub(super) fn of(
    plan: &Plan,
    tree: &Tree,
    volume: &Volume,
    id: NodeId,
    sha256: Option<[u8; 32]>,
) -> Result<Entry, VolumeError> {
    let path = tree.path(id);
    let ino = plan.needs.inodes.ino(id);
    let inode = volume.inode(InodeNr(u64::from(ino)))?;
    let disk = inode.disk();
    let i_mode = disk.i_mode.get();
    let flags = disk.flags();
    let extra = usize::from(disk.i_extra_isize.get()) > 0;
    let time = |lo: u32, hi: u32| format_time(Timestamp::decode(lo, extra.then_some(hi)));
    let mut extents = Vec::new();
    if volume.has_map(&inode) {
        for run in volume.extents(&inode) {
            let Mapping { logical, physical, len, written } = run?;
            extents.push(Extent { logical, physical: physical.get(), length: len, written });
        }
    }
    let kind = FileKind::from_mode(i_mode).unwrap_or(FileKind::Special);
    let mut xattrs: Vec<Xattr> = volume
        .xattrs(&inode)?
        .into_iter()
        // Inline data is no attribute to anybody.
        .filter(|x| x.full_name() != b"system.data")
        .map(|x| Xattr { name: String::from_utf8_lossy(&x.full_name()).into_owned(), value: to_hex(&x.value) })
        .collect();
    xattrs.sort_by(|a, b| a.name.cmp(&b.name));
    let target = (kind == FileKind::Symlink && !flags.contains(InodeFlags::ENCRYPT))
        .then(|| volume.read_link(&inode))
        .transpose()?;
    let is_device = matches!(i_mode & mode::IFMT, mode::IFCHR | mode::IFBLK);
    Ok(Entry {
        path_bytes: std::str::from_utf8(&path).is_err().then(|| to_hex(&path)),
        path: String::from_utf8_lossy(&path).into_owned(),
        r#type: type_name(i_mode),
        inode: ino,
        links: disk.i_links_count.get(),
        mode: format!("{:04o}", i_mode & 0o7777),
        uid: disk.uid(),
        gid: disk.gid(),
        size: inode.size(),
        allocated: inode.space(),
        mtime: time(disk.i_mtime.get(), disk.i_mtime_extra.get()),
        ctime: time(disk.i_ctime.get(), disk.i_ctime_extra.get()),
        atime: time(disk.i_atime.get(), disk.i_atime_extra.get()),
        flags: flags.iter_names().map(|(name, _)| name.to_owned()).collect(),
        flags_value: flags.bits(),
        dax: dax(plan, tree.primary(id), kind, flags),
        pmd: pmd(plan, kind, inode.size(), &extents, flags.contains(InodeFlags::EXTENTS)),
        extents,
        xattrs,
        target: target.map(|t| String::from_utf8_lossy(&t).into_owned()),
        device: is_device.then(|| disk.device().into()),
        sha256: sha256.map(|digest| to_hex(&digest)),
    })
}

fn type_name(i_mode: u16) -> &'static str {
    match i_mode & mode::IFMT {
        mode::IFREG => "file",
        mode::IFDIR => "directory",
        mode::IFLNK => "symlink",
        mode::IFCHR => "char",
        mode::IFBLK => "block",
        mode::IFIFO => "fifo",
        _ => "socket",
    }
}

fn dax(plan: &Plan, id: NodeId, kind: FileKind, flags: InodeFlags) -> Dax {
    let p = &plan.params;
    let has_journal = p.features.compat.contains(Compat::HAS_JOURNAL);
    let decide = |mode| {
        let decision = should_enable_dax(&DaxInputs {
            mode,
            kind,
            flags,
            // `__ext4_iget` decides before it has looked for inline data (`i_inline_off` is still zero).
            has_inline_data: false,
            journal: JournalInputs { has_journal, ..JournalInputs::DEFAULT },
            device: true,
            block_size: p.block_size,
            page_size: p.page_size,
        });
        Decision { effective: decision.s_dax, rule: decision.row }
    };
    Dax {
        flag: flags.contains(InodeFlags::DAX),
        from: match plan.needs.inodes.dax_from(id) {
            DaxFrom::Nowhere if flags.contains(InodeFlags::DAX) => DaxOrigin::Recipe,
            DaxFrom::Nowhere => DaxOrigin::None,
            DaxFrom::Parent => DaxOrigin::Inherited,
            DaxFrom::Named => DaxOrigin::Option,
            DaxFrom::Decided => DaxOrigin::Recipe,
        },
        s_dax: Modes { always: decide(DaxMode::Always), inode: decide(DaxMode::Inode), never: decide(DaxMode::Never) },
    }
}

fn pmd(plan: &Plan, kind: FileKind, size: u64, extents: &[Extent], by_extents: bool) -> Option<Pmd> {
    if kind != FileKind::Regular {
        return None;
    }
    let geometry = PmdGeometry::new(plan.params.block_size, plan.params.data_offset)?;
    let runs = extents.iter().map(|e| FileExtent {
        logical: e.logical,
        physical: e.physical,
        len: e.length,
        written: e.written,
    });
    let sum = summary(geometry, size, pieces(runs, by_extents, plan.params.block_size));
    Some(Pmd { windows: sum.windows, mappable: sum.mappable, share: sum.share()? })
}
