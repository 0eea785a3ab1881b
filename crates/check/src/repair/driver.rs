//! Round after round.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use daxkit_device::{BlockDevice, Overlay};

use super::fixer::Fixer;
use super::{Fix, Stage};
use crate::check::{Options, State, run};
use crate::finding::{At, Finding};
use crate::open::Edits;
use crate::{Code, Severity};

/// More rounds than any damage needs whose repair gets anywhere.
const MOST_ROUNDS: usize = 64;

/// Something that comes back more often than this is not mended by this.
const MOST_TIMES: u32 = 8;

/// Says whether a finding is to be mended.
pub type Decide<'d> = dyn FnMut(&Finding) -> bool + 'd;

/// What a repair came to.
#[derive(Debug)]
pub struct Repaired {
    /// What was mended, in the order in which it was.
    pub fixed: Vec<Finding>,
    /// What is left.
    pub left: Vec<Finding>,
    /// What is used afterwards.
    pub usage: crate::Usage,
    /// Inodes and blocks that there are.
    pub size: Option<(u64, u64)>,
    /// Rounds.
    pub rounds: usize,
    edits: Arc<Edits>,
}

impl Repaired {
    /// What is to be written, over the image it was read from.
    #[must_use]
    pub fn edits(&self) -> &Arc<Overlay<Arc<dyn BlockDevice>>> {
        &self.edits
    }

    /// Whether nothing is wrong any more.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.left.iter().all(|f| f.code.severity() == Severity::Advice)
    }
}

/// Mends, in an overlay, what `decide` says yes to. Nothing is written to `device`.
#[must_use]
pub fn repair(device: Arc<dyn BlockDevice>, options: &Options, decide: &mut Decide<'_>) -> Repaired {
    let edits: Arc<Edits> = Arc::new(Overlay::new(device));
    let mut rounds = Rounds {
        options,
        decide,
        declined: HashSet::new(),
        fixed: Vec::new(),
        times: HashMap::new(),
        journal: None,
        refused: false,
    };
    for round in 1..=MOST_ROUNDS {
        let mut done = 0;
        let checked = run(&edits, options, |state| {
            done = rounds.round(state, &edits);
        });
        let made = done == 0 && !rounds.refused && rounds.finish(&edits);
        if (done == 0 && !made) || round == MOST_ROUNDS {
            let declined = rounds.refused;
            if declined {
                edits.forget();
            }
            let Rounds { mut fixed, .. } = rounds;
            // What had to be mended again after something else is said once.
            let mut said = HashSet::new();
            fixed.retain(|finding| said.insert(finding.key()));
            return Repaired {
                fixed: if declined { Vec::new() } else { fixed },
                left: checked.findings,
                usage: checked.usage,
                size: checked.size,
                rounds: round,
                edits,
            };
        }
    }
    unreachable!("the last round returns")
}

struct Rounds<'r, 'd> {
    options: &'r Options,
    decide: &'r mut Decide<'d>,
    /// What was not to be mended, or could not be.
    declined: HashSet<(Code, At)>,
    fixed: Vec<Finding>,
    /// How often something was mended: what comes back again and again is left.
    times: HashMap<(Code, At), u32>,
    /// Blocks of the journal that is to be made, when everything else is done.
    journal: Option<u64>,
    /// What had to be mended to look at the image at all was not to be.
    refused: bool,
}

impl Rounds<'_, '_> {
    /// Mends the findings of the lowest stage that has any to mend. Returns how many.
    fn round(&mut self, state: &State<'_, '_>, edits: &Arc<Edits>) -> usize {
        let mut fixable: Vec<&Finding> = state
            .findings
            .iter()
            .filter(|finding| finding.stage().is_some() && !self.declined.contains(&finding.key()))
            .collect();
        fixable.sort_by_key(|finding| finding.stage());
        let mut stage = None;
        let mut fixer = Fixer::new(state, edits, self.options);
        let mut done = 0;
        for finding in fixable {
            if done > 0 && finding.stage() != stage {
                break;
            }
            let times = self.times.entry(finding.key()).or_insert(0);
            *times += 1;
            if *times > MOST_TIMES || !(self.decide)(finding) {
                self.declined.insert(finding.key());
                if finding.stage() == Some(Stage::Opening) {
                    self.refused = true;
                    return 0;
                }
                continue;
            }
            stage = finding.stage();
            let Some(fix) = &finding.fix else { continue };
            edits.set_savepoint();
            match fixer.apply(fix) {
                Ok(()) => {
                    edits.release_savepoint();
                    if matches!(fix, Fix::NewJournal) {
                        self.journal = fixer.journal_blocks;
                    }
                    self.fixed.push(finding.clone());
                    done += 1;
                }
                // What could not be mended now may be when something else was.
                Err(_) => edits.roll_back_to_savepoint(),
            }
        }
        done
    }

    /// What is made when nothing else is left. Returns whether something was.
    fn finish(&mut self, edits: &Arc<Edits>) -> bool {
        let Some(blocks) = self.journal.take() else { return false };
        edits.set_savepoint();
        let made = super::journal::make(edits, blocks, self.options);
        if made.is_err() {
            edits.roll_back_to_savepoint();
            return false;
        }
        edits.release_savepoint();
        true
    }
}
