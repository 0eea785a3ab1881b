//! Rows of dax-fsck's memory: bytes for each inode in use, beside a bit for each block.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Bench;
use super::checks::{check, made};
use super::edits::{WHOLE, image};
use super::measure::{Status, readers};
use super::report::{Bound, Row, Target, mib};
use super::rows::row_of;
use crate::process;

/// Bytes of memory that an inode in use may cost.
const EACH: f64 = 96.0;

/// Files of the large image.
const MANY: u64 = 5_000_000;

/// Half a million files, and five million where those are wanted.
pub(super) fn rows(bench: &Bench, large: bool) -> Result<Vec<Row>> {
    let empty = made(bench, "empty-64M.img", |mkfs, target| {
        mkfs.args(["-q", "-F", "-b", "4096"]).arg(target).arg("64M");
    })?;
    let (_, base) = peak(bench, &empty)?;
    let mut rows = vec![row(bench, &image(bench, WHOLE)?, base)?];
    if large {
        rows.push(row(bench, &many(bench)?, base)?);
    }
    Ok(rows)
}

/// The samples of a check, and its peak of memory. Several runs, because threads share work as it happens.
fn peak(bench: &Bench, image: &Path) -> Result<(Vec<Vec<super::measure::Sample>>, u64)> {
    let mut sides = [check(&bench.fsck, "-n", image)];
    let samples = readers(&mut sides, bench.runs, Status::Success)?;
    let most = samples.iter().flatten().map(|sample| sample.peak_memory).max().unwrap_or(0);
    Ok((samples, most))
}

fn row(bench: &Bench, image: &Path, base: u64) -> Result<Row> {
    let used = used(bench, image)?;
    let work = format!("peak memory of a check, {} inodes in use, {} blocks", used.inodes, used.blocks);
    eprintln!("check-memory: {work}");
    let (samples, most) = peak(bench, image)?;
    let mut row = row_of("check-memory", work, "dax-fsck", None, &samples)?;
    let bits = used.blocks / 8;
    let each = most.saturating_sub(base).saturating_sub(bits) as f64 / used.inodes.max(1) as f64;
    row.targets.push(Target::new("for each inode in use", each, Bound::AtMost, EACH, " bytes"));
    row.notes.push(format!(
        "peak {:.1} MiB, of which {:.1} MiB as for an empty image of 64 MiB and {:.1} MiB for a bit for each block",
        mib(most),
        mib(base),
        mib(bits)
    ));
    Ok(row)
}

/// What an image holds.
struct Used {
    inodes: u64,
    blocks: u64,
}

/// Asks dax-fsck itself.
fn used(bench: &Bench, image: &Path) -> Result<Used> {
    let mut command = check(&bench.fsck, "-n", image);
    let said: serde_json::Value = serde_json::from_slice(&process::output(command.arg("--json"))?)?;
    let number = |field: &str, at: usize| said["used"][field][at].as_u64().context("dax-fsck --json says no numbers");
    Ok(Used { inodes: number("inodes", 0)?, blocks: number("blocks", 1)? })
}

/// An image of five million empty files, out of an archive that is nowhere as a whole.
fn many(bench: &Bench) -> Result<std::path::PathBuf> {
    let done = bench.dir.join("5M-files.img");
    if done.is_file() {
        return Ok(done);
    }
    eprintln!("  making {}", done.display());
    let half = done.with_extension("half");
    let mut mkfs: Command = process::command(&bench.mkfs);
    let inodes = (MANY + MANY / 10).to_string();
    mkfs.args(["-q", "-F", "-b", "4096", "-N", &inodes, "-d", "-"]).arg(&half).arg("16G").stdin(Stdio::piped());
    let mut child = mkfs.spawn().context("cannot run dax-mkfs")?;
    let written = child.stdin.take().context("it was piped").and_then(|stdin| archive(&mut BufWriter::new(stdin)));
    let status = child.wait()?;
    if !status.success() {
        bail!("dax-mkfs failed ({status})");
    }
    written?;
    fs::rename(&half, &done)?;
    Ok(done)
}

/// Writes the archive: empty files, 250 to a directory, which appear with the first of their files.
fn archive(to: &mut impl Write) -> Result<()> {
    for nr in 0..MANY {
        to.write_all(&header(&format!("{:05}/{}/file-{nr:07}", nr / 2500, nr / 250 % 10)))?;
    }
    to.write_all(&[0; 1024])?;
    Ok(to.flush()?)
}

/// The header of an empty file in a ustar archive.
fn header(name: &str) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &[u8]| {
        for (to, from) in header.iter_mut().skip(at).zip(text) {
            *to = *from;
        }
    };
    put(0, name.as_bytes());
    for (at, number) in
        [(100, "0000644"), (108, "0000000"), (116, "0000000"), (124, "00000000000"), (136, "14000000000")]
    {
        put(at, number.as_bytes());
    }
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    for (to, from) in header.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *to = from;
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_reads_the_header() {
        let mut bytes = header("a/file").to_vec();
        bytes.extend([0; 1024]);
        let dir = tempfile::tempdir().expect("a directory");
        let archive = dir.path().join("a.tar");
        fs::write(&archive, bytes).expect("written");
        let list = process::output(process::command("tar").arg("-tf").arg(&archive)).expect("tar takes it");
        assert_eq!(list, b"a/file\n");
    }
}
