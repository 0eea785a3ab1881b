//! Why a request cannot be met. Every message is one line that names the option and says what would be taken.

/// A request that makes no file system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// A value that does not fit its option.
    #[error("{option} {value}: {want}")]
    Value {
        /// The option as typed, as `-b` or `-E stride=`.
        option: &'static str,
        /// What came with it.
        value: String,
        /// What is wanted instead.
        want: String,
    },
    /// A word after `-E`, `-J` or `-O` that means nothing.
    #[error("{option} {word}: unknown word; known are {known}")]
    Word {
        /// The option.
        option: &'static str,
        /// The word.
        word: String,
        /// The words there are.
        known: String,
    },
    /// A feature that has a name and is not made.
    #[error("-O {feature}: cannot be made: {why}")]
    Feature {
        /// Its name.
        feature: String,
        /// The reason.
        why: &'static str,
    },
    /// Two wishes that exclude each other, or one that needs another.
    #[error("{what}: {why}")]
    Conflict {
        /// The wish.
        what: String,
        /// What stands against it.
        why: String,
    },
    /// The size of the file system.
    #[error("{0}")]
    Size(String),
    /// DAX was asked for and is impossible.
    #[error("--dax: {0}")]
    Dax(String),
}

impl OptionError {
    pub(super) fn value(option: &'static str, value: impl Into<String>, want: impl Into<String>) -> Self {
        Self::Value { option, value: value.into(), want: want.into() }
    }

    pub(super) fn conflict(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Conflict { what: what.into(), why: why.into() }
    }
}

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something was decided that the user did not say.
    Note,
    /// Something may not be what the user wants.
    Warning,
}

/// One line for the user about what was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// The line, without a prefix.
    pub text: String,
}

impl Notice {
    pub(super) fn note(text: impl Into<String>) -> Self {
        Self { level: Level::Note, text: text.into() }
    }

    pub(super) fn warning(text: impl Into<String>) -> Self {
        Self { level: Level::Warning, text: text.into() }
    }
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.level {
            Level::Note => write!(f, "note: {}", self.text),
            Level::Warning => write!(f, "warning: {}", self.text),
        }
    }
}
