//! `rdump --tar`: what is in the archive, by three readers, and where the archive goes.

mod common;

use common::{Scratch, ours, run, spawn, tool};
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What Python's tarfile says of each member.
fn python(archive: &Path) -> BTreeMap<String, String> {
    let script = "import sys, tarfile\n\
        for m in tarfile.open(sys.argv[1], errors='surrogateescape'):\n\
        \x20   data = tarfile.open(sys.argv[1]).extractfile(m).read() if m.isreg() else b''\n\
        \x20   print(ascii(m.name), m.type.decode(), oct(m.mode), m.uid, m.gid, m.size, m.pax_headers.get('mtime', m.mtime), \
        ascii(m.linkname), m.devmajor, m.devminor, m.sparse, len(data), sum(data), sep='|')\n";
    let lines = run("python3", &["-c", script, text(archive)]);
    lines.lines().map(|l| l.split_once('|').unwrap()).map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
}

#[test]
fn an_archive_has_what_an_inode_has() {
    let scratch = Scratch::new();
    let long = format!("{}/{}", "d".repeat(120), "e".repeat(120));
    std::fs::create_dir_all(scratch.path("tree").join(&long)).unwrap();
    let image = scratch.image("image", "32M", &["-t", "ext4", "-b", "4096"]);
    let far = format!("write {} \"{long}/far\"", scratch.path("tree/hello").display());
    for edit in [
        "sif hello uid 4000000000",
        "sif hello gid 70000",
        "sif hello mtime_extra 0x1d6f3454",
        "sif hello flags 0x02080040",
        "mknod null c 1 3",
        "mknod disk b 259 65535",
        "mknod old p",
        "sif old mtime @-10",
        "ea_set hello user.p=q%r strange",
        &far,
    ] {
        run("debugfs", &["-w", "-R", edit, text(&image)]);
    }
    let archive = scratch.path("out.tar");
    let said = tool(&["-R", &format!("rdump --tar {} /", archive.display()), text(&image)], b"");
    assert_eq!((said.status.code(), stderr(&said)), (Some(0), String::new()));
    let members = python(&archive);
    let hello = "0|0o4711|4000000000|70000|13|1706933106.123456789|''|0|0|None|13|1170";
    assert_eq!(members["'hello'"], hello);
    assert_eq!(members["'sub/again'"].split('|').next(), Some("1"));
    assert!(members["'sub/again'"].contains("|'hello'|"));
    assert!(members["'fast'"].starts_with("2|0o777|") && members["'fast'"].contains("|'hello'|"));
    assert!(members["'slow'"].contains(&format!("|'{}'|", "y".repeat(120))));
    assert!(members["'null'"].starts_with("3|") && members["'null'"].contains("|1|3|"));
    assert!(members["'disk'"].starts_with("4|") && members["'disk'"].contains("|259|65535|"));
    assert!(members["'old'"].starts_with("6|") && members["'old'"].contains("|-10|"), "{}", members["'old'"]);
    assert!(members["'sub'"].starts_with("5|0o1770|"));
    assert!(members.contains_key(&format!("'{long}/far'")));
    let sparse = &members["'sparse'"];
    assert!(sparse.contains("|9000000|"), "{sparse}");
    // Blocks of data, and the end.
    assert!(sparse.contains("[(409600, 8192), (4997120, 8192), (9000000, 0)]|9000000|15000"), "{sparse}");

    // GNU tar and libarchive list the same members, each with everything it knows of.
    let gnu = run("tar", &["--xattrs", "--acls", "--numeric-owner", "-tvvf", text(&archive)]);
    for part in ["x: 7 user.p=q%r", "x: 7 user.text", "x: 3 user.bytes", "4000000000/70000", "259,65535"] {
        assert!(gnu.contains(part), "{part}: {gnu}");
    }
    assert_eq!(run("bsdtar", &["-tf", text(&archive)]).lines().count(), members.len());
    let raw = std::fs::read(&archive).unwrap();
    let has = |part: &[u8]| raw.windows(part.len()).any(|w| w == part);
    // The DAX flag has no name in any archive.
    assert!(has(b" SCHILY.fflags=nodump\n") && has(b" SCHILY.xattr.user.p%3Dq%25r=strange\n"));
    assert_eq!(raw.len() % 512, 0);
}

#[test]
fn gnu_tar_gives_the_tree_back() {
    let scratch = Scratch::new();
    run("setfacl", &["-m", "u:1000:r,g:5:rw", text(&scratch.path("tree/hello"))]);
    run("setfacl", &["-d", "-m", "u:1001:rwx", text(&scratch.path("tree/sub"))]);
    let image = scratch.image("image", "32M", &["-t", "ext4"]);
    let archive = scratch.path("out.tar");
    ours(&image, &format!("rdump --tar {} /", archive.display()));
    let (by_tar, direct) = (scratch.path("by-tar"), scratch.path("direct"));
    for dir in [&by_tar, &direct] {
        std::fs::create_dir(dir).unwrap();
    }
    run("tar", &["--xattrs", "--xattrs-include=*", "--acls", "-xpf", text(&archive), "-C", text(&by_tar)]);
    ours(&image, &format!("rdump / {}", direct.display()));
    // Both ways out give one tree: a checksum of contents, and what getfattr, getfacl and find say.
    let facts = |dir: &Path| {
        let script = "cd \"$1\" && find . -mindepth 1 -printf '%p %y %m %U:%G %n %l %T@\\n' | sort && \
            find . -type f -exec cksum {} + | sort && getfattr -h -R -P -d -m- -e hex . && getfacl -R -P -n .";
        run("sh", &["-c", script, "sh", text(dir)])
            .lines()
            // The number of links of directories is the host's affair, and times may be cut to what find shows.
            .filter(|line| !line.contains(" d "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(facts(&by_tar), facts(&direct));
    let blocks = std::fs::metadata(by_tar.join("sparse")).unwrap().blocks();
    assert!(blocks * 512 < 64 << 10, "{blocks}");
}

#[test]
fn where_an_archive_goes() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "16M", &["-t", "ext4"]);
    let rdump = |target: &str, more: &[&str]| {
        let command = format!("rdump {} --tar {target} hello sub", more.join(" "));
        tool(&["-R", &command, text(&image)], b"")
    };
    // Standard output; names then go to standard error.
    let piped = rdump("-", &["-v"]);
    assert_eq!(stderr(&piped), "hello\nsub\nsub/again\nsub/data\nsub/deeper\nsub/deeper/quote\"d\n");
    let file = scratch.path("file.tar");
    let named = rdump(text(&file), &["-v"]);
    assert_eq!(String::from_utf8_lossy(&named.stdout), stderr(&piped));
    assert_eq!(std::fs::read(&file).unwrap(), piped.stdout);
    // A link stays a link; what it leads to is replaced.
    let (old, link) = (scratch.path("old.tar"), scratch.path("link.tar"));
    std::fs::write(&old, "old").unwrap();
    std::os::unix::fs::symlink(&old, &link).unwrap();
    assert_eq!(rdump(text(&link), &[]).status.code(), Some(0));
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::read(&old).unwrap(), piped.stdout);
    // A pipe is written to, and stays a pipe.
    let fifo = scratch.path("fifo");
    run("mkfifo", &[text(&fifo)]);
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::read(fifo).unwrap()
    });
    assert_eq!(stderr(&rdump(text(&fifo), &[])), "");
    assert_eq!(reader.join().unwrap(), piped.stdout);
    assert!(std::fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());
    // What fails leaves nothing, and leaves what was there.
    let names = || {
        let mut all: Vec<_> = std::fs::read_dir(scratch.path(".")).unwrap().map(|e| e.unwrap().file_name()).collect();
        all.sort();
        all
    };
    let before = names();
    let failed = |command: String, wanted: &str| {
        let output = tool(&["-R", &command, text(&image)], b"");
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(stderr(&output).contains(wanted) && stderr(&output).lines().count() == 1, "{}", stderr(&output));
    };
    failed(format!("rdump --tar {} nosuch", old.display()), "nosuch");
    failed(format!("rdump --tar {} hello", scratch.path("no/dir.tar").display()), "no such file");
    failed(format!("rdump --tar {} hello", scratch.path("tree").display()), "is a directory");
    failed("rdump --tar".to_owned(), "--tar wants a value");
    failed("rdump hello".to_owned(), "usage: rdump");
    failed("rdump --tar /dev/full hello".to_owned(), "/dev/full: No space left");
    assert_eq!(names(), before);
    assert_eq!(std::fs::read(&old).unwrap(), piped.stdout);
    let json = tool(&["--json", "-R", &format!("rdump --tar {} /", old.display()), text(&image)], b"");
    let members = run("tar", &["-tf", text(&old)]).lines().count();
    assert!(members > 10);
    assert_eq!(
        String::from_utf8_lossy(&json.stdout),
        format!("{{\"command\":\"rdump\",\"result\":{{\"members\":{members},\"sockets_left_out\":0}}}}\n")
    );
}

#[test]
fn what_no_archive_has_and_what_is_damaged_is_named() {
    let scratch = Scratch::new();
    let _socket = std::os::unix::net::UnixListener::bind(scratch.path("tree/sock")).unwrap();
    let image = scratch.image("image", "32M", &["-t", "ext4", "-b", "4096"]);
    run("debugfs", &["-w", "-R", "mknod made p", text(&image)]);
    run("debugfs", &["-w", "-R", "sif made mode 0140600", text(&image)]);
    let archive = scratch.path("out.tar");
    let dump = || tool(&["-R", &format!("rdump --tar {} /", archive.display()), text(&image)], b"");
    let said = dump();
    assert_eq!(said.status.code(), Some(0));
    let lines = stderr(&said);
    let warnings: Vec<&str> = lines.lines().map(|l| l.strip_prefix("dax-debugfs: warning: ").unwrap()).collect();
    let (last, named) = warnings.split_last().unwrap();
    assert!(named.contains(&"made: left out: a socket"), "{warnings:?}");
    assert_eq!(
        *last,
        format!("{} socket{} left out: archives have none", named.len(), if named.len() == 1 { "" } else { "s" })
    );
    let whole = python(&archive);

    // An inode with a wrong checksum is left out and named; everything else is there.
    let stat = run("debugfs", &["-R", "imap sub/data", text(&image)]);
    let word = |after: &str| {
        let rest = stat.split(after).nth(1).unwrap().trim_start();
        let digits = rest.split(|c: char| !c.is_ascii_hexdigit() && c != 'x').next().unwrap();
        digits.strip_prefix("0x").map_or_else(|| digits.parse(), |hex| u64::from_str_radix(hex, 16)).unwrap()
    };
    let at = usize::try_from(word("located at block") * 4096 + word("offset")).unwrap();
    let mut bytes = std::fs::read(&image).unwrap();
    bytes[at + 0x18] ^= 1;
    std::fs::write(&image, bytes).unwrap();
    let said = dump();
    assert_eq!(said.status.code(), Some(1));
    let errors: Vec<String> =
        stderr(&said).lines().filter(|l| l.contains(": error: ")).map(ToOwned::to_owned).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("sub/data: inode:") && errors[0].contains("checksum"), "{errors:?}");
    let mut expected = whole;
    assert!(expected.remove("'sub/data'").is_some());
    assert_eq!(python(&archive), expected);
}

#[test]
fn what_cannot_be_read_of_a_file_is_zeroes() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "32M", &["-t", "ext4", "-b", "4096"]);
    // The image ends inside a file: catastrophic mode opens it all the same.
    let blocks = run("debugfs", &["-R", "blocks sub/data", text(&image)]);
    let third: u64 = blocks.split_whitespace().nth(2).unwrap().parse().unwrap();
    let cut = scratch.path("cut");
    std::fs::copy(&image, &cut).unwrap();
    std::fs::OpenOptions::new().write(true).open(&cut).unwrap().set_len(third * 4096).unwrap();
    let archive = scratch.path("out.tar");
    let said = tool(&["-c", "-R", &format!("rdump --tar {} sub/data", archive.display()), text(&cut)], b"");
    assert_eq!(said.status.code(), Some(1));
    let lines = stderr(&said);
    assert!(lines.contains("data: ") && lines.contains("zeroes stand for what cannot be read"), "{lines}");
    let content = spawn("tar", &["-xOf", text(&archive)], b"").stdout;
    let mut expected = std::fs::read(scratch.path("tree/sub/data")).unwrap();
    expected[8192..].fill(0);
    assert_eq!(content, expected);
}
