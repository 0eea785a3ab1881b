//! Directories whose names are compared without case, judged by e2fsck.

mod common;

use common::{Bench, assert_clean, oracle};
use std::fs;

/// Mixed case, and letters whose folding is longer than they are; enough of them for one level of index and for two.
const RECIPE: &str = r#"
[filesystem]
size = "auto"
block_size = 1024
features = "casefold"

[[dir]]
path = "/one"
flags = "CASEFOLD"
htree_levels = 1
entries = { prefix = "Stra\u00DFe-\u00C4-", kind = "link" }
[[dir]]
path = "/two"
flags = "CASEFOLD"
htree_levels = 2
entries = { prefix = "Name-", kind = "link" }
[[dir]]
path = "/plain"
htree_levels = 1
entries = { prefix = "Name-", kind = "link" }
"#;

#[test]
fn the_index_of_a_directory_without_case_has_the_hashes_of_folded_names() {
    let bench = Bench::new();
    fs::write(bench.path("recipe.toml"), RECIPE).expect("a recipe");
    bench.ok(&["--recipe", "recipe.toml", "image"]);
    let image = bench.path("image");
    assert_clean(&image);
    // e2fsck would find nothing to say of linear directories.
    for (dir, levels) in [("/one", "0"), ("/two", "1"), ("/plain", "0")] {
        let htree = oracle("debugfs", &["-R", &format!("htree {dir}"), image.to_str().expect("a UTF-8 path")]);
        assert!(
            htree.stdout.contains(&format!("Indirect levels: {levels}")),
            "{dir}: {}{}",
            htree.stdout,
            htree.stderr
        );
    }
}
