//! Which inodes of a recipe become inline, as the manifest tells it.

mod common;

use common::{Bench, assert_clean};
use std::fs;

const RECIPE: &str = r#"
[filesystem]
size = "auto"
features = "inline_data"

[[file]]
path = "/plain/small"
text = "short"
[[dir]]
path = "/plain/empty"
[[file]]
path = "/dax/small"
text = "short"
dax = true
[[dir]]
path = "/dax/empty"
dax = true
[[file]]
path = "/encrypted/small"
text = "short"
flags = "ENCRYPT"
[[dir]]
path = "/encrypted/empty"
flags = "ENCRYPT"
[[file]]
path = "/wished/dax"
text = "short"
dax = true
mapping = "inline"
[[file]]
path = "/wished/encrypted"
text = "short"
flags = "ENCRYPT"
mapping = "inline"
"#;

/// As `__ext4_new_inode` has it: not what is encrypted, not a file with the DAX flag. A recipe that asks gets it all the same.
#[test]
fn what_the_kernel_would_not_make_inline_is_inline_on_demand_only() {
    let bench = Bench::new();
    fs::write(bench.path("recipe.toml"), RECIPE).expect("a recipe");
    bench.ok(&["--recipe", "recipe.toml", "--manifest", "manifest.json", "image"]);
    assert_clean(&bench.path("image"));
    let text = fs::read_to_string(bench.path("manifest.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let inline: Vec<&str> = manifest["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .filter(|e| e["flags"].as_array().expect("flags").iter().any(|f| f == "INLINE_DATA"))
        .map(|e| e["path"].as_str().expect("a path"))
        .collect();
    // /encrypted itself is not encrypted.
    let expected = ["/dax", "/encrypted", "/plain", "/wished", "/dax/empty", "/plain/empty", "/plain/small"];
    assert_eq!(inline, [expected.as_slice(), &["/wished/dax", "/wished/encrypted"]].concat());
}
