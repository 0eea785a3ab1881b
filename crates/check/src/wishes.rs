//! What is to be done to a file system besides mending it, and what came of it.

/// Which directories are built anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Directories {
    /// None.
    None,
    /// Those that lost their index to a repair, and those that would gain from one and have none.
    #[default]
    Needed,
    /// All of them.
    All,
}

/// Blocks that are to be in the list of bad blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BadBlocks {
    /// Their numbers. Those that the file system does not have are left out.
    pub blocks: Vec<u64>,
    /// Those that are in the list already stay.
    pub keep: bool,
    /// How blocks are tried; those that fail are put into the list.
    pub scan: Scan,
}

/// How blocks are tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scan {
    /// Not at all.
    #[default]
    None,
    /// Every block is read.
    Read,
    /// Every block is read, and where it was ever written gets the opposite of what it holds, and that again. This writes to the device.
    Write,
}

/// What is to be done besides mending.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Directories that are built anew.
    pub directories: Directories,
    /// Say which extent trees are deeper or wider than they need to be, and build them anew.
    pub narrow_trees: bool,
    /// Files with block maps get extents.
    pub convert_maps: bool,
    /// The list of bad blocks.
    pub bad_blocks: Option<BadBlocks>,
    /// Blocks that files share on purpose (the feature shared_blocks) are copied, and the feature is taken away.
    pub unshare: bool,
    /// Names of casefolded directories are valid in the file system's encoding, strict or not.
    pub check_encoding: bool,
    /// Blocks of attributes are of version 1: another magic number, and names without an index. Those of version 2 are damaged then.
    pub old_attributes: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            directories: Directories::default(),
            narrow_trees: true,
            convert_maps: false,
            bad_blocks: None,
            unshare: false,
            check_encoding: false,
            old_attributes: false,
        }
    }
}

/// What was done besides mending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Improved {
    /// Directories that were built anew.
    pub directories: Vec<u32>,
    /// Files whose block map became one of extents.
    pub converted: Vec<u32>,
    /// Blocks in the list of bad blocks, when it was made.
    pub bad_blocks: Option<u64>,
    /// What was to be done and was not, and why.
    pub left: Vec<String>,
}

impl Improved {
    /// Whether nothing was done.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.directories.is_empty() && self.converted.is_empty() && self.bad_blocks.is_none()
    }
}
