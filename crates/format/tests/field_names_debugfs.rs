//! The short field names of debugfs (`set_super_value -l` and its kin) all lead to a field.
//!
//! Oracle: debugfs of e2fsprogs. When it is missing this test fails and says so.

use daxkit_format::field::{Access, Structure};
use std::process::Command;

/// Runs a tool of e2fsprogs and returns what it printed; panics, naming it, when it is missing or fails.
fn run(tool: &str, args: &[&str]) -> String {
    let path = ["/usr/sbin", "/sbin"].iter().map(|d| format!("{d}/{tool}")).find(|p| std::path::Path::new(p).exists());
    let output = Command::new(path.as_deref().unwrap_or(tool))
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("oracle missing: cannot run {tool} (package e2fsprogs): {e}"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Names debugfs lists that are no field of Linux's structures: Hurd's halves of the inode, and two actions.
const NOT_FIELDS: [&str; 5] = ["frag", "fsize", "author", "bmap", "clear"];

#[test]
fn every_field_name_of_debugfs_is_known() {
    let image = std::env::temp_dir().join(format!("daxkit-field-names-{}.img", std::process::id()));
    std::fs::File::create(&image).and_then(|f| f.set_len(4 << 20)).expect("scratch file");
    let _remove = Remove(image.clone());
    let image = image.to_str().expect("plain path");
    run("mke2fs", &["-q", "-F", "-O", "mmp", image]);
    let mut found = 0;
    for (command, structure, at_least) in [
        ("set_super_value", Structure::SuperBlock, 80),
        ("set_inode_field", Structure::Inode, 28),
        ("set_block_group", Structure::GroupDesc, 9),
        ("set_mmp_value", Structure::MmpStruct, 7),
    ] {
        let listing = run("debugfs", &["-R", &format!("{command} -l"), image]);
        let mut here = 0;
        for line in listing.lines().filter_map(|l| l.strip_prefix('\t')) {
            let word = line.split_whitespace().next().unwrap_or_default();
            let (name, rest) = word.split_once('[').unwrap_or((word, ""));
            if NOT_FIELDS.contains(&name) {
                continue;
            }
            let access = Access::find(structure, name).unwrap_or_else(|| panic!("{command}: {name} is unknown"));
            if let Some(index) = rest.strip_suffix(']').filter(|r| !r.contains('|')) {
                let last = index.parse::<u32>().map_or_else(|_| index.to_owned(), |n| (n - 1).to_string());
                assert!(access.element(&last).is_some(), "{command}: {name}[{last}]");
            }
            if rest.starts_with("_hi") {
                // The whole and each half.
                assert!(Access::find(structure, &format!("{name}_hi")).is_some(), "{command}: {name}_hi");
                assert!(Access::find(structure, &format!("{name}_lo")).is_some(), "{command}: {name}_lo");
                assert!(access.second().is_some(), "{command}: {name} has two halves");
            }
            here += 1;
        }
        assert!(here >= at_least, "{command} lists {here} fields");
        found += here;
    }
    assert!(found >= 118, "{found}");
}

/// Removes the scratch file, whatever the test's outcome.
struct Remove(std::path::PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
