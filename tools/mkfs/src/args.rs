//! The command line: mke2fs's letters where the meaning is the same, long options for the rest.
//!
//! Values of the letters stay text; `daxkit_build::options` knows what they mean.

use clap::{ArgAction, Parser, ValueEnum};
use daxkit_build::options::{PmemAlign, Request};
use daxkit_build::params::Holes;
use daxkit_cli::docs::Document;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Make an ext4 image for persistent memory: empty, from directories and tar archives, from a recipe.
#[derive(Debug, Parser)]
#[command(
    name = "dax-mkfs",
    version,
    disable_version_flag = true,
    disable_help_flag = true,
    max_term_width = 100,
    after_help = "SIZE counts KiB, or blocks when -b is given; K, M, G, T (powers of 1024) and s (sectors of 512 bytes) may follow. \
                  auto is the least that holds the content and --reserve; a new IMAGE with content gets it unless SIZE is given. \
                  Without SIZE, an existing IMAGE is used as it is.\n\nExit status: 0 when the image was made (or planned), 1 otherwise."
)]
pub(crate) struct Args {
    /// The file or block device to make the file system in.
    #[arg(value_name = "IMAGE", required_unless_present_any = ["document", "schema", "manifest_schema"])]
    pub(crate) image: Option<PathBuf>,
    /// Size of the file system, or auto.
    #[arg(value_name = "SIZE")]
    size: Option<String>,

    /// Block size in bytes; -b -SIZE is the least that will do [default: the page size].
    #[arg(short = 'b', value_name = "BYTES", allow_hyphen_values = true)]
    block_size: Option<String>,
    /// Cluster size in bytes, with -O bigalloc [default: 16 blocks].
    #[arg(short = 'C', value_name = "BYTES")]
    cluster_size: Option<String>,
    /// File system type: ext2, ext3 or ext4 [default: ext4].
    #[arg(short = 't', value_name = "TYPE")]
    fs_type: Option<String>,
    /// Usage types, which decide the number of inodes: small, floppy, default, big, huge, news, largefile, largefile4, hurd
    /// [default: by size].
    #[arg(short = 'T', value_name = "TYPE,...")]
    usage: Option<String>,
    /// Volume label, at most 16 bytes.
    #[arg(short = 'L', value_name = "LABEL")]
    label: Option<OsString>,
    /// UUID, or random, time or clear [default: random].
    #[arg(short = 'U', value_name = "UUID")]
    uuid: Option<String>,
    /// Number of inodes.
    #[arg(short = 'N', value_name = "COUNT", allow_hyphen_values = true)]
    inodes: Option<String>,
    /// Bytes for each inode.
    #[arg(short = 'i', value_name = "BYTES", allow_hyphen_values = true)]
    inode_ratio: Option<String>,
    /// Size of an inode in bytes [default: 256].
    #[arg(short = 'I', value_name = "BYTES", allow_hyphen_values = true)]
    inode_size: Option<String>,
    /// Percentage of blocks reserved for the superuser [default: 5].
    #[arg(short = 'm', value_name = "PERCENT", allow_hyphen_values = true)]
    reserved_percent: Option<String>,
    /// Features: a list of names; ^NAME takes one away, none takes all away.
    #[arg(short = 'O', value_name = "FEATURE,...", action = ArgAction::Append, allow_hyphen_values = true)]
    features: Vec<String>,
    /// Extended options, as stride=, stripe_width=, offset=, resize=, lazy_itable_init=, packed_meta_blocks=, nodiscard,
    /// hash_seed=, root_owner=, quotatype=, encoding=.
    #[arg(short = 'E', value_name = "WORD[=VALUE],...", action = ArgAction::Append)]
    extended: Vec<String>,
    /// Journal options: size= (MiB), location=, device=, fast_commit_size= (KiB).
    #[arg(short = 'J', value_name = "WORD=VALUE,...", action = ArgAction::Append)]
    journal: Vec<String>,
    /// Give the file system a journal.
    #[arg(short = 'j')]
    with_journal: bool,
    /// Groups whose metadata lies together, a power of two [default: 16].
    #[arg(short = 'G', value_name = "GROUPS", allow_hyphen_values = true)]
    flex_bg_size: Option<String>,
    /// Blocks in a group; clusters with bigalloc [default: what one bitmap block counts]. With a path (/FILE): print where the file's
    /// blocks lie, as --block-map. May be repeated.
    #[arg(short = 'g', value_name = "BLOCKS|/PATH", allow_hyphen_values = true, action = ArgAction::Append)]
    groups_or_maps: Vec<OsString>,
    /// Revision of the format: 0 or 1 [default: 1].
    #[arg(short = 'r', value_name = "REVISION", allow_hyphen_values = true)]
    revision: Option<String>,
    /// Directory the file system was last mounted on.
    #[arg(short = 'M', value_name = "DIRECTORY")]
    last_mounted: Option<OsString>,
    /// Creator: linux, hurd, freebsd, lites or a number [default: linux].
    #[arg(short = 'o', value_name = "OS")]
    creator_os: Option<String>,
    /// What the kernel does on errors: continue, remount-ro or panic [default: continue].
    #[arg(short = 'e', value_name = "BEHAVIOUR")]
    errors: Option<String>,
    /// Copy the content of a directory or of a tar archive (plain, gzip, zstd) into the image; - is an archive on standard input.
    /// May be repeated: a later one lies on top, and its whiteouts (.wh.NAME) take away what lies beneath.
    #[arg(short = 'd', value_name = "DIRECTORY|ARCHIVE", action = ArgAction::Append)]
    pub(crate) sources: Vec<PathBuf>,
    /// Make what a recipe says, on top of all sources; options given here win over the recipe's.
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// Write what the image holds, inode by inode, as JSON: flags, extents, whether DAX will be effective, hashes.
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// Free space beside the content, for SIZE auto: bytes (K, M, G) or a percentage of the image [default: 0].
    #[arg(long, value_name = "SIZE|PERCENT%")]
    reserve: Option<String>,
    /// Place inodes and blocks in the order of the paths in a file, one on a line; what it does not name follows.
    #[arg(long, value_name = "FILE")]
    pub(crate) order: Option<PathBuf>,
    /// Print where the blocks of a file lie. May be repeated.
    #[arg(long = "block-map", value_name = "PATH", action = ArgAction::Append)]
    block_maps: Vec<OsString>,
    /// Print what would be made and write nothing.
    #[arg(short = 'n')]
    pub(crate) dry_run: bool,
    /// Print nothing but warnings and errors.
    #[arg(short = 'q')]
    pub(crate) quiet: bool,
    /// Print the geometry, and for each file what 2 MiB faults can map.
    #[arg(short = 'v', conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Overwrite an image that holds data.
    #[arg(short = 'F', action = ArgAction::Count)]
    pub(crate) force: u8,
    /// Save what is overwritten in a new undo file, for e2undo.
    #[arg(short = 'z', value_name = "FILE")]
    pub(crate) undo: Option<PathBuf>,
    /// Taken and ignored: direct I/O.
    #[arg(short = 'D', hide = true)]
    direct_io: bool,
    /// Taken as -E nodiscard.
    #[arg(short = 'K', hide = true)]
    no_discard: bool,
    /// Refused.
    #[arg(short = 'c', hide = true, action = ArgAction::Count)]
    check_blocks: u8,
    /// Refused.
    #[arg(short = 'l', hide = true, value_name = "FILE")]
    bad_blocks: Option<PathBuf>,
    /// Refused.
    #[arg(short = 'S', hide = true)]
    super_only: bool,

    /// Set the DAX flag on a path, absolute inside the image; what is below a directory inherits it. May be repeated.
    #[arg(long = "dax", value_name = "PATH", action = ArgAction::Append)]
    dax_paths: Vec<OsString>,
    /// Owner and group of all files.
    #[arg(long, value_name = "UID:GID", value_parser = parse_owner)]
    pub(crate) owner: Option<(u32, u32)>,
    /// Leave out what matches: /a/b from the root, b anywhere; * ? [...] **. May be repeated.
    #[arg(long, value_name = "GLOB", action = ArgAction::Append)]
    pub(crate) exclude: Vec<String>,
    /// Leave out what cannot be read, with a warning.
    #[arg(long)]
    pub(crate) skip_unreadable: bool,
    /// Which holes files have: those of the source, blocks of zeroes as well, or none [default: host].
    #[arg(long, value_enum)]
    holes: Option<HolesArg>,
    /// Page size of the machine that will map the files [default: 4096].
    #[arg(long, value_name = "BYTES")]
    page_size: Option<String>,
    /// Round the length of a new file up to a multiple of this [default: 2M].
    #[arg(long, value_enum, ignore_case = true)]
    pmem_align: Option<AlignArg>,
    /// Depend on nothing but source and arguments; SOURCE_DATE_EPOCH does the same and gives the time.
    #[arg(long)]
    reproducible: bool,
    /// Print plan and result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Worker threads [default: one for each processor].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Print help.
    #[arg(short = 'h', long = "help", action = ArgAction::Help)]
    help: Option<bool>,
    /// Print the version.
    #[arg(short = 'V', long = "version", action = ArgAction::Version)]
    version: Option<bool>,
    /// Print the manual page or shell completions.
    #[arg(long, value_enum, hide = true, value_name = "DOCUMENT")]
    pub(crate) document: Option<Document>,
    /// Print the JSON schema of what --json prints.
    #[arg(long, hide = true)]
    pub(crate) schema: bool,
    /// Print the JSON schema of what --manifest writes.
    #[arg(long, hide = true)]
    pub(crate) manifest_schema: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HolesArg {
    Host,
    ZeroBlocks,
    None,
}

impl From<HolesArg> for Holes {
    fn from(arg: HolesArg) -> Self {
        match arg {
            HolesArg::Host => Self::Host,
            HolesArg::ZeroBlocks => Self::ZeroBlocks,
            HolesArg::None => Self::None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AlignArg {
    #[value(name = "none")]
    None,
    #[value(name = "2M")]
    Mib2,
    #[value(name = "16M")]
    Mib16,
    #[value(name = "128M")]
    Mib128,
}

impl From<AlignArg> for PmemAlign {
    fn from(arg: AlignArg) -> Self {
        match arg {
            AlignArg::None => Self::None,
            AlignArg::Mib2 => Self::Mib2,
            AlignArg::Mib16 => Self::Mib16,
            AlignArg::Mib128 => Self::Mib128,
        }
    }
}

/// The words that an option of the command line takes, in a recipe.
pub(crate) fn parse_holes(text: &str) -> Option<Holes> {
    HolesArg::from_str(text, true).ok().map(Holes::from)
}

/// See [`parse_holes`].
pub(crate) fn parse_pmem_align(text: &str) -> Option<PmemAlign> {
    AlignArg::from_str(text, true).ok().map(PmemAlign::from)
}

fn parse_owner(text: &str) -> Result<(u32, u32), String> {
    text.split_once(':')
        .and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)))
        .ok_or_else(|| "wants UID:GID in numbers".to_owned())
}

impl Args {
    /// Letters of mke2fs that are known and refused, with the reason.
    pub(crate) fn refused(&self) -> Option<&'static str> {
        if self.check_blocks > 0 || self.bad_blocks.is_some() {
            Some("-c, -l: bad blocks are not handled: persistent memory maps them out below the file system (ndctl)")
        } else if self.super_only {
            Some("-S: writing superblocks over a damaged file system is a repair, not a way to make one")
        } else if self.undo.is_some() && self.dry_run {
            Some("-z: a dry run writes nothing, and so has nothing to undo")
        } else if self.manifest.is_some() && self.dry_run {
            Some("--manifest: a dry run writes no image to read it from")
        } else if self.numbers_of_groups().nth(1).is_some() {
            Some("-g: the number of blocks in a group is given twice")
        } else {
            None
        }
    }

    fn numbers_of_groups(&self) -> impl Iterator<Item = &OsString> {
        self.groups_or_maps.iter().filter(|v| !v.as_bytes().starts_with(b"/"))
    }

    /// Paths in the image whose block maps are wanted.
    pub(crate) fn block_maps(&self) -> impl Iterator<Item = &[u8]> {
        let short = self.groups_or_maps.iter().filter(|v| v.as_bytes().starts_with(b"/"));
        short.chain(&self.block_maps).map(|v| v.as_bytes())
    }

    /// What was typed, for resolution. `epoch` is `SOURCE_DATE_EPOCH`.
    pub(crate) fn request(&self, epoch: Option<i64>) -> Request {
        let bytes = |text: &Option<OsString>| text.as_ref().map(|t| t.as_bytes().to_vec());
        let mut extended = self.extended.clone();
        if self.no_discard {
            extended.push("nodiscard".to_owned());
        }
        Request {
            size: self.size.clone(),
            blocks: None,
            reserve: self.reserve.clone(),
            block_size: self.block_size.clone(),
            cluster_size: self.cluster_size.clone(),
            fs_type: self.fs_type.clone(),
            usage: self.usage.clone(),
            label: bytes(&self.label),
            uuid: self.uuid.clone(),
            inodes: self.inodes.clone(),
            inode_ratio: self.inode_ratio.clone(),
            inode_size: self.inode_size.clone(),
            reserved_percent: self.reserved_percent.clone(),
            features: self.features.clone(),
            extended,
            journal: self.journal.clone(),
            with_journal: self.with_journal,
            flex_bg_size: self.flex_bg_size.clone(),
            blocks_per_group: self.numbers_of_groups().next().map(|v| v.to_string_lossy().into_owned()),
            revision: self.revision.clone(),
            last_mounted: bytes(&self.last_mounted),
            creator_os: self.creator_os.clone(),
            errors: self.errors.clone(),
            dax_paths: self.dax_paths.iter().map(|p| p.clone().into_vec()).collect(),
            holes: self.holes.map(Holes::from),
            page_size: self.page_size.clone(),
            pmem_align: self.pmem_align.map(PmemAlign::from),
            time: None,
            order: Vec::new(),
            reproducible: self.reproducible,
            source_date_epoch: epoch,
            threads: self.threads.map(usize::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn letters_reach_the_request() {
        let args = Args::parse_from([
            "dax-mkfs",
            "-b",
            "-1024",
            "-O",
            "^has_journal",
            "-O",
            "quota",
            "-E",
            "stride=4",
            "-K",
            "-L",
            "x",
            "--dax",
            "/a",
            "--dax",
            "/b",
            "--pmem-align",
            "128m",
            "--owner",
            "1:2",
            "image",
            "64M",
        ]);
        let r = args.request(Some(7));
        assert_eq!(r.block_size.as_deref(), Some("-1024"));
        assert_eq!(r.features, ["^has_journal", "quota"]);
        assert_eq!(r.extended, ["stride=4", "nodiscard"]);
        assert_eq!(r.dax_paths, [b"/a".to_vec(), b"/b".to_vec()]);
        assert_eq!((r.pmem_align, r.source_date_epoch, args.owner), (Some(PmemAlign::Mib128), Some(7), Some((1, 2))));
        assert_eq!(r.size.as_deref(), Some("64M"));
    }
}
