//! Layers as container images have them, put on each other by the tool, and by the kernel's overlay file system for comparison.

use super::archives::{Writer, compress};
use super::bench::Bench;
use super::corners::shown;
use super::members::{dir, file, link, symlink, write};
use super::snapshot::{self, Snapshot, set_xattr};
use super::tools::{succeed, system};
use super::tree_compare::{Allow, compare};
use super::{oracle, readers};
use rustix::fs::{CWD, FileType, Mode};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};

#[test]
fn three_layers_over_a_directory() {
    let bench = Bench::new();
    let base = bench.path("base");
    fs::create_dir_all(base.join("etc/conf.d")).expect("mkdir");
    fs::create_dir_all(base.join("usr/bin")).expect("mkdir");
    fs::create_dir(base.join("opt")).expect("mkdir");
    for name in ["etc/kept", "etc/gone", "etc/conf.d/old", "usr/bin/tool", "opt/old"] {
        fs::write(base.join(name), name).expect("write");
        super::fixtures::set_times(&base.join(name), 1_000_000_000, 0);
    }
    std::os::unix::fs::symlink("usr/bin", base.join("bin")).expect("symlink");
    for name in ["", "etc", "etc/conf.d", "usr", "usr/bin", "opt", "bin"] {
        super::fixtures::set_times(&base.join(name), 1_000_000_000, 0);
    }
    write(
        "pax",
        &[file("etc/.wh.gone", ""), file("bin/new", "new"), file("opt/.wh..wh..opq", ""), file("opt/a", "a")],
        &bench.path("one.tar"),
    );
    write(
        "gnu",
        // The marker comes last; the whiteout hides the directory that the same layer brings again.
        &[
            link("bin/alias", "bin/tool"),
            file("opt/b", "b"),
            dir("etc/conf.d").mode(0o700),
            file("etc/conf.d/new", "n"),
            file("etc/.wh.conf.d", ""),
            file("opt/.wh..wh..opq", ""),
            file("opt/.wh..wh.aufs", ""),
        ],
        &bench.path("two.tar"),
    );
    compress(&["gzip"], &bench.path("two.tar"), &bench.path("two.tar.gz"));
    write(
        "ustar",
        &[symlink("etc/kept", "/etc/conf.d/new"), file("etc/conf.d/gone", "g"), file("usr/bin/.wh.new", "")],
        &bench.path("three.tar"),
    );
    compress(&["zstd", "-q"], &bench.path("three.tar"), &bench.path("three.tar.zst"));
    let mut found = shown(&bench, &["base", "one.tar", "two.tar.gz", "three.tar.zst"]);
    found.remove("");
    let expected = [
        ("bin", "777 0:0 0 -> usr/bin"),
        ("etc", "755 0:0 0 dir"),
        ("etc/conf.d", "700 0:0 0 dir"),
        ("etc/conf.d/gone", "644 0:0 0 \"g\""),
        ("etc/conf.d/new", "644 0:0 0 \"n\""),
        ("etc/kept", "777 0:0 0 -> /etc/conf.d/new"),
        ("opt", "755 0:0 0 dir"),
        ("opt/b", "644 0:0 0 \"b\""),
        ("usr", "755 0:0 0 dir"),
        ("usr/bin", "755 0:0 0 dir"),
        ("usr/bin/alias", "644 0:0 0 \"usr/bin/tool\" = usr/bin/alias = usr/bin/tool"),
        ("usr/bin/tool", "644 0:0 0 \"usr/bin/tool\" = usr/bin/alias = usr/bin/tool"),
    ];
    assert_eq!(found, expected.map(|(path, what)| (path.to_owned(), what.to_owned())).into());
}

/// Stacks that are compared with overlays.
const STACKS: u64 = 100;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// What a layer says of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Dir { opaque: bool },
    File,
    Link,
    Gone,
}

/// A layer: every path it speaks of, with all the directories above.
type Layer = BTreeMap<String, Said>;

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn layer(numbers: &mut Numbers, lowest: bool) -> Layer {
    let mut said = Layer::new();
    let mut leaves: BTreeSet<String> = BTreeSet::new();
    for _ in 0..3 + numbers.below(8) {
        let depth = 1 + numbers.below(3);
        let names: Vec<&str> = (0..depth).map(|_| NAMES[numbers.below(4) as usize]).collect();
        let path = names.join("/");
        let above: Vec<String> = (1..names.len()).map(|n| names[..n].join("/")).collect();
        if said.contains_key(&path) || above.iter().any(|p| leaves.contains(p)) {
            continue;
        }
        for dir in above {
            said.entry(dir).or_insert(Said::Dir { opaque: !lowest && numbers.below(6) == 0 });
        }
        let what = match numbers.below(if lowest { 4 } else { 6 }) {
            0 => Said::Dir { opaque: !lowest && numbers.below(3) == 0 },
            1 => Said::Link,
            2 | 3 => Said::File,
            _ => Said::Gone,
        };
        if !matches!(what, Said::Dir { .. }) {
            leaves.insert(path.clone());
        }
        said.insert(path, what);
    }
    said
}

/// Makes a layer's directory: for an overlay over `below` with its own signs of what is hidden, else with those of archives.
fn make(layer: &Layer, at: &Path, stamp: u32, below: Option<&Path>) {
    let overlay = below.is_some();
    // An overlay shows the sign itself where it hides nothing.
    let hides = |path: &str| {
        let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
        let opaque = above.any(|dir| layer.get(dir) == Some(&Said::Dir { opaque: true }));
        !opaque && below.is_some_and(|below| fs::symlink_metadata(below.join(path)).is_ok())
    };
    fs::create_dir(at).expect("mkdir");
    let hidden = |path: &str| match path.rsplit_once('/') {
        Some((dir, name)) => format!("{dir}/.wh.{name}"),
        None => format!(".wh.{path}"),
    };
    for (nr, (path, said)) in layer.iter().enumerate() {
        let here = at.join(path);
        let stamp = stamp + nr as u32;
        match said {
            Said::Dir { opaque } => {
                fs::create_dir(&here).expect("mkdir");
                fs::set_permissions(&here, Permissions::from_mode(0o700 + stamp % 0o70)).expect("chmod");
                match (opaque, overlay) {
                    (true, true) => set_xattr(&here, "trusted.overlay.opaque", b"y"),
                    (true, false) => fs::write(here.join(".wh..wh..opq"), b"").expect("write"),
                    _ => {}
                }
            }
            Said::File => {
                fs::write(&here, format!("content {stamp}")).expect("write");
                fs::set_permissions(&here, Permissions::from_mode(0o600 + stamp % 0o70)).expect("chmod");
                set_xattr(&here, "trusted.stamp", stamp.to_string().as_bytes());
            }
            Said::Link => std::os::unix::fs::symlink(format!("../{stamp}"), &here).expect("symlink"),
            Said::Gone if overlay && !hides(path) => continue,
            Said::Gone if overlay => {
                rustix::fs::mknodat(CWD, &here, FileType::CharacterDevice, Mode::empty(), 0).expect("mknod (as root)");
            }
            Said::Gone => fs::write(at.join(hidden(path)), b"").expect("write"),
        }
        if *said != Said::Gone {
            lchown(&here, Some(stamp), Some(stamp + 1)).expect("chown (as root)");
        }
    }
    // What lies in a directory changes its time, so they come last, the deepest first.
    for (nr, path) in layer.keys().enumerate().rev().filter(|(_, p)| layer[*p] != Said::Gone) {
        super::fixtures::set_times(&at.join(path), i64::from(stamp) + nr as i64, 5);
    }
    fs::set_permissions(at, Permissions::from_mode(0o755)).expect("chmod");
    super::fixtures::set_times(at, stamp.into(), 5);
}

/// What is compared: an overlay gives directories times and numbers of its own.
fn comparable(mut tree: Snapshot) -> Snapshot {
    for entry in tree.values_mut() {
        (entry.atime, entry.ctime) = (None, None);
        if let Some(xattrs) = &mut entry.xattrs {
            xattrs.retain(|name, _| !name.starts_with(b"trusted.overlay."));
        }
    }
    tree
}

#[test]
fn stacks_are_what_the_kernel_overlays() {
    let bench = Bench::new();
    // Any file system an overlay can lie on, with attributes and nodes.
    let memory = tempfile::tempdir_in("/dev/shm").expect("a directory on the tmpfs at /dev/shm");
    let mut hidden = 0;
    for seed in 1..=STACKS {
        let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let layers: Vec<Layer> = (0..2 + numbers.below(3)).map(|nr| layer(&mut numbers, nr == 0)).collect();
        let at = memory.path().join(seed.to_string());
        fs::create_dir(&at).expect("mkdir");
        let (mut lower, mut args): (Vec<PathBuf>, Vec<String>) = (Vec::new(), Vec::new());
        for (nr, layer) in layers.iter().enumerate() {
            hidden += layer.values().filter(|s| matches!(s, Said::Gone | Said::Dir { opaque: true })).count();
            let stamp = 1000 * (nr as u32 + 1);
            let below = Overlay::mount(&lower, &at.join("below"));
            let upper = at.join(format!("overlay{nr}"));
            make(layer, &upper, stamp, Some(&below.0));
            drop(below);
            lower.insert(0, upper);
            let (tree, archive) = (at.join(format!("tree{nr}")), bench.path(&format!("{nr}.tar")));
            make(layer, &tree, stamp, None);
            Writer::GnuPosix.write(&tree, &archive).expect("an archive");
            // A directory speaks for itself where nothing is hidden.
            let source = if nr == 0 && seed % 2 == 0 { tree } else { archive };
            args.extend(["-d".to_owned(), source.to_str().expect("UTF-8").to_owned()]);
        }
        let image = bench.image(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let overlay = Overlay::mount(&lower, &at.join("merged"));
        let expected = comparable(snapshot::of_directory(&overlay.0).expect("readable"));
        drop(overlay);
        let told = |why: String| format!("seed {seed}: {why}\n{layers:#?}");
        oracle::clean(&image).unwrap_or_else(|e| panic!("{}", told(e)));
        for found in [readers::volume(&image), readers::kernel(&image, &bench.path(""))] {
            let found = found.map(comparable).unwrap_or_else(|e| panic!("{}", told(e)));
            compare("a reader", &expected, &found, Allow::nothing(256, 4096)).unwrap_or_else(|e| panic!("{}", told(e)));
        }
        fs::remove_dir_all(&at).expect("remove");
    }
    assert!(hidden as u64 > STACKS, "{hidden} signs of what is hidden");
}

/// An overlay, unmounted when dropped.
struct Overlay(PathBuf);

impl Overlay {
    /// Mounts directories, the uppermost first, over two empty ones: fewer than two are no overlay.
    fn mount(lower: &[PathBuf], at: &Path) -> Self {
        let empty = ["empty1", "empty2"].map(|name| at.with_file_name(name));
        for dir in empty.iter().chain([&at.to_owned()]) {
            fs::create_dir_all(dir).expect("mkdir");
        }
        let dirs: Vec<&str> = lower.iter().chain(&empty).map(|p| p.to_str().expect("UTF-8")).collect();
        let options = format!("lowerdir={}", dirs.join(":"));
        succeed(system("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(at))
            .unwrap_or_else(|e| panic!("this test needs a kernel with overlayfs, and root: {e}"));
        Self(at.to_owned())
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = succeed(system("umount").arg(&self.0));
    }
}
