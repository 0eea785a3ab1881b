//! Random calls, round by round, each on a new file system.

use crate::call::Call;
use crate::generate::Generator;
use crate::pair::{Difference, Kind, Pair, running};
use crate::shrink::shrink;
use crate::trees;

/// Calls of a round.
const ROUND: usize = 1500;
/// As many different failures are told of at once.
const MOST_FAILURES: usize = 8;
/// Rounds of a run that may end otherwise when the same calls are made once more: the host takes pages out of its cache when it likes, and
/// what is cached is seen by `SEEK_HOLE`.
const MOST_FLEETING: usize = 2;

/// How a round ended that did not end well.
struct Failure {
    /// How many calls were made.
    made: usize,
    what: String,
    difference: Option<Box<Difference>>,
}

fn round(kind: Kind, calls: &[Call]) -> Result<(), Failure> {
    let mut pair = Pair::new(kind, running());
    for (n, call) in calls.iter().enumerate() {
        if let Err(difference) = pair.call(call) {
            return Err(Failure { made: n + 1, what: difference.to_string(), difference: Some(difference) });
        }
    }
    if let Err(difference) = trees::compare(&mut pair) {
        let what = format!("at the end: {difference}");
        return Err(Failure { made: calls.len(), what, difference: Some(difference) });
    }
    pair.end().map_err(|what| Failure { made: calls.len(), what, difference: None })
}

/// Two failures are of one kind when the same call got the same answers.
fn alike(a: &Failure, b: &Failure) -> bool {
    match (&a.difference, &b.difference) {
        (Some(a), Some(b)) => {
            std::mem::discriminant(&a.call.op) == std::mem::discriminant(&b.call.op)
                && std::mem::discriminant(&a.emulated) == std::mem::discriminant(&b.emulated)
                && std::mem::discriminant(&a.host) == std::mem::discriminant(&b.host)
        }
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn told(kind: Kind, seed: u64, calls: &[Call], failure: &Failure) -> String {
    let last = &calls[..failure.made];
    let few = shrink(last, |part| round(kind, part).is_err_and(|other| alike(&other, failure)));
    let end = round(kind, &few).err().map_or_else(|| failure.what.clone(), |failure| failure.what);
    let mut pair = Pair::new(kind, running());
    let few: Vec<String> = few
        .iter()
        .map(|call| {
            let (_, out) = pair.ask(call);
            format!("  {:?}: {:?} -> {out:?}", call.user, call.op)
        })
        .collect();
    format!("{kind:?}, seed {seed}: {end}\nafter these calls:\n{}\n", few.join("\n"))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn run(kind: Kind) {
    let seed = number("DAXKIT_SEED").unwrap_or(1);
    let all = if std::env::var_os("CI").is_some() { 90_000 } else { 12_000 };
    let operations = number("DAXKIT_KERNEL_OPERATIONS").unwrap_or(all);
    println!("seed {seed}, {operations} operations on {kind:?}");
    let mut failures: Vec<Failure> = Vec::new();
    let (mut words, mut fleeting) = (Vec::new(), 0);
    for seed in (seed..).take(operations.div_ceil(ROUND as u64) as usize) {
        let mut generator = Generator::new(kind, seed);
        let calls: Vec<Call> = (0..ROUND).map(|_| generator.call()).collect();
        let Err(failure) = round(kind, &calls) else { continue };
        if fleeting < MOST_FLEETING && round(kind, &calls).is_ok() {
            println!("{kind:?}, seed {seed}: not so when it was done again: {}", failure.what);
            fleeting += 1;
            continue;
        }
        if !failures.iter().any(|other| alike(other, &failure)) {
            words.push(told(kind, seed, &calls, &failure));
            failures.push(failure);
        }
        if failures.len() >= MOST_FAILURES {
            break;
        }
    }
    assert!(words.is_empty(), "{}", words.join("\n"));
}

#[test]
fn ext4_answers_as_the_kernel_does() {
    run(Kind::Ext4);
}

#[test]
fn memory_by_xfs_rules_answers_as_xfs_does() {
    run(Kind::Xfs);
}
