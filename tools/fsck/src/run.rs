//! One run: open, check or repair, write, say.

use anyhow::{Context, Result, bail};
use daxkit_check::{Code, DaxRules, Finding, Improved, Opening, Options, Repaired, Severity, Usage, check, repair};
use daxkit_cli::interrupt;
use daxkit_cli::message::Messages;
use daxkit_device::rollback::honour;
use daxkit_device::{BlockDevice, FileDevice, FileOptions, Overlay};
use daxkit_volume::{OpenOptions, Volume};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::args::Args;
use crate::ask::{self, Rest};
use crate::extended::{self, Extended};
use crate::policy::{Paths, Policy, inode_of};
use crate::report::{Document, Found, Improvements, Second, Used, VERSION};
use crate::{dax_report, discard, fragments, opinion, output, progress, status, undo};

/// What findings are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Check,
    Safe,
    All,
    Ask,
}

/// What a run came to.
struct Outcome {
    fixed: Vec<Finding>,
    left: Vec<Finding>,
    usage: Usage,
    size: Option<(u64, u64)>,
    rounds: usize,
    improved: Improved,
}

/// Runs.
pub(crate) fn run(args: &Args, now: u64, messages: &Messages) -> Result<u8> {
    let image = args.image.as_deref().context("no image")?;
    let policy = Policy::read(args)?;
    let extended = extended::read(args)?;
    if let Some(file) = &args.apply_undo {
        return undo::apply(file, image, args.offset);
    }
    let mode = match (args.check, args.preen, args.yes) {
        (true, ..) => Mode::Check,
        (_, true, _) => Mode::Safe,
        (.., true) => Mode::All,
        _ => Mode::Ask,
    };
    if let Some(file) = &args.undo {
        if mode == Mode::Check {
            bail!(status::Usage("-z: a check has nothing to undo".to_owned()));
        }
        if extended.discard {
            bail!(status::Usage("-z: what -E discard gives back cannot be kept".to_owned()));
        }
        undo::check_new(file)?;
    }
    if mode == Mode::Ask {
        ask::check_terminal()?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    interrupt::watch(move |_| flag.store(true, Ordering::Relaxed)).context("signals")?;
    let begin = Instant::now();
    let device = open(args, image, mode != Mode::Check, messages)?;
    let mut options = options(args, now, &stop, image)?;
    options.wishes = extended.wishes.clone();
    if extended.fragcheck
        && !args.json
        && let Some(volume) = volume(&device)
    {
        fragments::print(&volume);
    }
    let outcome = match mode {
        Mode::Check if extended.wishes.unshare => unshared(&device, &options),
        Mode::Check => checked(&device, &options),
        _ => mended(args, &device, &options, &policy, mode, &extended, messages)?,
    };
    if stop.load(Ordering::Relaxed) {
        messages.error("stopped by a signal; nothing was written");
        return Ok(status::CANCELLED);
    }
    let status = say(args, image, &device, &policy, &outcome)?;
    if extended.discard && mode != Mode::Check {
        give_back(image, &device, status, messages)?;
    }
    if args.timing > 0 {
        messages.note(format_args!("{:.3} s", begin.elapsed().as_secs_f64()));
    }
    Ok(status)
}

fn open(args: &Args, image: &Path, write: bool, messages: &Messages) -> Result<Arc<dyn BlockDevice>> {
    let how = if write { FileOptions::read_write() } else { FileOptions::read_only() };
    let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open(image, how.offset(args.offset))?);
    if !write && let Some(how) = daxkit_device::in_use(image) {
        messages.warning(format_args!("{}: {how}; what is found may be half changed", image.display()));
    }
    let (device, rolled_back) = honour(image, args.offset, device).with_context(|| image.display().to_string())?;
    if rolled_back {
        let how = if write { "was" } else { "is, in memory," };
        messages.note(format_args!("{}: a change that was cut short {how} rolled back", image.display()));
    }
    Ok(device)
}

fn options(args: &Args, now: u64, stop: &Arc<AtomicBool>, image: &Path) -> Result<Options> {
    let journal = match &args.journal {
        None => None,
        Some(path) => {
            let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open(path, FileOptions::read_only())?);
            Some(device)
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut options = Options::new(now);
    options.threads = if args.threads == 0 { processors } else { args.threads };
    options.uuid = daxkit_cli::chance::random().context("random numbers")?;
    options.opening = Opening { super_block: args.super_block, block_size: args.block_size, journal };
    options.dax = DaxRules {
        always: args.dax_report,
        data_offset: args.data_offset.unwrap_or(args.offset),
        page_size: u32::try_from(args.page_size).unwrap_or(u32::MAX),
    };
    options.stop = Arc::clone(stop);
    options.progress = progress::of(args.progress, args.json, &image.display().to_string()).context("-C")?;
    Ok(options)
}

fn checked(device: &Arc<dyn BlockDevice>, options: &Options) -> Outcome {
    let report = check(Arc::clone(device), options);
    Outcome {
        fixed: Vec::new(),
        left: report.findings,
        usage: report.usage,
        size: report.size,
        rounds: 0,
        improved: Improved::default(),
    }
}

/// What would be left if files that share blocks were given their own. Nothing is written.
fn unshared(device: &Arc<dyn BlockDevice>, options: &Options) -> Outcome {
    let mut options = options.clone();
    // What is asked is whether there is space.
    (options.wishes.directories, options.wishes.narrow_trees) = (daxkit_check::Directories::None, false);
    let mut decide = |finding: &Finding| matches!(finding.code, Code::BlocksShared | Code::SuperShared);
    let Repaired { left, usage, size, .. } = repair(Arc::clone(device), &options, &mut decide);
    Outcome { fixed: Vec::new(), left, usage, size, rounds: 0, improved: Improved::default() }
}

/// Gives back to the host what nothing uses, when nothing is wrong.
fn give_back(image: &Path, device: &Arc<dyn BlockDevice>, status: u8, messages: &Messages) -> Result<()> {
    if status & !status::CORRECTED != 0 {
        messages.warning("-E discard: errors are left, nothing is given back");
        return Ok(());
    }
    let volume =
        Volume::open(Arc::clone(device), &OpenOptions::default()).with_context(|| image.display().to_string())?;
    let bytes = discard::unused(&volume, &**device).context("-E discard")?;
    messages.note(format_args!("{bytes} bytes that nothing uses were given back"));
    Ok(())
}

fn mended(
    args: &Args,
    device: &Arc<dyn BlockDevice>,
    options: &Options,
    policy: &Policy,
    mode: Mode,
    extended: &Extended,
    messages: &Messages,
) -> Result<Outcome> {
    let mut rest = Rest::Ask;
    let mut decide = |finding: &Finding| {
        let dax = finding.code.id().starts_with("DAX");
        if dax && policy.severity(finding) == Severity::Advice {
            return false;
        }
        if extended.journal_only && !matches!(finding.code, Code::JournalPending | Code::JournalCorrupt) {
            return false;
        }
        if extended.wishes.unshare && finding.code == Code::SuperShared {
            return true;
        }
        match mode {
            Mode::Check => false,
            Mode::Safe => finding.code.is_safe(),
            Mode::All => true,
            Mode::Ask => ask::ask(finding, &mut rest),
        }
    };
    let repaired: Repaired = repair(Arc::clone(device), options, &mut decide);
    if !options.stop.load(Ordering::Relaxed) {
        undo::write(&repaired, device, args.undo.as_deref(), args.offset)?;
        if let Some(path) = args.undo.as_deref().filter(|_| !repaired.edits().is_unchanged()) {
            messages.note(format_args!("--apply-undo {} takes it back", path.display()));
        }
    }
    Ok(Outcome {
        fixed: repaired.fixed,
        left: repaired.left,
        usage: repaired.usage,
        size: repaired.size,
        rounds: repaired.rounds,
        improved: repaired.improved,
    })
}

/// The volume as it lies now, as far as it can be opened, with its journal replayed in memory.
fn volume(device: &Arc<dyn BlockDevice>) -> Option<Volume> {
    let device: Arc<dyn BlockDevice> = Arc::new(Overlay::new(Arc::clone(device)));
    let options =
        |replay: bool| OpenOptions { ignore_checksums: true, catastrophic: !replay, replay, ..OpenOptions::default() };
    Volume::open(Arc::clone(&device), &options(true)).or_else(|_| Volume::open(device, &options(false))).ok()
}

/// Prints what came out; the exit status.
fn say(args: &Args, image: &Path, device: &Arc<dyn BlockDevice>, policy: &Policy, outcome: &Outcome) -> Result<u8> {
    let volume = if policy.wants_paths() || args.dax_report || args.json { volume(device) } else { None };
    let paths = volume.as_ref().map(Paths::of).and_then(Result::ok).unwrap_or_default();
    let left: Vec<(&Finding, Severity)> = outcome
        .left
        .iter()
        .filter(|finding| !policy.is_quiet(finding, &paths))
        .map(|finding| (finding, policy.severity(finding)))
        .collect();
    let errors = left.iter().any(|(_, severity)| *severity != Severity::Advice);
    let fatal = left.iter().any(|(_, severity)| *severity == Severity::Fatal) || outcome.size.is_none();
    let mut status = status::CLEAN;
    // What was only made quicker was not wrong.
    let mended = outcome.fixed.iter().any(|finding| finding.code != Code::ExtentTree);
    status |= if mended { status::CORRECTED } else { 0 };
    status |= if errors { status::LEFT } else { 0 };
    status |= if fatal { status::OPERATIONAL } else { 0 };
    let verdict = match (errors, !mended) {
        (true, _) => "errors",
        (false, false) => "mended",
        (false, true) => "clean",
    };
    let second = if args.second_opinion { Some(opinion::ask(image, args.offset)?) } else { None };
    let reported = volume.as_ref().filter(|_| args.dax_report);
    let data_offset = args.data_offset.unwrap_or(args.offset);
    let rows = reported.map(|volume| dax_report::rows(volume, data_offset));
    let free_space = reported.map(|volume| dax_report::FreeSpace::of(volume, data_offset));
    let name = image.display().to_string();
    if args.json {
        let path = |finding: &Finding| {
            inode_of(finding).and_then(|ino| paths.get(ino)).map(|p| String::from_utf8_lossy(p).into_owned())
        };
        let found = outcome.fixed.iter().map(|f| Found::new(f, policy.severity(f), true, path(f)));
        let found = found.chain(left.iter().map(|(f, severity)| Found::new(f, *severity, false, path(f)))).collect();
        let usage = &outcome.usage;
        daxkit_cli::json::print(&Document {
            version: VERSION,
            image: name,
            verdict,
            exit_status: status,
            findings: found,
            used: outcome.size.map(|(inodes, blocks)| Used {
                inodes: [usage.inodes, inodes],
                blocks: [usage.blocks, blocks],
                files: usage.files,
                directories: usage.dirs,
                links: usage.links,
                special: usage.special,
                fragmented: usage.fragmented,
                dax: usage.dax,
            }),
            rounds: outcome.rounds,
            improved: Improvements::of(&outcome.improved),
            second_opinion: second.as_ref().map(|second| Second::of(second, !errors)),
            dax: rows,
            free_space,
        })?;
        return Ok(status);
    }
    for finding in &outcome.fixed {
        output::line(finding, policy.severity(finding), true);
    }
    for (finding, severity) in &left {
        output::line(finding, *severity, false);
    }
    if let Some(rows) = &rows {
        dax_report::print(rows);
    }
    if let Some(free_space) = &free_space {
        free_space.print();
    }
    output::improved(&name, &outcome.improved, args.verbose);
    if args.verbose {
        output::verbose(&outcome.usage);
    }
    output::summary(&name, verdict, &outcome.usage, outcome.size);
    if let Some(second) = second {
        let word = if second.is_clean() { "clean" } else { "errors" };
        let agree = if second.is_clean() != errors { "agrees" } else { "differs" };
        anstream::println!("{name}: e2fsck {agree}: {word}");
        if second.is_clean() == errors {
            second.problems.iter().for_each(|line| anstream::println!("  e2fsck: {line}"));
        }
    }
    Ok(status)
}
