//! Maps of sparse files: which ranges of the file the archive holds. Every form of them (GNU tar's old header, its three
//! versions for PAX) is a list of offsets and lengths, which [`Map`] collects and checks.

use super::error::SparseError;
use super::number;
use std::ops::Range;

/// Most entries of a map: 16 MiB.
const LIMIT: usize = 1 << 20;

/// Offsets and lengths in bytes, as the archive has them.
#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    entries: Vec<(u64, u64)>,
}

/// The ranges of a file that hold data, sorted, apart and not empty; `None` when the whole of it does.
pub(super) type Ranges = Option<Box<[Range<u64>]>>;

impl Map {
    /// Entries so far.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory it takes.
    pub(super) fn weight(&self) -> usize {
        self.entries.len() * size_of::<(u64, u64)>()
    }

    /// Adds an entry.
    pub(super) fn push(&mut self, offset: u64, len: u64) -> Result<(), SparseError> {
        if self.entries.len() >= LIMIT {
            return Err(SparseError::TooMany { limit: LIMIT });
        }
        self.entries.push((offset, len));
        Ok(())
    }

    /// The map of version 0.1: numbers with commas between them.
    pub(super) fn from_commas(text: &[u8]) -> Result<Self, SparseError> {
        let mut map = Self::default();
        let mut numbers = text.split(|b| *b == b',').filter(|text| !text.is_empty());
        while let Some(offset) = numbers.next() {
            let index = map.len();
            let number = |text| number::decimal(text).map_err(|_| SparseError::Number { index });
            map.push(number(offset)?, number(numbers.next().ok_or(SparseError::Half { index })?)?)?;
        }
        Ok(map)
    }

    /// Adds entries of an old GNU header: pairs of numeric fields. False when an empty one ended the map.
    pub(super) fn push_fields(&mut self, entries: &[[u8; 24]]) -> Result<bool, SparseError> {
        for entry in entries {
            let (offset, len) = entry.split_at(12);
            let index = self.len();
            let number = |bytes| match number::field(bytes) {
                Ok(None) => Ok(None),
                Ok(Some(n)) => u64::try_from(n).map(Some).map_err(|_| SparseError::Number { index }),
                Err(number::NotANumber) => Err(SparseError::Number { index }),
            };
            let Some(len) = number(len)? else { return Ok(false) };
            self.push(number(offset)?.ok_or(SparseError::Half { index })?, len)?;
        }
        Ok(true)
    }

    /// The ranges of a file of `size` bytes, of which `stored` bytes are in the archive.
    pub(super) fn ranges(&self, size: u64, stored: u64) -> Result<Ranges, SparseError> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut mapped = 0u64;
        let mut last_end = 0;
        for (index, (offset, len)) in self.entries.iter().copied().enumerate() {
            let end = offset.checked_add(len).filter(|end| *end <= size);
            let end = end.ok_or(SparseError::PastEnd { index, size })?;
            // GNU tar ends a map with an empty entry at the end of the file.
            if len == 0 {
                continue;
            }
            if offset < last_end {
                return Err(SparseError::Order { index });
            }
            last_end = end;
            // Apart and inside the file, so that the sum is not more than its size.
            mapped += len;
            match ranges.last_mut() {
                Some(last) if last.end == offset => last.end = end,
                _ => ranges.push(offset..end),
            }
        }
        if mapped > stored {
            return Err(SparseError::Data { mapped, stored });
        }
        Ok((mapped < size).then(|| ranges.into_boxed_slice()))
    }
}

/// Reads the map of version 1.0, which stands in front of the data: the number of entries, then offsets and lengths, each
/// number with a line feed behind it.
#[derive(Default)]
pub(super) struct MapReader {
    map: Map,
    entries: Option<u64>,
    offset: Option<u64>,
    digits: Vec<u8>,
}

impl MapReader {
    /// Takes the next block; true when the map is complete.
    pub(super) fn block(&mut self, block: &[u8]) -> Result<bool, SparseError> {
        for byte in block {
            if *byte != b'\n' {
                self.digits.push(*byte);
                // No number of 64 bits is longer.
                if self.digits.len() > 20 {
                    return Err(SparseError::Number { index: self.map.len() });
                }
                continue;
            }
            let number = number::decimal(&self.digits).map_err(|_| SparseError::Number { index: self.map.len() })?;
            self.digits.clear();
            match (self.entries, self.offset.take()) {
                (None, _) => self.entries = Some(number),
                (Some(_), None) => self.offset = Some(number),
                (Some(_), Some(offset)) => self.map.push(offset, number)?,
            }
            if self.entries == Some(self.map.len() as u64) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The map.
    pub(super) fn finish(self) -> Map {
        self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(u64, u64)]) -> Map {
        Map { entries: entries.to_vec() }
    }

    #[test]
    fn ranges_are_apart_and_not_empty() {
        let ranges = |entries: &[_], size, stored| map(entries).ranges(size, stored).unwrap();
        assert_eq!(ranges(&[(0, 10), (10, 5), (20, 1), (30, 0)], 30, 16).unwrap()[..], [0..15, 20..21]);
        assert_eq!(ranges(&[(0, 10), (10, 20)], 30, 30), None);
        assert_eq!(ranges(&[(30, 0)], 30, 0).unwrap()[..], []);
        assert_eq!(ranges(&[], 0, 0), None);
        // More is stored than the map tells of.
        assert_eq!(ranges(&[(5, 5)], 30, 99).unwrap()[..], [5..10]);
    }

    #[test]
    fn maps_that_cannot_be_are_refused() {
        for (entries, error) in [
            (&[(0, 10), (9, 1)][..], SparseError::Order { index: 1 }),
            (&[(10, 1), (0, 1)], SparseError::Order { index: 1 }),
            (&[(0, 31)], SparseError::PastEnd { index: 0, size: 30 }),
            (&[(31, 0)], SparseError::PastEnd { index: 0, size: 30 }),
            (&[(0, 1), (u64::MAX, 2)], SparseError::PastEnd { index: 1, size: 30 }),
            (&[(0, 5), (10, 10)], SparseError::Data { mapped: 15, stored: 14 }),
        ] {
            assert_eq!(map(entries).ranges(30, 14), Err(error), "{entries:?}");
        }
        assert_eq!(Map::from_commas(b"1,2,3").unwrap_err(), SparseError::Half { index: 1 });
        assert_eq!(Map::from_commas(b"1,x").unwrap_err(), SparseError::Number { index: 0 });
        let many = "0,0,".repeat(LIMIT + 1);
        assert_eq!(Map::from_commas(many.as_bytes()).unwrap_err(), SparseError::TooMany { limit: LIMIT });
    }

    #[test]
    fn a_map_in_front_of_the_data_ends_with_its_last_number() {
        let mut reader = MapReader::default();
        assert_eq!(reader.block(b"2\n0\n5"), Ok(false));
        assert_eq!(reader.block(b"12\n1024\n1\n\0\0\0"), Ok(true));
        assert_eq!(reader.finish().entries, [(0, 512), (1024, 1)]);
        assert_eq!(MapReader::default().block(b"0\n\0\0"), Ok(true));
        assert_eq!(MapReader::default().block(b"1\n\0\n"), Err(SparseError::Number { index: 0 }));
        assert_eq!(MapReader::default().block(&[b'1'; 512]), Err(SparseError::Number { index: 0 }));
    }
}
