//! What was typed, and what is known of the world: the two inputs of resolution.

use crate::params::Holes;
pub use daxkit_device::pmem::PmemAlign;
use daxkit_format::ext4::inode::Timestamp;

/// The options as typed. Numbers stay text here, so that every rule about them lives in one place and every message can
/// quote what the user wrote.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// SIZE.
    pub size: Option<String>,
    /// Blocks of the file system, where they were worked out from the content; SIZE does not count then.
    pub blocks: Option<u64>,
    /// `--reserve`.
    pub reserve: Option<String>,
    /// `-b`.
    pub block_size: Option<String>,
    /// `-C`.
    pub cluster_size: Option<String>,
    /// `-t`.
    pub fs_type: Option<String>,
    /// `-T`.
    pub usage: Option<String>,
    /// `-L`.
    pub label: Option<Vec<u8>>,
    /// `-U`.
    pub uuid: Option<String>,
    /// `-N`.
    pub inodes: Option<String>,
    /// `-i`.
    pub inode_ratio: Option<String>,
    /// `-I`.
    pub inode_size: Option<String>,
    /// `-m`.
    pub reserved_percent: Option<String>,
    /// `-O`, once or more often.
    pub features: Vec<String>,
    /// `-E`, once or more often.
    pub extended: Vec<String>,
    /// `-J`, once or more often.
    pub journal: Vec<String>,
    /// `-j`.
    pub with_journal: bool,
    /// `-G`.
    pub flex_bg_size: Option<String>,
    /// `-g`.
    pub blocks_per_group: Option<String>,
    /// `-r`.
    pub revision: Option<String>,
    /// `-M`.
    pub last_mounted: Option<Vec<u8>>,
    /// `-o`.
    pub creator_os: Option<String>,
    /// `-e`.
    pub errors: Option<String>,
    /// `--dax`, once or more often.
    pub dax_paths: Vec<Vec<u8>>,
    /// `--holes`.
    pub holes: Option<Holes>,
    /// `--page-size`.
    pub page_size: Option<String>,
    /// `--pmem-align`.
    pub pmem_align: Option<PmemAlign>,
    /// `--reproducible`.
    pub reproducible: bool,
    /// Time of creation, where a recipe gives one; `SOURCE_DATE_EPOCH` wins.
    pub time: Option<Timestamp>,
    /// `SOURCE_DATE_EPOCH`, in seconds.
    pub source_date_epoch: Option<i64>,
    /// `--order`: paths, first to last.
    pub order: Vec<Vec<u8>>,
    /// `--threads`.
    pub threads: Option<usize>,
}

impl Request {
    /// Whether the image must not depend on clock, host or chance.
    #[must_use]
    pub fn is_reproducible(&self) -> bool {
        self.reproducible || self.source_date_epoch.is_some()
    }
}

/// A target that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Bytes.
    pub len: u64,
    /// Whether it can be made longer: a regular file can.
    pub can_grow: bool,
}

/// What is to be copied into the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Content {
    /// Inodes, the root included.
    pub inodes: u64,
    /// Bytes of data.
    pub bytes: u64,
    /// The latest modification time, where anything has one.
    pub newest: Option<Timestamp>,
}

/// An external journal that `-J device=` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalDevice {
    /// Its UUID.
    pub uuid: [u8; 16],
    /// Its block size.
    pub block_size: u32,
    /// Its device number, 0 for a regular file.
    pub number: u32,
}

/// What `main` knows and resolution needs.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The target, where there is one.
    pub target: Option<Target>,
    /// Bytes the target can address; 512 for files.
    pub sector_size: u32,
    /// The source, where there is one.
    pub content: Option<Content>,
    /// The clock.
    pub now: Timestamp,
    /// Random bytes for the UUID.
    pub random_uuid: [u8; 16],
    /// Random bytes for the hash seed.
    pub random_seed: [u8; 16],
    /// User and group of the caller, for `-E root_owner`.
    pub caller: (u32, u32),
    /// The external journal, where one is named.
    pub journal_device: Option<JournalDevice>,
    /// Processors.
    pub processors: usize,
}
