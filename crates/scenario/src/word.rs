//! Closed lists of words (`O_RDWR`, `shared`, `exchange`), and sets of them.

use core::fmt;
use core::marker::PhantomData;

/// A word out of a closed list of at most 64.
pub trait Word: Copy + Eq + fmt::Debug + 'static {
    /// What usage lines call one of them.
    const USAGE: &'static str;
    /// All of them, in the order in which they are printed.
    const ALL: &'static [Self];

    /// How it is written.
    fn word(self) -> &'static str;

    /// The one that is written so.
    #[must_use]
    fn from_word(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|word| word.word() == text)
    }

    /// Its place in [`Word::ALL`].
    fn index(self) -> u32;
}

/// Declares an enumeration of words.
macro_rules! words {
    ($( $(#[$meta:meta])* $vis:vis enum $name:ident $usage:literal { $( $(#[$vmeta:meta])* $variant:ident = $word:literal ),+ $(,)? } )+) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $name { $( $(#[$vmeta])* $variant ),+ }

        impl $crate::word::Word for $name {
            const USAGE: &'static str = $usage;
            const ALL: &'static [Self] = &[ $( Self::$variant ),+ ];

            fn word(self) -> &'static str {
                match self { $( Self::$variant => $word ),+ }
            }

            fn index(self) -> u32 {
                self as u32
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str($crate::word::Word::word(*self))
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str($crate::word::Word::word(*self))
            }
        }
    )+ };
}
pub(crate) use words;

/// A set of words.
pub struct Set<W> {
    bits: u64,
    of: PhantomData<W>,
}

impl<W: Word> Set<W> {
    /// None of them.
    pub const EMPTY: Self = Self { bits: 0, of: PhantomData };

    /// Adds a word; whether it is new.
    pub fn insert(&mut self, word: W) -> bool {
        let new = !self.contains(word);
        self.bits |= 1 << word.index();
        new
    }

    /// Whether the word is in it.
    #[must_use]
    pub fn contains(&self, word: W) -> bool {
        self.bits >> word.index() & 1 != 0
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// Its words, in the order of their list.
    pub fn iter(&self) -> impl Iterator<Item = W> + use<W> {
        let set = *self;
        W::ALL.iter().copied().filter(move |word| set.contains(*word))
    }

    /// Those of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self { bits: self.bits | other.bits, of: PhantomData }
    }

    /// Those of this one that the other has not.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self { bits: self.bits & !other.bits, of: PhantomData }
    }
}

impl<W: Word> FromIterator<W> for Set<W> {
    fn from_iter<I: IntoIterator<Item = W>>(words: I) -> Self {
        let mut set = Self::EMPTY;
        for word in words {
            set.insert(word);
        }
        set
    }
}

impl<W> Clone for Set<W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Set<W> {}

impl<W> PartialEq for Set<W> {
    fn eq(&self, other: &Self) -> bool {
        self.bits == other.bits
    }
}

impl<W> Eq for Set<W> {}

impl<W: Word> Default for Set<W> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<W: Word> fmt::Debug for Set<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
