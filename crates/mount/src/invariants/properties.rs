//! The properties, P1 to P14, as one table: what each says, how it is judged, what can break it, and under which locks it may be
//! false for a while.

use super::{Broken, state};
use crate::fs::FileSystem;
use crate::locks::LockClass;
use crate::op::Kind;
use crate::world::World;

/// How a property is judged.
pub enum Judged<F: FileSystem> {
    /// By looking at a state.
    State(fn(&World<F>, &mut Vec<Broken>)),
    /// Where it is used: the step that breaks it notes a finding.
    AtUse,
    /// By comparing two runs, or a run with what survives a crash.
    Comparison,
}

/// A property of section "P" of the design.
pub struct Property<F: FileSystem> {
    /// 3 for P3.
    pub number: u8,
    /// What it says.
    pub says: &'static str,
    /// How it is judged.
    pub judged: Judged<F>,
    /// Kinds of objects that can break it when a step writes them.
    pub broken_by: &'static [Kind],
    /// Classes of locks under any of which it may be false for a while, whoever holds one.
    pub excused: &'static [LockClass],
}

/// All of them, by number.
#[must_use]
pub const fn properties<F: FileSystem>() -> [Property<F>; 14] {
    use Judged::{AtUse, Comparison, State};
    use Kind::{BlockMap, Entries, Entry, Fs, Icache, Life, Lock, Pte, Ptes, SDax, Sb, Size};
    use LockClass::{IData, IRwsem, InvalidateLock, MmapLock};
    [
        property(1, "a fault sees one mode from its dispatch to its end", AtUse, &[], &[]),
        property(2, "no absent method is called, and page_mkwrite of the page cache has a page", AtUse, &[], &[]),
        property(
            3,
            "entries of i_pages are of the kind that S_DAX says",
            State(state::homogeneous),
            &[SDax, Entries, Entry],
            &[],
        ),
        property(
            4,
            "a page or entry leads to the block that the file has there",
            State(state::owned),
            &[Entries, Entry, Pte, Ptes, BlockMap, Fs],
            &[InvalidateLock, IData],
        ),
        property(
            5,
            "what is mapped of the page cache is what the mapping holds",
            State(state::mapped_folios),
            &[Entries, Entry, Pte, Ptes],
            &[InvalidateLock],
        ),
        property(
            6,
            "what can be stored to is dirty",
            State(state::writable_is_dirty),
            &[Entries, Entry, Pte, Ptes],
            &[InvalidateLock, MmapLock],
        ),
        property(7, "under MAP_SYNC what can be stored to is found again after a crash", Comparison, &[], &[]),
        property(8, "nobody stores to the zero page", State(state::zero_page), &[Pte, Ptes], &[]),
        property(
            9,
            "no page behind the end is mapped",
            State(state::inside),
            &[Pte, Ptes, Size],
            &[InvalidateLock, IRwsem],
        ),
        property(10, "nothing stays locked, and every sleeper can be woken", State(state::unlocked), &[], &[]),
        property(
            11,
            "while it is frozen no mount has a writer, a write fault or a transaction",
            State(state::frozen),
            &[Sb, Lock],
            &[],
        ),
        property(12, "S_DAX is what the rules say of flag, mount and file", State(state::decided), &[SDax], &[]),
        property(13, "a design changes neither errno nor effect of other calls", Comparison, &[], &[]),
        property(
            14,
            "an inode that is to leave memory does so with its last reference",
            State(state::leaves),
            &[Icache, Life],
            &[],
        ),
    ]
}

const fn property<F: FileSystem>(
    number: u8,
    says: &'static str,
    judged: Judged<F>,
    broken_by: &'static [Kind],
    excused: &'static [LockClass],
) -> Property<F> {
    Property { number, says, judged, broken_by, excused }
}
