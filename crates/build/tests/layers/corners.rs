//! Corners by name. What is expected of each is written out; the model of [`super::stack`] has no part in it.

use super::stack::{Seen, layered, seen};
use super::ustar::{Kind, Member};

fn dir(path: &str, stamp: u32) -> Member {
    Member::new(path, Kind::Dir, stamp)
}

fn file(path: &str, stamp: u32) -> Member {
    Member::new(path, Kind::File(format!("{stamp}").into_bytes()), stamp)
}

fn link(path: &str, target: &str) -> Member {
    Member::new(path, Kind::Link(target.to_owned()), 0)
}

fn symlink(path: &str, target: &str) -> Member {
    Member::new(path, Kind::Symlink(target.to_owned()), 1)
}

fn whiteout(path: &str) -> Member {
    Member::new(path, Kind::File(Vec::new()), 0)
}

fn tree(layers: &[Vec<Member>]) -> Seen {
    seen(&layered(layers).expect("a tree"))
}

/// The layers in which whiteouts stand before, and behind what the upper layer brings, must mean the same.
#[track_caller]
fn either_way(lower: &[Member], whiteouts: &[Member], upper: &[Member], expected: &[(&str, &str)]) {
    let expected: Seen = expected.iter().map(|(path, what)| ((*path).to_owned(), (*what).to_owned())).collect();
    for layer in [[whiteouts, upper].concat(), [upper, whiteouts].concat()] {
        let mut found = tree(&[lower.to_vec(), layer.clone()]);
        found.remove("");
        assert_eq!(found, expected, "{layer:?}");
    }
}

#[test]
fn what_a_whiteout_hides_is_gone_with_what_was_said_of_it() {
    // The directory is there again, and nothing describes it.
    either_way(
        &[dir("d", 1), dir("d/sub", 2), file("d/old", 3)],
        &[whiteout(".wh.d")],
        &[file("d/sub/new", 4)],
        &[("d", "implied"), ("d/sub", "implied"), ("d/sub/new", "file 404 of 4 at 4: 4")],
    );
    // Described anew, it is what it is described as.
    either_way(
        &[dir("d", 1), dir("d/sub", 2), file("d/old", 3)],
        &[whiteout(".wh.d")],
        &[dir("d", 5), file("d/sub/new", 4)],
        &[("d", "dir 405 of 5 at 5"), ("d/sub", "implied"), ("d/sub/new", "file 404 of 4 at 4: 4")],
    );
}

#[test]
fn an_opaque_directory_keeps_its_own_attributes() {
    either_way(
        &[dir("d", 1), dir("d/sub", 2), file("d/old", 3), file("d/sub/old", 3)],
        &[whiteout("d/.wh..wh..opq")],
        &[file("d/sub/new", 4)],
        &[("d", "dir 401 of 1 at 1"), ("d/sub", "implied"), ("d/sub/new", "file 404 of 4 at 4: 4")],
    );
}

#[test]
fn a_link_brings_again_what_is_hidden() {
    either_way(
        &[file("a", 1), link("d/b", "a"), link("c", "a")],
        &[whiteout("d/.wh..wh..opq"), whiteout(".wh.c")],
        &[link("d/b", "a"), link("c", "a")],
        &[
            ("a", "file 401 of 1 at 1: 1 = a = c = d/b"),
            ("c", "file 401 of 1 at 1: 1 = a = c = d/b"),
            ("d", "implied"),
            ("d/b", "file 401 of 1 at 1: 1 = a = c = d/b"),
        ],
    );
}

#[test]
fn links_may_wait_for_each_other_and_for_nothing() {
    let found = tree(&[vec![link("a", "x"), link("b", "x"), link("a", "b"), file("b", 1), file("x", 2)]]);
    // The last word on `b` is the file; `a` is another name of what `b` names in the end.
    assert_eq!(found["a"], "file 401 of 1 at 1: 1 = a = b");
    assert_eq!(found["x"], "file 402 of 2 at 2: 2");
    // What waited is gone with the directory it lay in.
    let found = tree(&[vec![link("d/a", "never"), file("d", 1)]]);
    assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), ["", "d"]);
    let error = layered(&[vec![link("d/a", "never"), file("e", 1)]]).map(drop).expect_err("no target");
    assert_eq!(error.to_string(), "\"/d/a\" is a hard link to \"never\", which is not there");
    let error = layered(&[vec![link("a", "b"), link("b", "a")]]).map(drop).expect_err("no target");
    assert!(error.to_string().ends_with("which is not there"), "{error}");
}

#[test]
fn merged_directories_stay_merged() {
    let usr = vec![symlink("bin", "usr/bin"), symlink("lib", "/usr/lib"), dir("usr/bin", 1), dir("usr/lib", 2)];
    let found = tree(&[
        usr,
        vec![file("bin/sh", 3), file("lib/libc", 4), link("bin/dash", "bin/sh"), file("usr/bin/env", 5)],
        vec![whiteout("bin/.wh.env"), whiteout("lib/.wh..wh..opq"), file("lib/ld", 6)],
    ]);
    let paths: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(paths, ["", "bin", "lib", "usr", "usr/bin", "usr/bin/dash", "usr/bin/sh", "usr/lib", "usr/lib/ld"]);
    assert_eq!(found["usr/bin/sh"], "file 403 of 3 at 3: 3 = usr/bin/dash = usr/bin/sh");
    assert_eq!(found["usr/lib"], "dir 402 of 2 at 2");
}

#[test]
fn in_the_lowest_layer_nothing_can_be_hidden() {
    let found = tree(&[vec![file("a", 1), whiteout(".wh.a"), whiteout("d/.wh..wh..opq")]]);
    let paths: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(paths, ["", ".wh.a", "a", "d", "d/.wh..wh..opq"]);
}
