//! Memory that begins at a page, so that a host moves bytes between it and a disk without a copy of its own.

use std::fmt;
use std::ops::{Deref, DerefMut};

use memmap2::{Advice, MmapMut, MmapOptions};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

/// What memory is handed out in, and what hosts want memory to begin at that a disk is to read.
pub(crate) const UNIT: usize = 4096;

/// A page of the large kind, of which a host needs one where it needed 512 of the others. It is asked for none for less than half of one.
const LARGE: usize = 2 << 20;

/// A page of memory.
#[derive(Clone, FromBytes, Immutable, IntoBytes)]
#[repr(C, align(4096))]
struct Unit([u8; UNIT]);

/// Bytes from the beginning of a page on.
#[derive(Default)]
pub struct AlignedBuffer {
    memory: Memory,
    len: usize,
}

enum Memory {
    Units(Vec<Unit>),
    Mapped(MmapMut),
}

impl Default for Memory {
    fn default() -> Self {
        Self::Units(Vec::new())
    }
}

impl Memory {
    fn new(len: usize) -> Self {
        if len >= LARGE / 2
            && let Some(len) = len.checked_next_multiple_of(LARGE)
            && let Ok(map) = MmapOptions::new().len(len).map_anon()
        {
            // A host without large pages has small ones.
            let _ = map.advise(Advice::HugePage);
            return Self::Mapped(map);
        }
        let mut units = Vec::new();
        units.resize_with(len.div_ceil(UNIT), Unit::new_zeroed);
        Self::Units(units)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Units(units) => units.as_bytes(),
            Self::Mapped(map) => map,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Units(units) => units.as_mut_bytes(),
            Self::Mapped(map) => map,
        }
    }
}

impl AlignedBuffer {
    /// Zeroes.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self { memory: Memory::new(len), len }
    }

    /// Makes it this long. What is in it then is anything.
    pub fn resize(&mut self, len: usize) {
        if len > self.memory.bytes().len() {
            self.memory = Memory::new(len);
        }
        self.len = len;
    }

    /// Leaves out what is behind its first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory.bytes()[..self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory.bytes_mut()[..self.len]
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Whether memory begins at a page.
pub(crate) fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().addr().is_multiple_of(UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_its_length_it_is_zero_and_begins_at_a_page() {
        for len in [0, 1, 4096, 4097, 1 << 20, (2 << 20) + 1, 9 << 20] {
            let mut buffer = AlignedBuffer::new(len);
            assert!(buffer.len() == len && is_aligned(&buffer) && buffer.iter().all(|b| *b == 0));
            buffer.fill(1);
            buffer.resize(len / 2);
            assert!(buffer.len() == len / 2 && is_aligned(&buffer));
            buffer.resize(3 * len);
            assert!(buffer.len() == 3 * len && is_aligned(&buffer));
        }
    }
}
