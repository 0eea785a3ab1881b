//! Adversarial images: cut short, zeroed, with flipped bits, with every field of every structure at its extremes, with cycles
//! and overlaps. Whatever is done to an image, opening it, walking it, reading everything and dumping it come to an end in
//! time, in little memory, and without panic.
//!
//! The damage is done in a second process, this program run anew: it limits its own address space, says what it is about to
//! try, and is ended when it says nothing for too long. So a hang, an abort and a stack overflow are told apart and named.
//!
//! `DAXKIT_HOSTILE_SEED` chooses other damage (the seed is printed), `DAXKIT_HOSTILE_SHARE=1` tries all of it instead of a
//! share, `DAXKIT_HOSTILE_ONLY=TEXT` only what has TEXT in its description, and `DAXKIT_HOSTILE_IMAGES=DIR` takes the sound
//! images from where a failure kept them.

#[allow(dead_code)]
#[path = "../images/tools.rs"]
mod tools;

mod cases;
mod cycles;
mod exercise;
mod images;
mod places;
mod worker;

use cases::Batch;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Longest time for one damaged image: what takes milliseconds may wait for a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// In so many pieces the time is waited for: when the whole machine was stopped, its clock leaps, and just one piece is lost.
const PIECES: u32 = 6;

/// What became of a batch.
struct Outcome {
    /// One line each: what was tried, and what happened.
    failures: Vec<String>,
    /// What was done, if it was done to its end.
    summary: String,
    /// What the process said of its panics.
    text: String,
}

/// Has all damage of a batch done in a process of its own.
fn run(batch: Batch, limit: Duration) -> Outcome {
    let images = images::all();
    let mut child = Command::new(std::env::current_exe().expect("a test knows where it is"))
        .args(["--exact", "worker::the_worker", "--nocapture", "--test-threads", "1"])
        .env(worker::BATCH, batch.name())
        .env(worker::IMAGES, images)
        // One heap, so that the limit of the address space is one of memory.
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program runs again");
    let (sender, lines) = channel();
    let out = BufReader::new(child.stdout.take().expect("a pipe"));
    let err = BufReader::new(child.stderr.take().expect("a pipe"));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let complaints = scope.spawn(move || err.lines().map_while(Result::ok).collect::<Vec<_>>());
        let (mut last, mut failures, mut summary) = (String::new(), Vec::new(), None);
        let mut quiet = 0;
        loop {
            match lines.recv_timeout(limit / PIECES) {
                Ok(line) => {
                    quiet = 0;
                    if let Some(what) = line.strip_prefix("try ") {
                        what.clone_into(&mut last);
                    } else if let Some(what) = line.strip_prefix("fail ") {
                        failures.push(what.to_owned());
                    } else if let Some(what) = line.strip_prefix("done ") {
                        summary = Some(what.to_owned());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if quiet + 1 < PIECES => quiet += 1,
                Err(RecvTimeoutError::Timeout) => {
                    child.kill().expect("our own child");
                    failures.push(format!("{last}: nothing happened for {} s", limit.as_secs()));
                    break;
                }
            }
        }
        let status = child.wait().expect("our own child");
        if summary.is_none() && failures.is_empty() {
            failures.push(format!("{last}: {status}"));
        }
        let text = complaints.join().expect("only lines").join("\n");
        Outcome { failures, summary: summary.unwrap_or_default(), text }
    })
}

/// Everything in a batch must be survived.
fn survives(batch: Batch) {
    let begin = Instant::now();
    let Outcome { failures, summary, text } = run(batch, LIMIT);
    tools::note(format!("{}: {summary}, in {:.1} s", batch.name(), begin.elapsed().as_secs_f64()));
    if !failures.is_empty() {
        let kept = images::keep();
        panic!(
            "{} {}:\n{}\n{text}\n{}={} tries the same images again",
            failures.len(),
            batch.name(),
            failures.join("\n"),
            worker::IMAGES,
            kept.display()
        );
    }
    let count = summary.split(' ').next().and_then(|n| n.parse::<usize>().ok()).unwrap_or_default();
    assert!(count >= batch.least(), "only {count} images were damaged: {summary}");
}

/// Who watches sees what there is to see.
#[test]
fn panics_and_hangs_and_unbounded_memory_are_noticed() {
    let told = |batch| run(batch, Duration::from_secs(10)).failures.join("\n");
    let panics = told(Batch::Panics);
    assert!(panics.contains("on purpose") && panics.contains("image old"), "{panics}");
    let grows = told(Batch::Grows);
    assert!(grows.contains("image old") && grows.contains("signal"), "{grows}");
    let hangs = told(Batch::Hangs);
    assert!(hangs.contains("image old") && hangs.contains("nothing happened"), "{hangs}");
}

#[test]
fn images_that_end_early() {
    survives(Batch::Truncated);
}

#[test]
fn blocks_of_zeroes() {
    survives(Batch::Zeroed);
}

#[test]
fn flipped_bits() {
    survives(Batch::Flipped);
}

#[test]
fn fields_at_their_extremes() {
    survives(Batch::Extremes);
}

#[test]
fn several_fields_at_their_extremes() {
    survives(Batch::Pairs);
}

#[test]
fn cycles_and_overlaps() {
    survives(Batch::Cycles);
}
