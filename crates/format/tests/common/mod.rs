//! `debugfs -R dx_hash` as an oracle: many names per run, one answer each.
#![allow(dead_code, unreachable_pub, missing_debug_implementations)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `dx_hash ARGS -- NAME` for every name in one debugfs. `None`: debugfs refused the name.
///
/// Panics, naming it, when debugfs is missing: an oracle that is silently skipped proves nothing.
pub fn dx_hash(questions: &[(String, Vec<u8>)]) -> Vec<Option<(u32, u32)>> {
    let program =
        ["/usr/sbin/debugfs", "/sbin/debugfs"].into_iter().find(|p| Path::new(p).exists()).unwrap_or("debugfs");
    let mut script = Vec::new();
    for (args, name) in questions {
        assert!(!name.iter().any(|b| [0, b'\n', b'\r'].contains(b)), "debugfs cannot be given {name:?}");
        script.extend_from_slice(b"dx_hash ");
        script.extend_from_slice(args.as_bytes());
        script.extend_from_slice(b" -- \"");
        for &byte in name {
            // Inside quotes, two of them stand for one.
            script.extend(std::iter::repeat_n(byte, if byte == b'"' { 2 } else { 1 }));
        }
        script.extend_from_slice(b"\"\n");
    }
    let mut child = Command::new(program)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("oracle missing: cannot run debugfs (package e2fsprogs): {e}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let feeder = std::thread::spawn(move || stdin.write_all(&script));
    let output = child.wait_with_output().expect("debugfs runs to its end");
    feeder.join().expect("the feeder does not panic").expect("debugfs reads the script");

    // The echoed command starts each answer; what follows up to the next echo is the answer.
    let mut answers: Vec<Option<(u32, u32)>> = Vec::new();
    for line in output.stdout.split(|&b| b == b'\n') {
        if line.starts_with(b"debugfs: dx_hash ") {
            answers.push(None);
        } else if line.starts_with(b"Hash of ") {
            let text = String::from_utf8_lossy(line);
            let (_, tail) = text.rsplit_once(" is 0x").expect("debugfs's answer has a hash");
            let (hash, minor) = tail.split_once(" (minor 0x").expect("debugfs's answer has a minor hash");
            let hex = |s: &str| u32::from_str_radix(s, 16).expect("hexadecimal");
            *answers.last_mut().expect("an answer follows its question") =
                Some((hex(hash), hex(minor.trim_end_matches(')'))));
        }
    }
    assert_eq!(answers.len(), questions.len(), "debugfs answers every question");
    answers
}

/// A small generator (xorshift64*), so that every run tests the same names.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }
}
