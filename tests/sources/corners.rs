//! Archives whose members come in odd orders, twice, without their parents, or with names that lead out. What each must become is
//! written out, as the kernel shows it; the other readers must see the same.

use super::bench::Bench;
use super::members::{Member, device, dir, fifo, file, link, symlink, write};
use super::oracle::Mounted;
use super::snapshot;
use super::tools::output;
use super::tree_compare::{Allow, compare};
use super::{oracle, readers};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// What the kernel shows of every name, in words.
pub(crate) type Seen = BTreeMap<String, String>;

fn seen(root: &Path) -> Seen {
    let mut all = Seen::new();
    let mut names: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let inside = path.strip_prefix(root).expect("below").to_str().expect("UTF-8").to_owned();
        let meta = fs::symlink_metadata(&path).expect("readable");
        let kind = meta.file_type();
        let what = if kind.is_dir() {
            todo.extend(fs::read_dir(&path).expect("a list").map(|e| e.expect("an entry").path()));
            "dir".to_owned()
        } else if kind.is_symlink() {
            format!("-> {}", fs::read_link(&path).expect("a target").display())
        } else if kind.is_file() {
            format!("{:?}", fs::read_to_string(&path).expect("readable"))
        } else if kind.is_char_device() {
            format!("char {}:{}", rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()))
        } else {
            assert!(kind.is_fifo(), "{}", path.display());
            "fifo".to_owned()
        };
        if inside != "lost+found" {
            if !kind.is_dir() {
                names.entry(meta.ino()).or_default().push(inside.clone());
            }
            let owner = format!("{}:{}", meta.uid(), meta.gid());
            all.insert(inside, format!("{:o} {owner} {} {what}", meta.mode() & 0o7777, meta.mtime() - 1_000_000_000));
        }
    }
    for mut names in names.into_values().filter(|n| n.len() > 1) {
        names.sort();
        for name in &names {
            let text = all.get_mut(name).expect("seen");
            text.push_str(&format!(" = {}", names.join(" = ")));
        }
    }
    all
}

/// An image of these layers, which must be clean and the same to every reader; what the kernel shows.
pub(crate) fn shown(bench: &Bench, sources: &[&str]) -> Seen {
    let mut args = Vec::new();
    for source in sources {
        args.extend(["-d", source]);
    }
    let image = bench.image(&args);
    oracle::clean(&image).expect("clean");
    let mounted = Mounted::new(&image, &bench.path("mnt"), "ro").expect("mounted");
    let kernel = snapshot::of_directory(mounted.path()).expect("readable");
    let seen = seen(mounted.path());
    mounted.unmount().expect("unmounted");
    let volume = readers::volume(&image).expect("readable");
    compare("daxkit-volume", &kernel, &volume, Allow::nothing(256, 4096)).unwrap_or_else(|e| panic!("{e}"));
    seen
}

/// What comes of one archive, in every format that holds it: name, permissions, owner, seconds after 10^9, what it is.
#[track_caller]
fn becomes(formats: &[&str], members: &[Member], expected: &[(&str, &str)]) {
    let bench = Bench::new();
    for format in formats {
        write(format, members, &bench.path("archive.tar"));
        let mut found = shown(&bench, &["archive.tar"]);
        let root = found.remove("");
        let expected: Seen = expected.iter().map(|(path, what)| ((*path).to_owned(), (*what).to_owned())).collect();
        assert_eq!(found, expected, "{format}; the root is {root:?}");
    }
}

const ALL: &[&str] = &["pax", "gnu", "ustar"];

#[test]
fn hard_links_may_come_before_what_they_name() {
    becomes(
        ALL,
        &[link("b", "d/c"), link("a", "b"), dir("d"), file("d/c", "x").mode(0o600).owner(7, 8).time(1_000_000_005)],
        &[
            ("a", "600 7:8 5 \"x\" = a = b = d/c"),
            ("b", "600 7:8 5 \"x\" = a = b = d/c"),
            ("d", "755 0:0 0 dir"),
            ("d/c", "600 7:8 5 \"x\" = a = b = d/c"),
        ],
    );
    // Of anything but directories.
    becomes(
        ALL,
        &[link("l", "s"), symlink("s", "nowhere"), link("g", "f"), fifo("f"), device("n", 1, 3), link("m", "n")],
        &[
            ("f", "600 0:0 0 fifo = f = g"),
            ("g", "600 0:0 0 fifo = f = g"),
            ("l", "777 0:0 0 -> nowhere = l = s"),
            ("m", "600 0:0 0 char 1:3 = m = n"),
            ("n", "600 0:0 0 char 1:3 = m = n"),
            ("s", "777 0:0 0 -> nowhere = l = s"),
        ],
    );
}

#[test]
fn a_file_that_is_listed_twice_is_one_file() {
    // GNU tar archives `tar c a a` as a file and a hard link to itself.
    becomes(ALL, &[file("a", "x"), link("a", "a"), link("./a", "/a")], &[("a", "644 0:0 0 \"x\"")]);
    becomes(
        ALL,
        &[file("a", "x"), link("b", "a"), link("b", "a"), link("a", "b")],
        &[("a", "644 0:0 0 \"x\" = a = b"), ("b", "644 0:0 0 \"x\" = a = b")],
    );
}

#[test]
fn parents_are_made_and_described_later() {
    becomes(
        ALL,
        &[file("a/b/c", "x").time(1_000_000_003), file("a/b/d", "y"), dir("a").mode(0o1700).owner(1, 2)],
        &[
            ("a", "1700 1:2 0 dir"),
            // Nobody describes it: it is as old as what came first in it.
            ("a/b", "755 0:0 3 dir"),
            ("a/b/c", "644 0:0 3 \"x\""),
            ("a/b/d", "644 0:0 0 \"y\""),
        ],
    );
    becomes(
        ALL,
        &[dir("a/"), file("a/b", "x"), dir("./a/.").mode(0o700).time(1_000_000_009), dir("/a//").owner(5, 5)],
        &[("a", "755 5:5 0 dir"), ("a/b", "644 0:0 0 \"x\"")],
    );
}

#[test]
fn the_last_of_several_wins() {
    becomes(ALL, &[file("a", "first").mode(0o600), file("a", "second").owner(3, 3)], &[("a", "644 3:3 0 \"second\"")]);
    becomes(ALL, &[file("a", "x"), dir("a"), file("a/b", "y")], &[("a", "755 0:0 0 dir"), ("a/b", "644 0:0 0 \"y\"")]);
    becomes(ALL, &[dir("a"), file("a/b", "y"), file("a", "x")], &[("a", "644 0:0 0 \"x\"")]);
    becomes(ALL, &[dir("a"), file("a/b", "y"), file("a", "x"), dir("a").mode(0o700)], &[("a", "700 0:0 0 dir")]);
    becomes(ALL, &[file("a", "x"), symlink("a", "b"), symlink("a", "c")], &[("a", "777 0:0 0 -> c")]);
    becomes(
        ALL,
        &[symlink("a", "b"), dir("a"), file("a/c", "x")],
        &[("a", "755 0:0 0 dir"), ("a/c", "644 0:0 0 \"x\"")],
    );
    // What was replaced lives on under its other name.
    becomes(
        ALL,
        &[file("a", "old"), link("b", "a"), file("a", "new")],
        &[("a", "644 0:0 0 \"new\""), ("b", "644 0:0 0 \"old\"")],
    );
}

#[test]
fn links_on_the_way_are_followed_inside_the_image() {
    for target in ["/etc", "../../../../etc", "etc/../../etc", "./etc//."] {
        becomes(
            ALL,
            &[dir("etc"), symlink("way", target), file("way/passwd", "inside"), file("way/new/file", "x")],
            &[
                ("etc", "755 0:0 0 dir"),
                ("etc/new", "755 0:0 0 dir"),
                ("etc/new/file", "644 0:0 0 \"x\""),
                ("etc/passwd", "644 0:0 0 \"inside\""),
                ("way", &format!("777 0:0 0 -> {target}")),
            ],
        );
    }
    // The link itself is replaced, not what it leads to.
    becomes(
        ALL,
        &[file("etc/passwd", "kept"), symlink("p", "etc/passwd"), file("p", "x")],
        &[("etc", "755 0:0 0 dir"), ("etc/passwd", "644 0:0 0 \"kept\""), ("p", "644 0:0 0 \"x\"")],
    );
    // What a link leads to is made where it is missing, as for any parent.
    becomes(
        ALL,
        &[symlink("lib", "usr/lib"), file("lib/x", "x")],
        &[
            ("lib", "777 0:0 0 -> usr/lib"),
            ("usr", "755 0:0 0 dir"),
            ("usr/lib", "755 0:0 0 dir"),
            ("usr/lib/x", "644 0:0 0 \"x\""),
        ],
    );
    // A leading slash is the root of the image.
    becomes(
        ALL,
        &[file("/etc/shadow", "x"), link("/twin", "//etc/shadow")],
        &[
            ("etc", "755 0:0 0 dir"),
            ("etc/shadow", "644 0:0 0 \"x\" = etc/shadow = twin"),
            ("twin", "644 0:0 0 \"x\" = etc/shadow = twin"),
        ],
    );
}

#[test]
fn what_leads_out_or_nowhere_is_refused_in_one_line() {
    let long = "n".repeat(256);
    let deep = "d/".repeat(40_000);
    let host = "/etc/passwd";
    let refused: Vec<(Vec<Member>, &str)> = vec![
        (vec![file("../x", "x")], "has '..' in it"),
        (vec![file("a/../../x", "x")], "has '..' in it"),
        (vec![dir("..")], "has '..' in it"),
        (vec![link("a", "../../etc/passwd")], "has '..' in it"),
        (vec![link("a", host)], "hard link to \"/etc/passwd\", which is not there"),
        (vec![dir("etc"), symlink("etc/passwd", host), file("etc/passwd/x", "x")], "symbolic links"),
        (vec![symlink("a", "b"), symlink("b", "a"), file("a/x", "x")], "more than 40 symbolic links"),
        (vec![symlink("a", "a/a/a"), file("a/x", "x")], "more than 40 symbolic links"),
        (vec![file("a", "x"), file("a/b", "x")], "which is not a directory"),
        (vec![fifo("a"), dir("a/b")], "which is not a directory"),
        (vec![dir("a"), link("b", "a")], "hard link to the directory"),
        (vec![link("a", "never")], "which is not there"),
        (vec![file(".", "x")], "root"),
        (vec![symlink("/", "x")], "root"),
        (vec![file(&long, "x")], "255"),
        (vec![file("a", "x").record("path", &deep)], "longer than 65535"),
        (vec![file("a", "x").record("path", "a\0b")], "zero byte"),
        (vec![symlink("a", "b").record("linkpath", "b\0c")], "symbolic link to \"b\\x00c\", which is no path"),
        (vec![symlink("a", "")], "symbolic link to \"\", which is no path"),
        (vec![symlink("a", "b").record("linkpath", &"t".repeat(4096))], "more than a file can have here (4095)"),
        (vec![symlink("new\nline", "b\nc"), file("new\nline/../x\n", "x")], "\\n"),
    ];
    let passwd = fs::read(host).expect("the host's");
    for (members, word) in refused {
        let bench = Bench::new();
        write("pax", &members, &bench.path("archive.tar"));
        let before = bench.names();
        for source in ["archive.tar", "-"] {
            let mut command = bench.mkfs(&["-d", source, "image"]);
            let archive = fs::File::open(bench.path("archive.tar")).expect("the archive");
            let out = output(command.stdin(archive));
            let text = String::from_utf8_lossy(&out.stderr).into_owned();
            assert_eq!(out.status.code(), Some(1), "'{word}': {text}");
            assert!(text.starts_with("dax-mkfs: error: ") && text.contains(word), "'{word}' is not in: {text}");
            assert_eq!((text.lines().count(), text.ends_with('\n')), (1, true), "{text}");
            assert_eq!(bench.names(), before, "{word}");
        }
    }
    assert!(fs::read(host).expect("the host's") == passwd);
}

#[test]
fn records_say_more_than_headers() {
    let bench = Bench::new();
    let members = [
        file("x", "x")
            .record("path", "n\u{e4}me")
            .record("mtime", "1000000000.5")
            .record("uid", "4000000000")
            .record("LIBARCHIVE.creationtime", "999999999.25")
            .record("SCHILY.xattr.user.a", "b")
            .record("SCHILY.acl.access", "user::rw-\nuser::r--:77\ngroup::---\nmask::r--\nother::---")
            .record("SCHILY.fflags", "noatime,append"),
        dir("d").record("SCHILY.acl.default", "user::rwx,group::r-x,user:nobody:rwx:99,mask::rwx,other::---"),
    ];
    write("pax", &members, &bench.path("archive.tar"));
    let image = bench.image(&["-d", "archive.tar"]);
    let script = "stat /n\u{e4}me\nea_list /n\u{e4}me\nea_list /d\n".as_bytes();
    let told = oracle::debugfs(&image, script, &bench.path("")).expect("debugfs answers");
    let told = String::from_utf8_lossy(&told);
    for word in [
        "crtime: 0x3b9ac9ff:3b9aca00",
        "mtime: 0x3b9aca00:77359400",
        // The ACL's group bits are its mask's; the flags are `EXTENTS`, `APPEND` and `NOATIME`.
        "Mode:  0640   Flags: 0x800a0",
        "User: -294967296",
        "user.a (1) = \"b\"",
        "system.posix_acl_access (28)",
        "system.posix_acl_default (28)",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    // Whoever has no number is not looked for.
    let named = [file("x", "x")
        .record("SCHILY.acl.access", "user::rw-\nuser:no-such-user:r--\ngroup::---\nmask::r--\nother::---")];
    write("pax", &named, &bench.path("archive.tar"));
    let out = output(&mut bench.mkfs(&["-d", "archive.tar", "other"]));
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(text.contains("no number is known for the user \"no-such-user\"") && text.lines().count() == 1, "{text}");
}
