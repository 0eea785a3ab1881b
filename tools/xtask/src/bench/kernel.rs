//! Rates of the emulated kernel, on one core. The work runs inside of an example of `daxkit-mount`, which prints a line for
//! each rate and what it has to reach; nobody is compared with.

use anyhow::{Context, Result, bail};

use super::Bench;
use super::measure::{Fresh, Side, alternate};
use super::report::{Bound, Row, Target, Times};
use crate::process;
use crate::workspace::Workspace;

/// A rate as the example prints it: name, rate, unit, what it has to be at least.
struct Rate {
    name: String,
    rate: f64,
    least: f64,
}

fn rate(line: &str) -> Result<Rate> {
    let parts: Vec<_> = line.split('\t').collect();
    let [name, rate, _unit, least] = parts.as_slice() else { bail!("the example printed {line:?}") };
    Ok(Rate { name: (*name).to_owned(), rate: rate.parse()?, least: least.parse()? })
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// The row: medians over the runs.
pub(super) fn rates(workspace: &Workspace, bench: &Bench) -> Result<Row> {
    let program = workspace.build_example("daxkit-mount", "rates")?;
    let printed = std::cell::RefCell::new(Vec::new());
    let work = |_: &std::path::Path| {
        let out = process::output(&mut process::command(&program))?;
        printed.borrow_mut().push(String::from_utf8(out).context("the example prints text")?);
        Ok(())
    };
    let target = bench.dir.join("no-image");
    let samples = alternate(&[Side::function("rates", work)], bench.runs, &target, Fresh::Hole(0))?;
    let mut rates: Vec<(Rate, Vec<f64>)> = Vec::new();
    for text in printed.into_inner() {
        for (at, line) in text.lines().enumerate() {
            let read = rate(line)?;
            match rates.get_mut(at) {
                Some((_, all)) => all.push(read.rate),
                None => {
                    let first = read.rate;
                    rates.push((read, vec![first]));
                }
            }
        }
    }
    let targets = rates
        .into_iter()
        .map(|(rate, all)| Target::new(rate.name, median(all), Bound::AtLeast, rate.least, " a second"))
        .collect();
    let ours = samples.first().and_then(|samples| Times::of(samples)).context("no run")?;
    Ok(Row {
        name: "kernel-rates",
        work: "accesses, faults and schedules of the emulated kernel".to_owned(),
        program: "daxkit-mount",
        ours,
        against: None,
        peer: None,
        floor: None,
        disk_ours: 0,
        disk_peer: None,
        peak_memory: 0,
        peak_memory_peer: None,
        targets,
        notes: Vec::new(),
    })
}

/// Seconds and bytes that a million operations may take.
const OPERATIONS: (f64, f64) = (120.0, 1024.0);

/// The run of a million operations, as CI makes it: the test itself, in the profile of tests.
pub(super) fn operations(workspace: &Workspace, bench: &Bench) -> Result<Row> {
    let test = |more: &[&str]| {
        let mut cargo = workspace.cargo();
        cargo.args(["test", "--quiet", "--package", "daxkit-tests", "--test", "mount"]).args(more);
        cargo.env("CI", "true");
        cargo
    };
    process::run(&mut test(&["--no-run"]))?;
    let side = Side::program("operations", |_| test(&["--", "--exact", "differential::ext4_memory_and_model_agree"]));
    let target = bench.dir.join("no-image");
    let samples = alternate(&[side], bench.runs, &target, Fresh::Hole(0))?;
    let ours = samples.first().and_then(|samples| Times::of(samples)).context("no run")?;
    let peak = samples.iter().flatten().map(|sample| sample.peak_memory).max().unwrap_or(0);
    let mib = (peak >> 20) as f64;
    Ok(Row {
        name: "kernel-operations",
        work: "a million operations on eight kinds of ext4, on memory and on a model; judged and mounted".to_owned(),
        program: "daxkit-mount",
        ours,
        against: None,
        peer: None,
        floor: None,
        disk_ours: 0,
        disk_peer: None,
        peak_memory: peak,
        peak_memory_peer: None,
        targets: vec![
            Target::new("the run", ours.median, Bound::AtMost, OPERATIONS.0, " s"),
            Target::new("peak memory", mib, Bound::AtMost, OPERATIONS.1, " MiB"),
        ],
        notes: Vec::new(),
    })
}
