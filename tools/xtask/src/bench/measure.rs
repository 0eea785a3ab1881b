//! One timed run, and many of them in turn.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use wait4::Wait4;

use crate::process;

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) seconds: f64,
    /// Peak resident memory in bytes. The kernel counts what the child inherited until it became its program, so this
    /// is never less than the peak of xtask itself, which therefore stays small.
    pub(super) peak_memory: u64,
    /// What the target occupies, in bytes.
    pub(super) disk: u64,
}

/// Writes the target it is given and returns the peak of memory, zero where it is not known.
type Work<'a> = Box<dyn Fn(&Path) -> Result<u64> + 'a>;

/// One side of a comparison.
pub(super) struct Side<'a> {
    pub(super) name: &'static str,
    pub(super) work: Work<'a>,
}

impl std::fmt::Debug for Side<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Side").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Side<'a> {
    /// A program, given as the command that would write the target it is told.
    pub(super) fn program(name: &'static str, command: impl Fn(&Path) -> Command + 'a) -> Self {
        Self { name, work: Box::new(move |target| run_child(&mut command(target))) }
    }

    /// A function of this program.
    pub(super) fn function(name: &'static str, work: impl Fn(&Path) -> Result<()> + 'a) -> Self {
        Self { name, work: Box::new(move |target| work(target).map(|()| 0)) }
    }
}

/// What a run finds at its target.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fresh<'a> {
    /// A hole of this many bytes.
    Hole(u64),
    /// A copy of a file, in the page cache.
    Copy(&'a Path),
}

impl Fresh<'_> {
    fn make(self, target: &Path) -> Result<()> {
        match self {
            Self::Hole(len) => Ok(File::create(target)?.set_len(len)?),
            Self::Copy(source) => {
                let mut cp = process::command("cp");
                process::run(cp.arg("--sparse=always").arg(source).arg(target))
            }
        }
    }
}

/// Runs every side `runs` times over a fresh target; who goes first moves on from round to round.
pub(super) fn alternate(sides: &[Side<'_>], runs: u32, target: &Path, fresh: Fresh<'_>) -> Result<Vec<Vec<Sample>>> {
    let mut samples = vec![Vec::new(); sides.len()];
    for round in 0..runs as usize {
        for turn in 0..sides.len() {
            let which = (round + turn) % sides.len();
            let (Some(side), Some(list)) = (sides.get(which), samples.get_mut(which)) else { continue };
            let sample = timed(side, target, fresh).with_context(|| format!("while measuring {}", side.name))?;
            eprintln!("  {:<10} {:>8.3} s", side.name, sample.seconds);
            list.push(sample);
        }
    }
    remove(target)?;
    Ok(samples)
}

/// What a reader's exit status may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Success,
    /// A judge that finds something says so.
    Any,
}

/// Runs programs that write nothing, so that there is neither a target nor anything to make durable: each `runs` times, and once before that
/// to warm up; who goes first moves on from round to round.
pub(super) fn readers(readers: &mut [Command], runs: u32, status: Status) -> Result<Vec<Vec<Sample>>> {
    let mut samples = vec![Vec::new(); readers.len()];
    for round in 0..=runs as usize {
        for turn in 0..readers.len() {
            let which = (round + turn) % readers.len();
            let (Some(reader), Some(list)) = (readers.get_mut(which), samples.get_mut(which)) else { continue };
            let start = Instant::now();
            let peak_memory = match status {
                Status::Success => run_child(reader)?,
                Status::Any => run_judge(reader)?,
            };
            if round > 0 {
                list.push(Sample { seconds: start.elapsed().as_secs_f64(), peak_memory, disk: 0 });
            }
        }
    }
    Ok(samples)
}

/// One run, from a fresh target to a durable one.
fn timed(side: &Side<'_>, target: &Path, fresh: Fresh<'_>) -> Result<Sample> {
    remove(target)?;
    fresh.make(target)?;
    // What others left unwritten must not be written on anybody's time.
    rustix::fs::sync();
    let start = Instant::now();
    let peak_memory = (side.work)(target)?;
    // Does nothing for a side that has done it itself.
    File::open(target)?.sync_all()?;
    if let Some(parent) = target.parent() {
        File::open(parent)?.sync_all()?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let disk = fs::metadata(target)?.blocks().saturating_mul(512);
    Ok(Sample { seconds, peak_memory, disk })
}

/// Runs to the end and returns the peak of resident memory in bytes.
fn run_child(command: &mut Command) -> Result<u64> {
    let line = process::shown(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let stderr = child.stderr.take();
    let used = child.wait4().with_context(|| format!("cannot wait for `{line}`"))?;
    if !used.status.success() {
        let said = stderr.map(std::io::read_to_string).transpose()?.unwrap_or_default();
        bail!("`{line}` failed ({}): {}", used.status, said.trim());
    }
    Ok(used.rusage.maxrss)
}

/// As [`run_child`], of a program that may have something to complain about.
fn run_judge(command: &mut Command) -> Result<u64> {
    let line = process::shown(command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().with_context(|| format!("cannot run `{line}`"))?;
    let used = child.wait4().with_context(|| format!("cannot wait for `{line}`"))?;
    if used.status.code().is_none() {
        bail!("`{line}` was killed");
    }
    Ok(used.rusage.maxrss)
}

fn remove(target: &Path) -> Result<()> {
    match fs::remove_file(target) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", target.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_take_turns_and_start_from_a_fresh_target() {
        let dir = std::env::temp_dir().join(format!("daxkit-bench-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory can be made");
        let target = dir.join("target");
        let order = std::cell::RefCell::new(String::new());
        let side = |name: &'static str| {
            let order = &order;
            Side::function(name, move |target| {
                assert_eq!(fs::read(target)?, [0; 5]);
                order.borrow_mut().push_str(name);
                Ok(fs::write(target, name)?)
            })
        };
        let samples = alternate(&[side("a"), side("b")], 3, &target, Fresh::Hole(5)).expect("both sides succeed");
        assert_eq!(*order.borrow(), "abbaab");
        assert_eq!(samples.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
        assert!(!target.exists());
        fs::remove_dir_all(&dir).expect("the directory is ours");
    }

    #[test]
    fn readers_may_complain_where_that_is_their_work() {
        let reader = |script| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let samples = readers(&mut [reader("exit 4"), reader("exit 0")], 3, Status::Any).expect("both end");
        assert_eq!(samples.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
        assert!(readers(&mut [reader("exit 4")], 1, Status::Success).is_err());
        assert!(readers(&mut [reader("kill -9 $$")], 1, Status::Any).is_err());
    }

    #[test]
    fn a_child_that_fails_is_quoted() {
        let error = run_child(Command::new("sh").args(["-c", "echo no space >&2; exit 1"])).expect_err("it fails");
        assert_eq!(error.to_string(), "`sh -c 'echo no space >&2; exit 1'` failed (exit status: 1): no space");
    }
}
