//! The properties, as values: what each says, what can break it, and under what it is excused.

use crate::locks::{LockClass, Mode};
use crate::op::Kind;

/// Under what a property need not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Somebody holds the lock of this class, of the object in question, at least this way.
    Lock(LockClass, Mode),
    /// The DAX entry in question is locked: whoever holds it is in the middle of a fault or of a write-back.
    EntryLock,
    /// The folio in question is locked.
    FolioLock,
}

/// By what a property is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// By a state.
    State,
    /// By what the steps of one operation saw or did, one after another.
    Steps,
    /// By comparing two runs: [`same_but_for_dax`](super::same_but_for_dax).
    Runs,
}

/// A property.
#[derive(Debug, Clone, Copy)]
pub struct Property {
    /// Its number: 3 for P3.
    pub number: u8,
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
    /// Kinds of objects that can break it: a step that writes one of them is followed by a judgement.
    pub objects: &'static [Kind],
    /// Under what it need not hold. It is judged when the last of them is let go.
    pub guards: &'static [Guard],
    /// By what it is judged.
    pub judged: Judged,
}

/// Changes of size, layout and contents that are one to everybody who takes the lock.
const CHANGE: Guard = Guard::Lock(LockClass::IRwsem, Mode::Exclusive);
const LAYOUT: Guard = Guard::Lock(LockClass::InvalidateLock, Mode::Exclusive);

/// Every property, by number.
pub const PROPERTIES: [Property; 14] = [
    Property {
        number: 1,
        name: "one mode for one fault",
        says: "S_DAX, vm_ops and a_ops, wherever one fault reads them, belong to the same mode",
        objects: &[Kind::SDax, Kind::Aops, Kind::Vma],
        guards: &[],
        judged: Judged::Steps,
    },
    Property {
        number: 2,
        name: "no absent method, no absent page",
        says: "no step calls a method that the vector of now does not have, or page_mkwrite without a page",
        objects: &[],
        guards: &[],
        judged: Judged::Steps,
    },
    Property {
        number: 3,
        name: "homogeneous mapping",
        says: "i_pages of an S_DAX inode has DAX entries, of any other folios, and nrpages counts them",
        objects: &[Kind::World, Kind::SDax, Kind::Entry, Kind::Entries],
        guards: &[],
        judged: Judged::State,
    },
    Property {
        number: 4,
        name: "ownership of pages",
        says: "a device page that an entry or a page table shows is the block that the file has there",
        objects: &[Kind::World, Kind::Entry, Kind::Entries, Kind::Pte, Kind::Ptes, Kind::BlockMap],
        guards: &[CHANGE, LAYOUT, Guard::EntryLock],
        judged: Judged::State,
    },
    Property {
        number: 5,
        name: "single copy",
        says: "a page of the page cache that is mapped is the one that the mapping has there",
        objects: &[Kind::World, Kind::Entry, Kind::Entries, Kind::Pte, Kind::Ptes],
        guards: &[CHANGE, LAYOUT, Guard::FolioLock],
        judged: Judged::State,
    },
    Property {
        number: 6,
        name: "no lost store",
        says: "what a shared mapping can write to is tagged dirty",
        objects: &[Kind::World, Kind::Entry, Kind::Entries, Kind::Pte, Kind::Ptes],
        guards: &[Guard::EntryLock, Guard::FolioLock],
        judged: Judged::State,
    },
    Property {
        number: 7,
        name: "durability of a synchronous mapping",
        says: "a page that a MAP_SYNC mapping can write to is the file's after a crash of now",
        objects: &[Kind::World, Kind::Pte, Kind::Ptes, Kind::BlockMap],
        guards: &[],
        judged: Judged::State,
    },
    // What a read returns of a former owner, and after a crash, an explorer of crashes judges by comparing contents; a state
    // shows unwritten blocks and the zero page.
    Property {
        number: 8,
        name: "no stale exposure",
        says: "no entry or page table shows blocks that were never written, and none can write to the zero page",
        objects: &[Kind::World, Kind::Entry, Kind::Entries, Kind::Pte, Kind::Ptes, Kind::BlockMap],
        guards: &[CHANGE, LAYOUT, Guard::EntryLock],
        judged: Judged::State,
    },
    Property {
        number: 9,
        name: "nothing past the end",
        says: "no page that begins at or past the end of the file is mapped",
        objects: &[Kind::World, Kind::Size, Kind::Pte, Kind::Ptes],
        guards: &[CHANGE],
        judged: Judged::State,
    },
    Property {
        number: 10,
        name: "order and progress",
        says: "locks are taken in their order, and whoever sleeps has somebody left to wake it",
        objects: &[Kind::World, Kind::Lock, Kind::Queue, Kind::Entry, Kind::Entries, Kind::Icache, Kind::Sb],
        guards: &[],
        judged: Judged::State,
    },
    Property {
        number: 11,
        name: "freeze",
        says: "while a file system is frozen nobody holds a transaction or a write fault's freeze reference",
        objects: &[Kind::World, Kind::Lock, Kind::Sb],
        guards: &[],
        judged: Judged::State,
    },
    Property {
        number: 12,
        name: "S_DAX as the rules say",
        says: "S_DAX is what the rules say of the flag and the mount, unless the flag has changed since",
        objects: &[Kind::World, Kind::SDax, Kind::Attr],
        guards: &[],
        judged: Judged::State,
    },
    Property {
        number: 13,
        name: "stability of the interface",
        says: "a set call that changes no DAX bit ends as it does without the design, with the same effects",
        objects: &[],
        guards: &[],
        judged: Judged::Runs,
    },
    Property {
        number: 14,
        name: "a change takes effect",
        says: "an inode marked I_DONTCACHE goes with its last reference, and no dirty page goes with an inode that has a name",
        objects: &[Kind::World, Kind::Icache, Kind::Life],
        guards: &[],
        judged: Judged::State,
    },
];
