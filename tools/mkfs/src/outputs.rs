//! What a run leaves beside the image: the manifest, and the block maps of files.

use anyhow::{Context, Result, anyhow};
use daxkit_build::manifest::{self, Extent};
use daxkit_build::plan::Plan;
use daxkit_build::source::{Source, Tree};
use daxkit_build::write::Written;
use daxkit_cli::message::one_line;
use daxkit_cli::progress::Watcher;
use daxkit_device::new_file::Existing;
use daxkit_device::{BlockDevice, NewFile};
use schemars::JsonSchema;
use serde::Serialize;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// A manifest that has no name yet: it gets it when the image is there.
pub(crate) struct ManifestFile<'a> {
    path: &'a Path,
    file: NewFile,
}

impl<'a> ManifestFile<'a> {
    /// Begins it before anything else is written, so that a wrong path is told early.
    pub(crate) fn begin(path: &'a Path) -> Result<Self> {
        let file = NewFile::create(path, Existing::Replace).context("--manifest")?;
        Ok(Self { path, file })
    }

    pub(crate) fn write(
        &self,
        plan: &Plan,
        source: &Source,
        written: &Written,
        device: &Arc<dyn BlockDevice>,
        defects: Vec<String>,
        watcher: &Watcher,
    ) -> Result<()> {
        let mut file = self.file.file();
        manifest::write(&mut file, plan, source.tree(), written, device, defects, watcher)
            .with_context(|| format!("--manifest {}", self.path.display()))
    }

    pub(crate) fn publish(self) -> Result<()> {
        self.file.publish().context("--manifest")
    }
}

/// Where the blocks of one file lie.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BlockMap {
    /// Its path in the image; bytes that are not UTF-8 are replaced.
    path: String,
    /// Its inode.
    inode: u32,
    /// Its blocks, in order of the file.
    extents: Vec<Extent>,
}

/// The maps of the files with these paths.
pub(crate) fn block_maps<'p>(plan: &Plan, tree: &Tree, paths: impl Iterator<Item = &'p [u8]>) -> Result<Vec<BlockMap>> {
    paths
        .map(|path| {
            let shown = String::from_utf8_lossy(path).into_owned();
            let id = tree.lookup(path).ok_or_else(|| anyhow!("-g {}: no such file in the image", one_line(&shown)))?;
            let id = tree.primary(id);
            let extents = plan.runs(tree, id).map(|r| Extent {
                logical: r.logical,
                physical: r.physical,
                length: r.len,
                written: r.written,
            });
            Ok(BlockMap { path: shown, inode: plan.needs.inodes.ino(id), extents: extents.collect() })
        })
        .collect()
}

/// One line for each run: path, first block of the file, first block of the file system, blocks, and whether they are written.
pub(crate) fn print_maps(out: &mut dyn Write, maps: &[BlockMap]) -> io::Result<()> {
    for map in maps {
        let path = one_line(&map.path).to_string();
        writeln!(out, "{path}: inode {}, {} run{}", map.inode, map.extents.len(), plural(map.extents.len()))?;
        for e in &map.extents {
            let state = if e.written { "" } else { " unwritten" };
            writeln!(out, "{:>12} {:>12} {:>10}{state}", e.logical, e.physical, e.length)?;
        }
    }
    Ok(())
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
