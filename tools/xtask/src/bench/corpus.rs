//! The row over small images that are broken in many ways: none may take longer than e2fsck needs, by more than the program takes to start.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::Bench;
use super::checks::check;
use super::measure::{Sample, Status, readers};
use super::report::{Bound, Row, Target, Times};
use super::rows::row_of;
use crate::process;

/// Runs of an image for each round that was asked for: they take milliseconds, in which noise counts.
const EACH: u32 = 3;

/// What was measured of one image.
struct Measured {
    name: String,
    size: u64,
    sound: bool,
    ours: f64,
    peer: f64,
}

/// The row; `None` where there is no corpus.
pub(super) fn row(bench: &Bench) -> Result<Option<Row>> {
    let Some(corpus) = env::var_os("DAXKIT_CORPUS").map(PathBuf::from) else {
        eprintln!("check-corpus: left out: DAXKIT_CORPUS names no directory of images (NAME.img.gz)");
        return Ok(None);
    };
    let images = images(&corpus)?;
    eprintln!("check-corpus: {} images", images.len());
    let scratch = bench.dir.join("corpus.img");
    let (mut all, mut totals) = (Vec::new(), vec![Vec::<Sample>::new(); 2]);
    for packed in &images {
        let name = packed.file_name().unwrap_or_default().to_string_lossy().replace(".img.gz", "");
        unpack(packed, &scratch).with_context(|| format!("cannot unpack {}", packed.display()))?;
        let mut sides = [check(&bench.fsck, "-n", &scratch), check(Path::new("e2fsck"), "-fn", &scratch)];
        let samples = readers(&mut sides, bench.runs * EACH, Status::Any).with_context(|| name.clone())?;
        add(&mut totals, &samples);
        let median = |side: usize| samples.get(side).and_then(|s| Times::of(s)).map_or(0.0, |times| times.median);
        let sound = check(Path::new("e2fsck"), "-fn", &scratch).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        all.push(Measured {
            name,
            size: fs::metadata(&scratch)?.len(),
            sound: sound.success(),
            ours: median(0),
            peer: median(1),
        });
    }
    fs::remove_file(&scratch).context("cannot remove the last image")?;
    let work = format!("check of {} small images, most of them broken; the sum of all", all.len());
    let mut row = row_of("check-corpus", work, "dax-fsck", Some("e2fsck"), &totals)?;
    judge(&mut row, &all)?;
    Ok(Some(row))
}

/// The packed images below a directory, sorted.
fn images(corpus: &Path) -> Result<Vec<PathBuf>> {
    let mut found = super::source::files(corpus).with_context(|| format!("cannot read {}", corpus.display()))?;
    found.retain(|path| path.extension() == Some(OsStr::new("gz")));
    if found.is_empty() {
        bail!("there is no image in {}", corpus.display());
    }
    Ok(found)
}

fn unpack(packed: &Path, target: &Path) -> Result<()> {
    let mut gzip = process::command("gzip");
    gzip.arg("-dc").arg(packed).stdout(File::create(target)?);
    let status = gzip.status().context("cannot run gzip")?;
    if !status.success() {
        bail!("gzip failed ({status})");
    }
    Ok(())
}

/// Adds the runs of one image to those of all, round by round.
fn add(totals: &mut [Vec<Sample>], samples: &[Vec<Sample>]) {
    for (total, samples) in totals.iter_mut().zip(samples) {
        if total.is_empty() {
            total.clone_from(samples);
            continue;
        }
        for (sum, sample) in total.iter_mut().zip(samples) {
            sum.seconds += sample.seconds;
            sum.peak_memory = sum.peak_memory.max(sample.peak_memory);
        }
    }
}

fn judge(row: &mut Row, all: &[Measured]) -> Result<()> {
    let smallest = all.iter().filter(|m| m.sound).min_by_key(|m| m.size).context("no image of the corpus is sound")?;
    let start = smallest.ours * 1e3;
    let late = |m: &Measured| (m.ours - m.peer) * 1e3;
    let worst = all.iter().max_by(|a, b| late(a).total_cmp(&late(b))).context("no image")?;
    let ratio = |m: &Measured| m.ours / m.peer.max(1e-6);
    let slowest = all.iter().max_by(|a, b| ratio(a).total_cmp(&ratio(b))).context("no image")?;
    let what = format!("longest after e2fsck ({}), within start-up time", worst.name);
    row.targets.push(Target::new(what, late(worst), Bound::AtMost, start, " ms"));
    row.notes.push(format!("start-up time: {start:.2} ms, that of the smallest sound image ({})", smallest.name));
    row.notes.push(format!(
        "worst ratio: {:.2} of e2fsck's time ({}: {:.2} ms, e2fsck {:.2} ms)",
        ratio(slowest),
        slowest.name,
        slowest.ours * 1e3,
        slowest.peer * 1e3
    ));
    let slower = all.iter().filter(|m| late(m) > 0.0).count();
    row.notes.push(format!("slower than e2fsck: {slower} of {} images", all.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_image_is_named() {
        let sample = |seconds| vec![Sample { seconds, peak_memory: 0, disk: 0 }];
        let mut row = row_of("check-corpus", String::new(), "a", Some("b"), &[sample(1.0), sample(2.0)]).expect("runs");
        let image = |name: &str, size, sound, ours, peer| Measured { name: name.to_owned(), size, sound, ours, peer };
        let all = [
            image("large", 9, true, 0.009, 0.020),
            image("small", 5, true, 0.003, 0.002),
            image("broken", 1, false, 0.010, 0.008),
        ];
        judge(&mut row, &all).expect("one is sound");
        assert_eq!(
            row.targets[0].to_string(),
            "longest after e2fsck (broken), within start-up time: 2.00 ms (at most 3.00 ms): met"
        );
        assert!(row.notes[1].contains("1.50 of e2fsck's time (small"), "{:?}", row.notes);
        assert_eq!(row.notes[2], "slower than e2fsck: 2 of 3 images");
    }
}
