//! The driver against a subject that knows a few operations.

use daxkit_scenario::ast::Turn;
use daxkit_scenario::ops::args::Target;
use daxkit_scenario::subject::{ConcurrentStep, SetUpError};
use daxkit_scenario::transcript::{Transcript, Verdict};
use daxkit_scenario::words::{Need, Rules};
use daxkit_scenario::{Case, Errno, Operation, Outcome, Record, RunOptions, Signal, Subject, TaskRef, Value};
use daxkit_scenario::{check, parse, run};

/// Creates nothing twice, keeps one word of memory, and writes down who did what.
#[derive(Default)]
struct Toy {
    xfs: bool,
    made: Vec<String>,
    memory: u64,
    log: Vec<String>,
    incidents: Vec<String>,
    steps: bool,
}

impl Subject for Toy {
    fn supports(&self, need: Need) -> bool {
        need != Need::Reflink
    }

    fn begin(&mut self, case: &Case<'_>) -> Result<(), SetUpError> {
        *self = Self { steps: self.steps, ..Self::default() };
        self.xfs = case.filesystems[0].rules == Rules::Xfs;
        if case.filesystems[0].block == 512 { Err(SetUpError("blocks are too small".to_owned())) } else { Ok(()) }
    }

    fn run(&mut self, task: TaskRef<'_>, operation: &Operation) -> Outcome {
        self.log.push(format!("{}{} {}", task.name, task.index, operation.name()));
        match operation {
            Operation::Creat { path, .. } if self.made.contains(&path.path) => Outcome::Failed(Errno::EEXIST),
            Operation::Creat { path, .. } => {
                self.made.push(path.path.clone());
                Outcome::ok()
            }
            Operation::Store { value, .. } => {
                self.memory = *value;
                Outcome::ok()
            }
            Operation::Load { .. } => Outcome::Done(Value::Number(self.memory)),
            Operation::Chattr { target: Target::Path(_), .. } if self.xfs => Outcome::Failed(Errno::EINVAL),
            Operation::Unlink { .. } => {
                self.incidents.push("P3: a folio among entries".to_owned());
                Outcome::ok()
            }
            Operation::Truncate { .. } => Outcome::Blocked,
            Operation::Rmdir { .. } => Outcome::Oops("read_folio is absent".to_owned()),
            Operation::Swapon { .. } => Outcome::Unsupported("no swapping".to_owned()),
            Operation::LoadBytes { .. } => Outcome::Signal(Signal::Sigbus),
            _ => Outcome::ok(),
        }
    }

    fn concurrent(&mut self, steps: &[ConcurrentStep<'_>], _: &[Turn]) -> Option<Vec<Outcome>> {
        // From behind, to tell it from the driver's own order.
        let mut outcomes: Vec<_> = steps.iter().rev().map(|step| self.run(step.task, step.operation)).collect();
        outcomes.reverse();
        self.steps.then_some(outcomes)
    }

    fn take_events(&mut self) -> Vec<Record> {
        self.log.drain(..).map(|line| Record::of("ran").with("what", &*line)).collect()
    }

    fn take_incidents(&mut self) -> Vec<String> {
        std::mem::take(&mut self.incidents)
    }
}

fn go_with(body: &str, options: RunOptions, steps: bool) -> Transcript {
    let text = format!(
        "scenario t\nfs a ext4|xfs mem=1M\ntask A\ntask B\nopen f /f O_RDWR\nA: open f /f O_RDWR\nA: mmap m f 0 4K shared\nB: open f /f O_RDWR\nB: mmap m f 0 4K shared\n{body}"
    );
    let file = parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
    check(&file, &text).unwrap_or_else(|errors| panic!("{errors}"));
    run(&file, &mut Toy { steps, ..Toy::default() }, options)
}

fn verdicts(body: &str) -> Vec<Verdict> {
    go_with(body, RunOptions::default(), false).cases.into_iter().map(|case| case.verdict).collect()
}

#[test]
fn what_comes_out_is_held_against_what_is_expected() {
    use Verdict::{Failed, Passed, Skipped};
    let skipped = |why: &str| Skipped(why.to_owned());
    let swap = "line 10: no swapping";
    for (body, ext4, xfs) in [
        ("creat /g\ncreat /g ! EEXIST", Passed, Passed),
        ("creat /g\ncreat /g", Failed(1), Failed(1)),
        ("chattr +x /f", Passed, Failed(1)),
        ("chattr +x /f\non xfs: ! EINVAL", Passed, Passed),
        ("chattr +x /f ! EINVAL\non xfs ..6.1: ! EBUSY\non ext4 6.12 defaults: ?", Passed, Passed),
        ("on ext4: chattr +x /f", Passed, Passed),
        ("on xfs: chattr +x /f", Passed, Failed(1)),
        ("A: store m u64 5\nB: load m u64 = 5", Passed, Passed),
        ("A: load m u64 -> r\nnever r = 0", Failed(1), Failed(1)),
        ("A: load m u64 -> r\nalways r = 0 and not (r = 1 or r ! SIGBUS)", Passed, Passed),
        ("A: load m u64 -> r\non xfs: always r = 1", Passed, Failed(1)),
        ("A: load_bytes m 4K -> r ! SIGBUS\nalways r ! SIGBUS", Passed, Passed),
        ("truncate /f 0 blocks", Passed, Passed),
        ("truncate /f 0", Failed(1), Failed(1)),
        ("rmdir /f ?", Failed(1), Failed(1)),
        ("rmdir /f ! oops", Passed, Passed),
        ("unlink /f", Failed(1), Failed(1)),
        ("unlink /f\nnever violated P3", Failed(1), Failed(1)),
        ("unlink /f\nalways violated P3", Passed, Passed),
        ("unlink /f\nA: load m u64 -> r\nnever r = 7", Failed(1), Failed(1)),
        ("swapon /f ! EINVAL", skipped(swap), skipped(swap)),
        ("needs reflink", skipped("needs reflink"), skipped("needs reflink")),
        ("never event ran{what=nothing}", Passed, Passed),
        ("never event ran{what has open}", Failed(1), Failed(1)),
        ("repeat 3\ncreat /g ?\nend\ncreat /g ! EEXIST", Passed, Passed),
        ("fork C\nC: close f\nC: sync", Passed, Passed),
    ] {
        assert_eq!(verdicts(body), [ext4, xfs], "{body}");
    }
}

#[test]
fn a_case_that_cannot_begin_is_broken() {
    let file = parse("scenario t\nfs a ext4 mem=1M block=512\nsync").expect("a scenario");
    let transcript = run(&file, &mut Toy::default(), RunOptions::default());
    assert_eq!(transcript.cases[0].verdict, Verdict::Broken("blocks are too small".to_owned()));
    assert!(!transcript.passed());
}

/// What was done in the first case behind the nine lines that every case begins with.
fn order(body: &str, steps: bool) -> Vec<String> {
    let transcript = go_with(body, RunOptions { trace: true, ..RunOptions::default() }, steps);
    let done = transcript.cases[0].entries.iter().filter(|entry| entry.line > 9);
    done.flat_map(|entry| entry.events.iter()).filter_map(|event| event.get("what")).map(ToString::to_string).collect()
}

#[test]
fn a_schedule_chooses_the_order() {
    let block = |schedule: &str| {
        let steps = "A: store m u64 1\nA: store m u64 2\nB: load m u64 -> r\nB: close f";
        order(&format!("concurrent\n{steps}\n{schedule}\nend"), false)
    };
    let (a, l, c) = ("\"A1 store\"", "\"B2 load\"", "\"B2 close\"");
    // The subject's own try at the block comes first in its log.
    assert_eq!(block("")[4..], [a, a, l, c]);
    assert_eq!(block("schedule B A B")[4..], [l, a, c, a]);
    assert_eq!(block("schedule A B*9")[4..], [a, l, c, a]);
    assert_eq!(block("schedule A.3 B"), [] as [&str; 0]);
    let outcomes = go_with("concurrent\nA: store m u64 1\nB: load m u64 = 0\nend", RunOptions::default(), true);
    assert!(outcomes.passed(), "the subject's order counts, and outcomes go to their steps:\n{outcomes}");
}

#[test]
fn a_transcript_reads_well_and_is_json() {
    let transcript = go_with("A: load m u64 -> r = 1\nsync", RunOptions { keep_going: true, trace: false }, false);
    let text = transcript.to_string();
    let first = text.split("== ").nth(1).expect("a case");
    let told = "t [a ext4 6.12 defaults]
   5 root: open f /f O_RDWR = done
   6 A: open f /f O_RDWR = done
   7 A: mmap m f 0 4K shared = done
   8 B: open f /f O_RDWR = done
   9 B: mmap m f 0 4K shared = done
  10 A: load m u64 -> r = 0
     ?? expected = 1
  11 root: sync = done
FAILED: 1 not as expected
";
    assert_eq!(first, told);
    let json: serde_json::Value = serde_json::from_str(&transcript.to_json().expect("JSON")).expect("JSON");
    let entry = &json["cases"][1]["entries"][5];
    assert_eq!(json["cases"][1]["case"], "a xfs 6.12 defaults");
    assert_eq!(json["cases"][1]["verdict"]["failed"], 1);
    assert_eq!((&entry["line"], &entry["task"], &entry["register"]), (&10.into(), &"A".into(), &"r".into()));
    assert_eq!((&entry["outcome"]["done"], &entry["expected"]), (&0.into(), &"= 1".into()));
}
