//! How an on-disk structure is declared: once.
//!
//! [`on_disk!`] takes the fields with their byte offsets and makes from them the `#[repr(C)]` structure with zerocopy's
//! traits, compile-time assertions of the size and of every offset, and the table of field names and places that
//! recipes, dumps, findings and `set_inode_field` share. A structure declared any other way has no field table.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// How the bytes of a field are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// `count` integers of `width` bytes each, little-endian.
    Le {
        /// Bytes of one integer: 1, 2, 4 or 8.
        width: u8,
        /// How many of them follow each other.
        count: u16,
    },
    /// `count` integers of `width` bytes each, big-endian.
    Be {
        /// Bytes of one integer: 1, 2, 4 or 8.
        width: u8,
        /// How many of them follow each other.
        count: u16,
    },
    /// Plain bytes (names, UUIDs, padding).
    Bytes {
        /// How many.
        count: u16,
    },
}

impl FieldKind {
    /// Length of the field in bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Le { width, count } | Self::Be { width, count } => width as usize * count as usize,
            Self::Bytes { count } => count as usize,
        }
    }

    /// True for a field of no bytes (there is none on disk).
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// A value read from, or to be written to, a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// One integer.
    Int(u64),
    /// An array of integers.
    Ints(Vec<u64>),
    /// Plain bytes.
    Bytes(Vec<u8>),
}

/// One row of the field table: the kernel's name of a field and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldDef {
    /// The kernel's name, e.g. `i_flags`.
    pub name: &'static str,
    /// Offset in bytes from the start of the structure.
    pub offset: usize,
    /// Byte order and shape.
    pub kind: FieldKind,
}

impl FieldDef {
    /// Reads the field out of the structure's bytes; `None` where they are too short to hold it.
    #[must_use]
    pub fn get(&self, bytes: &[u8]) -> Option<FieldValue> {
        let raw = bytes.get(self.offset..self.offset.checked_add(self.kind.len())?)?;
        let ints = |width: u8, big: bool| -> Vec<u64> {
            raw.chunks_exact(usize::from(width))
                .map(|c| {
                    let fold = |acc: u64, b: &u8| (acc << 8) | u64::from(*b);
                    if big { c.iter().fold(0, fold) } else { c.iter().rev().fold(0, fold) }
                })
                .collect()
        };
        Some(match self.kind {
            FieldKind::Bytes { .. } => FieldValue::Bytes(raw.to_vec()),
            FieldKind::Le { width, count } | FieldKind::Be { width, count } => {
                let v = ints(width, matches!(self.kind, FieldKind::Be { .. }));
                match (count, v.first()) {
                    (1, Some(x)) => FieldValue::Int(*x),
                    _ => FieldValue::Ints(v),
                }
            }
        })
    }

    /// Writes `value` into the structure's bytes. `false`, and nothing written, where the bytes are too short or the
    /// value does not fit the field.
    #[must_use]
    pub fn set(&self, bytes: &mut [u8], value: &FieldValue) -> bool {
        let Some(end) = self.offset.checked_add(self.kind.len()) else { return false };
        let Some(raw) = bytes.get_mut(self.offset..end) else { return false };
        let (width, count, big) = match (self.kind, value) {
            (FieldKind::Bytes { .. }, FieldValue::Bytes(b)) if b.len() <= raw.len() => {
                raw.fill(0);
                raw.iter_mut().zip(b).for_each(|(d, s)| *d = *s);
                return true;
            }
            (FieldKind::Bytes { .. }, _) => return false,
            (FieldKind::Le { width, count }, _) => (usize::from(width), usize::from(count), false),
            (FieldKind::Be { width, count }, _) => (usize::from(width), usize::from(count), true),
        };
        let ints: &[u64] = match value {
            FieldValue::Int(x) => std::slice::from_ref(x),
            FieldValue::Ints(v) => v,
            FieldValue::Bytes(_) => return false,
        };
        let fits = |x: &u64| width == 8 || *x >> (width * 8) == 0;
        if ints.len() != count || !ints.iter().all(fits) {
            return false;
        }
        for (chunk, x) in raw.chunks_exact_mut(width).zip(ints) {
            let le = x.to_le_bytes();
            for (i, d) in chunk.iter_mut().enumerate() {
                let from = if big { width - 1 - i } else { i };
                *d = le.get(from).copied().unwrap_or(0);
            }
        }
        true
    }
}

/// A structure that lies on disk: its size, its name in the kernel and its fields.
pub trait OnDisk: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned {
    /// The kernel's name of the structure.
    const NAME: &'static str;
    /// The field table, in order of offset.
    const FIELDS: &'static [FieldDef];

    /// The structure at the start of `bytes`; `None` when they are too few.
    #[must_use]
    fn peek(bytes: &[u8]) -> Option<&Self>
    where
        Self: Sized,
    {
        Self::ref_from_prefix(bytes).ok().map(|(s, _)| s)
    }

    /// As [`OnDisk::peek`], to be changed in place.
    #[must_use]
    fn peek_mut(bytes: &mut [u8]) -> Option<&mut Self>
    where
        Self: Sized,
    {
        Self::mut_from_prefix(bytes).ok().map(|(s, _)| s)
    }

    /// All zeroes.
    #[must_use]
    fn zeroed() -> Self
    where
        Self: Sized,
    {
        Self::new_zeroed()
    }

    /// The field called `name`.
    #[must_use]
    fn field(name: &str) -> Option<&'static FieldDef> {
        Self::FIELDS.iter().find(|f| f.name == name)
    }
}

/// What a Rust type says of the shape of a field; only used by [`on_disk!`].
pub(crate) trait Shape {
    const WIDTH: u8;
    const COUNT: u16 = 1;
    const BIG: bool = false;
    const PLAIN: bool = false;
}

impl Shape for u8 {
    const WIDTH: u8 = 1;
}
impl Shape for zerocopy::little_endian::U16 {
    const WIDTH: u8 = 2;
}
impl Shape for zerocopy::little_endian::U32 {
    const WIDTH: u8 = 4;
}
impl Shape for zerocopy::little_endian::U64 {
    const WIDTH: u8 = 8;
}
impl Shape for zerocopy::big_endian::U16 {
    const WIDTH: u8 = 2;
    const BIG: bool = true;
}
impl Shape for zerocopy::big_endian::U32 {
    const WIDTH: u8 = 4;
    const BIG: bool = true;
}
impl Shape for zerocopy::big_endian::U64 {
    const WIDTH: u8 = 8;
    const BIG: bool = true;
}
impl<T: Shape, const N: usize> Shape for [T; N] {
    const WIDTH: u8 = T::WIDTH;
    const COUNT: u16 = N as u16;
    const BIG: bool = T::BIG;
    const PLAIN: bool = T::WIDTH == 1;
}

pub(crate) const fn kind_of<T: Shape>() -> FieldKind {
    if T::PLAIN {
        FieldKind::Bytes { count: T::COUNT }
    } else if T::BIG {
        FieldKind::Be { width: T::WIDTH, count: T::COUNT }
    } else {
        FieldKind::Le { width: T::WIDTH, count: T::COUNT }
    }
}

/// Declares an on-disk structure. The form is
/// `pub struct Name("kernel_name", size) { offset field: Type, ... }` with doc comments where wanted.
macro_rules! on_disk {
    ($(#[$meta:meta])* $vis:vis struct $name:ident($kernel:literal, $size:expr) {
        $($(#[$fmeta:meta])* $offset:literal $field:ident : $ty:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable, zerocopy::Unaligned)]
        #[repr(C)]
        #[allow(missing_docs)]
        $vis struct $name {
            $($(#[$fmeta])* pub $field: $ty,)*
        }

        const _: () = {
            assert!(core::mem::size_of::<$name>() == $size);
            $(assert!(core::mem::offset_of!($name, $field) == $offset, stringify!($field));)*
        };

        impl $crate::on_disk::OnDisk for $name {
            const NAME: &'static str = $kernel;
            const FIELDS: &'static [$crate::on_disk::FieldDef] = &[
                $($crate::on_disk::FieldDef {
                    name: stringify!($field),
                    offset: $offset,
                    kind: $crate::on_disk::kind_of::<$ty>(),
                },)*
            ];
        }
    };
}

// The fields of a structure are public whatever the structure is.
#[cfg(test)]
#[allow(unreachable_pub)]
mod tests {
    use super::*;
    use zerocopy::{big_endian, little_endian};

    on_disk! {
        /// Only for these tests.
        struct Sample("sample", 16) {
            0 a: little_endian::U32,
            4 b: big_endian::U32,
            8 c: [little_endian::U16; 2],
            12 d: [u8; 3],
            15 e: u8,
        }
    }

    #[test]
    fn a_field_reads_back_what_was_set() {
        let mut bytes = [0u8; 16];
        let set = |bytes: &mut [u8], name: &str, v: FieldValue| Sample::field(name).is_some_and(|f| f.set(bytes, &v));
        assert!(set(&mut bytes, "a", FieldValue::Int(0x0102_0304)));
        assert!(set(&mut bytes, "b", FieldValue::Int(0x0102_0304)));
        assert!(set(&mut bytes, "c", FieldValue::Ints(vec![1, 0xffff])));
        assert!(set(&mut bytes, "d", FieldValue::Bytes(b"xy".to_vec())));
        assert_eq!(bytes, [4, 3, 2, 1, 1, 2, 3, 4, 1, 0, 0xff, 0xff, b'x', b'y', 0, 0]);
        let get = |name: &str| Sample::field(name).and_then(|f| f.get(&bytes));
        assert_eq!(get("a"), Some(FieldValue::Int(0x0102_0304)));
        assert_eq!(get("b"), Some(FieldValue::Int(0x0102_0304)));
        assert_eq!(get("c"), Some(FieldValue::Ints(vec![1, 0xffff])));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let mut bytes = [7u8; 16];
        for (name, v) in [
            ("e", FieldValue::Int(256)),
            ("c", FieldValue::Int(1)),
            ("c", FieldValue::Ints(vec![1, 0x1_0000])),
            ("d", FieldValue::Bytes(vec![0; 4])),
            ("a", FieldValue::Bytes(vec![0; 4])),
        ] {
            assert!(!Sample::field(name).is_some_and(|f| f.set(&mut bytes, &v)), "{name}");
        }
        assert_eq!(bytes, [7; 16]);
        assert!(Sample::field("a").is_some_and(|f| f.get(&bytes[..3]).is_none()));
    }
}
