//! Quota files that grow and shrink.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::run;

/// Usage as debugfs lists it: blocks of 1 KiB and inodes by id.
pub fn listed_quota(image: &Path, kind: &str) -> BTreeMap<u32, (u64, u64)> {
    let text = run("debugfs", &[&"-R", &format!("list_quota {kind}"), &image]);
    let numbers = |line: &str| line.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>().ok();
    let lines = text.lines().filter_map(numbers).filter(|n| n.len() == 7);
    lines.map(|n| (n[0] as u32, (n[1], n[4]))).collect()
}
