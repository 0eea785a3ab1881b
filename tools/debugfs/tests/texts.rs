//! Images as texts, and back.

mod common;

use common::judge::assert_clean;
use common::{Scratch, ours, run, tool};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[test]
fn an_image_goes_there_and_back_and_can_be_edited_on_the_way() {
    let scratch = Scratch::new();
    let image = scratch.image("a.img", "32M", &["-t", "ext4", "-b", "4096"]);
    let path = |name: &str| scratch.path(name).display().to_string();
    ours(&image, &format!("dump_image --data {}", path("a.txt")));
    assert_eq!(ours(&image, "dump_image -d").into_bytes(), fs::read(path("a.txt")).unwrap());
    let restored = tool(&["-R", &format!("restore_image {} {}", path("a.txt"), path("b.img"))], b"");
    assert_eq!((restored.status.code(), restored.stdout.len(), restored.stderr.len()), (Some(0), 0, 0));
    assert!(fs::read(&image).unwrap() == fs::read(path("b.img")).unwrap());
    // Zeroes take no space.
    assert!(fs::metadata(path("b.img")).unwrap().blocks() * 512 < 4 << 20);

    let text = fs::read_to_string(path("a.txt")).unwrap();
    let edited = text.replace("\"hello, world\\x0a\"", "\"HELLO, WORLD\\x0a\"").replace("\"deeper\"", "\"dipper\"");
    let request = format!("restore_image -f - {}", path("b.img"));
    let json = tool(&["--json", "-R", &request], edited.as_bytes());
    assert_eq!(
        String::from_utf8(json.stdout).unwrap(),
        format!("{{\"command\":\"restore_image\",\"result\":{{\"bytes\":{}}}}}\n", 32 << 20)
    );
    assert_clean(Path::new(&path("b.img")), "restored");
    assert_eq!(run("debugfs", &["-R", "cat hello", &path("b.img")]), "HELLO, WORLD\n");
    assert!(run("debugfs", &["-R", "ls sub", &path("b.img")]).contains("dipper"));
}

#[test]
fn what_is_no_text_leaves_everything_as_it_was() {
    let scratch = Scratch::new();
    let image = scratch.image("a.img", "8M", &["-t", "ext4"]);
    let path = |name: &str| scratch.path(name).display().to_string();
    ours(&image, &format!("dump_image {}", path("hash.txt")));
    ours(&image, &format!("dump_image --data {}", path("a.txt")));
    let text = fs::read_to_string(path("a.txt")).unwrap();
    fs::write(path("cut.txt"), text.strip_suffix("end\n").unwrap()).unwrap();
    fs::write(path("odd.txt"), text.replacen("  .s_state ", "  .s_stage ", 1)).unwrap();
    fs::write(path("old.img"), "old").unwrap();
    let names = || {
        let mut names: Vec<_> = fs::read_dir(scratch.path(".")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let image_name = image.to_str().unwrap();
    for (request, wanted) in [
        (format!("restore_image {} {}", path("hash.txt"), path("new.img")), "hash.txt: line 3: the text has hashes"),
        (format!("restore_image {} {}", path("cut.txt"), path("new.img")), "without a line that says `end`"),
        (format!("restore_image -f {} {}", path("odd.txt"), path("old.img")), "no field s_stage is known here"),
        (format!("restore_image {} {}", path("a.txt"), path("old.img")), "old.img: already exists"),
        (format!("restore_image {} {}", path("nosuch"), path("new.img")), "nosuch: No such file"),
        (format!("restore_image {} {}", path("a.txt"), path("no/dir.img")), "no/dir.img"),
        (format!("restore_image -f {} {image_name}", path("a.txt")), "the image is open"),
        (format!("restore_image {}", path("a.txt")), "usage: restore_image"),
    ] {
        let output = tool(&["-R", &request, image_name], b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{request}: {said}");
        assert!(said.contains(wanted), "{request}: {said}");
    }
    assert_eq!(names(), before);
    assert_eq!(fs::read(path("old.img")).unwrap(), b"old");
}
