//! What a plan and a written image say of themselves, for people and programs.

use crate::geometry::Geometry;
use crate::plan::Plan;
use crate::source::{Kind, Tree};
use crate::write::Written;
use daxkit_format::pmd::{FileExtent, PmdGeometry, PmdSummary, pieces, summary};
use schemars::JsonSchema;
use serde::Serialize;

/// The shape of the file system and what goes into it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PlanReport {
    /// Bytes in a block.
    pub block_size: u32,
    /// Bytes in an allocation cluster; the block size without bigalloc.
    pub cluster_size: u32,
    /// Blocks in the file system.
    pub blocks: u64,
    /// Blocks reserved for the superuser.
    pub reserved_blocks: u64,
    /// First block with data: 1 for blocks of 1 KiB, else 0.
    pub first_data_block: u32,
    /// Block groups.
    pub groups: u32,
    /// Blocks in a group.
    pub blocks_per_group: u32,
    /// Inodes in the file system.
    pub inodes: u32,
    /// Inodes in a group.
    pub inodes_per_group: u32,
    /// Bytes of an inode.
    pub inode_size: u16,
    /// Bytes of a group descriptor.
    pub desc_size: u16,
    /// Blocks reserved for more group descriptors.
    pub reserved_gdt_blocks: u32,
    /// Features by name, in dumpe2fs's order.
    pub features: Vec<String>,
    /// Blocks that begin a copy of the superblock. The first 64 of them.
    pub super_block_backups: Vec<u64>,
    /// Volume name.
    pub label: String,
    /// Blocks of an internal journal, the fast-commit area included; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal_blocks: Option<u32>,
    /// What the content is; absent when the layout was too large to be worked out block by block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentReport>,
}

/// What goes into the file system.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ContentReport {
    /// Regular files, hard links counted once.
    pub files: u64,
    /// Directories, root and lost+found included.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Device nodes, fifos and sockets.
    pub specials: u64,
    /// Inodes in use, the reserved ones included.
    pub used_inodes: u32,
    /// Bytes of all regular files, as their sizes say.
    pub bytes: u64,
    /// Free blocks.
    pub free_blocks: u64,
    /// Files and directories with the DAX flag.
    pub dax_inodes: u64,
    /// What 2 MiB faults can map.
    pub pmd: PmdReport,
}

/// How much of the files a 2 MiB fault can map.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PmdReport {
    /// Whole 2 MiB windows of all files.
    pub windows: u64,
    /// Those that one fault can map.
    pub mappable: u64,
    /// `mappable` by `windows`; absent where there is no window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// The files that have at least one window.
    pub files: Vec<PmdFile>,
}

/// A file with whole 2 MiB windows.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PmdFile {
    /// Its path in the image; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Its inode.
    pub inode: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it has the DAX flag.
    pub dax: bool,
    /// Whole windows.
    pub windows: u64,
    /// Those that one fault can map.
    pub mappable: u64,
    /// Runs of blocks it lies in.
    pub runs: u64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ResultReport {
    /// UUID of the file system.
    pub uuid: String,
    /// Seed of directory hashes.
    pub hash_seed: String,
    /// Free blocks.
    pub free_blocks: u64,
    /// Free inodes.
    pub free_inodes: u32,
    /// Groups whose unused inodes are known to be zero.
    pub zeroed_groups: u32,
}

/// Text form of a UUID.
#[must_use]
pub fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut s = String::with_capacity(36);
    for (i, b) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            s.push('-');
        }
        s.push_str(&format!("{b:02x}"));
    }
    s
}

impl Written {
    /// What a program is told.
    #[must_use]
    pub fn report(&self) -> ResultReport {
        ResultReport {
            uuid: uuid_text(&self.uuid),
            hash_seed: uuid_text(&self.hash_seed),
            free_blocks: self.free_blocks,
            free_inodes: self.free_inodes,
            zeroed_groups: self.zeroed_groups,
        }
    }
}

impl PlanReport {
    /// The shape alone, for file systems too large to lay out just to look at.
    #[must_use]
    pub fn of_geometry(g: &Geometry, reserved_blocks: u64, label: &[u8]) -> Self {
        Self {
            block_size: g.block_size,
            cluster_size: g.block_size * g.cluster_ratio,
            blocks: g.blocks_count,
            reserved_blocks,
            first_data_block: g.first_data_block,
            groups: g.groups,
            blocks_per_group: g.blocks_per_group,
            inodes: g.inodes_count(),
            inodes_per_group: g.inodes_per_group,
            inode_size: g.inode_size,
            desc_size: g.desc_size,
            reserved_gdt_blocks: g.reserved_gdt,
            features: g.features.iter().map(|f| f.name()).collect(),
            super_block_backups: g.super_groups().skip(1).take(64).map(|group| g.super_block_nr(group)).collect(),
            label: String::from_utf8_lossy(label).into_owned(),
            journal_blocks: None,
            content: None,
        }
    }
}

impl Plan {
    /// What the plan says of itself.
    #[must_use]
    pub fn report(&self, tree: &Tree) -> PlanReport {
        let mut report = PlanReport::of_geometry(&self.geometry, self.params.reserved_blocks, &self.params.label);
        report.journal_blocks = self.special.journal.as_ref().map(|j| j.blocks);
        report.content = Some(self.content_report(tree));
        report
    }

    fn content_report(&self, tree: &Tree) -> ContentReport {
        let (mut files, mut directories, mut symlinks, mut specials, mut bytes, mut dax_inodes) = (0, 0, 0, 0, 0u64, 0);
        let mut total = PmdSummary::default();
        let mut pmd_files = Vec::new();
        for id in tree.ids().filter(|id| tree.primary(*id) == *id) {
            dax_inodes += u64::from(self.needs.inodes.is_dax(id));
            match tree.kind(id) {
                Kind::File => {
                    files += 1;
                    bytes = bytes.saturating_add(tree.size(id));
                    if let Some((sum, runs)) = self.pmd_of(tree, id) {
                        total.add(&sum);
                        pmd_files.push(PmdFile {
                            path: String::from_utf8_lossy(&tree.path(id)).into_owned(),
                            inode: self.needs.inodes.ino(id),
                            size: tree.size(id),
                            dax: self.needs.inodes.is_dax(id),
                            windows: sum.windows,
                            mappable: sum.mappable,
                            runs,
                        });
                    }
                }
                Kind::Dir => directories += 1,
                Kind::Symlink => symlinks += 1,
                Kind::Char | Kind::Block | Kind::Fifo | Kind::Socket => specials += 1,
            }
        }
        ContentReport {
            files,
            directories: directories + u64::from(self.needs.inodes.lost_found.is_none()),
            symlinks,
            specials,
            used_inodes: self.needs.inodes.last,
            bytes,
            free_blocks: self.free.free(),
            dax_inodes,
            pmd: PmdReport { windows: total.windows, mappable: total.mappable, share: total.share(), files: pmd_files },
        }
    }

    /// Windows and runs of a file; `None` when it has no whole window.
    fn pmd_of(&self, tree: &Tree, id: crate::source::NodeId) -> Option<(PmdSummary, u64)> {
        let size = tree.size(id);
        if size < daxkit_format::pmd::PMD_SIZE {
            return None;
        }
        let geometry = PmdGeometry::new(self.params.block_size, self.params.data_offset)?;
        let blocks = size.div_ceil(u64::from(self.params.block_size));
        let by_extents = self.needs.has_extents(tree, id);
        let extents = self.maps.runs(id.0, blocks).flat_map(crate::extent_tree::pieces).map(|r| FileExtent {
            logical: r.logical,
            physical: r.physical,
            len: r.len,
            written: r.written,
        });
        let extents = pieces(extents, by_extents, self.params.block_size);
        let runs = self.maps.runs(id.0, blocks).count() as u64;
        Some((summary(geometry, size, extents), runs))
    }
}
