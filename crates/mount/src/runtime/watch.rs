//! What a stepper looks at after each step when it is asked to: the properties that the step can have broken, and whether anything
//! changes at all.

use std::collections::BTreeSet;

use crate::fs::FileSystem;
use crate::ids::TaskId;
use crate::invariants::{History, check_after_step};
use crate::op::Op;
use crate::world::World;
use crate::world::findings::Finding;

/// How a run is watched.
#[derive(Debug, Default)]
pub(super) struct Watch {
    properties: Option<History>,
    livelock: Option<Livelock>,
}

/// States of the world that have been, and for how long there has been no other.
#[derive(Debug)]
struct Livelock {
    /// After how many steps without a new state a run is given up.
    bound: u64,
    /// Steps of the run.
    made: u64,
    seen: BTreeSet<u64>,
    quiet: u64,
}

impl Watch {
    pub(super) const fn is_on(&self) -> bool {
        self.properties.is_some() || self.livelock.is_some()
    }

    pub(super) fn properties<F: FileSystem>(&mut self, w: &World<F>, on: bool) {
        self.properties = on.then(|| History::of(w));
    }

    pub(super) fn livelock(&mut self, bound: Option<u64>) {
        self.livelock = bound.map(|bound| Livelock { bound, made: 0, seen: BTreeSet::new(), quiet: 0 });
    }

    /// A run begins anew.
    pub(super) fn forget<F: FileSystem>(&mut self, w: &World<F>) {
        if let Some(history) = &mut self.properties {
            history.forget(w);
        }
        let bound = self.livelock.as_ref().map(|livelock| livelock.bound);
        self.livelock(bound);
    }

    /// Looks at what a step has left. Returns whether the run is to be given up.
    pub(super) fn after_step<F: FileSystem>(&mut self, w: &mut World<F>, task: TaskId, op: &Op) -> bool {
        if let Some(history) = &mut self.properties {
            check_after_step(history, w, task, op);
        }
        let Some(livelock) = &mut self.livelock else { return false };
        livelock.made += 1;
        // A run that is shorter than the bound needs no look at its states.
        if livelock.made <= livelock.bound {
            return false;
        }
        livelock.quiet += 1;
        let may_change = livelock.seen.is_empty() || op.objects().any(|(_, write)| write);
        if may_change && livelock.seen.insert(w.digest()) {
            livelock.quiet = 0;
        }
        let stuck = livelock.quiet >= livelock.bound;
        if stuck {
            w.findings.add(Finding::Livelock { steps: livelock.quiet, task, step: op.name });
        }
        stuck
    }
}
