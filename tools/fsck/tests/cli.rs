//! The command line: exit statuses, modes, what is not there, and documents.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A name of an option or a file.
type Words<'a> = &'a [&'a str];

fn tool(args: Words<'_>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dax-fsck"))
        .args(args)
        .env("LC_ALL", "C")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn system(program: &str, args: Words<'_>) -> Output {
    Command::new(program)
        .args(args)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("this test needs {program} (package e2fsprogs): {e}"))
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A sound image, and one whose root has a wrong count of links and a wrong bitmap.
struct Images {
    dir: tempfile::TempDir,
}

impl Images {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sound = dir.path().join("sound");
        let made = system("mke2fs", &["-q", "-F", "-t", "ext4", "-b", "1024", sound.to_str().unwrap(), "2M"]);
        assert!(made.status.success(), "{}", err(&made));
        let broken = dir.path().join("broken");
        fs::copy(&sound, &broken).unwrap();
        let script = "sif / links_count 9";
        system("debugfs", &["-w", "-R", script, broken.to_str().unwrap()]);
        system("debugfs", &["-w", "-R", "freeb 40 3", broken.to_str().unwrap()]);
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn copy(&self, name: &str) -> String {
        fs::copy(self.path("broken"), self.path(name)).unwrap();
        self.name(name)
    }
}

fn sound_to_e2fsck(image: &Path) -> bool {
    system("e2fsck", &["-fn", image.to_str().unwrap()]).status.code() == Some(0)
}

#[test]
fn a_check_says_what_is_wrong_and_writes_nothing() {
    let images = Images::new();
    let clean = tool(&["-n", &images.name("sound")]);
    assert_eq!((clean.status.code(), err(&clean).as_str()), (Some(0), ""));
    assert!(out(&clean).ends_with("blocks\n") && out(&clean).contains(": clean, 11/"), "{}", out(&clean));
    let before = fs::read(images.path("broken")).unwrap();
    let broken = tool(&["--check", &images.name("broken")]);
    assert_eq!(broken.status.code(), Some(4));
    let text = out(&broken);
    assert!(text.contains("INO036 inode:2.i_links_count: the count of links is wrong (9, should be 3)"), "{text}");
    assert!(text.contains("BMP001 group.0: the block bitmap differs"), "{text}");
    assert_eq!(fs::read(images.path("broken")).unwrap(), before);
}

#[test]
fn repairs_mend_and_say_so() {
    let images = Images::new();
    for how in ["-y", "-p", "-a", "--repair"] {
        let image = images.copy("copy");
        let done = tool(&[how, &image]);
        assert_eq!(done.status.code(), Some(1), "{how}: {}", out(&done));
        assert!(out(&done).contains("(9, should be 3) - mended"), "{how}: {}", out(&done));
        assert!(sound_to_e2fsck(&images.path("copy")), "{how}");
        let again = tool(&["-y", &image]);
        assert_eq!(again.status.code(), Some(0), "{how}: {}", out(&again));
    }
}

#[test]
fn only_what_is_safe_is_mended_when_that_is_asked() {
    let images = Images::new();
    let image = images.copy("copy");
    // An entry that names an inode that cannot be is not safe to remove.
    system("debugfs", &["-w", "-R", "ln <9999999> /nobody", &image]);
    let linked = tool(&["-n", &image]);
    let unsafe_one = out(&linked).contains("DIR008");
    let done = tool(&["-p", &image]);
    let expected = if unsafe_one { 1 | 4 } else { 1 };
    assert_eq!(done.status.code(), Some(expected), "{}", out(&done));
}

#[test]
fn without_a_mode_or_a_terminal_nothing_is_done() {
    let images = Images::new();
    let image = images.copy("copy");
    let before = fs::read(&image).unwrap();
    let asked = tool(&[&image]);
    assert_eq!(asked.status.code(), Some(8));
    assert!(err(&asked).contains("nobody to ask"), "{}", err(&asked));
    assert_eq!(fs::read(&image).unwrap(), before);
}

#[test]
fn what_there_is_not_is_refused_with_16() {
    let images = Images::new();
    let image = images.name("sound");
    for (args, why) in [
        (&["-n", "-y"][..], "cannot be used with"),
        (&["--frob"], "--frob"),
        (&["-n", "-D"], "cannot be used with"),
        (&["-n", "-l", "x"], "cannot be used with"),
        (&["-n", "-c"], "cannot be used with"),
        (&["-y", "-l", "x", "-L", "y"], "cannot be used with"),
        (&["-n", "-c", "-c"], "cannot be used with"),
        (&["-n", "-E", "frob"], "-E frob: no such word"),
        (&["-n", "-E", "bmap2extent=1"], "-E bmap2extent=1: no such word"),
        (&["-n", "-E", "ea_ver=3"], "the version is 1 or 2"),
        (&["-n", "-E", "readahead_kb"], "a number is wanted"),
        (&["-y", "-D", "-E", "fixes_only"], "-E fixes_only cannot be used with -D"),
        (&["-y", "-E", "bmap2extent,fixes_only"], "-E fixes_only cannot be used with -E bmap2extent"),
        (&["-n", "--deny", "XXX999"], "XXX999: no such code"),
        (&["-n", "--allow", "DAX006=["], "--allow DAX006=["),
        (&["-n", "-z", "undo"], "-z: a check has nothing to undo"),
        (&["-y", "-z", "/"], "-z /: exists already"),
    ] {
        let refused = tool(&[args, &[&image]].concat());
        assert_eq!(refused.status.code(), Some(16), "{args:?}: {}", err(&refused));
        assert!(err(&refused).contains(why), "{args:?}: {}", err(&refused));
        assert_eq!(err(&refused).lines().count(), 1, "{args:?}: {}", err(&refused));
    }
    assert_eq!(tool(&["-n"]).status.code(), Some(16), "no image");
    let words =
        ["nodiscard", "no_optimize_extents", "readahead_kb=64", "inode_count_fullmap", "ea_ver=2", "fixes_only"];
    assert_eq!(tool(&["-n", "-E", &words.join(","), &image]).status.code(), Some(0));
    // Nothing in it is of a version.
    assert_eq!(tool(&["-n", "-E", "ea_ver=1", &image]).status.code(), Some(0));
}

#[test]
fn what_cannot_be_opened_ends_with_8() {
    let images = Images::new();
    let missing = tool(&["-n", &images.name("nothing")]);
    assert_eq!(missing.status.code(), Some(8));
    assert_eq!(err(&missing).lines().count(), 1, "{}", err(&missing));
    fs::write(images.path("empty"), vec![0; 1 << 20]).unwrap();
    let empty = tool(&["-n", &images.name("empty")]);
    assert_eq!(empty.status.code(), Some(8 | 4), "{}", out(&empty));
    assert!(out(&empty).starts_with("SUP001 super:"), "{}", out(&empty));
}

#[test]
fn a_superblock_is_found_by_itself_or_where_it_is_said_to_be() {
    let images = Images::new();
    let image = images.name("large");
    let made = system("mke2fs", &["-q", "-F", "-t", "ext4", "-b", "1024", &image, "20M"]);
    assert!(made.status.success(), "{}", err(&made));
    let mut bytes = fs::read(&image).unwrap();
    bytes[1024..2048].fill(0);
    fs::write(&image, &bytes).unwrap();
    let found = tool(&["-n", &image]);
    assert_eq!(found.status.code(), Some(4));
    assert!(
        out(&found).contains(
            "SUP001 super: there is no superblock where the primary one belongs (should be that of block 8193)"
        ),
        "{}",
        out(&found)
    );
    let told = tool(&["-n", "-b", "8193", "-B", "1024", &image]);
    assert_eq!(told.status.code(), Some(4), "{}", out(&told));
    assert_eq!(tool(&["-y", &image]).status.code(), Some(1));
    assert!(sound_to_e2fsck(Path::new(&image)));
}

#[test]
fn undo_files_are_made_once_and_take_everything_back() {
    let images = Images::new();
    let (image, undo) = (images.copy("copy"), images.name("undo"));
    let before = fs::read(&image).unwrap();
    assert_eq!(tool(&["-y", "-z", &undo, &image]).status.code(), Some(1));
    assert_ne!(fs::read(&image).unwrap(), before);
    assert_eq!(tool(&["-y", "-z", &undo, &image]).status.code(), Some(16), "the file is there already");
    let back = tool(&["--apply-undo", &undo, &image]);
    assert_eq!(back.status.code(), Some(1), "{}", err(&back));
    assert!(fs::read(&image).unwrap() == before);
}

#[test]
fn the_dax_rules_are_advice_until_somebody_says_otherwise() {
    let images = Images::new();
    let image = images.copy("copy");
    assert_eq!(tool(&["-y", &image]).status.code(), Some(1));
    for script in ["mkdir /db", "sif /db flags 0x2080000", "mkdir /db/child"] {
        system("debugfs", &["-w", "-R", script, &image]);
    }
    assert_eq!(tool(&["-y", &image]).status.code().map(|s| s & 4), Some(0));
    let advice = tool(&["-n", &image]);
    assert_eq!(advice.status.code(), Some(0), "{}", out(&advice));
    assert!(out(&advice).contains("DAX006") && out(&advice).contains("[advice]"), "{}", out(&advice));
    assert!(out(&advice).contains("DAX003"), "blocks of 1 KiB rule DAX out: {}", out(&advice));
    assert_eq!(tool(&["-n", "--dax-policy", "strict", &image]).status.code(), Some(4));
    assert_eq!(tool(&["-n", "--deny", "DAX006", &image]).status.code(), Some(4));
    let quiet = tool(&["-n", "--allow", "DAX006=/db/*", "--allow", "DAX003", &image]);
    assert_eq!(quiet.status.code(), Some(0));
    assert!(!out(&quiet).contains("DAX006") && !out(&quiet).contains("DAX003"), "{}", out(&quiet));
    let table = tool(&["-n", "--dax-report", &image]);
    assert!(out(&table).contains("set") && out(&table).contains("/db\n"), "{}", out(&table));
}

#[test]
fn free_space_is_told_in_windows_that_one_fault_can_map() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image").to_str().unwrap().to_owned();
    let args = ["-q", "-F", "-t", "ext4", "-b", "4096", "-O", "^has_journal,^resize_inode", "-N", "64", &image, "16M"];
    let made = system("mke2fs", &args);
    assert!(made.status.success(), "{}", err(&made));
    let dumped = out(&system("dumpe2fs", &["-h", &image]));
    let free = dumped.lines().find_map(|line| line.strip_prefix("Free blocks:")).expect("dumpe2fs says it");
    let free: u64 = free.trim().parse().unwrap();
    let of = |more: &[&str]| -> Value {
        let run = tool(&[&["-n", "--json", "--dax-report"], more, &[&image]].concat());
        serde_json::from_str::<Value>(&out(&run)).unwrap()["free_space"].clone()
    };
    // Of the eight windows the first holds the file system's own parts.
    assert_eq!(of(&[]), serde_json::json!({ "bytes": free * 4096, "windows": 7 }));
    assert_eq!(of(&["--data-offset", "2097152"])["windows"], 7);
    // A block before a window's start, every window but these six reaches over an end.
    assert_eq!(of(&["--data-offset", "2093056"])["windows"], 6);
    let table = out(&tool(&["-n", "--dax-report", &image]));
    assert!(table.contains(&format!("free: {} bytes, 7 whole windows of 2 MiB", free * 4096)), "{table}");
}

#[test]
fn a_second_opinion_is_asked_for() {
    let images = Images::new();
    let agrees = tool(&["-n", "--second-opinion", &images.name("broken")]);
    assert!(out(&agrees).contains("e2fsck agrees: errors"), "{}", out(&agrees));
}

#[test]
fn progress_is_reported_to_a_descriptor() {
    let images = Images::new();
    let file = images.path("progress");
    let script =
        format!("exec {} -n -C 3 {} 3>{}", env!("CARGO_BIN_EXE_dax-fsck"), images.name("sound"), file.display());
    let run = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(run.status.success(), "{}", err(&run));
    let lines = fs::read_to_string(&file).unwrap();
    let line = lines.lines().next().expect("a line");
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!((words.len(), words[3]), (4, images.name("sound").as_str()), "{lines}");
    assert!(words[..3].iter().all(|w| w.parse::<u64>().is_ok()), "{lines}");
}

#[test]
fn codes_are_listed_and_explained() {
    let list = out(&tool(&["--list-codes"]));
    assert!(list.lines().count() > 100 && list.contains("INO036 error"), "{list}");
    let explained = tool(&["--explain", "ino036"]);
    assert!(out(&explained).contains("0x040003"), "{}", out(&explained));
    assert_eq!(tool(&["--explain", "nothing"]).status.code(), Some(16));
    let all: Value = serde_json::from_str(&out(&tool(&["--list-codes", "--json"]))).unwrap();
    assert_eq!(all.as_array().unwrap().len(), list.lines().count());
}

#[test]
fn progress_is_told_to_a_descriptor_as_e2fsck_tells_it() {
    let images = Images::new();
    let image = images.name("sound");
    let told = |program: &str, args: &str| {
        let lines = images.path("lines");
        let script = format!("'{program}' {args} '{image}' 3>'{}' >/dev/null", lines.display());
        assert!(system("sh", &["-c", &script]).status.success(), "{script}");
        let text = fs::read_to_string(&lines).unwrap();
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        text.lines().map(words).collect::<Vec<_>>()
    };
    let ours = told(env!("CARGO_BIN_EXE_dax-fsck"), "-n -C 3");
    let theirs = told("e2fsck", "-fn -C 3");
    for lines in [&ours, &theirs] {
        let mut before = (0, 0);
        for line in lines.iter() {
            let [pass, done, all, device] = line.as_slice() else { panic!("{line:?}") };
            let number = |word: &str| word.parse::<u64>().unwrap();
            let now = (number(pass), number(done));
            assert!(before <= now && now.1 <= number(all), "{lines:?}");
            assert_eq!(*device, image);
            before = now;
        }
        for pass in ["1", "2", "3", "4", "5"] {
            let last =
                lines.iter().rfind(|line| line[0] == pass).unwrap_or_else(|| panic!("no pass {pass}: {lines:?}"));
            assert!(lines == &theirs || last[1] == last[2], "{last:?}");
        }
    }
    assert!(told(env!("CARGO_BIN_EXE_dax-fsck"), "-n -C -3").is_empty(), "until SIGUSR1 comes");
    assert_eq!(tool(&["-n", "-C", "77", &image]).status.code(), Some(8), "no such descriptor");
}

const SCHEMA: &str = include_str!("../schema/dax-fsck.v1.json");

#[test]
fn documents_follow_the_committed_schema() {
    assert!(
        out(&tool(&["--schema"])) == SCHEMA,
        "tools/fsck/schema/dax-fsck.v1.json is old: `dax-fsck --schema` prints the new one"
    );
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let images = Images::new();
    let image = images.copy("copy");
    for (args, verdict, status) in
        [(&["-n", "--second-opinion"][..], "errors", 4), (&["-y", "--dax-report"], "mended", 1), (&["-n"], "clean", 0)]
    {
        let run = tool(&[args, &["--json", &image]].concat());
        assert_eq!(run.status.code(), Some(status), "{args:?}");
        let document: Value = serde_json::from_str(&out(&run)).unwrap();
        assert_eq!(document["verdict"], verdict);
        assert_eq!(document["exit_status"], status);
        for (name, _) in schema["properties"].as_object().unwrap() {
            assert!(document.get(name).is_some(), "{args:?}: no {name}");
        }
        for finding in document["findings"].as_array().unwrap() {
            for key in
                ["code", "severity", "place", "title", "stored", "observed", "fixed", "fixable", "path", "e2fsck"]
            {
                assert!(finding.get(key).is_some(), "{finding}: no {key}");
            }
            let expected = verdict == "mended" && finding["severity"] != "advice";
            assert_eq!(finding["fixed"], expected, "{finding}");
        }
    }
}
