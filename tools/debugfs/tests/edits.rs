//! Scripts that edit: one change or none, whatever fails.

mod common;

use common::judge::assert_clean;
use common::{Scratch, fails, ours, run, stderr, stdout, tool};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// An image, and its bytes.
struct Case {
    scratch: Scratch,
    image: PathBuf,
    before: Vec<u8>,
}

impl Case {
    fn new(args: &[&str]) -> Self {
        let scratch = Scratch::new();
        let image = scratch.image("image", "16M", args);
        let before = std::fs::read(&image).unwrap();
        Self { scratch, image, before }
    }

    fn text(&self) -> &str {
        self.image.to_str().unwrap()
    }

    /// Runs a script over the image, with these options.
    fn script(&self, options: &[&str], script: &str) -> Output {
        tool(&[options, &[self.text()]].concat(), script.as_bytes())
    }

    fn is_untouched(&self) -> bool {
        std::fs::read(&self.image).unwrap() == self.before
    }

    /// The directories among these names that are in the image.
    fn dirs(&self, names: &str) -> String {
        let list = ours(&self.image, "ls -p /");
        names.chars().filter(|name| list.lines().any(|line| line.contains(&format!("/{name}/")))).collect()
    }

    fn is_sound(&self) -> bool {
        assert_clean(&self.image, "after edits");
        true
    }
}

fn good(output: &Output) {
    assert_eq!((output.status.code(), stderr(output).as_str()), (Some(0), ""), "{}", stdout(output));
}

/// Failed, with these lines on standard error, in which `wanted` occur in order.
fn failed(output: &Output, wanted: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), wanted.len(), "{text}");
    for (line, wanted) in text.lines().zip(wanted) {
        assert!(line.starts_with("dax-debugfs: error: ") && line.contains(wanted), "{wanted}: {line}");
    }
}

#[test]
fn a_script_is_written_as_a_whole_or_not_at_all() {
    // With a journal, and without one.
    for args in [&["-t", "ext4"][..], &["-t", "ext2"]] {
        let case = Case::new(args);
        let script = case.scratch.path("script");
        // However the commands come.
        let bad = "mkdir a\nmkdir nosuch/x\nmkdir b\n";
        std::fs::write(&script, bad).unwrap();
        failed(&case.script(&["-w"], bad), &["mkdir: nosuch/.: "]);
        failed(&case.script(&["-w", "-f", "-"], bad), &["mkdir: nosuch/.: "]);
        failed(&case.script(&["-w", "-f", script.to_str().unwrap()], ""), &["mkdir: nosuch/.: "]);
        failed(&case.script(&["-w", "-R", "mkdir a", "-R", "mkdir nosuch/x"], ""), &["mkdir: nosuch/.: "]);
        failed(&case.script(&["-w"], "mkdir a\nno such command\n"), &["no: no such command"]);
        failed(&case.script(&["-w"], "mkdir a\ncat \"half\n"), &["a quote does not end"]);
        // A command that reads and fails is a command that fails.
        failed(&case.script(&["-w"], "mkdir a\nstat nosuch\n"), &["stat: nosuch: "]);
        assert!(case.is_untouched());
        // Reading alone changes nothing either.
        good(&case.script(&["-w"], "ls\nstat /\n# mkdir a\n\n"));
        assert!(case.is_untouched());
        good(&case.script(&["-w"], "mkdir a\nmkdir b\nrmdir a\nmkdir c\nquit\nmkdir d\n"));
        assert_eq!(case.dirs("abcd"), "bc");
        assert!(case.is_sound());
    }
}

#[test]
fn without_w_an_edit_fails() {
    let case = Case::new(&["-t", "ext4"]);
    for command in ["mkdir a", "rm hello", "chattr +x hello", "begin", "unlink hello"] {
        failed(&case.script(&["-R", command], ""), &["the image is open for reading only (-w opens it for writing)"]);
    }
    failed(&case.script(&[], "ls\nmkdir a\n"), &["mkdir: the image is open for reading only"]);
    // As in debugfs -c wins over -w.
    let refused = case.script(&["-w", "-c"], "mkdir a\n");
    let told = "dax-debugfs: note: -c: the image is open for reading only\n";
    assert!(stderr(&refused).starts_with(told) && refused.status.code() == Some(1), "{}", stderr(&refused));
    failed(&case.script(&["-z", "/nosuch/undo"], "ls\n"), &["-z: an image that is open for reading only"]);
    assert!(case.is_untouched());
}

#[test]
fn a_copy_of_the_superblock_takes_the_place_of_a_lost_one_with_the_first_change() {
    let case = Case::new(&["-t", "ext4", "-b", "1024"]);
    let image = &case.image;
    let mut bytes = std::fs::read(image).unwrap();
    bytes[1024..3072].fill(0);
    std::fs::write(image, &bytes).unwrap();
    failed(&case.script(&["-w"], "mkdir a\n"), &["-b 1024 -s 8193 opens it by a copy of its superblock"]);
    let by_copy = ["-w", "-b", "1024", "-s", "8193"];
    good(&case.script(&by_copy, "ls\nstat /\n"));
    assert!(std::fs::read(image).unwrap() == bytes, "who only looks changes nothing");
    good(&case.script(&by_copy, "set_inode_field / mode 040700\n"));
    let after = std::fs::read(image).unwrap();
    assert!(after[1024..2048].iter().any(|b| *b != 0), "the primary superblock is there again");
    // The same as the copy's, but for the group it stands in and its own checksum.
    let differs = |at: &usize| after[1024 + at] != after[8193 * 1024 + at];
    let fields: Vec<usize> = (0..1024).filter(differs).collect();
    assert!(fields.iter().all(|at| [0x5A, 0x3A].contains(at) || *at >= 0x3FC), "{fields:x?}");
    good(&case.script(&[], "stat /\n"));
}

#[test]
fn each_command_can_be_a_change_of_its_own() {
    let case = Case::new(&["-t", "ext4"]);
    let script = "mkdir a\nmkdir nosuch/x\nmkdir b\n";
    failed(&case.script(&["-w", "--each"], script), &["mkdir: nosuch/.: "]);
    assert_eq!(case.dirs("ab"), "a");
    let script = "mkdir b\nmkdir nosuch/x\nmkdir c\nmkdir a\nmkdir d\n";
    failed(&case.script(&["-w", "--each", "--keep-going"], script), &["mkdir: nosuch/.: ", "mkdir: a: "]);
    assert_eq!(case.dirs("abcd"), "abcd");
    assert!(case.is_sound());
}

#[test]
fn keep_going_tells_every_failure_and_writes_nothing() {
    let case = Case::new(&["-t", "ext4"]);
    let script = "mkdir a\nmkdir nosuch/x\nmkdir a/b\nmkdir a\nrmdir nosuch\n";
    let wanted = ["mkdir: nosuch/.: ", "mkdir: a: ", "rmdir: nosuch: "];
    failed(&case.script(&["-w", "--keep-going"], script), &wanted);
    // Nor what a part of the script wants written.
    let script = "mkdir a\nmkdir nosuch/x\nbegin\nmkdir b\ncommit\nmkdir c\n";
    failed(&case.script(&["-w", "--keep-going"], script), &["nosuch", "commit: a command of this change failed"]);
    let script = "mkdir nosuch/x\nmkdir a\nclose\n";
    failed(&case.script(&["-w", "--keep-going"], script), &["nosuch", "close: a command of this change failed"]);
    assert!(case.is_untouched());
}

#[test]
fn begin_commit_and_abort_stand_around_changes() {
    let case = Case::new(&["-t", "ext4"]);
    // What was committed stays, whatever fails later.
    let script = "begin\nmkdir a\nmkdir b\ncommit\nbegin\nmkdir c\nabort\nmkdir d\nmkdir nosuch/x\n";
    failed(&case.script(&["-w"], script), &["mkdir: nosuch/.: "]);
    assert_eq!(case.dirs("abcd"), "ab");
    good(&case.script(&["-w"], "mkdir c\nbegin\nrmdir a\nabort\nmkdir d\n"));
    assert_eq!(case.dirs("abcd"), "abcd");
    // With --each, a change counts as one command.
    let script = "mkdir e\nbegin\nmkdir f\nmkdir nosuch/x\nmkdir g\ncommit\nbegin\nmkdir h\ncommit\nmkdir i\n";
    let wanted = ["nosuch", "commit: a command of this change failed; nothing of it is written"];
    failed(&case.script(&["-w", "--each", "--keep-going"], script), &wanted);
    assert_eq!(case.dirs("efghi"), "ehi");
    let before = std::fs::read(&case.image).unwrap();
    let open = "a change was begun and not committed; nothing of it is written";
    failed(&case.script(&["-w"], "begin\nmkdir j\n"), &[open]);
    failed(&case.script(&["-w"], "mkdir k\nbegin\nmkdir j\nquit\n"), &[open]);
    failed(&case.script(&["-w"], "begin\nmkdir j\nclose\n"), &["close: a change was begun; commit or abort it first"]);
    failed(&case.script(&["-w"], "begin\nbegin\n"), &["begin: a change was begun already"]);
    failed(&case.script(&["-w"], "mkdir j\ncommit\n"), &["commit: no change was begun"]);
    failed(&case.script(&["-w"], "mkdir j\nabort\n"), &["abort: no change was begun"]);
    assert!(std::fs::read(&case.image).unwrap() == before);
    assert!(case.is_sound());
}

#[test]
fn commit_says_how_in_json() {
    let case = Case::new(&["-t", "ext4", "-b", "1024"]);
    let output = case.script(&["-w", "--json"], "begin\nmkdir a\ncommit\nbegin\ncommit\n");
    good(&output);
    let lines: Vec<String> = stdout(&output).lines().filter(|l| l.contains("\"commit\"")).map(String::from).collect();
    let [first, second] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(first.contains("\"how\":\"journal\"") && second.contains("\"how\":\"nothing\""), "{lines:?}");
    let case = Case::new(&["-t", "ext2"]);
    let output = case.script(&["-w", "--json"], "begin\nmkdir a\ncommit\n");
    assert!(
        stdout(&output).contains("{\"command\":\"commit\",\"result\":{\"how\":\"in-place\"}}"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn images_are_opened_and_closed_on_the_way() {
    let case = Case::new(&["-t", "ext4"]);
    let other = case.scratch.image("other", "16M", &["-t", "ext2"]);
    let other_text = other.to_str().unwrap();
    let script = format!("mkdir a\nclose\nls -d\nopen {other_text}\nmkdir b\n");
    failed(&case.script(&["-w"], &script), &["ls: no image is open"]);
    // What was closed was written.
    assert_eq!(case.dirs("a"), "a");
    failed(&tool(&[], format!("open {other_text}\nmkdir b\n").as_bytes()), &["reading only"]);
    good(&tool(&[], format!("open -w {other_text}\nmkdir b\nclose -a\nopen -w {}\nmkdir c\n", case.text()).as_bytes()));
    assert!(ours(&other, "ls -p").contains("/b/"));
    assert_eq!(case.dirs("ac"), "ac");
    assert!(case.is_sound());
    assert_eq!(run("e2fsck", &["-fn", other_text]).lines().count(), 6);
    // Without an image there is little to do, and that is no failure.
    good(&tool(&[], b"params\nhelp\n"));
    failed(&tool(&[], b"open -i x\n"), &["open: -i: "]);
}

#[test]
fn copies_of_the_superblock_are_written_when_asked_for() {
    let scratch = Scratch::new();
    for args in [&["-t", "ext4", "-b", "1024"][..], &["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"]] {
        let image = scratch.image("image", "40M", args);
        let text = image.to_str().unwrap();
        good(&tool(&["-w", text], b"mkdir a\nclose -a\n"));
        let head = |options: &[&str]| {
            let text = run("dumpe2fs", &[&["-h"], options, &[text]].concat());
            text.lines().filter(|l| l.starts_with("Free ") || l.starts_with("Filesystem state")).collect::<String>()
        };
        let (primary, copy) = (head(&[]), head(&["-o", "superblock=8193", "-o", "blocksize=1024"]));
        // A copy is never said to be clean.
        assert_eq!(primary.replace(" clean", " not clean"), copy, "{args:?}");
        assert!(copy.contains("Free blocks"), "{copy}");
        let bytes = std::fs::read(&image).unwrap();
        let block = |nr: usize| &bytes[nr * 1024..][..1024];
        assert!(block(2) == block(8194), "{args:?}");
        assert_clean(Path::new(text), "after edits");
    }
}

/// A script that waits for more; gone once its first commands have been run.
fn waiting(case: &Case, options: &[&str], first: &str) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dax-debugfs"))
        .args(options)
        .arg(&case.image)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.as_mut().unwrap();
    stdin.write_all(format!("{first}\npwd\n").as_bytes()).unwrap();
    // It has come so far when it answers.
    let mut answer = Vec::new();
    let out = child.stdout.as_mut().unwrap();
    while !answer.ends_with(b"root is \"/\"\n") && !answer.ends_with(b"/\n") {
        let mut byte = [0];
        out.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    child
}

/// What becomes of it after a signal, while more of the script may come.
fn signalled(mut child: Child, name: &str) -> Output {
    let more = child.stdin.take();
    run("kill", &[&format!("-{name}"), &child.id().to_string()]);
    let output = child.wait_with_output().unwrap();
    drop(more);
    output
}

#[test]
fn a_signal_before_the_end_leaves_the_image_as_it_was() {
    let case = Case::new(&["-t", "ext4"]);
    for name in ["INT", "TERM", "HUP"] {
        let child = waiting(&case, &["-w"], "mkdir a");
        failed(&signalled(child, name), &["interrupted; what was not written yet is left out"]);
        assert!(case.is_untouched(), "{name}");
    }
    // Nor does one that nobody can catch.
    let mut child = waiting(&case, &["-w"], "mkdir a");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(case.is_untouched());
    // What was committed before is whole.
    let child = waiting(&case, &["-w", "--each"], "mkdir a");
    failed(&signalled(child, "INT"), &["interrupted"]);
    assert_eq!(case.dirs("a"), "a");
    assert!(case.is_sound());
}

#[test]
fn a_script_that_ends_early_writes_what_its_commands_came_to() {
    let case = Case::new(&["-t", "ext4"]);
    // Somebody who reads one line and goes: the edits are not less wanted for that.
    let long = "ls -l /\nls -l /sub\n".repeat(2000);
    let script = case.scratch.path("script");
    std::fs::write(&script, format!("mkdir a\n{long}mkdir b\n")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_dax-debugfs"))
        .args(["-w", "-f", script.to_str().unwrap(), case.text()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut byte = [0];
    child.stdout.take().unwrap().read_exact(&mut byte).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(case.dirs("ab"), "ab");
    // A line without end is not a command.
    let mut endless = b"mkdir c\n".to_vec();
    endless.extend(vec![b'x'; (1 << 20) + 1]);
    failed(&tool(&["-w", case.text()], &endless), &["a command of more than 1048576 bytes"]);
    assert_eq!(case.dirs("abc"), "ab");
    assert!(fails(&["-w", "-f", "/nosuch/script", case.text()]).contains("cannot open /nosuch/script"));
}

/// What `--dry-run` prints of places, without the values.
fn places(output: &Output) -> Vec<String> {
    let text = stdout(output);
    let name = |line: &str| line.split([',', ' ']).next().unwrap_or_default().trim_end_matches(':').to_owned();
    text.lines().filter(|l| l.contains(" -> ")).map(name).collect()
}

#[test]
fn a_dry_run_names_what_it_would_change_and_changes_nothing() {
    for args in [&["-t", "ext4", "-b", "1024"][..], &["-t", "ext4", "-b", "4096"], &["-t", "ext2", "-b", "1024"]] {
        let case = Case::new(args);
        let script = "mkdir a\nchattr +x hello\nrm sub/data\n";
        let output = case.script(&["-w", "--dry-run"], script);
        good(&output);
        assert!(case.is_untouched());
        let nr =
            |file: &str| ours(&case.image, &format!("stat {file}")).split_ascii_whitespace().nth(1).unwrap().to_owned();
        let (hello, data) = (nr("hello"), nr("sub/data"));
        let found = places(&output);
        for wanted in [
            "super.s_free_blocks_count_lo".to_owned(),
            "group.0.bg_used_dirs_count_lo".to_owned(),
            "inode:2.i_links_count".to_owned(),
            format!("inode:{hello}.i_flags"),
            format!("inode:{data}.i_links_count"),
            format!("inode:{data}.i_dtime"),
        ] {
            assert!(found.contains(&wanted), "{args:?}: {wanted} in {found:?}");
        }
        assert!(found.iter().any(|p| p.starts_with("group.0/block_bitmap+")), "{found:?}");
        assert!(found.iter().any(|p| p.starts_with("dir:2/block:0+")), "{found:?}");
        let change = format!("inode:{hello}.i_flags: ");
        let text = stdout(&output);
        let line = text.lines().find(|l| l.starts_with(&change)).unwrap();
        let (old, new) = line.trim_start_matches(&change).split_once(" -> ").unwrap();
        assert!(!old.contains("DAX") && new.contains("DAX"), "{line}");
        // Every place can be gone to (but what is in a directory that is not there yet), and has the value it is said to have.
        let old_places = found.iter().filter(|p| !p.starts_with("dir:22/"));
        let commands: Vec<String> = old_places.map(|p| format!("locate {p}")).collect();
        let located = case.script(&["--keep-going"], &commands.join("\n"));
        good(&located);
        assert!(stdout(&located).contains(&format!("field i_flags = {old}")), "{line}");
        // Done in earnest, just these bytes change (and the journal).
        let count: usize = text.lines().last().unwrap().split(' ').next().unwrap().parse().unwrap();
        good(&case.script(&["-w"], script));
        let after = std::fs::read(&case.image).unwrap();
        let differ = case.before.iter().zip(&after).filter(|(b, a)| b != a).count();
        if args.contains(&"ext2") {
            // Both runs were at another second, perhaps.
            assert!(differ.abs_diff(count) < 64, "{differ} {count}");
        } else {
            assert!(differ >= count - 64, "{differ} {count}");
        }
        assert!(case.is_sound());
    }
}

#[test]
fn a_dry_run_follows_the_rules_of_a_run() {
    let case = Case::new(&["-t", "ext4"]);
    let output = case.script(&["-w", "--dry-run"], "mkdir a\nmkdir nosuch/x\n");
    failed(&output, &["nosuch"]);
    assert!(places(&output).is_empty());
    let output = case.script(&["-w", "--dry-run", "--each"], "mkdir a\nmkdir nosuch/x\n");
    failed(&output, &["nosuch"]);
    assert!(places(&output).contains(&"inode:2.i_links_count".to_owned()));
    let output = case.script(&["-w", "--dry-run"], "begin\nmkdir a\nabort\nbegin\ncommit\n");
    good(&output);
    assert_eq!(stdout(&output).lines().last(), Some("0 bytes would change"));
    let output = case.script(&["-w", "--dry-run"], "mkdir a\nclose\n");
    good(&output);
    assert!(places(&output).contains(&"inode:2.i_links_count".to_owned()));
    let output = case.script(&["-w", "--dry-run", "--json"], "mkdir a\n");
    good(&output);
    let line = stdout(&output).lines().last().unwrap().to_owned();
    for wanted in
        ["{\"command\":\"dry-run\",", "\"place\":\"inode:2.i_links_count\"", "\"left_out\":0", "\"old\":\"4\""]
    {
        assert!(line.contains(wanted), "{wanted}: {line}");
    }
    // An undo file is for what is changed.
    let undo = case.scratch.path("undo");
    good(&case.script(&["-w", "--dry-run", "-z", undo.to_str().unwrap()], "mkdir a\n"));
    assert!(!undo.exists() && case.is_untouched());
    // It needs no right to write.
    assert!(Path::new(case.text()).exists());
}
