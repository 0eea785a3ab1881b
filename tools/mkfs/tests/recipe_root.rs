//! The root directory of an image that a recipe makes.

mod common;

use common::Bench;
use std::fs;

/// The root's mode and time, as the manifest tells them.
fn root(recipe: &str) -> (String, String) {
    let bench = Bench::new();
    fs::write(bench.path("recipe.toml"), recipe).expect("a recipe");
    bench.ok(&["-q", "--recipe", "recipe.toml", "--manifest", "manifest.json", "image"]);
    let text = fs::read_to_string(bench.path("manifest.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let root = &manifest["entries"][0];
    assert_eq!(root["path"], "/");
    let text = |key: &str| root[key].as_str().expect("text").to_owned();
    assert_eq!((text("atime"), text("ctime")), (text("mtime"), text("mtime")));
    (text("mode"), text("mtime"))
}

#[test]
fn a_root_that_nothing_describes_has_the_time_of_the_recipe() {
    let head = "[filesystem]\nsize = \"auto\"\ntime = 2020-02-03T04:05:06Z\n";
    let (of_recipe, mode) = ("2020-02-03T04:05:06Z".to_owned(), "0755".to_owned());
    assert_eq!(root(head), (mode, of_recipe.clone()));
    let described = format!("{head}[[dir]]\npath = \"/\"\nmode = 0o700\n");
    assert_eq!(root(&described), ("0700".to_owned(), of_recipe));
    let dated = format!("{head}[[dir]]\npath = \"/\"\ntime = 2001-01-01T00:00:00Z\n");
    assert_eq!(root(&dated), ("0755".to_owned(), "2001-01-01T00:00:00Z".to_owned()));
}

/// A directory of the host describes the root; what the recipe says of it comes on top.
#[test]
fn the_root_of_a_source_keeps_its_time() {
    let bench = Bench::new();
    fs::create_dir(bench.path("source")).expect("a source");
    let set = std::process::Command::new("touch").args(["-d", "@1000000000"]).arg(bench.path("source")).status();
    assert!(set.is_ok_and(|s| s.success()), "touch sets the time");
    let recipe = "[filesystem]\nsize = \"auto\"\ntime = 2020-02-03T04:05:06Z\n";
    fs::write(bench.path("recipe.toml"), recipe).expect("a recipe");
    bench.ok(&["-q", "--recipe", "recipe.toml", "--manifest", "manifest.json", "-d", "source", "image"]);
    let text = fs::read_to_string(bench.path("manifest.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(manifest["entries"][0]["mtime"], "2001-09-09T01:46:40Z");
}
