//! Archives that are cut off, damaged or no archives at all: one line, exit status 1, no image, nothing put aside is left.

mod common;

use common::{Bench, Run, assert_clean, oracle};
use std::fs::{self, File};
use std::io::Write;
use std::process::Stdio;

/// An archive with long names, attributes, a sparse file and a large one.
fn archive(bench: &Bench) -> Vec<u8> {
    let src = bench.path("src");
    fs::create_dir_all(src.join("dir".repeat(20)).join("n".repeat(200))).expect("mkdir");
    fs::write(src.join("small"), b"small").expect("write");
    fs::write(src.join("n".repeat(150)), b"a name of its own header").expect("write");
    let large: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(src.join("large"), large).expect("write");
    let sparse = File::create(src.join("sparse")).expect("create");
    sparse.set_len(10 << 20).expect("length");
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", 5 << 20).expect("write");
    std::os::unix::fs::symlink("t".repeat(180), src.join("link")).expect("symlink");
    let attribute = oracle("setfattr", &["-n", "user.a", "-v", "value", src.join("small").to_str().expect("UTF-8")]);
    assert_eq!(attribute.status, 0, "{}", attribute.stderr);
    let (src, tar) = (src.to_str().expect("UTF-8").to_owned(), bench.path("whole.tar"));
    let tar = tar.to_str().expect("UTF-8");
    let made = oracle(
        "tar",
        &["--format=posix", "--sparse", "--xattrs", "--sort=name", "-b", "1", "-C", &src, "-cf", tar, "."],
    );
    assert_eq!(made.status, 0, "{}", made.stderr);
    let bytes = fs::read(tar).expect("the archive");
    fs::remove_file(tar).expect("remove");
    fs::remove_dir_all(src).expect("remove");
    bytes
}

fn packed(bench: &Bench, program: &str, bytes: &[u8]) -> Vec<u8> {
    fs::write(bench.path("plain"), bytes).expect("write");
    let plain = bench.path("plain");
    let out = std::process::Command::new(program).arg("-c").arg(&plain).output();
    let out = out.unwrap_or_else(|e| panic!("the oracle {program} must be there: {e}"));
    assert!(out.status.success());
    fs::remove_file(plain).expect("remove");
    out.stdout
}

/// Runs the tool on an archive, as a file or as standard input. Whatever it is, only the image may be new.
fn run(bench: &Bench, bytes: &[u8], through_stdin: bool) -> Run {
    fs::write(bench.path("archive"), bytes).expect("write");
    let source = if through_stdin { "-" } else { "archive" };
    let mut command = bench.command(&["-q", "-d", source, "image"]);
    command.stdin(File::open(bench.path("archive")).expect("the archive"));
    let run = Run::of(command.output().expect("the tool runs"));
    assert_eq!(run.stdout, "");
    let errors: Vec<&str> = run.stderr.lines().filter(|l| !l.starts_with("dax-mkfs: warning: ")).collect();
    if run.status == 0 {
        assert!(errors.is_empty(), "{}", run.stderr);
        assert_eq!(bench.names(), ["archive", "image"]);
        assert_clean(&bench.path("image"));
        fs::remove_file(bench.path("image")).expect("remove");
    } else {
        assert_eq!((run.status, errors.len()), (1, 1), "{}", run.stderr);
        assert!(errors[0].starts_with("dax-mkfs: error: -d "), "{}", run.stderr);
        assert_eq!(bench.names(), ["archive"]);
    }
    run
}

#[test]
fn an_archive_that_is_cut_off_is_refused_wherever_it_ends() {
    let bench = Bench::new();
    let plain = archive(&bench);
    assert_eq!(run(&bench, &plain, false).stderr, "");
    let content = plain.len() - 1024;
    let mut cuts: Vec<usize> = (0..40).flat_map(|block| [block * 512, block * 512 + 1, block * 512 + 511]).collect();
    cuts.extend([content / 2, content - 513, content - 1]);
    let mut whole = 0;
    for cut in cuts {
        for through_stdin in [false, true] {
            let run = run(&bench, &plain[..cut], through_stdin);
            match run.status {
                // Cut off between two members it may as well be whole.
                0 => {
                    assert!(cut % 512 == 0 && run.stderr.contains("it may be cut off"), "{cut}: {}", run.stderr);
                    whole += 1;
                }
                _ => {
                    let told = ["cut off", "empty", "not a tar archive", "belongs to no member"];
                    assert!(told.iter().any(|t| run.stderr.contains(t)), "{cut}: {}", run.stderr);
                }
            }
        }
    }
    assert!(whole > 4, "{whole} cuts between members");
    // Without its zeroes, or with one block of them, it has no end.
    for cut in [content, content + 100] {
        assert!(run(&bench, &plain[..cut], false).stderr.contains("it may be cut off"), "{cut}");
    }
    assert_eq!(run(&bench, &plain[..content + 512], false).status, 0);
    for program in ["gzip", "zstd"] {
        let whole = packed(&bench, program, &plain);
        assert_eq!(run(&bench, &whole, true).stderr, "", "{program}");
        for cut in [1, 2, 3, 4, 10, 18, 100, whole.len() / 2, whole.len() - 9, whole.len() - 4, whole.len() - 1] {
            for through_stdin in [false, true] {
                let run = run(&bench, &whole[..cut], through_stdin);
                assert_eq!(run.status, 1, "{program} {cut}: {}", run.stderr);
            }
        }
    }
}

#[test]
fn what_is_damaged_is_refused_or_was_not_needed() {
    let bench = Bench::new();
    let plain = archive(&bench);
    let (gzip, zstd) = (packed(&bench, "gzip", &plain), packed(&bench, "zstd", &plain));
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut number = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % end as u64) as usize
    };
    let mut refused = [0; 3];
    for round in 0..240 {
        let (kind, whole) = [(0, &plain), (1, &gzip), (2, &zstd)][round % 3];
        let mut bytes = whole.clone();
        // Headers are where most can go wrong.
        let at = if kind == 0 { number(12) * 512 + number(512) } else { number(bytes.len()) };
        bytes[at] ^= 1 << number(8);
        refused[kind] += usize::from(run(&bench, &bytes, round % 2 == 0).status != 0);
    }
    assert!(refused[0] > 40 && refused[1] > 70 && refused[2] > 70, "{refused:?} of 80 each");
}

#[test]
fn what_is_no_archive_is_called_what_it_is() {
    let bench = Bench::new();
    let xz = {
        let out = std::process::Command::new("xz").args(["-c", "/etc/passwd"]).output();
        out.expect("the oracle xz must be there").stdout
    };
    let cases: [(&[u8], &str); 8] = [
        (b"", "empty"),
        (b"x", "not a tar archive"),
        (&[0x41; 5000], "not a tar archive"),
        (b"#!/bin/sh\necho\n", "not a tar archive"),
        (&xz, "xz -dc FILE |"),
        (b"BZh91AY&SY", "bzip2 -dc FILE |"),
        (&[0x1f, 0x8b, 8, 0], "gzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd, 0xff], "zstd"),
    ];
    for (bytes, word) in cases {
        for through_stdin in [false, true] {
            let run = run(&bench, bytes, through_stdin);
            assert_eq!(run.status, 1);
            assert!(run.stderr.contains(word), "'{word}' is not in: {}", run.stderr);
        }
    }
    // Zeroes are the end of an archive without members.
    assert_eq!(run(&bench, &[0; 10_240], false).status, 0);
}

#[test]
fn standard_input_is_read_once() {
    let bench = Bench::new();
    assert!(bench.refused(&["-d", "-", "-d", "-", "image"]).contains("once"));
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[test]
fn a_stream_that_does_not_end_can_be_interrupted() {
    let bench = Bench::new();
    let plain = archive(&bench);
    for signal in ["-INT", "-TERM"] {
        let mut command = bench.command(&["-d", "-", "image"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the tool runs");
        let mut stdin = child.stdin.take().expect("piped");
        // More than a pipe holds, so that it is certain to have begun.
        stdin.write_all(&plain[..plain.len() / 2]).expect("written");
        let killed = oracle("kill", &[signal, &child.id().to_string()]);
        assert_eq!(killed.status, 0, "{}", killed.stderr);
        let run = Run::of(child.wait_with_output().expect("it ends"));
        assert_eq!(run.status, 1, "{}", run.stderr);
        assert_eq!((run.stderr.lines().count(), run.stdout.as_str()), (1, ""), "{}", run.stderr);
        assert_eq!(bench.names(), Vec::<String>::new());
        drop(stdin);
    }
}

#[test]
fn a_host_without_room_for_what_is_put_aside_is_told() {
    let bench = Bench::new();
    let plain = archive(&bench);
    fs::write(bench.path("archive"), packed(&bench, "gzip", &plain)).expect("write");
    // The limit of the shell's file size stands in for a full disk; the signal that comes with it is ignored.
    let script = format!("trap '' XFSZ; ulimit -f 400; exec '{}' -d archive image", env!("CARGO_BIN_EXE_dax-mkfs"));
    let out = std::process::Command::new("bash").args(["-c", &script]).current_dir(bench.path("")).output();
    let run = Run::of(out.expect("bash"));
    assert_eq!((run.status, run.stderr.lines().count()), (1, 1), "{}", run.stderr);
    assert!(run.stderr.starts_with("dax-mkfs: error: -d archive: cannot write to a temporary file"), "{}", run.stderr);
    assert_eq!(bench.names(), ["archive"]);
}
