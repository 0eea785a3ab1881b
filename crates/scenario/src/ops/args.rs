//! Types of arguments that are not closed lists of words.

use crate::place::Name;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// A file system.
    Fs,
    /// A task.
    Task,
    /// A descriptor.
    Fd,
    /// A mapping.
    Map,
    /// A pin.
    Pin,
}

impl NameKind {
    /// In words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Fs => "file system",
            Self::Task => "task",
            Self::Fd => "descriptor",
            Self::Map => "mapping",
            Self::Pin => "pin",
        }
    }
}

/// What an operation does with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameUse {
    /// It comes into being.
    Declares,
    /// It must be there.
    Uses,
}

macro_rules! names {
    ($($(#[$meta:meta])* $name:ident: $kind:ident $use:ident $usage:literal;)+) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(pub Name);

        impl $name {
            pub(crate) const KIND: NameKind = NameKind::$kind;
            pub(crate) const USE: NameUse = NameUse::$use;
            pub(crate) const USAGE: &'static str = $usage;
        }
    )+ };
}

names! {
    /// A descriptor that comes into being.
    NewFd: Fd Declares "NEW_FD";
    /// A descriptor.
    Fd: Fd Uses "FD";
    /// A mapping that comes into being.
    NewMap: Map Declares "NEW_MAP";
    /// A mapping.
    Map: Map Uses "MAP";
    /// A pin that comes into being.
    NewPin: Pin Declares "NEW_PIN";
    /// A pin.
    Pin: Pin Uses "PIN";
    /// A task that comes into being.
    NewTask: Task Declares "NEW_TASK";
    /// A task.
    Task: Task Uses "TASK";
    /// A file system.
    Fs: Fs Uses "FS";
}

/// A path: `/d/f` on the first file system, `b:/d/f` on the one called `b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The file system (none: the first).
    pub fs: Option<Name>,
    /// The absolute path in it.
    pub path: String,
}

/// A file by its path or by a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// By its path.
    Path(Path),
    /// By a descriptor.
    Fd(Fd),
}

/// A place in a mapping: `m`, `m+4K`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The mapping.
    pub map: Map,
    /// Bytes from its beginning.
    pub offset: u64,
}

/// An octal mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

/// A text in quotes, or a bare word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

/// A name of a counter or of a sysctl: words with dots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(pub String);
