//! The same edits through debugfs and through the tool, on copies of one image: the same tree, the same facts, clean images.

mod common;

use common::judge::assert_clean;
use common::{ours, run, spawn, theirs, tool};
use std::path::{Path, PathBuf};

/// Images that differ in how they store things.
const KINDS: &[&str] = &[
    "-t ext4",
    "-t ext4 -b 1024",
    "-t ext4 -O ^metadata_csum,^64bit",
    "-t ext3 -b 1024",
    "-t ext2",
    "-t ext4 -O inline_data",
];

fn image(dir: &Path, name: &str, args: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::File::create(&path).and_then(|f| f.set_len(48 << 20)).unwrap();
    let mut words = vec!["-q", "-F", "-U", "5eed5eed-1234-4321-abcd-123456789abc"];
    words.extend(["-E", "hash_seed=5eed5eed-1234-4321-abcd-123456789abc"]);
    words.extend(args.split_whitespace());
    words.push(path.to_str().unwrap());
    run("mke2fs", &words);
    path
}

/// Runs a script through debugfs; it exits with 0 whatever happens, so what it says counts.
fn by_debugfs(image: &Path, script: &str) -> String {
    let output = spawn("debugfs", &["-w", "-f", "-", image.to_str().unwrap()], script.as_bytes());
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn by_ours(image: &Path, script: &str) -> String {
    let output = tool(&["-w", "-f", "-", image.to_str().unwrap()], script.as_bytes());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn edits_that_allocate_come_to_the_same_tree() {
    for args in KINDS {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (image(dir.path(), "a", args), image(dir.path(), "b", args));
        let host = dir.path().join("host");
        std::fs::write(&host, vec![b'x'; 300_000]).unwrap();
        let small = dir.path().join("small");
        std::fs::write(&small, b"a few bytes").unwrap();
        let (host, small) = (host.to_str().unwrap(), small.to_str().unwrap());
        let mut script = String::from("set_current_time 20260102030405\nmkdir d\n");
        for i in 0..60 {
            script += &format!("write {small} file-with-a-name-that-fills-directories-{i:03}\n");
        }
        script += &format!(
            "write {host} large\nsymlink short target\nsymlink long {}\nmknod null c 1 3\nmknod disk b 7 70\nmknod pipe p\n",
            "t".repeat(120)
        );
        script += "cd d\nmkdir e\nmkdir gone\nrmdir gone\n";
        script += &format!("write {small} again\nrm again\ncd /\n");
        script += "ea_set large user.one value\nea_set large user.two 0123456789\nea_rm large user.one\nea_set d user.dir yes\n";
        script += "link large other\nset_inode_field large links_count 2\n";
        script += "expand_dir d\n";
        if args.contains("ext4") {
            script += "fallocate large 100 150\n";
        }
        // debugfs punches nothing behind the first indirect block of a range that begins before it.
        script += if args.contains("ext4") { "punch large 10 20\n" } else { "punch large 3 9\npunch large 20 30\n" };
        by_debugfs(&a, &script);
        by_ours(&b, &script);
        assert_clean(&a, &format!("{args}: debugfs"));
        assert_clean(&b, &format!("{args}: ours"));
        let output = tool(&["-R", &format!("diff {}", b.display()), a.to_str().unwrap()], b"");
        let differences = String::from_utf8(output.stdout).unwrap();
        // debugfs gives the mode of links and the times of directories otherwise than Linux does.
        let kept: Vec<&str> = differences
            .lines()
            .filter(|l| !l.contains(" mtime: ") && !l.starts_with("super.") && !l.contains(" i_mode: 0120"))
            .collect();
        assert_eq!(kept, [""; 0], "{args}");
        assert_eq!(theirs(&a, "cat large"), theirs(&b, "cat large"), "{args}");
        // What debugfs kills keeps its count of links, which its own checker minds.
        by_ours(&b, &format!("write {small} killed\nkill_file killed\nunlink killed\n"));
        assert_clean(&b, &format!("{args}: killed"));
    }
}

#[test]
fn extent_mode_moves_and_changes_like_debugfs() {
    let dir = tempfile::tempdir().unwrap();
    let a = image(dir.path(), "a", "-t ext4");
    let host = dir.path().join("host");
    std::fs::write(&host, vec![b'x'; 400 * 4096]).unwrap();
    let mut script = format!("write {} a\n", host.display());
    for i in (1..60).step_by(2) {
        script += &format!("punch a {i} {i}\n");
    }
    by_debugfs(&a, &script);
    let b = dir.path().join("b");
    std::fs::copy(&a, &b).unwrap();
    let script = "extent_open a\nroot\ninfo\ndown\ninfo\nnext_sib\ngoto 40\ninfo\nlast_leaf\ninfo\nprev\nprev_leaf\n\
        first_sib\nlast_sib\nprev_sib\nup\nnext\nnext\nroot\nnext_leaf\nnext_leaf\ngoto 60\n\
        insert_node --after 500 3 9000\ninfo\ndelete_node\nsplit_node\ninfo\nprint_all\nroot\nnext_sib\ndown\nfix_parents\n\
        print_all\nextent_close\n";
    let entries = |text: &str| -> Vec<String> {
        let keep = |l: &&str| l.starts_with("extent:") || l.starts_with("Current handle") || l.starts_with('\t');
        text.lines().filter(keep).map(|l| l.trim_end().to_owned()).collect()
    };
    // debugfs goes on after a move that leads nowhere.
    let output = tool(&["-w", "--each", "--keep-going", "-f", "-", b.to_str().unwrap()], script.as_bytes());
    let ours_said = String::from_utf8(output.stdout).unwrap();
    let (theirs, ours) = (entries(&by_debugfs(&a, script)), entries(&ours_said));
    // New nodes may lie elsewhere.
    let places = |lines: Vec<String>| -> Vec<String> {
        let leaf = |l: &str| l.contains("LEAF") || !l.starts_with("extent:");
        lines.into_iter().map(|l| if leaf(&l) { l } else { l.split(", pblk").next().unwrap().to_owned() }).collect()
    };
    assert_eq!(places(theirs), places(ours));
    assert_clean(&a, "debugfs");
    assert_clean(&b, "ours");
    assert_eq!(ours_tree(&a), ours_tree(&b));
}

fn ours_tree(image: &Path) -> String {
    ours(image, "cat a")
}

/// Whether this process has CAP_SYS_RESOURCE.
fn may_use_resources() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap() >> 24 & 1 == 1
}

#[test]
fn chattr_changes_what_chattr_would_and_refuses_what_the_kernel_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("mount");
    std::fs::create_dir(&mount).unwrap();
    for args in ["-t ext4", "-t ext4 -O inline_data -I 256"] {
        let base = image(dir.path(), "base", args);
        let host = dir.path().join("host");
        std::fs::write(&host, b"text").unwrap();
        by_debugfs(&base, &format!("write {} f\nmkdir d\nmkdir full\ncd full\nwrite {0} g\n", host.display()));
        for (mode, path) in [
            ("+x", "f"),
            ("+x", "d"),
            ("+j", "f"),
            ("+xj", "f"),
            ("+F", "d"),
            ("+F", "full"),
            ("+F", "f"),
            ("+i", "f"),
            ("+D", "f"),
            ("+T", "f"),
            ("+P", "f"),
            ("+aAdsSu", "f"),
            ("=A", "d"),
            ("+c", "f"),
            ("+m", "f"),
            ("+t", "f"),
            ("-e", "d"),
        ] {
            let (real, mine) = (dir.path().join("real"), dir.path().join("mine"));
            std::fs::copy(&base, &real).unwrap();
            std::fs::copy(&base, &mine).unwrap();
            run("mount", &["-o", "loop", real.to_str().unwrap(), mount.to_str().unwrap()]);
            let file = mount.join(path);
            let kernel = spawn("chattr", &[mode, file.to_str().unwrap()], b"");
            run("umount", &[mount.to_str().unwrap()]);
            let request = format!("chattr --as-kernel {mode} /{path}");
            let output = tool(&["-w", "-R", &request, mine.to_str().unwrap()], b"");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let refused = String::from_utf8_lossy(&kernel.stderr).into_owned();
            if mode.contains('j') && !may_use_resources() {
                // `--as-kernel` stands for root with all that belongs to it; here root lacks a part.
                println!("{args} {mode} {path}: root here lacks CAP_SYS_RESOURCE, and the kernel says: {refused}");
                assert!(refused.contains("not permitted"), "{refused}");
                continue;
            }
            assert_eq!(output.status.success(), kernel.status.success(), "{args} {mode} {path}: {said}; {refused}");
            let flags = |image: &Path| ours(image, &format!("lsattr -d /{path}"));
            assert_eq!(flags(&mine), flags(&real), "{args} {mode} {path}");
            if !kernel.status.success() {
                let errno = match refused.rsplit(": ").next().unwrap_or_default().lines().next().unwrap_or_default() {
                    text if text.contains("not supported") => "EOPNOTSUPP",
                    text if text.contains("not permitted") => "EPERM",
                    text if text.contains("not empty") => "ENOTEMPTY",
                    text if text.contains("Not a directory") => "ENOTDIR",
                    text if text.contains("Invalid") => "EINVAL",
                    text => panic!("{args} {mode} {path}: {text}"),
                };
                assert!(said.contains(errno), "{args} {mode} {path}: the kernel says {errno}, we say {said}");
                assert_eq!(std::fs::read(&mine).unwrap(), std::fs::read(&base).unwrap(), "{args} {mode} {path}");
            }
            assert_clean(&mine, &format!("{args} {mode} {path}"));
        }
    }
}

#[test]
fn trees_go_in_and_come_out_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::create_dir_all(source.join("deep/er")).unwrap();
    std::fs::write(source.join("deep/file"), vec![7; 100_000]).unwrap();
    std::fs::write(source.join("empty"), b"").unwrap();
    std::fs::hard_link(source.join("deep/file"), source.join("deep/er/again")).unwrap();
    std::os::unix::fs::symlink("deep/file", source.join("link")).unwrap();
    std::fs::write(source.join("a name with \"quotes\" and blanks"), b"x").unwrap();
    let sparse = std::fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(5 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"here", 3 << 20).unwrap();
    let source_name = source.to_str().unwrap();
    run("setfattr", &["-n", "user.note", "-v", "text", &format!("{source_name}/empty")]);
    run("setfacl", &["-m", "u:1234:r", &format!("{source_name}/empty")]);
    run("chown", &["100000:200000", &format!("{source_name}/deep")]);
    let a = image(dir.path(), "a", "-t ext4");
    by_ours(&a, &format!("put {source_name} /in\n"));
    assert_clean(&a, "put");
    // Out as an archive, and with GNU tar into a directory; and once more into an image.
    let archive = dir.path().join("out.tar");
    by_ours(&a, &format!("rdump --tar {} /in\n", archive.display()));
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let words =
        ["--xattrs", "--xattrs-include=*", "--acls", "-xpf", archive.to_str().unwrap(), "-C", out.to_str().unwrap()];
    run("tar", &words);
    run("diff", &["-r", "--no-dereference", source_name, out.join("in").to_str().unwrap()]);
    let facts = |root: &Path| -> String {
        let find = "find . -printf '%p %y %m %U %G %s %n %l %T@\\n' | sort; getfattr -dhR -m - . 2>/dev/null; getfacl -Rn . 2>/dev/null";
        let output = spawn("sh", &["-c", &format!("cd {} && {find}", root.display())], b"");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // The root of the copy was made by `put` with the attributes of nobody.
    let below = |text: String| text.lines().filter(|l| !l.starts_with(". ")).map(str::to_owned).collect::<Vec<_>>();
    let (want, got) = (below(facts(&source)), below(facts(&out.join("in"))));
    assert_eq!(want, got);
    let blocks = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(out.join("in/sparse")).unwrap());
    assert!(blocks < 1000, "a hole stays a hole: {blocks}");
    let b = image(dir.path(), "b", "-t ext4");
    by_ours(&b, &format!("put {} /\n", archive.display()));
    assert_clean(&b, "put of an archive");
    let output = tool(&["-R", &format!("diff {} /in", b.display()), a.to_str().unwrap()], b"");
    let text = String::from_utf8(output.stdout).unwrap();
    let kept: Vec<&str> = text.lines().filter(|l| !l.starts_with("super.") && !l.starts_with("/ ")).collect();
    assert_eq!(kept, [""; 0]);
}
