//! `put` with a recipe: what dax-mkfs would put into a new image goes into one that is there.

mod common;

use common::judge::assert_clean;
use common::{Scratch, run, tool};
use std::fs;

fn put(scratch: &Scratch, image: &std::path::Path, recipe: &str, more: &str) -> (Option<i32>, String, String) {
    let path = scratch.path("recipe.toml");
    fs::write(&path, recipe).unwrap();
    let request = format!("put --recipe {} {more} /in", path.display());
    let output = tool(&["-w", "-R", &request, image.to_str().unwrap()], b"");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn items_and_rules_go_on_top_of_the_sources() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "32M", &["-t", "ext4", "-b", "4096"]);
    let recipe = r#"
version = 1
source = ["tree"]

[filesystem]
exclude = ["sparse"]
time = "2024-02-03T04:05:06Z"

[[file]]
path = "/etc/motd"
text = "welcome\n"
mode = 0o600
uid = 70000
flags = "IMMUTABLE"

[[file]]
path = "/data/prealloc"
size = "1M"
unwritten = ["0..1M"]
dax = true

[[symlink]]
path = "/etc/link"
target = "motd"

[[node]]
path = "/dev/null"
type = "char"
device = "1:3"

[[rule]]
match = "/sub/**"
dax = true
"#;
    let (status, said, complaint) = put(&scratch, &image, recipe, "");
    assert_eq!((status, complaint.as_str()), (Some(0), ""), "{said}");
    let debugfs = |request: &str| run("debugfs", &["-R", request, image.to_str().unwrap()]);
    assert_eq!(debugfs("cat /in/etc/motd"), "welcome\n");
    let motd = debugfs("stat /in/etc/motd");
    for fact in ["Mode:  0600", "User: 70000", "Flags: 0x80010", "mtime: 0x65bdbb72"] {
        assert!(motd.contains(fact), "{fact}: {motd}");
    }
    let prealloc = debugfs("stat /in/data/prealloc");
    assert!(prealloc.contains("Flags: 0x2080000") && prealloc.contains("Size: 1048576"), "{prealloc}");
    assert!(debugfs("ex /in/data/prealloc").contains("Uninit"), "{}", debugfs("ex /in/data/prealloc"));
    assert!(debugfs("stat /in/etc/link").contains("Fast link dest: \"motd\""));
    assert!(debugfs("stat /in/dev/null").contains("Device major/minor number: 01:03"));
    assert!(debugfs("stat /in/sub/data").contains("Flags: 0x2080000"));
    assert_eq!(debugfs("cat /in/hello"), "hello, world\n");
    assert!(!debugfs("ls /in").contains("sparse"));
    assert_clean(&image, "after put");
    // Options of the command win, and name more sources.
    let (status, _, complaint) = put(&scratch, &image, recipe, "--owner 7:8 --exclude again");
    assert_eq!((status, complaint.as_str()), (Some(0), ""));
    assert!(debugfs("stat /in/hello").contains("User:     7   Group:     8"), "{}", debugfs("stat /in/hello"));
    assert_clean(&image, "after put");
}

#[test]
fn what_a_recipe_cannot_say_here_is_refused() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "16M", &["-t", "ext4"]);
    let before = fs::read(&image).unwrap();
    for (recipe, wanted) in [
        ("version = 1\n[filesystem]\nsize = \"8M\"\n", "the image is there; of [filesystem] only holes"),
        ("version = 1\n[[file]]\npath = \"/a\"\ntext = 5\n", "recipe.toml:4:"),
        ("version = 1\n[[file]]\npath = \"/a\"\nsource = \"/nothing/there\"\n", "recipe.toml:"),
        ("nonsense", "recipe.toml:1:"),
        (
            "version = 1\n[[file]]\npath = \"/a\"\nsize = \"4M\"\npattern = \"random\"\nfragments = 4\n",
            "/a: only dax-mkfs lays",
        ),
        ("version = 1\n[[file]]\npath = \"/a\"\ntext = \"x\"\nflags = \"ENCRYPT\"\n", "/a"),
        ("version = 1\n[[defect]]\nplace = 'super.s_state'\nset = 2\n", "there are no defects"),
    ] {
        let (status, said, complaint) = put(&scratch, &image, recipe, "");
        assert_eq!((status, complaint.lines().count()), (Some(1), 1), "{recipe}: {said}{complaint}");
        assert!(complaint.contains(wanted), "{recipe}: {complaint}");
        assert!(fs::read(&image).unwrap() == before, "{recipe}");
    }
}
