//! `cargo xtask fuzz`: coverage-guided fuzzing of one parser with the toolchain that is there.
//!
//! `cargo fuzz` does the same with a nightly toolchain and adds sanitizers; coverage alone needs neither. Seeds come from the
//! test `fuzz_seeds`. Finds are left under the target directory.

use std::fs;

use anyhow::{Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// What makes the compiler count branches and comparisons for libFuzzer.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Coverflow-checks=on -Cdebug-assertions=on";

/// Build scripts must not be instrumented; a target that is named keeps the flags from them.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to fuzz; without it, the targets are listed
    target: Option<String>,
    /// How long
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Runs one target.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(workspace.root.join("fuzz/fuzz_targets"))? {
        names.extend(entry?.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    let Some(name) = &args.target else {
        println!("{}", names.join("\n"));
        return Ok(());
    };
    if !names.contains(name) {
        bail!("there is no target {name}; `cargo xtask fuzz` lists them");
    }
    let work = workspace.target.join("fuzz");
    let (seeds, found) = (work.join("seeds"), work.join("corpus").join(name));
    fs::create_dir_all(&found)?;
    let mut cargo = workspace.cargo();
    cargo.env("DAXKIT_FUZZ_CORPUS", &seeds).args([
        "test",
        "--quiet",
        "--package",
        "daxkit-tests",
        "--test",
        "fuzz_seeds",
    ]);
    process::run(cargo.arg("seeds_can_be_given"))?;
    let mut cargo = workspace.cargo();
    cargo.current_dir(workspace.root.join("fuzz")).env("RUSTFLAGS", COVERAGE).env("CARGO_TARGET_DIR", &work);
    process::run(cargo.args(["build", "--quiet", "--release", "--target", PLATFORM, "--bin", name]))?;
    let mut fuzzer = process::command(work.join(PLATFORM).join("release").join(name));
    fuzzer.arg(format!("-max_total_time={}", args.seconds)).arg(format!("-artifact_prefix={}/", work.display()));
    fuzzer.args(["-timeout=60", "-rss_limit_mb=4096", "-print_final_stats=1"]).arg(found).arg(seeds.join(name));
    process::run(&mut fuzzer)
}
