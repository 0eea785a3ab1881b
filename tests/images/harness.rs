//! One image, asked about from all sides.

use super::ext4_view::{self, Outcome};
use super::fixtures::Source;
use super::snapshot::Snapshot;
use super::tools::Failure;
use super::tree_compare::{Allow, compare};
use super::{oracle, readers};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What an image must be.
pub(crate) struct Expect<'a> {
    /// What it was made from; `None` for an empty one.
    pub(crate) source: Option<&'a Source>,
    /// In what it may differ from it.
    pub(crate) allow: Allow,
    /// Bytes in a block.
    pub(crate) block_size: u32,
    /// Bytes of an inode.
    pub(crate) inode_size: u32,
    /// Exactly these features.
    pub(crate) features: BTreeSet<String>,
    /// What `dumpe2fs` says: field and value.
    pub(crate) fields: Vec<(&'static str, String)>,
}

/// Readers that could not be asked, and why.
pub(crate) type Skipped = BTreeMap<&'static str, String>;

/// Asks everybody.
pub(crate) fn check(image: &Path, scratch: &Path, expect: &Expect<'_>) -> Result<Skipped, Failure> {
    let mut skipped = Skipped::new();
    oracle::clean(image)?;
    let told = oracle::dumpe2fs(image)?;
    let features = oracle::features(&told);
    if features != expect.features {
        let list = |a: &BTreeSet<String>, b| a.difference(b).cloned().collect::<Vec<_>>().join(" ");
        return Err(format!(
            "features: missing [{}], not wanted [{}]",
            list(&expect.features, &features),
            list(&features, &expect.features)
        ));
    }
    for (field, value) in &expect.fields {
        let found = told.get(*field).map_or("(none)", String::as_str);
        if found != value {
            return Err(format!("dumpe2fs: {field} is {found}, expected {value}"));
        }
    }
    let empty = Snapshot::new();
    let source = expect.source.map_or(&empty, |s| &s.tree);
    let allow = Allow { own_root: expect.source.is_none(), ..expect.allow };
    let mut failures = Vec::new();
    let mut ask = |reader: &str, found: Result<Snapshot, Failure>| {
        if let Err(e) = found.and_then(|found| compare(reader, source, &found, allow)) {
            failures.push(e);
        }
    };
    ask("daxkit-volume", readers::volume(image));
    ask("debugfs", readers::debugfs(image, scratch));
    match oracle::kernel_mounts(expect.block_size, &features) {
        Ok(()) => ask("the kernel", readers::kernel(image, scratch)),
        Err(why) => drop(skipped.insert("the kernel", why)),
    }
    match ext4_view::read(image, source, expect.block_size, expect.inode_size) {
        Ok(Outcome::Read(mut found)) => {
            ext4_view::adopt_links(&mut found, source);
            ask("ext4-view", Ok(found));
        }
        Ok(Outcome::Skipped(why)) => drop(skipped.insert("ext4-view", why)),
        Err(e) => ask("ext4-view", Err(e)),
    }
    if failures.is_empty() { Ok(skipped) } else { Err(failures.join("\n")) }
}
