//! `dax-pmem run`: reads scenarios, runs their cases, prints what came out.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use daxkit_cli::message::Messages;
use daxkit_scenario::transcript::{Transcript, Verdict};
use daxkit_scenario::{File, RunOptions, check, parse};

use crate::args::{FAILED, Run, UNUSABLE};
use crate::subject::Emulation;

/// Runs what `wanted` names and gives the exit status. All files are read before the first is run.
///
/// # Errors
/// A file that cannot be read, or output that cannot be written.
pub(crate) fn run(wanted: &Run, messages: &Messages) -> anyhow::Result<u8> {
    let mut files = Vec::new();
    let mut unusable = false;
    for path in &wanted.scenarios {
        match read(path, messages)? {
            Some(file) => files.push((path, file)),
            None => unusable = true,
        }
    }
    if unusable {
        return Ok(UNUSABLE);
    }
    let mut failed = false;
    for (path, mut file) in files {
        if let Some(text) = &wanted.only {
            file.scenarios.retain(|scenario| scenario.title.contains(text));
        }
        let mut kernel = Emulation::new(wanted.trace);
        let options = RunOptions { keep_going: wanted.keep_going, trace: wanted.trace };
        let transcript = daxkit_scenario::run(&file, &mut kernel, options);
        failed |= !transcript.passed();
        print(path, &transcript, wanted)?;
    }
    Ok(if failed { FAILED } else { daxkit_cli::status::OK })
}

/// Parses and checks a file; `None` when it is wrong, which has been said.
fn read(path: &Path, messages: &Messages) -> anyhow::Result<Option<File>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let checked = parse(&text).and_then(|file| check(&file, &text).map(|()| file));
    Ok(match checked {
        Ok(file) => Some(file),
        Err(errors) => {
            for error in &errors.list {
                messages.error(format!("{}:{error}", path.display()));
            }
            None
        }
    })
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
