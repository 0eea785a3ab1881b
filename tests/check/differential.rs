//! Images broken at random: we and e2fsck agree on what is clean and what is not, and e2fsck accepts what we repair.

use crate::bases;
use crate::mutate::{Chance, Mutation, Targets, mutate};
use crate::omissions::explanation;
use crate::shared::tools;
use crate::verdict::{ENDLESS, mended, ours, theirs, write};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// No image may take longer, all checkers counted.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Findings that a failure shows.
const MOST_LINES: usize = 16;

/// Mutated images when nothing else is said.
const ROUNDS: u64 = 400;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// What is wrong with one image; `Ok(Some)` names the row of the table that explains a difference.
fn compare(bytes: &[u8], file: &Path) -> Result<Option<&'static str>, String> {
    write(file, bytes);
    let report = ours(bytes);
    let (status, told) = theirs(file, "-fn");
    let clean = report.is_clean();
    let mut row = None;
    if status == ENDLESS {
        row = Some("it does not end");
    } else if clean != (status & 4 == 0) && status & 8 == 0 {
        if clean {
            return Err(format!("we find nothing, e2fsck says {status}:\n{told}"));
        }
        row = explanation(&report.findings);
        if row.is_none() {
            let found: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
            return Err(format!("e2fsck finds nothing, we find:\n{}", found.join("\n")));
        }
    }
    if clean {
        return Ok(row);
    }
    let (after, fixed, left) = mended(bytes);
    write(file, &after);
    let (status, told) = theirs(file, "-fn");
    if status != 0 || !left.is_empty() {
        // What e2fsck cannot repair either is no fault of the repair.
        write(file, bytes);
        theirs(file, "-fy");
        if theirs(file, "-fn").0 == 0 {
            let fixed: Vec<String> = fixed.iter().take(MOST_LINES).map(ToString::to_string).collect();
            let left: Vec<String> = left.iter().take(MOST_LINES).map(ToString::to_string).collect();
            return Err(format!(
                "after the repair e2fsck says {status}:\n{told}\nmended:\n{}\nleft:\n{}",
                fixed.join("\n"),
                left.join("\n")
            ));
        }
    }
    Ok(row)
}

/// Leaves out what a difference does not need.
fn minimised(base: &[u8], mutations: Vec<Mutation>, file: &Path) -> (Vec<Mutation>, String) {
    let bytes_of = |mutations: &[Mutation]| {
        let mut bytes = base.to_vec();
        for (at, edit) in mutations.iter().flat_map(|m| &m.edits) {
            let at = *at as usize;
            bytes[at..at + edit.len()].copy_from_slice(edit);
        }
        bytes
    };
    let mut kept = mutations;
    let mut why = compare(&bytes_of(&kept), file).err().unwrap_or_default();
    let mut index = 0;
    while kept.len() > 1 && index < kept.len() {
        let mut fewer = kept.clone();
        fewer.remove(index);
        match compare(&bytes_of(&fewer), file) {
            Err(still) => (kept, why) = (fewer, still),
            Ok(_) => index += 1,
        }
    }
    (kept, why)
}

#[test]
fn we_agree_with_e2fsck_on_images_broken_at_random() {
    let seed = number("DAXKIT_SEED", 1);
    let rounds = number("DAXKIT_MUTATIONS", if std::env::var_os("CI").is_some() { 20_000 } else { ROUNDS });
    let scratch = bases::scratch();
    let bases = bases::make(scratch.path());
    let targets: Vec<Targets> = bases.iter().map(|base| Targets::of(&base.bytes)).collect();
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let rows = Mutex::new(BTreeMap::new());
    let work = |thread: usize| {
        let file = scratch.path().join(format!("image-{thread}"));
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            if round >= rounds || failures.lock().expect("not poisoned").len() >= 10 {
                break;
            }
            let mut chance = Chance::new(seed.wrapping_mul(1_000_003).wrapping_add(round));
            let which = chance.below(bases.len() as u64) as usize;
            let (base, targets) = (&bases[which], &targets[which]);
            let mut bytes = base.bytes.clone();
            let mutations = mutate(&mut bytes, targets, &mut chance);
            let begin = Instant::now();
            let compared = compare(&bytes, &file);
            if begin.elapsed() > WATCHDOG {
                let text = format!("round {round}: {}: {:?}\n{mutations:?}", base.name, begin.elapsed());
                failures.lock().expect("not poisoned").push(text);
            }
            match compared {
                Ok(None) => {}
                Ok(Some(row)) => *rows.lock().expect("not poisoned").entry(row).or_insert(0) += 1,
                Err(_) => {
                    let (mutations, why) = minimised(&base.bytes, mutations, &file);
                    let mut bytes = base.bytes.clone();
                    for (at, edit) in mutations.iter().flat_map(|m| &m.edits) {
                        bytes[*at as usize..*at as usize + edit.len()].copy_from_slice(edit);
                    }
                    write(
                        &Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("disagreement-{seed}-{round}.img")),
                        &bytes,
                    );
                    let done: Vec<String> = mutations
                        .iter()
                        .map(|m| format!("  {}{} {:02x?}", m.place, if m.sealed { " sealed" } else { "" }, m.edits))
                        .collect();
                    let text = format!("round {round}: {}\n{}\n{why}", base.name, done.join("\n"));
                    failures.lock().expect("not poisoned").push(text);
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let work = &work;
            scope.spawn(move || work(thread));
        }
    });
    let rows = rows.into_inner().expect("not poisoned");
    tools::note(format!("{rounds} mutated images, seed {seed}; explained by what e2fsck does not notice: {rows:?}"));
    let failures = failures.into_inner().expect("not poisoned");
    assert!(failures.is_empty(), "seed {seed}\n{}", failures.join("\n\n"));
}
