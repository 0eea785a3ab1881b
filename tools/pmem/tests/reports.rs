//! `explain`, `stat` and the command line, word for word.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

const TEXT: &str = r#"scenario "one file, mapped twice"
fs a ext4|xfs mem=64M options=dax=inode
task B
open f /f O_RDWR|O_CREAT
chattr +x f
close f
open f /f O_RDWR
fallocate f 0 4M
mmap m f 0 4M shared
store m u64 1
load m+2M u64 = 0
B: open g /f O_RDONLY
B: mmap n g 4K 8K private
B: load n u8 = 0
B: store n u8 1
pin p m 4K write
chattr -x f
open h /h O_RDWR|O_CREAT
write h "abc"

scenario "small faults"
fs a ext4 mem=64M options=dax=always
creat /f
open f /f O_RDWR
ftruncate f 1M
mmap m f 0 4M shared
repeat 2
store m u64 1
store m+4K u64 1
end
store m+8K u64 1
"#;

struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let scratch = Self { dir: tempfile::tempdir().expect("a directory") };
        std::fs::write(scratch.path("t.dax"), TEXT).expect("a file");
        scratch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the tool in the directory: status, output, complaints.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let dir: &Path = self.dir.path();
        let output =
            Command::new(env!("CARGO_BIN_EXE_dax-pmem")).current_dir(dir).args(args).output().expect("dax-pmem runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code().expect("a status"), text(output.stdout), text(output.stderr))
    }

    /// What the tool prints when all goes well.
    fn prints(&self, args: &[&str]) -> String {
        let (status, out, complaints) = self.run(args);
        assert_eq!((status, complaints.as_str()), (0, ""), "{out}");
        out
    }
}

#[test]
fn explain_tells_each_open_file() {
    let out = Scratch::new().prints(&["explain", "none", "t.dax", "--only", "twice", "--at", "ext4"]);
    let expected = "\
== one file, mapped twice [a ext4 6.12 dax=inode]
inode 11 of a: f, g
  size      4194304
  flag      0
  S_DAX     1: row 9, the DAX flag is set
            0 when it is read again: row 9, the DAX flag is clear
  a_ops     dax
  in use    open 2, mapped 2; leaves memory behind the last use
  pins      1
  i_pages   0..511 1 of order 9: mapped dirty pfn 0x200
  i_pages   512..1023 1 of order 9: zero
  mapped    B: n 0x700000001000+0x2000 from page 1, rw- private, dax
    0x0 1 pte: anon writable dirty
  mapped    root: m 0x700000000000+0x400000 from page 0, rw- shared, dax
    0x0 1 pmd: dax writable dirty pfn 0x200
    0x200000 1 pmd: zero
inode 12 of a: h
  size      3
  flag      0
  S_DAX     0: row 9, the DAX flag is clear
  a_ops     cache
  in use    open 1, mapped 0
  pins      0
  i_pages   0..0 1 of order 0: folio dirty
";
    assert_eq!(out, expected);
}

#[test]
fn explain_stops_behind_a_line() {
    let scratch = Scratch::new();
    let cases: Value = serde_json::from_str(&scratch.prints(&["explain", "none", "t.dax", "--at", "10", "--json"]))
        .expect("it is JSON");
    let summaries: Vec<_> = cases.as_array().expect("cases").iter().map(|case| case["case"].clone()).collect();
    assert_eq!(summaries, ["a ext4 6.12 dax=inode", "a xfs 6.12 dax=inode"]);
    let file = |at: usize| &cases[at]["files"][0];
    let page = json!({
        "kind": "mapped", "index": 0, "order": 9, "dirty": true, "towrite": false, "locked": false, "pfn": 512
    });
    let entry = json!({
        "kind": "pmd", "offset": 0, "target": "dax", "writable": true, "dirty": true, "pfn": 512
    });
    for (at, row) in [(0, 9), (1, 7)] {
        assert_eq!(cases[at]["files"].as_array().map(Vec::len), Some(1));
        assert_eq!(file(at)["pages"], json!([page]));
        assert_eq!(file(at)["mappings"][0]["entries"], json!([entry]));
        assert_eq!(file(at)["decided"], json!({ "s_dax": true, "row": row, "reason": "the DAX flag is set" }));
        assert_eq!(file(at)["now"], file(at)["decided"]);
    }
    // Before the file is opened again nothing is open.
    let out = scratch.prints(&["explain", "none", "t.dax", "--at", "6"]);
    assert_eq!(
        out,
        "== one file, mapped twice [a ext4 6.12 dax=inode]\nno file is open\n\
         == one file, mapped twice [a xfs 6.12 dax=inode]\nno file is open\n"
    );
}

#[test]
fn explain_puts_neighbours_on_one_line() {
    let out = Scratch::new().prints(&["explain", "none", "t.dax", "--at", "31"]);
    let expected = "\
== small faults [a ext4 6.12 dax=always]
inode 11 of a: f
  size      1048576
  flag      0
  S_DAX     1: row 8, mounted with dax=always
  a_ops     dax
  in use    open 1, mapped 1
  pins      0
  i_pages   0..2 3 of order 0: mapped dirty pfn 0x200
  mapped    root: m 0x700000000000+0x400000 from page 0, rw- shared, dax
    0x0 3 pte: dax writable dirty pfn 0x200
";
    assert_eq!(out, expected);
}

#[test]
fn stat_counts_faults_by_size_and_reason() {
    let scratch = Scratch::new();
    let out = scratch.prints(&["stat", "none", "t.dax", "--only", "small"]);
    let expected = "\
== small faults [a ext4 6.12 dax=always]
       3 faults
       0 mapped 2 MiB
       3 mapped 4 KiB
       0 read holes
       0 private copies
       0 write-protected
       0 page cache
       1 not 2 MiB: 2 MiB reach past the end of the file
   12288 bytes at most that the page cache need not hold
";
    assert_eq!(out, expected);
    let all: Value = serde_json::from_str(&scratch.prints(&["stat", "none", "t.dax", "--json"])).expect("it is JSON");
    let total = json!({
        "faults": 11, "pmd": 2, "pte": 5, "zero": 2, "cow": 2, "wp": 2, "page_cache": 0,
        "fallback": [
            { "reason": "outside_vma", "words": "2 MiB reach out of the mapping", "faults": 2 },
            { "reason": "end_of_file", "words": "2 MiB reach past the end of the file", "faults": 1 },
        ],
        "cache_saved": 2 << 20,
    });
    assert_eq!(all["total"], total);
    assert_eq!(all["cases"].as_array().map(Vec::len), Some(3));
}

#[test]
fn the_command_line_says_what_cannot_be() {
    let scratch = Scratch::new();
    let passed = scratch.prints(&["run", "none", "t.dax"]);
    assert_eq!(passed, "t.dax: 3 passed, 0 failed, 0 skipped\n");
    let image = |name: &str, why: &str| {
        for command in ["run", "explain", "stat"] {
            let (status, out, complaints) = scratch.run(&[command, name, "t.dax"]);
            assert_eq!((status, out.as_str()), (2, ""));
            assert_eq!(complaints, format!("dax-pmem: error: {name}: {why}\n"));
        }
    };
    image("nosuch.img", "no such file or directory");
    std::fs::write(scratch.path("zero.img"), vec![0; 1 << 20]).expect("a file");
    image("zero.img", "mount: EINVAL: super: not an ext2, ext3 or ext4 file system (no magic number)");
    std::fs::write(scratch.path("given.dax"), "scenario \"t\"\nfs a ext4 given\nsync\n").expect("a file");
    let (status, out, complaints) = scratch.run(&["run", "none", "given.dax"]);
    assert_eq!((status, complaints.as_str()), (1, ""));
    assert_eq!(
        out,
        "== t [a ext4 6.12 defaults]\nBROKEN: the scenario runs on a given image, and IMAGE is `none`\n\
         given.dax: 0 passed, 1 failed, 0 skipped\n"
    );
    let (status, out, complaints) = scratch.run(&["explain", "none", "t.dax", "--at", "0"]);
    assert_eq!((status, out.as_str(), complaints.as_str()), (2, "", "dax-pmem: error: no case is chosen\n"));
}
