//! Archives as the world has them: the packages of a Debian system, each alone and all on each other, and the source of a kernel.

use super::archives::pipe;
use super::bench::Bench;
use super::oracle::Mounted;
use super::snapshot::{self, Snapshot};
use super::tools::{note, output, succeed, system, told};
use super::tree_compare::{Allow, compare};
use super::{oracle, readers};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The packages that `cargo xtask setup` downloads, sorted.
fn packages() -> Vec<PathBuf> {
    let test = std::env::current_exe().expect("a test knows where it is");
    // target/PROFILE/deps/sources-HASH
    let place = test.ancestors().nth(3).expect("tests lie below the target directory").join("debs");
    let list = fs::read_dir(&place);
    let list = list
        .unwrap_or_else(|e| panic!("this test needs Debian packages in {}: cargo xtask setup ({e})", place.display()));
    let mut found: Vec<PathBuf> =
        list.map(|e| e.expect("an entry").path()).filter(|p| p.extension().is_some_and(|e| e == "deb")).collect();
    found.sort();
    found
}

fn is_kernel(package: &Path) -> bool {
    package.file_name().is_some_and(|name| name.to_string_lossy().starts_with("linux-source"))
}

/// The packages of the system.
fn system_packages() -> Vec<PathBuf> {
    let found: Vec<PathBuf> = packages().into_iter().filter(|p| !is_kernel(p)).collect();
    assert!(found.len() >= 36, "{} packages: cargo xtask setup brings more", found.len());
    found
}

/// Extracts a package as `dpkg-deb -x` does, which leaves it to GNU tar; but times of directories come last: the links of a package
/// stand behind everything else, and would change them.
fn extract(package: &Path, to: &Path) {
    fs::create_dir_all(to).expect("mkdir");
    let mut tar = system("tar");
    tar.args(["--extract", "--preserve-permissions", "--numeric-owner", "--delay-directory-restore", "-f", "-", "-C"])
        .arg(to);
    pipe(system("dpkg").arg("--fsys-tarfile").arg(package), &mut tar).expect("extracted");
}

/// A tree as dpkg extracted it, as far as its archive told: one time, no attributes.
fn extracted(at: &Path) -> Snapshot {
    let mut tree = snapshot::of_directory(at).expect("readable");
    for entry in tree.values_mut() {
        (entry.atime, entry.ctime, entry.xattrs) = (None, None, None);
    }
    tree
}

const ALLOW: Allow = Allow { any_holes: true, ..Allow::nothing(256, 4096) };

#[test]
fn every_package_becomes_what_is_extracted() {
    let bench = Bench::new();
    let mut names = 0;
    for package in system_packages() {
        let tree = bench.path("tree");
        extract(&package, &tree);
        let image = bench.path("image");
        let _ = fs::remove_file(&image);
        let told = pipe(system("dpkg").arg("--fsys-tarfile").arg(&package), &mut bench.mkfs(&["-d", "-", "image"]));
        assert_eq!(told, Ok(String::new()), "{}", package.display());
        oracle::clean(&image).expect("clean");
        let expected = extracted(&tree);
        names += expected.len();
        for (reader, found) in
            [("daxkit-volume", readers::volume(&image)), ("the kernel", readers::kernel(&image, &bench.path("")))]
        {
            let same = found.and_then(|found| compare(reader, &expected, &found, ALLOW));
            same.unwrap_or_else(|e| panic!("{}: {e}", package.display()));
        }
        fs::remove_dir_all(&tree).expect("remove");
    }
    note(format!("{names} names of packages"));
}

#[test]
fn all_packages_on_each_other_are_one_system() {
    let bench = Bench::new();
    let tree = bench.path("tree");
    let mut args = Vec::new();
    for (nr, package) in system_packages().into_iter().enumerate() {
        extract(&package, &tree);
        let name = format!("{nr}.tar");
        let mut tar = system("dpkg");
        tar.arg("--fsys-tarfile").arg(&package).stdout(File::create(bench.path(&name)).expect("create"));
        let out = output(&mut tar);
        assert!(out.status.success(), "{}", told(&tar, &out));
        args.extend(["-d".to_owned(), name]);
    }
    let image = bench.image(&args.iter().map(String::as_str).collect::<Vec<_>>());
    bench.check(&image, &extracted(&tree), ALLOW).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn the_source_of_a_kernel_through_a_pipe() {
    let bench = Bench::new();
    let package = packages().into_iter().find(|p| is_kernel(p)).expect("linux-source: cargo xtask setup brings it");
    let script =
        "dpkg --fsys-tarfile \"$1\" | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' | xz -dc | tee \"$2\"";
    let tar = bench.path("linux.tar");
    let mut source = system("sh");
    source.args(["-c", script, "sh"]).arg(&package).arg(&tar);
    assert_eq!(pipe(&mut source, &mut bench.mkfs(&["-d", "-", "image"])), Ok(String::new()));
    let image = bench.path("image");
    oracle::clean(&image).expect("clean");

    let listed = succeed(system("tar").args(["--quoting-style=literal", "-tf"]).arg(&tar)).expect("a list");
    let names = |text: &[u8]| -> Vec<Vec<u8>> {
        let lines = text.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        let mut names: Vec<Vec<u8>> = lines.map(|l| [b"/", l.strip_suffix(b"/").unwrap_or(l)].concat()).collect();
        names.sort();
        names
    };
    let mut expected = names(&listed);
    expected.extend([b"/".to_vec(), b"/lost+found".to_vec()]);
    expected.sort();
    let volume = readers::volume(&image).expect("readable");
    assert!(volume.keys().eq(expected.iter()), "{} names, {} listed", volume.len(), expected.len());

    let mounted = Mounted::new(&image, &bench.path("mnt"), "ro").expect("mounted");
    // Content, modes, owners, times and targets, each that differs a line.
    let mut command = system("tar");
    let out = output(command.arg("--compare").arg("-f").arg(&tar).arg("-C").arg(mounted.path()));
    assert!(out.status.success() && out.stdout.is_empty() && out.stderr.is_empty(), "{}", told(&command, &out));
    let kernel = snapshot::of_directory(mounted.path()).expect("readable");
    mounted.unmount().expect("unmounted");
    compare("daxkit-volume", &kernel, &volume, Allow::nothing(256, 4096)).unwrap_or_else(|e| panic!("{e}"));
    note(format!(
        "{} names of a kernel's source, {} MiB",
        volume.len(),
        fs::metadata(&tar).expect("there").len() >> 20
    ));
}
