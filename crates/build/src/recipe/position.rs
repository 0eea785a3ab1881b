//! From an offset in bytes to line and column.

use super::types::At;

/// Distance of the checkpoints, in bytes: what is counted for one position, at most, however long the line is.
const STEP: usize = 1024;

/// Where the lines of a text begin, and how many characters stand before every [`STEP`]th byte.
pub(super) struct Lines<'t> {
    text: &'t [u8],
    starts: Vec<usize>,
    checkpoints: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let text = text.as_bytes();
        let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(i, _)| i + 1);
        let mut checkpoints = vec![0];
        let mut before = 0;
        for chunk in text.chunks(STEP) {
            before += characters(chunk);
            checkpoints.push(before);
        }
        Self { text, starts: std::iter::once(0).chain(ends).collect(), checkpoints }
    }

    /// The position of a byte; past the end, that of the end.
    pub(super) fn at(&self, offset: usize) -> At {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|i| self.starts.get(i)).copied().unwrap_or(0);
        let column = self.before(offset).saturating_sub(self.before(start)) + 1;
        let number = |n| u32::try_from(n).unwrap_or(u32::MAX);
        At { line: number(line), column: number(column) }
    }

    /// Characters before a byte.
    fn before(&self, offset: usize) -> usize {
        let step = offset / STEP;
        let rest = self.text.get(step * STEP..offset).unwrap_or_default();
        self.checkpoints.get(step).copied().unwrap_or(0) + characters(rest)
    }
}

/// Characters that begin in these bytes of UTF-8.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_columns_count_characters() {
        let text = "ab\n\u{e4}\u{20ac}x\n\nend";
        let lines = Lines::new(text);
        let at = |offset| {
            let At { line, column } = lines.at(offset);
            (line, column)
        };
        assert_eq!((at(0), at(1), at(2)), ((1, 1), (1, 2), (1, 3)));
        assert_eq!((at(3), at(5), at(8), at(9)), ((2, 1), (2, 2), (2, 3), (2, 4)));
        assert_eq!((at(10), at(11), at(13)), ((3, 1), (4, 1), (4, 3)));
        assert_eq!((at(14), at(99)), ((4, 4), (4, 4)));
        assert_eq!(Lines::new("").at(0), At { line: 1, column: 1 });
    }

    #[test]
    fn long_lines_are_counted_as_short_ones() {
        let text = format!("first\n{}\nlast", "\u{20ac}x".repeat(3000));
        let lines = Lines::new(&text);
        let mut expected = At { line: 1, column: 1 };
        for (offset, c) in text.char_indices() {
            assert_eq!(lines.at(offset), expected, "byte {offset}");
            expected = match c {
                '\n' => At { line: expected.line + 1, column: 1 },
                _ => At { column: expected.column + 1, ..expected },
            };
        }
    }
}
