//! Round after round.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use daxkit_device::{BlockDevice, Overlay};

use super::fixer::Fixer;
use super::{Fix, Stage};
use crate::check::{Options, State, run};
use crate::finding::{At, Finding};
use crate::open::Edits;
use crate::wishes::Improved;
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
    /// What was done besides mending.
    pub improved: Improved,
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

/// Mends, in an overlay, what `decide` says yes to. Nothing is written to `device`, but to try its blocks when that is wished for
/// ([`Scan::Write`](crate::Scan::Write)).
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
        lost: BTreeSet::new(),
        next: Extra::BadBlocks,
        improved: Improved::default(),
    };
    for round in 1..=MOST_ROUNDS {
        let mut done = 0;
        let checked = run(&edits, options, |state| {
            done = rounds.step(state, &edits);
        });
        let made = done == 0 && !rounds.refused && rounds.finish(&edits);
        if (done == 0 && !made) || round == MOST_ROUNDS {
            let declined = rounds.refused;
            if declined {
                edits.forget();
            }
            if rounds.next == Extra::Judge {
                // There was no round left to look at it.
                edits.roll_back_to_savepoint();
                rounds.improved = Improved::default();
            }
            let Rounds { mut fixed, improved, .. } = rounds;
            // What had to be mended again after something else is said once.
            let mut said = HashSet::new();
            fixed.retain(|finding| said.insert(finding.key()));
            return Repaired {
                fixed: if declined { Vec::new() } else { fixed },
                left: checked.findings,
                usage: checked.usage,
                size: checked.size,
                rounds: round,
                improved,
                edits,
            };
        }
    }
    unreachable!("the last round returns")
}

/// What comes next besides mending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extra {
    /// The list of bad blocks is made.
    BadBlocks,
    /// Directories and maps are built anew.
    Rest,
    /// What was built is looked at.
    Judge,
    /// Nothing.
    Nothing,
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
    /// Directories that lost their index.
    lost: BTreeSet<u32>,
    next: Extra,
    improved: Improved,
}

/// What follows from a new list of bad blocks, and is no damage.
const FOLLOWS: &[Code] = &[Code::BlockBitmap, Code::GroupFreeBlocks, Code::SuperFreeBlocks];

impl Rounds<'_, '_> {
    /// Mends, or where nothing is left to mend does what else is wished for. Returns how many things were done.
    fn step(&mut self, state: &State<'_, '_>, edits: &Arc<Edits>) -> usize {
        let broken = state.findings.iter().any(|finding| finding.code.severity() != Severity::Advice);
        if self.next == Extra::Judge {
            self.next = Extra::Nothing;
            if !broken {
                edits.release_savepoint();
                return 0;
            }
            edits.roll_back_to_savepoint();
            let left = "directories and maps were not built anew: the check was not content with them".to_owned();
            self.improved = Improved { bad_blocks: self.improved.bad_blocks, left: vec![left], ..Improved::default() };
            // What is told in the end is how it is now.
            return 1;
        }
        let done = self.round(state, edits);
        if done > 0 || self.refused || self.journal.is_some() {
            return done;
        }
        match self.next {
            Extra::BadBlocks => {
                self.next = Extra::Rest;
                let Some(wish) = &self.options.wishes.bad_blocks else { return self.step(state, edits) };
                let made = Fixer::new(state, edits, self.options).set_bad_blocks(wish, &mut self.improved);
                self.improved.left.extend(made.err());
                1
            }
            Extra::Rest if broken => {
                self.next = Extra::Nothing;
                self.improved
                    .left
                    .extend(self.wishes_more().then(|| "errors are left: nothing is built anew".to_owned()));
                0
            }
            Extra::Rest => {
                self.next = Extra::Judge;
                edits.set_savepoint();
                Fixer::new(state, edits, self.options).improve(&self.lost, &mut self.improved);
                if self.improved.directories.is_empty() && self.improved.converted.is_empty() {
                    self.next = Extra::Nothing;
                    edits.release_savepoint();
                    return 0;
                }
                1
            }
            Extra::Judge | Extra::Nothing => 0,
        }
    }

    /// Whether somebody asked for more than mending.
    fn wishes_more(&self) -> bool {
        let wishes = &self.options.wishes;
        wishes.directories == crate::wishes::Directories::All || wishes.convert_maps
    }

    /// How something is to be mended; `None` when it is not.
    fn chosen(&mut self, finding: &Finding) -> Option<Finding> {
        let follows = self.improved.bad_blocks.is_some() && FOLLOWS.contains(&finding.code);
        if follows || (self.decide)(finding) {
            return Some(finding.clone());
        }
        finding.otherwise().filter(|other| (self.decide)(other))
    }

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
            let chosen = if *times > MOST_TIMES { None } else { self.chosen(finding) };
            let Some(finding) = chosen else {
                self.declined.insert(finding.key());
                if finding.stage() == Some(Stage::Opening) {
                    self.refused = true;
                    return 0;
                }
                continue;
            };
            stage = finding.stage();
            let Some(fix) = &finding.fix else { continue };
            edits.set_savepoint();
            match fixer.apply(fix) {
                Ok(()) => {
                    edits.release_savepoint();
                    if matches!(fix, Fix::NewJournal) {
                        self.journal = fixer.journal_blocks;
                    }
                    if let Fix::DropIndex(ino) = fix {
                        self.lost.insert(*ino);
                    }
                    if self.improved.bad_blocks.is_none() || !FOLLOWS.contains(&finding.code) {
                        self.fixed.push(finding);
                    }
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
