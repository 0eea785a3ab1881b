//! How the tool is driven: options, scripts, failures, JSON.

mod common;

use common::{Scratch, ours, stderr, stdout, tool};

#[test]
fn every_failure_is_one_line_and_status_one() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "16M", &["-t", "ext4"]);
    let image = image.to_str().unwrap();
    let garbage = scratch.path("garbage");
    std::fs::write(&garbage, vec![0x5a; 100_000]).unwrap();
    let dir = scratch.path("tree");
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (vec!["-R", "nosuch", image], "nosuch: no such command"),
        (vec!["-R", "stat nosuch", image], "stat: nosuch: "),
        (vec!["-R", "stat <99999999>", image], "no such inode"),
        (vec!["-R", "stat <x>", image], "not an inode number"),
        (vec!["-R", "ls hello", image], "not a directory"),
        (vec!["-R", "cat fifo", image], "has no content"),
        (vec!["-R", "pmd sub", image], "not a regular file"),
        (vec!["-R", "ls -y", image], "no option -y; usage: ls"),
        (vec!["-R", "stat", image], "usage: stat"),
        (vec!["-R", "cat \"hello", image], "a quote does not end"),
        (vec!["-R", "rdump hello /nosuch/dir", image], "/nosuch/dir: No such file"),
        (vec!["-R", "pmd --data-offset x hello", image], "is not a size"),
        (vec!["-R", "ls", "/nosuch/image"], "/nosuch/image"),
        (vec!["-R", "ls", garbage.to_str().unwrap()], "not an ext2, ext3 or ext4 file system"),
        (vec!["-R", "ls", dir.to_str().unwrap()], "tree"),
        (vec!["-Q", image], "unexpected argument '-Q'"),
    ];
    for (args, wanted) in cases {
        let output = tool(&args, b"");
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {message}");
        assert!(message.starts_with("dax-debugfs: error: ") && message.contains(wanted), "{args:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{args:?}: {message}");
    }
}

#[test]
fn commands_come_from_options_pipes_and_files() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "16M", &["-t", "ext4"]);
    let image = image.to_str().unwrap();
    let twice = tool(&["-R", "cat hello", "-R", "cat \"two words\"", image], b"");
    assert_eq!((twice.status.code(), stdout(&twice)), (Some(0), "hello, world\nblank\n".to_owned()));
    let script = b"# a \"comment\n\ncd sub/deeper\npwd\ncat \"quote\"\"d\"\nquit\ncat nosuch\n";
    let piped = tool(&[image], script);
    assert_eq!(piped.status.code(), Some(0), "{}", stderr(&piped));
    let text = stdout(&piped);
    assert!(text.starts_with("[pwd]   INODE:") && text.contains("PATH: /sub/deeper\n[root]"), "{text}");
    assert!(text.ends_with("PATH: /\nquoted\n"), "{text}");
    let file = scratch.path("script");
    std::fs::write(&file, script).unwrap();
    let read = tool(&["-f", file.to_str().unwrap(), image], b"");
    assert_eq!((read.status.code(), stdout(&read)), (Some(0), stdout(&piped)));
    // The first failure ends a script, unless it may go on.
    let broken = b"cat nosuch\ncat hello\ncat neither\n";
    let stopped = tool(&[image], broken);
    assert_eq!((stopped.status.code(), stdout(&stopped)), (Some(1), String::new()));
    let going = tool(&["--keep-going", image], broken);
    assert_eq!((going.status.code(), stdout(&going)), (Some(1), "hello, world\n".to_owned()));
    assert_eq!(stderr(&going).lines().count(), 2);
}

/// What has to be done before the example of a command can be.
fn before(name: &str) -> &'static [&'static str] {
    match name {
        "open_filesys" => &["close"],
        "commit" | "abort" => &["begin"],
        "unlink" => &["link /file /name"],
        "undelete" => &["rm /file"],
        "rmdir" => &["mkdir /old"],
        "journal_close" | "journal_write" => &["journal_open"],
        "ea_rm" | "ea_get" => &["ea_set /file user.text hello", "ea_set hello user.text hello"],
        "current_node" | "root_node" | "first_sibling" | "last_sibling" | "next_sibling" | "prev_sibling"
        | "next_leaf" | "prev_leaf" | "next" | "prev" | "up" | "down" | "last_leaf" | "goto_block" | "info"
        | "print_all" | "fix_parents" | "extent_close" => &["extent_open sub/data"],
        _ => &[],
    }
}

#[test]
fn every_example_works() {
    let scratch = Scratch::new();
    // Enough names in the root for an index, and something of everything.
    for nr in 0..200 {
        std::fs::write(scratch.path(&format!("tree/one of many files {nr}")), "").unwrap();
    }
    std::fs::write(scratch.path("tree/file"), vec![7; 20_000]).unwrap();
    std::fs::write(scratch.path("tree/a"), "").unwrap();
    let image = scratch.image("image", "32M", &["-t", "ext4", "-b", "1024", "-O", "mmp,quota,project"]);
    common::spawn("e2fsck", &["-fyD", image.to_str().unwrap()], b"");
    let list = tool(&["--json", "-R", "help", image.to_str().unwrap()], b"");
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let commands = list["result"].as_array().unwrap();
    assert!(commands.len() >= 80);
    let other = scratch.path("other.img");
    std::fs::copy(&image, &other).unwrap();
    std::fs::write(scratch.path("blocks"), vec![7; 3072]).unwrap();
    ours(&image, &format!("dump_image --data {}", scratch.path("image.txt").display()));
    let number = |file: &str| {
        let text = ours(&image, &format!("stat {file}"));
        format!("<{}>", text.split_ascii_whitespace().nth(1).unwrap())
    };
    let examples = commands.iter().flat_map(|command| {
        let name = command["name"].as_str().unwrap();
        command["examples"].as_array().unwrap().iter().map(move |example| (name, example.as_str().unwrap()))
    });
    // A dry run makes no file system.
    for (name, example) in examples.filter(|(name, _)| *name != "init_filesys") {
        let example = example
            .replace(" /tmp", &format!(" {}", scratch.path("").display()))
            .replace(" other.img /etc", &format!(" {} /sub", other.display()))
            .replace(" disk.img", &format!(" {}", other.display()))
            .replace(" /etc/hostname", &format!(" {}", scratch.path("tree/hello").display()))
            .replace("<12>", &number("file"))
            .replace("<13>", &number("a"))
            .replace(" /etc ", &format!(" {} ", scratch.path("tree/sub").display()));
        let mut args = vec!["-w", "--dry-run"];
        args.extend(before(name).iter().flat_map(|line| ["-R", line]));
        args.extend(["-R", &example, image.to_str().unwrap()]);
        if name == "begin" {
            args.splice(args.len() - 1..args.len() - 1, ["-R", "abort"]);
        }
        let output = tool(&args, b"");
        assert_eq!(output.status.code(), Some(0), "{example}: {}", stderr(&output));
        let prints = !output.stdout.is_empty();
        args.insert(0, "--json");
        let output = tool(&args, b"");
        // What says something to people says it to programs.
        assert_eq!(!output.stdout.is_empty(), prints, "{example}: {}", stdout(&output));
        for line in stdout(&output).lines() {
            let document: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{example}: {line}: {e}"));
            assert!(document["command"].is_string(), "{example}: {line}");
        }
    }
    assert!(std::fs::read(&image).unwrap() == std::fs::read(&other).unwrap(), "a dry run has written");
    let help = ours(&image, "help");
    for command in commands {
        assert!(help.contains(&format!("  {} ", command["name"].as_str().unwrap())), "{help}");
    }
}

#[test]
fn json_has_the_names_of_the_field_table() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "32M", &["-t", "ext4"]);
    let output =
        tool(&["--json", "-R", "stat hello", "-R", "ls", "-R", "extents sparse", image.to_str().unwrap()], b"");
    let documents: Vec<serde_json::Value> = stdout(&output).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let [stat, ls, extents] = documents.as_slice() else { panic!("{documents:?}") };
    let stat = &stat["result"];
    assert_eq!(stat["i_mode"], 0o104_711);
    assert_eq!(stat["i_flags"], "EXTENTS");
    assert_eq!(stat["i_links_count"], 2);
    assert_eq!(stat["i_size"], 13);
    assert!(stat["xattrs"].as_array().unwrap().iter().any(|x| x["name"] == "user.bytes" && x["value"] == "00ff80"));
    for def in daxkit_format::field::Structure::Inode.fields() {
        assert!(stat.get(def.name).is_some(), "{} is missing", def.name);
    }
    assert!(ls["result"].as_array().unwrap().iter().any(|r| r["name"] == "two words" && r["file_type"] == 1));
    assert_eq!(extents["result"].as_array().unwrap().len(), 2);
}

#[test]
fn a_lost_superblock_is_found_elsewhere() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "32M", &["-t", "ext4", "-b", "1024"]);
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(&image).unwrap();
    file.write_all_at(&[0; 1024], 1024).unwrap();
    drop(file);
    let image = image.to_str().unwrap();
    assert_eq!(tool(&["-R", "cat hello", image], b"").status.code(), Some(1));
    let output = tool(&["-s", "8193", "-b", "1024", "-R", "cat hello", image], b"");
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), "hello, world\n".to_owned()), "{}", stderr(&output));
}

#[test]
fn an_image_may_lie_behind_something_else() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "16M", &["-t", "ext4"]);
    let whole = scratch.path("whole");
    let mut bytes = vec![0xee; 1 << 20];
    bytes.extend(std::fs::read(&image).unwrap());
    std::fs::write(&whole, bytes).unwrap();
    let output = tool(&["--offset", "1M", "-R", "cat hello", whole.to_str().unwrap()], b"");
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), "hello, world\n".to_owned()), "{}", stderr(&output));
    let inside = tool(&["--offset", "1M", "-R", "dump_image", whole.to_str().unwrap()], b"");
    assert_eq!(stdout(&inside), ours(&image, "dump_image"));
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "16M", &["-t", "ext4"]);
    let script = format!(
        "{} -R 'dump_image -d' {} | head -1; test ${{PIPESTATUS[0]}} = 0",
        env!("CARGO_BIN_EXE_dax-debugfs"),
        image.display()
    );
    let output = common::spawn("bash", &["-c", &script], b"");
    assert_eq!(
        (stdout(&output), stderr(&output), output.status.code()),
        ("daxkit-dump 2\n".to_owned(), String::new(), Some(0))
    );
}
