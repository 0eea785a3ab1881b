//! The table: medians side by side, the floor, and for each target whether it is met.

use std::fmt;

use serde::Serialize;

use super::measure::Sample;

/// Version of the JSON form; it grows when a field changes its meaning or goes.
const SCHEMA_VERSION: u32 = 1;

/// Seconds over the runs of one side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Times {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Times {
    /// `None` without samples.
    pub(super) fn of(samples: &[Sample]) -> Option<Self> {
        let mut seconds: Vec<f64> = samples.iter().map(|s| s.seconds).collect();
        seconds.sort_unstable_by(f64::total_cmp);
        let upper = *seconds.get(seconds.len() / 2)?;
        let lower = *seconds.get((seconds.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), min: *seconds.first()?, max: *seconds.last()? })
    }
}

/// Which side of the limit is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtLeast,
    AtMost,
}

/// One promise, and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Target {
    pub(super) what: String,
    pub(super) measured: f64,
    pub(super) bound: Bound,
    pub(super) limit: f64,
    pub(super) unit: &'static str,
    pub(super) met: bool,
}

impl Target {
    /// `measured` must be at least, or at most, `limit`.
    pub(super) fn new(what: impl Into<String>, measured: f64, bound: Bound, limit: f64, unit: &'static str) -> Self {
        let met = match bound {
            Bound::AtLeast => measured >= limit,
            Bound::AtMost => measured <= limit,
        };
        Self { what: what.into(), measured, bound, limit, unit, met }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = match self.bound {
            Bound::AtLeast => "at least",
            Bound::AtMost => "at most",
        };
        let verdict = if self.met { "met" } else { "NOT MET" };
        let Self { what, measured, limit, unit, .. } = self;
        write!(f, "{what}: {measured:.2}{unit} ({bound} {limit:.2}{unit}): {verdict}")
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) work: String,
    /// The program of ours.
    pub(super) program: &'static str,
    pub(super) ours: Times,
    pub(super) against: Option<&'static str>,
    pub(super) peer: Option<Times>,
    pub(super) floor: Option<Times>,
    /// Bytes of disk that the images occupy.
    pub(super) disk_ours: u64,
    pub(super) disk_peer: Option<u64>,
    /// Peak resident memory of our program in bytes.
    pub(super) peak_memory: u64,
    pub(super) peak_memory_peer: Option<u64>,
    pub(super) targets: Vec<Target>,
    /// What was measured and nothing was promised of.
    pub(super) notes: Vec<String>,
}

/// The whole table.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema_version: u32,
    runs: u32,
    rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(runs: u32, rows: Vec<Row>) -> Self {
        Self { schema_version: SCHEMA_VERSION, runs, rows }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Medians (min to max) of {} alternating runs, in seconds; what is written is durable when the clock stops.",
            self.runs
        )?;
        for row in &self.rows {
            writeln!(f, "\n{}: {}", row.name, row.work)?;
            line(f, row.program, row.ours, Some(row.disk_ours), Some(row.peak_memory))?;
            if let (Some(name), Some(times)) = (row.against, row.peer) {
                line(f, name, times, row.disk_peer, row.peak_memory_peer)?;
            }
            if let Some(times) = row.floor {
                line(f, "floor", times, None, None)?;
            }
            for target in &row.targets {
                writeln!(f, "  -> {target}")?;
            }
            for note in &row.notes {
                writeln!(f, "  {note}")?;
            }
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, times: Times, disk: Option<u64>, memory: Option<u64>) -> fmt::Result {
    let Times { median, min, max } = times;
    write!(f, "  {name:<10} {median:>8.3}  ({min:.3} to {max:.3})")?;
    if let Some(disk) = disk {
        write!(f, "  disk {:.1} MiB", mib(disk))?;
    }
    if let Some(memory) = memory {
        write!(f, "  memory {:.1} MiB", mib(memory))?;
    }
    writeln!(f)
}

/// Bytes as mebibytes.
pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(seconds: &[f64]) -> Vec<Sample> {
        seconds.iter().map(|s| Sample { seconds: *s, peak_memory: 0, disk: 0 }).collect()
    }

    #[test]
    fn the_median_is_the_middle_of_the_sorted_runs() {
        assert_eq!(Times::of(&samples(&[3.0, 1.0, 2.0])), Some(Times { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Times::of(&samples(&[4.0, 1.0])), Some(Times { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Times::of(&[]), None);
    }

    #[test]
    fn a_target_says_which_way_it_is_met() {
        let target = Target::new("faster than mke2fs", 3.5, Bound::AtLeast, 4.0, "x");
        assert_eq!(target.to_string(), "faster than mke2fs: 3.50x (at least 4.00x): NOT MET");
        assert!(Target::new("of the floor", 1.5, Bound::AtMost, 1.5, "x").met);
    }
}
