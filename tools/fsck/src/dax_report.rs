//! A table of what has the DAX flag: where it may come from, what mounts make of it, how much one fault can map.

use daxkit_format::dax::ext4::{DaxInputs, JournalInputs, MountInputs, mount, should_enable_dax};
use daxkit_format::dax::{DaxMode, FileKind};
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::pmd::PMD_SIZE;
use daxkit_volume::ext4::Inode;
use daxkit_volume::{InodeNr, Volume};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// Bytes of a page of the machine.
const PAGE: u32 = 4096;

/// An inode with the DAX flag.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Row {
    /// Its path.
    pub(crate) path: String,
    /// Its number.
    pub(crate) inode: u64,
    /// `file` or `dir`.
    pub(crate) kind: &'static str,
    /// `inherited` when its directory has the flag as well, else `set`.
    pub(crate) origin: &'static str,
    /// `S_DAX` with `dax=always`; null when such a mount is refused.
    pub(crate) always: Option<bool>,
    /// `S_DAX` with `dax=inode`.
    pub(crate) by_inode: Option<bool>,
    /// `S_DAX` with `dax=never`.
    pub(crate) never: Option<bool>,
    /// Whole windows of 2 MiB, and how many of them one fault can map.
    pub(crate) windows: Option<[u64; 2]>,
}

/// What new files can have.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FreeSpace {
    /// Bytes that are free.
    pub(crate) bytes: u64,
    /// Aligned windows of 2 MiB that are free from end to end.
    pub(crate) windows: u64,
}

impl FreeSpace {
    pub(crate) fn of(volume: &Volume, data_offset: u64) -> Self {
        let block = u64::from(volume.block_size());
        let (mut bytes, mut windows) = (0, 0);
        let begin_of = |first: u64| data_offset.saturating_add(first.saturating_mul(block));
        let _ = volume.free_runs(|first, len| {
            bytes += len * block;
            let (begin, end) = (begin_of(first), begin_of(first.saturating_add(len)));
            windows += (end / PMD_SIZE).saturating_sub(begin.div_ceil(PMD_SIZE));
        });
        Self { bytes, windows }
    }

    pub(crate) fn print(&self) {
        let share = if self.bytes == 0 { 0.0 } else { (self.windows * PMD_SIZE) as f64 * 100.0 / self.bytes as f64 };
        anstream::println!("free: {} bytes, {} whole windows of 2 MiB ({share:.0}% of it)", self.bytes, self.windows);
    }
}

/// `S_DAX` under a mount mode.
fn decide(volume: &Volume, inode: &Inode, kind: FileKind, mode: DaxMode) -> Option<bool> {
    let journal = JournalInputs::of_defaults(volume.super_block());
    let block_size = volume.block_size();
    let inputs = MountInputs {
        option: Some(mode),
        device: true,
        block_size,
        page_size: PAGE,
        inline_data: volume.has_incompat(Incompat::INLINE_DATA),
        data: journal.data,
    };
    mount(&inputs).ok()?;
    let decision = should_enable_dax(&DaxInputs {
        mode,
        kind,
        flags: inode.flags(),
        has_inline_data: false,
        journal,
        device: true,
        block_size,
        page_size: PAGE,
    });
    Some(decision.s_dax)
}

/// All inodes with the flag, by path.
pub(crate) fn rows(volume: &Volume, data_offset: u64) -> Vec<Row> {
    let Ok(root) = volume.inode(InodeNr::ROOT) else { return Vec::new() };
    let mut rows: BTreeMap<Vec<u8>, Row> = BTreeMap::new();
    let mut flagged: std::collections::HashSet<Vec<u8>> = std::collections::HashSet::new();
    if root.flags().contains(InodeFlags::DAX) {
        flagged.insert(b"/".to_vec());
    }
    for visit in volume.walk(root) {
        let Ok(visit) = visit else { continue };
        let (inode, path) = (visit.inode, [b"/", visit.path.as_slice()].concat());
        if !inode.flags().contains(InodeFlags::DAX) {
            continue;
        }
        let Some(kind) = FileKind::from_mode(inode.i_mode.get()) else { continue };
        if inode.is_dir() {
            flagged.insert(path.clone());
        }
        let parent = match path.iter().rposition(|b| *b == b'/') {
            Some(0) | None => b"/".to_vec(),
            Some(at) => path.get(..at).unwrap_or_default().to_vec(),
        };
        let origin = if path != b"/" && flagged.contains(&parent) { "inherited" } else { "set" };
        let sum = if inode.is_file() { volume.pmd_summary(&inode, data_offset) } else { None };
        let row = Row {
            path: String::from_utf8_lossy(&path).into_owned(),
            inode: inode.nr().get(),
            kind: if inode.is_dir() { "dir" } else { "file" },
            origin,
            always: decide(volume, &inode, kind, DaxMode::Always),
            by_inode: decide(volume, &inode, kind, DaxMode::Inode),
            never: decide(volume, &inode, kind, DaxMode::Never),
            windows: sum.map(|sum| [sum.windows, sum.mappable]),
        };
        rows.insert(path, row);
    }
    rows.into_values().collect()
}

fn word(answer: Option<bool>) -> &'static str {
    match answer {
        Some(true) => "yes",
        Some(false) => "no",
        None => "refused",
    }
}

fn share([windows, mappable]: [u64; 2]) -> String {
    if windows == 0 {
        return "-".to_owned();
    }
    format!("{mappable}/{windows} {:.0}%", mappable as f64 * 100.0 / windows as f64)
}

/// Prints the table, and a summary for each directory.
pub(crate) fn print(rows: &[Row]) {
    anstream::println!(
        "{:<8} {:<4} {:<9} {:<7} {:<5} {:<5} {:<12} path",
        "inode",
        "kind",
        "flag",
        "always",
        "inode",
        "never",
        "2 MiB"
    );
    for row in rows {
        anstream::println!(
            "{:<8} {:<4} {:<9} {:<7} {:<5} {:<5} {:<12} {}",
            row.inode,
            row.kind,
            row.origin,
            word(row.always),
            word(row.by_inode),
            word(row.never),
            row.windows.map_or_else(|| "-".to_owned(), share),
            daxkit_cli::message::one_line(&row.path),
        );
    }
    let mut dirs: BTreeMap<&str, (u64, [u64; 2])> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.kind == "file") {
        let dir = row.path.rsplit_once('/').map_or("/", |(dir, _)| if dir.is_empty() { "/" } else { dir });
        let sum = dirs.entry(dir).or_default();
        let [windows, mappable] = row.windows.unwrap_or_default();
        *sum = (sum.0 + 1, [sum.1[0] + windows, sum.1[1] + mappable]);
    }
    for (dir, (files, sum)) in dirs {
        let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
        anstream::println!(
            "{}: {files} with the DAX flag, {} windows of 2 MiB",
            daxkit_cli::message::one_line(&dir),
            share(sum)
        );
    }
}
