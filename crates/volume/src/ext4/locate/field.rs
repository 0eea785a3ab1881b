//! A value that a place names: a field of a structure, or a word that belongs to none.

use std::ops::Range;

use daxkit_format::field::{Access, Format, ValueError};
use daxkit_format::{FieldDef, FieldKind, FieldValue};

/// A value inside the bytes of its structure (or object): see [`Located::read`](super::Located::read).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// A field with a name.
    Named(Access),
    /// A plain number: a word of an indirect map.
    Word(FieldDef),
}

impl Field {
    /// The field, or its lower half.
    #[must_use]
    pub fn low(&self) -> FieldDef {
        match self {
            Self::Named(access) => access.low,
            Self::Word(def) => *def,
        }
    }

    /// How the value is written.
    #[must_use]
    pub fn format(&self) -> Format {
        match self {
            Self::Named(access) => access.format(),
            Self::Word(_) => Format::Decimal,
        }
    }

    /// Shape of the whole value.
    #[must_use]
    pub fn kind(&self) -> FieldKind {
        match self {
            Self::Named(access) => access.kind(),
            Self::Word(def) => def.kind,
        }
    }

    /// Reads the value; `None` when the bytes are too few.
    #[must_use]
    pub fn get(&self, bytes: &[u8]) -> Option<FieldValue> {
        match self {
            Self::Named(access) => access.get(bytes),
            Self::Word(def) => def.get(bytes),
        }
    }

    /// Writes the value. `false`, and nothing written, when it does not fit.
    #[must_use]
    pub fn set(&self, bytes: &mut [u8], value: &FieldValue) -> bool {
        match self {
            Self::Named(access) => access.set(bytes, value),
            Self::Word(def) => def.set(bytes, value),
        }
    }

    /// Reads the value as text.
    #[must_use]
    pub fn get_text(&self, bytes: &[u8]) -> Option<String> {
        Some(self.format().format(self.kind(), &self.get(bytes)?))
    }

    /// Writes a value given as text.
    ///
    /// # Errors
    /// [`ValueError`]; nothing is written then.
    pub fn set_text(&self, bytes: &mut [u8], text: &str) -> Result<(), ValueError> {
        match self {
            Self::Named(access) => access.set_text(bytes, text),
            Self::Word(def) => {
                let value = Format::Decimal.parse(def.kind, text)?;
                let fits = def.set(bytes, &value);
                if fits { Ok(()) } else { Err(ValueError::Range { text: text.to_owned(), bytes: def.kind.len() }) }
            }
        }
    }

    /// Where the value lies in `len` bytes: in one piece, or in two of which the second may be missing.
    #[must_use]
    pub fn pieces(&self, len: usize) -> Vec<Range<usize>> {
        let second = match self {
            Self::Named(access) => access.second(),
            Self::Word(_) => None,
        };
        let range = |f: FieldDef| f.offset..f.offset.saturating_add(f.kind.len());
        std::iter::once(self.low()).chain(second).map(range).filter(|r| r.end <= len).collect()
    }
}
