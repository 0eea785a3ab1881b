//! `dax-pmem run`: runs the cases of scenarios and prints what came out.

use std::io::Write as _;
use std::path::Path;

use daxkit_cli::message::Messages;
use daxkit_scenario::RunOptions;
use daxkit_scenario::transcript::{Transcript, Verdict};

use crate::args::{FAILED, Run, UNUSABLE};
use crate::scenarios;
use crate::subject::Emulation;

/// Runs what `wanted` names and gives the exit status.
///
/// # Errors
/// An image or a file that cannot be read, or output that cannot be written.
pub(crate) fn run(wanted: &Run, messages: &Messages) -> anyhow::Result<u8> {
    let ground = wanted.what.ground()?;
    let Some(files) = scenarios::read_all(&wanted.what, messages)? else { return Ok(UNUSABLE) };
    let mut failed = false;
    for (path, file) in files {
        let mut kernel = Emulation::new(ground.clone(), wanted.trace);
        let options = RunOptions { keep_going: wanted.keep_going, trace: wanted.trace };
        let transcript = daxkit_scenario::run(&file, &mut kernel, options);
        failed |= !transcript.passed();
        print(path, &transcript, wanted)?;
    }
    Ok(if failed { FAILED } else { daxkit_cli::status::OK })
}

fn print(path: &Path, transcript: &Transcript, wanted: &Run) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if wanted.json {
        writeln!(out, "{}", transcript.to_json()?)?;
        return Ok(());
    }
    let [mut passed, mut skipped, mut failed] = [0_usize; 3];
    for case in &transcript.cases {
        match &case.verdict {
            Verdict::Passed => passed += 1,
            Verdict::Skipped(_) => skipped += 1,
            Verdict::Failed(_) | Verdict::Broken(_) => failed += 1,
        }
        match &case.verdict {
            Verdict::Passed if !wanted.verbose && !wanted.trace => {}
            Verdict::Skipped(why) if !wanted.verbose => {
                writeln!(out, "== {} [{}]\nskipped: {why}", case.scenario, case.case)?;
            }
            _ => write!(out, "{case}")?,
        }
    }
    writeln!(out, "{}: {passed} passed, {failed} failed, {skipped} skipped", path.display())?;
    Ok(())
}
