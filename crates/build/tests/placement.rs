//! Where the plan puts files: whole windows aligned and in one run while there is room, nothing twice, whatever the sizes.
//!
//! Plans are made from files of a length and no content, so gigabytes cost nothing.

mod common;

use common::{DEFAULT, params};
use daxkit_build::plan::Plan;
use daxkit_build::progress::NoProgress;
use daxkit_build::source::{Kind, NodeId, ScanOptions, Tree, scan};
use std::fs::File;
use std::ops::Range;
use std::path::Path;

const WINDOW: u64 = 2 << 20;

fn tree(dir: &Path, sizes: &[u64]) -> Tree {
    for (i, size) in sizes.iter().enumerate() {
        File::create(dir.join(format!("f{i:04}"))).and_then(|f| f.set_len(*size)).expect("a file of this length");
    }
    let dense = ScanOptions { detect_holes: false, ..ScanOptions::default() };
    scan(dir, &dense, &NoProgress).expect("scanned").0
}

/// Every block is used once and inside the file system; gives (windows, mappable windows, runs of the file with most).
fn judge(plan: &Plan, tree: &Tree) -> (u64, u64, usize) {
    let bs = u64::from(plan.params.block_size);
    let mut used: Vec<Range<u64>> = plan.free.runs().collect();
    used.extend(plan.metadata.ranges(plan.geometry.groups));
    used.extend(plan.geometry.super_groups().map(|g| plan.geometry.base_range(g)));
    let (mut windows, mut mappable, mut most) = (0, 0, 0);
    for id in tree.ids().filter(|id| tree.kind(*id) == Kind::File) {
        let size = tree.size(id);
        let runs: Vec<_> = plan.maps.runs(id.0, size.div_ceil(bs)).collect();
        assert_eq!(runs.iter().map(|r| r.len).sum::<u64>(), size.div_ceil(bs), "{id:?} has all its blocks");
        used.extend(runs.iter().map(|r| r.physical..r.physical + r.len));
        most = most.max(runs.len());
        for w in 0..size / WINDOW {
            windows += 1;
            let (first, blocks) = (w * WINDOW / bs, WINDOW / bs);
            mappable += u64::from(runs.iter().any(|r| {
                r.logical <= first
                    && first + blocks <= r.logical + r.len
                    && (plan.params.data_offset + (r.physical + first - r.logical) * bs).is_multiple_of(WINDOW)
            }));
        }
    }
    used.sort_unstable_by_key(|r| r.start);
    for pair in used.windows(2) {
        assert!(pair[0].end <= pair[1].start, "{:?} and {:?} overlap", pair[0], pair[1]);
    }
    assert!(used.last().is_some_and(|r| r.end <= plan.geometry.blocks_count));
    (windows, mappable, most)
}

fn plan(bytes: u64, block_size: u32, data_offset: u64, sizes: &[u64]) -> (Plan, Tree) {
    let dir = tempfile::tempdir().expect("a directory");
    let tree = tree(dir.path(), sizes);
    let mut p = params(DEFAULT, block_size, bytes);
    p.data_offset = data_offset;
    (Plan::new(&p, &tree, Default::default()).expect("a plan"), tree)
}

#[test]
fn files_of_any_size_are_mappable_in_full_and_in_one_run_where_there_is_room() {
    let sizes: Vec<u64> =
        (0..60u64).map(|i| 1 + i * i * 40_009 % (50 << 20)).chain([WINDOW, WINDOW - 1, WINDOW + 1]).collect();
    for (block_size, data_offset) in
        [(4096, 0), (4096, 1 << 20), (4096, 12_288), (1024, 0), (65536, 0), (65536, 1 << 20)]
    {
        let (plan, tree) = plan(4 << 30, block_size, data_offset, &sizes);
        let (windows, mappable, most) = judge(&plan, &tree);
        assert!(windows > 100);
        assert_eq!((mappable, most), (windows, 1), "blocks of {block_size}, offset {data_offset}");
    }
}

#[test]
fn a_full_image_loses_no_window_to_tails() {
    // Ten files of one window and a tail of 1.9 MB: rounded up they would not fit.
    let sizes = [WINDOW + 1_900_000; 10];
    let (plan, tree) = plan(48 << 20, 4096, 0, &sizes);
    let (windows, mappable, _) = judge(&plan, &tree);
    assert_eq!((windows, mappable), (10, 10));
}

#[test]
fn what_cannot_be_aligned_is_placed_all_the_same() {
    // Block 0 lies 512 bytes behind a page: nothing can be mapped, but the files are there.
    let (plan, tree) = plan(256 << 20, 4096, 512, &[5 * WINDOW, 3 * WINDOW + 5]);
    let (windows, mappable, _) = judge(&plan, &tree);
    assert_eq!((windows, mappable), (8, 0));
}

#[test]
fn a_file_longer_than_any_free_run_is_cut_between_windows() {
    let (plan, tree) = plan(1 << 30, 4096, 0, &[800 << 20]);
    let (windows, mappable, most) = judge(&plan, &tree);
    assert_eq!((windows, mappable), (400, 400));
    assert!(most > 1 && most < 8, "{most} runs");
    assert_eq!(plan.needs.inodes.ino(NodeId(1)), 12);
}
