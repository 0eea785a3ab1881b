//! One tree, by directory, by every form of archive that can hold it, and by a recipe: equal trees, and equal bytes where times
//! and order are equal.

use super::archives::{Writer, compress, pipe};
use super::bench::{Bench, digest};
use super::recipe_of::{Times, recipe};
use super::snapshot::{self, Snapshot};
use super::tools::{Failure, output, succeed, system};
use super::tree_compare::{Allow, compare};
use super::{fixtures, oracle};
use std::fs;
use std::path::{Path, PathBuf};

/// What is equal in any case.
const EXACT: Allow = Allow::nothing(256, 4096);

/// Everything a tree can hold and the host as well: all kinds, links, holes, attributes, ACLs, capabilities, owners, odd names,
/// large directories, deep paths.
fn everything(at: &Path) {
    fixtures::all_in_one(at);
    let mut deep = at.to_owned();
    for level in 0..13 {
        deep.push(format!("{level}-{}", "d".repeat(240)));
    }
    fs::create_dir_all(&deep).expect("mkdir");
    fs::write(deep.join("bottom"), b"deep").expect("write");
    fixtures::set_times(at, 1_400_000_000, 55);
}

struct Made {
    bench: Bench,
    tree: PathBuf,
}

impl Made {
    fn new(make: fn(&Path)) -> Self {
        let bench = Bench::new();
        let tree = bench.path("tree");
        make(&tree);
        Self { bench, tree }
    }

    fn now(&self) -> Snapshot {
        snapshot::settled(&self.tree).expect("a readable tree")
    }

    /// Sockets go: no archive has them, and bytes are compared.
    fn without_sockets(&self) {
        for (path, _) in self.now().iter().filter(|(_, e)| e.kind() == 0o140_000) {
            let path = self.tree.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&path[1..]));
            fs::remove_file(&path).expect("remove");
        }
    }
}

#[test]
fn every_way_gives_the_same_tree() {
    let Made { bench, tree } = &Made::new(everything);
    let made = || snapshot::settled(tree).expect("a readable tree");
    let mut failures: Vec<Failure> = Vec::new();
    let mut ask = |what: &str, image: &Path, expected: &Snapshot, allow: Allow| {
        if let Err(failure) = bench.check(image, expected, allow) {
            failures.push(format!("{what}: {failure}"));
        }
    };
    let now = made();
    let dir = bench.image(&["-d", "tree"]);
    ask("directory", &dir, &now, EXACT);

    let now = made();
    let file = bench.path("recipe.toml");
    fs::write(&file, recipe(tree, &now, &bench.path("names"), Times::All)).expect("write");
    let by_recipe = bench.image(&["--recipe", "recipe.toml"]);
    ask("recipe", &by_recipe, &now, EXACT);

    for writer in [Writer::GnuPosix, Writer::Gnu, Writer::Bsd, Writer::Python] {
        let expected = writer.keeps(&made());
        let archive = bench.path("archive.tar");
        match writer.write(tree, &archive) {
            // GNU tar and libarchive complain of the socket, and go on.
            Err(told) if told.contains("socket") => {}
            done => done.expect("an archive"),
        }
        let image = bench.image(&["-d", "archive.tar"]);
        ask(&format!("{writer:?}"), &image, &expected, Allow { any_holes: !writer.keeps_holes(), ..EXACT });
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn old_forms_give_what_they_hold() {
    for (writer, sources) in [(Writer::Ustar, &["small", "many", "large"][..]), (Writer::V7, &["small"])] {
        let bench = Bench::new();
        let tree = bench.path("tree");
        fs::create_dir(&tree).expect("mkdir");
        for name in sources {
            fixtures::make(name, &tree.join(name));
        }
        // A target of more than 100 bytes has no place in either.
        let _ = fs::remove_file(tree.join("small/link900"));
        let expected = writer.keeps(&snapshot::settled(&tree).expect("a readable tree"));
        let archive = bench.path("archive.tar");
        writer.write(&tree, &archive).expect("an archive");
        let image = bench.image(&["-d", "archive.tar"]);
        bench.check(&image, &expected, EXACT).unwrap_or_else(|e| panic!("{writer:?}: {e}"));
    }
}

#[test]
fn equal_trees_are_equal_bytes() {
    let made = Made::new(everything);
    made.without_sockets();
    let Made { bench, tree } = &made;
    fixtures::set_times(&tree.join("names"), 1_400_000_001, 1);
    let reproducible = |args: &[&str]| digest(&bench.image(&[&["--reproducible"], args].concat()));
    let first = reproducible(&["-d", "tree"]);

    let archive = bench.path("archive.tar");
    Writer::GnuPosix.write(tree, &archive).expect("an archive");
    assert_eq!(reproducible(&["-d", "archive.tar"]), first, "GNU tar, posix");

    let programs: [(&[&str], &str); 5] = [
        (&["gzip", "-1"], "gz"),
        (&["zstd", "-q", "-1"], "zst"),
        // What a reader may not tell from one stream: several, and ones that say nothing of their length.
        (&["sh", "-c", "head -c 1000000 | gzip; gzip"], "several.gz"),
        (&["sh", "-c", "head -c 1000000 | zstd -q; zstd -q"], "several.zst"),
        (&["cat"], "tar"),
    ];
    for (program, extension) in programs {
        let name = format!("archive.{extension}");
        let packed = bench.path(&name);
        if extension != "tar" {
            compress(program, &archive, &packed);
        }
        assert_eq!(reproducible(&["-d", &name]), first, "{extension}");
        let image = bench.path("image");
        fs::remove_file(&image).expect("remove");
        let mut mkfs = bench.mkfs(&["--reproducible", "-d", "-", "image"]);
        assert_eq!(pipe(system("cat").arg(&packed), &mut mkfs), Ok(String::new()));
        assert_eq!(digest(&image), first, "{extension} through a pipe");
        fs::remove_file(&image).expect("remove");
        let out = output(mkfs.stdin(fs::File::open(&packed).expect("the archive")));
        assert!(out.status.success());
        assert_eq!(digest(&image), first, "{extension} as standard input");
    }

    let file = bench.path("recipe.toml");
    fs::write(&file, recipe(tree, &made.now(), &bench.path("names"), Times::Mtime)).expect("write");
    assert_eq!(reproducible(&["--recipe", "recipe.toml"]), first, "recipe");

    // An archive whose holes are zeroes, where blocks of zeroes become holes anyway. What the image is called is derived from
    // the source as it is, with its holes.
    let given = ["-U", "7f1d2c3b-4a59-4876-9504-a3b2c1d0e9f8", "-E", "hash_seed=7f1d2c3b-4a59-4876-9504-a3b2c1d0e9f8"];
    let zeroes = |source: &str| reproducible(&[&given[..], &["--holes", "zero-blocks", "-d", source]].concat());
    fs::remove_file(tree.join("sparse/far")).expect("remove");
    fixtures::set_times(&tree.join("sparse"), 1_400_000_001, 1);
    Writer::Python.write(tree, &bench.path("python.tar")).expect("an archive");
    assert_eq!(zeroes("python.tar"), zeroes("tree"), "Python, PAX");
}

#[test]
fn debugfs_copies_out_what_an_archive_brought() {
    let bench = Bench::new();
    let tree = bench.path("tree");
    fixtures::all_in_one(&tree);
    let archive = bench.path("archive.tar");
    let _ = Writer::GnuPosix.write(&tree, &archive);
    let image = bench.image(&["-d", "archive.tar"]);
    let out = bench.path("out");
    fs::create_dir(&out).expect("mkdir");
    // Not what is sparse: every hole is written out.
    let places = ["small", "names", "xattrs", "many", "large"];
    let script = places.map(|place| format!("rdump /{place} {}\n", oracle::plain(&out).display())).concat();
    let told = oracle::debugfs(&image, script.as_bytes(), &bench.path(""));
    // It makes no nodes, and says so of each.
    if let Err(told) = told {
        assert!(told.contains("rdump"), "{told}");
    }
    let comparable = |from: &Path| -> Snapshot {
        let mut all = snapshot::of_directory(from).expect("readable");
        all.retain(|path, e| {
            matches!(e.kind(), 0o040_000 | 0o100_000 | 0o120_000)
                && path != b"/"
                && places.iter().any(|p| path[1..].starts_with(p.as_bytes()))
        });
        for (nr, entry) in all.values_mut().enumerate() {
            // Names get inodes of their own, and nothing is told of attributes.
            (entry.inode, entry.links) = (nr as u64, entry.links.map(|_| 1));
            (entry.atime, entry.ctime, entry.xattrs) = (None, None, None);
            // It sets the mode before the owner, keeps 32 bits of time, and none of a link's.
            entry.mode &= !0o7000;
            let told = !entry.is_symlink() && (0..i32::MAX.into()).contains(&entry.mtime.0);
            entry.mtime = if told { (entry.mtime.0, 0) } else { (0, 0) };
        }
        all
    };
    let mut found = comparable(&out);
    let mut lost = found.values().find(|e| e.is_dir()).expect("a directory").clone();
    (lost.mode, lost.uid, lost.gid, lost.inode) = (0o040_700, 0, 0, u64::MAX);
    found.insert(b"/lost+found".to_vec(), lost);
    compare("rdump", &comparable(&tree), &found, Allow { any_holes: true, ..EXACT }).unwrap_or_else(|e| panic!("{e}"));
    let _ = succeed(system("rm").arg("-rf").arg(&out));
}
