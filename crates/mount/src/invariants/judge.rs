//! A judgement under way: which properties are asked about, what was found, and what has to wait for a lock.

use super::table::{Guard, PROPERTIES};
use super::{Broken, Judged, Property};
use crate::dax::entry::DaxEntry;
use crate::fs::FileSystem;
use crate::ids::{InodeId, SbId};
use crate::locks::LockId;
use crate::op::Object;
use crate::world::World;

/// A set of properties, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted(u16);

impl Wanted {
    /// Those that a state shows.
    pub(super) fn states() -> Self {
        Self::of(|property| property.judged == Judged::State)
    }

    /// Those that `object`, written, can break.
    pub(super) fn broken_by(object: Object) -> Self {
        Self::of(|property| property.judged == Judged::State && property.objects.iter().any(|&kind| object.is(kind)))
    }

    /// One.
    pub(super) const fn only(number: u8) -> Self {
        Self(1 << number)
    }

    fn of(f: impl Fn(&Property) -> bool) -> Self {
        Self(PROPERTIES.iter().filter(|property| f(property)).fold(0, |all, property| all | 1 << property.number))
    }

    pub(super) const fn has(self, number: u8) -> bool {
        self.0 >> number & 1 == 1
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// One judgement.
pub(super) struct Judge<'w, F> {
    pub(super) w: &'w World<F>,
    pub(super) wanted: Wanted,
    /// No task is inside the kernel: nothing is excused.
    pub(super) at_rest: bool,
    pub(super) broken: Vec<Broken>,
    /// What could not be judged because a lock is held.
    pub(super) deferred: Vec<(u8, InodeId)>,
    /// What the file system of a mount is after a crash of now; made when it is asked for.
    crashed: Option<(SbId, Option<F>)>,
}

impl<'w, F: FileSystem> Judge<'w, F> {
    pub(super) fn new(w: &'w World<F>, wanted: Wanted, at_rest: bool) -> Self {
        Self { w, wanted, at_rest, broken: Vec::new(), deferred: Vec::new(), crashed: None }
    }

    pub(super) fn wants(&self, number: u8) -> bool {
        self.wanted.has(number)
    }

    pub(super) fn say(&mut self, property: u8, what: String) {
        self.broken.push(Broken { property, what });
    }

    /// The wanted properties that no held lock excuses for an inode; the others are put off.
    pub(super) fn due(&mut self, inode: InodeId) -> Wanted {
        if self.at_rest {
            return self.wanted;
        }
        let mut due = self.wanted;
        let wanted = self.wanted;
        for property in PROPERTIES.iter().filter(|property| wanted.has(property.number)) {
            let held = property.guards.iter().any(|guard| match *guard {
                Guard::Lock(class, mode) => self.w.is_held(LockId { class, of: inode.0 }, mode),
                Guard::EntryLock | Guard::FolioLock => false,
            });
            if held {
                due = Wanted(due.0 & !(1 << property.number));
                self.deferred.push((property.number, inode));
            }
        }
        due
    }

    /// Whether a locked entry excuses a property.
    pub(super) fn excused(&self, number: u8, entry: DaxEntry) -> bool {
        !self.at_rest && entry.is_locked() && guards(number).contains(&Guard::EntryLock)
    }

    /// Whether a locked folio does.
    pub(super) fn excused_by_folio(&self, number: u8, locked: bool) -> bool {
        !self.at_rest && locked && guards(number).contains(&Guard::FolioLock)
    }

    /// The file system of a mount as a crash of now would leave it; `None` where that is not known.
    pub(super) fn after_crash(&mut self, sb: SbId) -> Option<&F> {
        if self.crashed.as_ref().is_none_or(|(of, _)| *of != sb) {
            let mut fs = self.w.sb(sb).fs.clone();
            let known = fs.crash(false).is_ok();
            self.crashed = Some((sb, known.then_some(fs)));
        }
        self.crashed.as_ref().and_then(|(_, fs)| fs.as_ref())
    }
}

fn guards(number: u8) -> &'static [Guard] {
    PROPERTIES[usize::from(number) - 1].guards
}
