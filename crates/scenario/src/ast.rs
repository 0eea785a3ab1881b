//! What a scenario says, as a tree.

use crate::data::Data;
use crate::errno::{Errno, Signal};
use crate::ops::Operation;
use crate::place::{Name, Place};
use crate::word::Set;
use crate::words::{Capability, Device, Need, Rules};

/// A text: what its scenarios share, and the scenarios.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct File {
    /// Declared before the first scenario: every scenario has it.
    pub shared: Declarations,
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
}

/// One scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// What it is called.
    pub title: String,
    /// Where.
    pub place: Place,
    /// What it declares itself.
    pub declarations: Declarations,
    /// What happens, in order.
    pub body: Vec<Statement>,
}

/// Declared things.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Declarations {
    /// What is needed of who runs it.
    pub needs: Set<Need>,
    /// File systems.
    pub filesystems: Vec<FsDecl>,
    /// Tasks, besides `root`, which is always there.
    pub tasks: Vec<TaskDecl>,
}

/// A release of Linux whose rules are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Release(pub u16, pub u16);

impl Release {
    /// The one that is meant when none is named.
    pub const DEFAULT: Self = Self(daxkit_format::dax::Kernel::LATEST.0, daxkit_format::dax::Kernel::LATEST.1);
}

impl core::fmt::Display for Release {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// `fs NAME RULES ...`: a file system. Where it lists alternatives, the scenario is run once for each combination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsDecl {
    /// Its name.
    pub name: Name,
    /// Rules, one or more.
    pub rules: Vec<Rules>,
    /// Releases, one or more (none: [`Release::DEFAULT`]).
    pub profiles: Vec<Release>,
    /// Where it comes from.
    pub source: Source,
    /// Block size (none: 4096).
    pub block: Option<u64>,
    /// Features on and off, by mkfs's names.
    pub features: Vec<Feature>,
    /// Mount options, one list or more (none: no options).
    pub options: Vec<MountOptions>,
    /// The device under it (none: `pmem`).
    pub device: Option<Device>,
    /// XFS's realtime device.
    pub realtime: Option<Device>,
    /// It is not mounted when the scenario begins.
    pub unmounted: bool,
}

/// Where a file system comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An empty one of this many bytes in memory.
    Mem(u64),
    /// An image, by its path; not changed.
    Image(String),
    /// The image that the scenario is run on.
    Given,
}

/// A feature on or off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// `^name`.
    pub off: bool,
    /// Its name.
    pub name: String,
}

/// Mount options in order; printed `defaults` when there are none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct MountOptions(pub Vec<String>);

impl core::fmt::Display for MountOptions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&if self.0.is_empty() { "defaults".to_owned() } else { self.0.join(",") })
    }
}

/// `task NAME ...`: a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskDecl {
    /// Its name.
    pub name: Name,
    /// Its user (none: 0).
    pub uid: Option<u32>,
    /// Its group (none: the user's number).
    pub gid: Option<u32>,
    /// Its capabilities (none: all for user 0, none for others).
    pub caps: Option<Set<Capability>>,
    /// It is a thread of that task: same memory, same descriptors.
    pub thread_of: Option<Name>,
    /// It lives in a user namespace of its own.
    pub userns: bool,
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// An operation.
    Step(Step),
    /// What must never, always or at least once be seen.
    Claim(Claim),
    /// `setup ... end`: as written, but not what the scenario is about; a search begins after it.
    Setup(Vec<Statement>),
    /// `repeat N ... end`.
    Repeat(u64, Vec<Statement>),
    /// `concurrent ... end`.
    Concurrent(Concurrent),
}

/// One operation of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where the line begins.
    pub place: Place,
    /// Only there.
    pub on: Option<Condition>,
    /// Who (none: `root`).
    pub task: Option<Name>,
    /// Its result goes to the transcript whatever it is.
    pub print: bool,
    /// What.
    pub operation: Operation,
    /// The register that takes the outcome.
    pub register: Option<Name>,
    /// What must come out (none: success).
    pub expect: Option<Expectation>,
    /// What must come out elsewhere; the first condition that holds counts, before [`Self::expect`].
    pub expect_on: Vec<(Condition, Expectation)>,
}

/// Where something holds: all that is given must be so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// The file system that is asked (none: the first).
    pub fs: Option<Name>,
    /// It follows these rules.
    pub rules: Option<Rules>,
    /// Of this release or later.
    pub from: Option<Release>,
    /// Of this release or earlier.
    pub to: Option<Release>,
    /// It was declared with this option (`defaults`: with none).
    pub option: Option<String>,
}

/// What must come out of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// `?`: whatever it is.
    Anything,
    /// Success with a value.
    Value(Compare, Pattern),
    /// `! ...`: this failure.
    Fails(Failure),
    /// `blocks`: the task waits.
    Blocks,
}

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// An error number.
    Errno(Errno),
    /// A signal.
    Signal(Signal),
    /// A crash of the kernel.
    Oops,
}

crate::word::words! {
    /// How a value is held against a pattern.
    pub enum Compare "COMPARE" {
        /// It is the same.
        Eq = "=",
        /// It is not.
        Ne = "!=",
        /// At least.
        Ge = ">=",
        /// At most.
        Le = "<=",
        /// More.
        Gt = ">",
        /// Less.
        Lt = "<",
        /// It contains it: a word of a set, bytes of bytes, an element of a list, elements of a list in this order.
        Has = "has",
        /// It does not contain it, nor any of it.
        Lacks = "lacks",
    }
}

/// What a value may look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `?`.
    Anything,
    /// A number.
    Number(u64),
    /// A word.
    Word(String),
    /// Bytes or text.
    Data(Data),
    /// `[...]`: a list in order, or a set.
    List(Vec<Pattern>),
    /// `tag{field=... field>=...}`: a record with at least these fields.
    Record(RecordPattern),
}

/// What a record may look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPattern {
    /// Its kind.
    pub tag: Option<String>,
    /// Some of its fields.
    pub fields: Vec<(Name, Compare, Pattern)>,
}

/// Tasks that run at once. The steps of each task keep their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concurrent {
    /// Where.
    pub place: Place,
    /// The steps of all tasks, and what is claimed of every way they can go.
    pub body: Vec<Statement>,
    /// The interleaving; empty: left open.
    pub schedule: Vec<Turn>,
}

/// A turn of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Whose.
    pub task: Name,
    /// How far it goes.
    pub extent: TurnExtent,
}

/// How far a turn goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnExtent {
    /// `A*2`: so many whole operations (or to the end, or until it waits).
    Operations(u64),
    /// `A.3`: so many atomic steps of the kernel.
    Steps(u64),
    /// `A@point`: until it is about to pass the point of that name.
    Point(String),
}

/// What is claimed of a concurrent block (or, outside one, of the run so far).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Where.
    pub place: Place,
    /// Only there.
    pub on: Option<Condition>,
    /// How often.
    pub how: Quantifier,
    /// What.
    pub what: Formula,
}

crate::word::words! {
    /// In how many of the ways a block can go something is seen.
    pub enum Quantifier "CLAIM" {
        /// In none.
        Never = "never",
        /// In each.
        Always = "always",
        /// In one or more.
        Sometimes = "sometimes",
    }
}

/// Something that is seen or not at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Formula {
    /// One of them.
    Or(Vec<Formula>),
    /// All of them.
    And(Vec<Formula>),
    /// The opposite.
    Not(Box<Formula>),
    /// A register's outcome.
    Register(Name, Expectation),
    /// `oops`, `deadlock`, `livelock`, `warning`.
    Incident(Incident),
    /// `violated P3`: a property of the emulated kernel did not hold.
    Violated(String),
    /// `event dax_pte_fault`: the event was seen.
    Event(RecordPattern),
}

crate::word::words! {
    /// Something that goes wrong in a kernel.
    pub enum Incident "INCIDENT" {
        /// A crash.
        Oops = "oops",
        /// Tasks wait for each other.
        Deadlock = "deadlock",
        /// A task goes round without end.
        Livelock = "livelock",
        /// A `WARN_ON`.
        Warning = "warning",
    }
}
