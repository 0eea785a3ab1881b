//! The fuzz targets as plain tests: each over its seeds, taken from images that mke2fs and debugfs made, and over seeded
//! mutations of them. A panic, an input that takes a minute, or an allocation beyond four gigabytes fails the test; the
//! input is kept and named.

#[path = "fuzz/seeds.rs"]
mod seeds;
#[path = "fuzz/targets.rs"]
mod targets;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use seeds::{Seeds, Xorshift};

/// Longest time for one input.
const LIMIT: Duration = Duration::from_secs(60);

/// Address space of this process: what an allocation without bound runs into.
const MEMORY: u64 = 4 << 30;

/// Bytes that are mutated per target: small seeds get many mutations, whole images few.
const VOLUME: usize = 2 << 30;

/// Most mutations of one seed.
const MOST: usize = 2000;

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::As).maximum;
    setrlimit(Resource::As, Rlimit { current: Some(MEMORY), maximum }).expect("a limit can be lowered");
    let scratch = tempfile::tempdir().expect("a temporary directory");
    seeds::make(scratch.path())
});

/// Runs one target over everything it has.
fn survives(name: &'static str) {
    let list = SEEDS.get(name).unwrap_or_else(|| panic!("no seeds for {name}"));
    let total: usize = list.iter().map(Vec::len).sum();
    let rounds = (VOLUME / total.max(1)).clamp(1, MOST);
    let current = Arc::new(Mutex::new(Vec::new()));
    let count = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = mpsc::channel();
    let worker = {
        let (current, count) = (Arc::clone(&current), Arc::clone(&count));
        std::thread::spawn(move || {
            let mut rng = Xorshift::new(0x9e37_79b9);
            for round in 0..=rounds {
                for seed in list {
                    let mut input = seed.clone();
                    if round > 0 {
                        seeds::mutate(&mut input, &mut rng);
                    }
                    current.lock().expect("nobody panics with it").clone_from(&input);
                    targets::run(name, &input);
                    count.fetch_add(1, Ordering::Relaxed);
                    sender.send(()).expect("the test waits");
                }
            }
        })
    };
    let verdict = loop {
        match receiver.recv_timeout(LIMIT) {
            Ok(()) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break worker.join().map_err(|_| "panicked (above)"),
            Err(mpsc::RecvTimeoutError::Timeout) => break Err("did not end in a minute"),
        }
    };
    let runs = count.load(Ordering::Relaxed);
    if let Err(what) = verdict {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
        std::fs::write(&kept, &*current.lock().expect("nobody panics with it")).expect("the input can be kept");
        panic!("{name}: input {runs} {what}; it is kept as {}", kept.display());
    }
    println!("{name}: {runs} inputs from {} seeds", list.len());
}

macro_rules! targets {
    ($($name:ident)*) => {
        /// Every test below.
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                survives(stringify!($name));
            }
        )*
    };
}

targets! {
    acl casefold check_repair dax_rules dir_block dir_hash dump_image extent_node fast_commit fields group_desc htree_block indirect_map inode
    jbd2_commit jbd2_descriptor jbd2_revoke jbd2_super_block place pmd_windows recipe restore_image scenario super_block tails tar undo_file
    volume volume_unchecked xattr_block xattr_inode
}

#[test]
fn every_target_is_tested_and_known_to_cargo_fuzz() {
    let names: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, TESTED);
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("the fuzz crate is there");
    for name in names {
        let main = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs")))
            .unwrap_or_else(|error| panic!("cargo fuzz has no target {name}: {error}"));
        assert!(main.contains(&format!("targets::run(\"{name}\"")), "fuzz_targets/{name}.rs runs another target");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "fuzz/Cargo.toml lacks {name}");
    }
}

/// Not every mutation is refused at the first byte: the seeds themselves must be taken.
#[test]
fn the_seeds_are_real() {
    let of = |name: &str| SEEDS.get(name).unwrap_or_else(|| panic!("no seeds for {name}"));
    for (name, least) in [("extent_node", 20), ("dir_block", 10), ("htree_block", 3), ("inode", 100)] {
        assert!(of(name).len() >= least, "{name} has {} seeds", of(name).len());
    }
    for (name, least) in [
        ("xattr_block", 1),
        ("xattr_inode", 2),
        ("jbd2_descriptor", 8),
        ("jbd2_revoke", 4),
        ("undo_file", 1),
        ("scenario", 14),
        ("tar", 20),
    ] {
        assert!(of(name).len() >= least, "{name} has {} seeds", of(name).len());
    }
}

/// Writes the seeds for cargo fuzz, when told where.
#[test]
fn seeds_can_be_given_to_cargo_fuzz() {
    let Some(corpus) = std::env::var_os("DAXKIT_FUZZ_CORPUS") else { return };
    for (name, list) in &*SEEDS {
        let dir = Path::new(&corpus).join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        for (nr, seed) in list.iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{nr:03}")), seed).expect("written");
        }
    }
}
