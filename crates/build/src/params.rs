//! Everything that decides an image, resolved: no default is left open, no clock or random number is asked for below.

use daxkit_format::ext4::features::Features;
use daxkit_format::ext4::hash::HashVersion;
use daxkit_format::ext4::inode::Timestamp;

/// How many inodes the image gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InodeCount {
    /// Exactly so many (`-N`), rounded up to what the groups hold.
    Exact(u64),
    /// One for so many bytes (`-i`).
    Ratio(u32),
    /// One for so many bytes, and at least what the content needs plus a reserve of an eighth (at least 64).
    Content {
        /// Bytes for each inode.
        ratio: u32,
    },
}

/// Which metadata is laid where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataPlace {
    /// Bitmaps and inode tables of all groups lie together at the front (`packed_meta_blocks`): the rest of the image stays
    /// free of them, so that 2 MiB windows and long runs fit. Needs `flex_bg`.
    Packed,
    /// Together for each flex group (mke2fs's default with `flex_bg`), or in each group without `flex_bg`.
    PerFlexGroup,
}

/// The journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Journal {
    /// In the image.
    Internal {
        /// Blocks, the fast-commit area included; `None` for the size mke2fs would choose.
        blocks: Option<u32>,
        /// Blocks of the fast-commit area; 0 without the feature.
        fast_commit_blocks: u32,
        /// First block, where the user wants it; else behind the metadata.
        location: Option<u64>,
    },
    /// On a device of its own, known by its UUID.
    External {
        /// The journal device's UUID.
        uuid: [u8; 16],
        /// The UUID list of that device is the caller's job.
        device_number: u32,
    },
}

/// Which holes the image's files have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Holes {
    /// Those of the source files.
    #[default]
    Host,
    /// Blocks of nothing but zeroes become holes as well.
    ZeroBlocks,
    /// None: holes are filled.
    None,
}

/// Quota files to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaKinds {
    /// For owners.
    pub user: bool,
    /// For groups.
    pub group: bool,
    /// For projects.
    pub project: bool,
}

/// How UUID and directory hash seed come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// These.
    Given {
        /// `s_uuid`.
        uuid: [u8; 16],
        /// `s_hash_seed` as bytes.
        hash_seed: [u8; 16],
    },
    /// Derived from the content and the parameters; a part that is given stays.
    FromContent {
        /// `s_uuid`, where given.
        uuid: Option<[u8; 16]>,
        /// `s_hash_seed`, where given.
        hash_seed: Option<[u8; 16]>,
    },
}

/// The parameters of one image.
#[derive(Debug, Clone)]
pub struct Params {
    /// Bytes in a block, 1024 to 65536.
    pub block_size: u32,
    /// Bytes in an allocation cluster; the block size without `bigalloc`.
    pub cluster_size: u32,
    /// Blocks in the file system.
    pub blocks_count: u64,
    /// Feature bits, conflicts resolved.
    pub features: Features,
    /// `s_rev_level`: 0 or 1.
    pub revision: u32,
    /// Bytes of an inode on disk.
    pub inode_size: u16,
    /// How many inodes.
    pub inodes: InodeCount,
    /// Blocks in a group (`-g`), where the user wants another number than 8 times the block size.
    pub blocks_per_group: Option<u32>,
    /// Groups in a flex group (`-G`), a power of two; 1 for none.
    pub flex_bg_size: u32,
    /// Where bitmaps and inode tables lie.
    pub metadata: MetadataPlace,
    /// Backups that `sparse_super2` keeps: 0, 1 or 2.
    pub num_backup_sb: u8,
    /// Bytes of a group descriptor: 32, or 64 with `64bit`.
    pub desc_size: u16,
    /// Blocks reserved for the superuser.
    pub reserved_blocks: u64,
    /// Blocks the file system may be grown to online (`-E resize=`); `None` for 1,024 times the size.
    pub resize_max: Option<u64>,
    /// The journal; `None` without `has_journal`.
    pub journal: Option<Journal>,
    /// Volume name, at most 16 bytes.
    pub label: Vec<u8>,
    /// UUID and hash seed.
    pub identity: Identity,
    /// Last mounted on (`-M`), at most 64 bytes.
    pub last_mounted: Vec<u8>,
    /// `s_creator_os`: 0 is Linux.
    pub creator_os: u32,
    /// `s_errors`.
    pub errors: u16,
    /// Hash of directories.
    pub hash_version: HashVersion,
    /// `s_default_mount_opts`.
    pub default_mount_opts: u32,
    /// `s_mount_opts`, at most 63 bytes.
    pub mount_opts: Vec<u8>,
    /// `s_raid_stride`.
    pub stride: u16,
    /// `s_raid_stripe_width`.
    pub stripe_width: u32,
    /// `s_mmp_update_interval`.
    pub mmp_interval: u16,
    /// Bytes of the orphan file; `None` for the usual size.
    pub orphan_file_size: Option<u64>,
    /// `s_encoding`; 0 without `casefold`.
    pub encoding: u16,
    /// `s_encoding_flags`.
    pub encoding_flags: u16,
    /// `s_encrypt_pw_salt`, with `encrypt`.
    pub encrypt_pw_salt: [u8; 16],
    /// Quota files, with `quota`.
    pub quota: QuotaKinds,
    /// Owner and group of the root directory where no source says.
    pub root_owner: (u32, u32),
    /// Permissions of the root directory where no source says.
    pub root_perms: Option<u16>,
    /// `security.selinux` of root and lost+found (`-E root_selinux=`).
    pub root_selinux: Option<Vec<u8>>,
    /// `test_fs`: mark as a test file system.
    pub test_fs: bool,
    /// Leave inode tables of unused inodes to the kernel where the target is not known to be zero.
    pub lazy_itable_init: bool,
    /// Leave the journal as it is where the target is not known to be zero.
    pub lazy_journal_init: bool,
    /// Distance of the file system's first byte from the start of the pmem device, for 2 MiB alignment.
    pub data_offset: u64,
    /// Time of creation, and of whatever has no time of its own.
    pub time: Timestamp,
    /// All times of an inode are its mtime, nothing comes from the host.
    pub reproducible: bool,
    /// Page size of the machine that will map the files.
    pub page_size: u32,
    /// Holes in files.
    pub holes: Holes,
    /// Paths (absolute inside the image) that get the DAX flag before their children are created.
    pub dax_paths: Vec<Vec<u8>>,
    /// Paths in the order in which their inodes and blocks are to lie, before all others.
    pub order: Vec<Vec<u8>>,
    /// The size follows from the content, and so is no part of what tells images apart.
    pub sized_by_content: bool,
    /// Worker threads.
    pub threads: usize,
}
