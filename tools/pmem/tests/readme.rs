//! What the README shows of `dax-pmem` is what it prints.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Commands of the section and what is shown below each.
fn shown(readme: &str) -> Vec<(String, String)> {
    let section = readme.split("\n## ").find(|part| part.starts_with("dax-pmem")).expect("a section");
    let mut all: Vec<(String, String)> = Vec::new();
    for line in section.lines().filter_map(|line| line.strip_prefix("    ")) {
        match (line.strip_prefix("$ "), all.last_mut()) {
            (Some(command), _) => all.push((command.to_owned(), String::new())),
            (None, Some((_, output))) => *output += &format!("{line}\n"),
            (None, None) => panic!("{line}: nobody printed that"),
        }
    }
    all
}

#[test]
fn the_readme_shows_what_is_printed() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let bin = Path::new(env!("CARGO_BIN_EXE_dax-pmem")).parent().expect("a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    let shown = shown(&std::fs::read_to_string(root.join("README.md")).expect("a README"));
    assert_eq!(shown.len(), 4);
    for (command, expected) in shown {
        let output = Command::new("sh")
            .current_dir(&root)
            .env("PATH", format!("{}:{path}", bin.display()))
            .args(["-c", &command])
            .output()
            .expect("a shell");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{command}");
    }
}
