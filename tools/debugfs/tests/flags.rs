//! Flags changed by path, number, pattern and list, and what children inherit given to what is there.

mod common;

use common::judge::assert_clean;
use common::{Scratch, ours, tool};
use std::path::Path;

fn edit(image: &Path, request: &str, input: &[u8]) -> (bool, String) {
    let output = tool(&["-w", "-R", request, image.to_str().unwrap()], input);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Paths with the DAX flag.
fn with_flag(image: &Path) -> Vec<String> {
    let text = ours(image, "lsattr -R /");
    let marked = text.lines().filter(|l| l.split(' ').next().is_some_and(|flags| flags.contains('x')));
    let mut paths: Vec<String> = marked.filter_map(|l| l.split_once(' ').map(|(_, path)| path.to_owned())).collect();
    paths.sort();
    paths
}

#[test]
fn inodes_are_named_in_every_way() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "32M", &["-t", "ext4"]);
    let set = |request: &str, input: &[u8], want: &[&str]| {
        let copy = scratch.path("copy");
        std::fs::copy(&image, &copy).unwrap();
        let (good, said) = edit(&copy, request, input);
        assert!(good, "{request}: {said}");
        assert_eq!(with_flag(&copy), want, "{request}");
        assert_clean(&copy, request);
    };
    set("chattr +x /hello", b"", &["/hello", "/sub/again"]);
    set("chattr +x \"/two words\" sparse", b"", &["/sparse", "/two words"]);
    set("chattr +x /sub", b"", &["/sub"]);
    set("chattr -R +x /sub/deeper", b"", &["/sub/deeper", "/sub/deeper/quote\"d"]);
    set("chattr +x --glob /s*/d*", b"", &["/sub/data", "/sub/deeper"]);
    set("chattr +x --from -", b"/sparse\n/sub/data\n", &["/sparse", "/sub/data"]);
    set("chattr +x -0 --from -", b"/two words\0", &["/two words"]);
    let lost = ours(&image, "lsattr -d /lost+found");
    assert!(lost.contains("/lost+found"));
    set("chattr +x --inodes 11", b"", &["/lost+found"]);
}

#[test]
fn what_is_refused_changes_nothing_or_is_left_out() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "32M", &["-t", "ext4"]);
    let before = std::fs::read(&image).unwrap();
    for (request, why) in [
        ("chattr +x /fast", "only regular files and directories"),
        ("chattr +x /hello /nosuch", "no entry nosuch"),
        ("chattr +I /sub", "shown by lsattr(1) only"),
        ("chattr +q /sub", "no letter"),
        ("chattr +F /sub", "casefold"),
        ("chattr +x", "usage"),
    ] {
        let (good, said) = edit(&image, request, b"");
        assert!(!good && said.contains(why), "{request}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(std::fs::read(&image).unwrap(), before, "{request}");
    }
    let (good, said) = edit(&image, "chattr -f +x /hello /fast", b"");
    assert!(good, "{said}");
    assert_eq!(with_flag(&image), ["/hello", "/sub/again"]);
}

#[test]
fn what_children_would_get_is_given_to_what_is_there() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "32M", &["-t", "ext4"]);
    let (good, said) = edit(&image, "chattr +xA /sub", b"");
    assert!(good, "{said}");
    let report = ours(&image, "inherit /sub");
    assert_eq!(report.lines().filter(|l| l.starts_with("differs: ")).count(), 3, "{report}");
    let (good, said) = edit(&image, "inherit -a /sub", b"");
    assert!(good, "{said}");
    assert_eq!(with_flag(&image), ["/hello", "/sub", "/sub/again", "/sub/data", "/sub/deeper", "/sub/deeper/quote\"d"]);
    let report = ours(&image, "inherit /sub");
    assert!(!report.contains("differs: "), "{report}");
    let (good, said) = edit(&image, "inherit -a /", b"");
    assert!(good, "{said}");
    assert_eq!(with_flag(&image), [""; 0], "the root hands nothing down");
    assert_clean(&image, "as inherited");
}
