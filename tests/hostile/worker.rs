//! The process that does the damage: it limits its own memory, announces what it tries, and reports panics.

use super::cases::{Batch, Case, Sound, cases};
use super::exercise::{everything, modes};
use super::images;
use daxkit_device::{BlockDevice, MemoryDevice};
use daxkit_volume::{OpenOptions, Volume};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tells the worker what to do, and where the images are.
pub(crate) const BATCH: &str = "DAXKIT_HOSTILE_BATCH";
pub(crate) const IMAGES: &str = "DAXKIT_HOSTILE_IMAGES";

/// Address space of the worker, program and stacks included.
const MEMORY: u64 = 320 << 20;

/// Says a line that the parent reads.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The name of the test, printed by the harness, ends without a newline.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn sound(dir: &Path) -> Vec<Sound> {
    images::names()
        .map(|name| {
            let bytes = std::fs::read(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
            let device = Arc::new(MemoryDevice::from_bytes(&bytes));
            let volume = Volume::open(device, &OpenOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
            Sound { name, bytes, volume }
        })
        .collect()
}

/// The damaged image.
fn damaged(sound: &Sound, device: &MemoryDevice, case: &Case) -> MemoryDevice {
    if let Some(len) = case.len {
        return MemoryDevice::from_bytes(&sound.bytes[..len]);
    }
    let device = device.snapshot();
    for (at, bytes) in &case.edits {
        let room = device.len().saturating_sub(*at).min(bytes.len() as u64) as usize;
        device.write_at(*at, &bytes[..room]).expect("inside the image");
    }
    device
}

/// Not a test by itself: without a batch there is nothing to do but to see that the images are sound.
#[test]
fn the_worker() {
    let dir = images::all();
    let batch = std::env::var(BATCH).ok();
    let Some(batch) = batch else {
        for image in sound(dir) {
            let device = Arc::new(MemoryDevice::from_bytes(&image.bytes));
            let names = everything(&device, &modes());
            assert!(names > 40, "{}: {names} names", image.name);
        }
        return;
    };
    let batch = Batch::ALL.into_iter().find(|b| b.name() == batch).expect("a batch of this name");
    let maximum = getrlimit(Resource::As).maximum;
    setrlimit(Resource::As, Rlimit { current: Some(MEMORY), maximum }).expect("a limit can be lowered");

    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().expect("a number"));
    let seed = number("DAXKIT_HOSTILE_SEED").unwrap_or(0x6461_786b_6974);
    let everything_asked = number("DAXKIT_HOSTILE_SHARE") == Some(1);
    let only = std::env::var("DAXKIT_HOSTILE_ONLY").ok();
    let images = sound(dir);
    let devices: Vec<MemoryDevice> = images.iter().map(|i| MemoryDevice::from_bytes(&i.bytes)).collect();
    let mut cases = cases(batch, &images, seed, everything_asked);
    if let Some(only) = &only {
        cases.retain(|c| c.what.contains(only.as_str()));
    }
    let ways = modes();
    let (mut failures, mut slowest) = (0, (Duration::ZERO, String::new()));
    say("");
    for (i, case) in cases.iter().enumerate() {
        let image = &images[case.image];
        let what = format!("image {}, seed {seed}: {}", image.name, shorten(&case.what));
        say(&format!("try {what}"));
        let begin = Instant::now();
        // Checksums stop most damage at once, so most of it is tried without; every way has its turn.
        let ways = if only.is_some() { &ways[..] } else { &ways[[0, 1, 0, 2, 0, 3][i % 6]..][..1] };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let device = Arc::new(damaged(image, &devices[case.image], case));
            everything(&device, ways);
            misbehave(batch);
        }));
        if let Err(panic) = outcome {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            say(&format!("fail {what}: {}", text.lines().next().unwrap_or_default()));
            failures += 1;
            if failures == 20 {
                break;
            }
        }
        if begin.elapsed() > slowest.0 {
            slowest = (begin.elapsed(), what);
        }
    }
    say(&format!(
        "done {} damaged images, seed {seed}, the slowest {:.0} ms ({})",
        cases.len(),
        slowest.0.as_secs_f64() * 1000.0,
        slowest.1
    ));
}

/// What the batches do that test the test.
fn misbehave(batch: Batch) {
    match batch {
        Batch::Panics => panic!("on purpose"),
        Batch::Grows => {
            let mut all: Vec<Vec<u8>> = Vec::new();
            while all.len() < 1 << 20 {
                all.push(vec![1; 1 << 20]);
            }
            assert!(all.is_empty(), "a terabyte fits");
        }
        Batch::Hangs => std::thread::park(),
        _ => {}
    }
}

fn shorten(what: &str) -> &str {
    what.char_indices().nth(300).map_or(what, |(end, _)| what.get(..end).unwrap_or(what))
}
