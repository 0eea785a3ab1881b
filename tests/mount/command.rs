//! `dax-pmem` on an image that mke2fs made.

use std::fs;
use std::process::Command;

use crate::shared::judge;
use crate::shared::tools::{dax, succeed, system};

/// What is asked of a file that the image brings.
const SCENARIO: &str = "\
fs a ext4 given options=dax=inode
scenario \"a file that lay there\"
s_dax /old = 0
open f /old O_RDWR
pread f 0 5 = \"hello\"
chattr +x f
close f
s_dax /old = 1
open f /old O_RDWR
pread f 0 5 = \"hello\"
";

#[test]
fn scenarios_run_on_an_image_and_leave_it_as_it_is() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let (image, scenario, content) = (dir.path().join("image"), dir.path().join("t.dax"), dir.path().join("old"));
    fs::write(&content, "hello").expect("written");
    fs::write(&scenario, SCENARIO).expect("written");
    succeed(system("mke2fs").args(["-q", "-F", "-b", "4096", "-t", "ext4"]).arg(&image).arg("16M")).expect("mke2fs");
    let write = format!("write {} old", content.display());
    succeed(system("debugfs").args(["-w", "-R", &write]).arg(&image)).expect("debugfs");
    let before = fs::read(&image).expect("it is read");
    let run = |command: &str| {
        let mut command_line = Command::new(dax("dax-pmem"));
        let out = succeed(command_line.arg(command).arg(&image).arg(&scenario)).expect("it passes");
        String::from_utf8(out).expect("text")
    };
    assert!(run("run").ends_with("1 passed, 0 failed, 0 skipped\n"));
    assert!(run("explain").contains("S_DAX     1"), "{}", run("explain"));
    run("stat");
    assert!(fs::read(&image).expect("it is read") == before, "the image is only read");
    judge::assert_clean(&image, "as it was");
}
