//! Finding a number in what debugfs and dumpe2fs print.

use daxkit_format::field::parse_number;

/// How an answer is found.
pub(super) enum Find {
    /// The number behind these labels, one after the other; in base 10, or in base 16 with `0x` before it.
    Behind(&'static [&'static str]),
    /// The number behind a label, in base 16 without a sign of it.
    Hex(&'static str),
    /// The number before a label.
    Before(&'static str),
    /// 1 where this is printed, else 0.
    Says(&'static str),
    /// The number is all that is printed.
    Alone,
    /// `file_type` of a name in the long list of a directory.
    TypeOf(String),
    /// Inode of a name in the short list of a directory.
    InodeOf(String),
    /// A column of an entry of the root of an extent tree, which is a leaf: see [`EXTENT_COLUMNS`].
    Extent { entry: u16, column: usize },
    /// What stands behind the label in an entry of an htree block.
    Dx { block: u64, index: u32, label: &'static str },
    /// What stands behind the label above the entries of an htree block.
    DxHead { block: u64, label: &'static str },
    /// A column of the line that begins with the id.
    Row { id: u32, column: usize },
}

/// Columns of `dump_extents` behind level and number.
pub(super) const EXTENT_COLUMNS: [&str; 5] = ["ee_block", "last logical", "ee_start", "last physical", "ee_len"];

impl Find {
    /// The number, if it is there.
    pub(super) fn number(&self, said: &str) -> Option<u64> {
        match self {
            Self::Behind(labels) => number(behind(said, labels)?),
            Self::Hex(label) => u64::from_str_radix(word(behind(said, &[label])?)?, 16).ok(),
            Self::Before(label) => parse_number(said.split_once(label)?.0.split_whitespace().next_back()?),
            Self::Says(text) => Some(u64::from(said.contains(text))),
            Self::Alone => parse_number(said.trim()),
            Self::TypeOf(name) => said.lines().find_map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                (words.last() == Some(&name.as_str())).then(|| parse_number(bare(words.get(2)?)))?
            }),
            Self::InodeOf(name) => {
                let words: Vec<&str> = said.split_whitespace().collect();
                words.windows(3).find_map(|entry| match entry {
                    [inode, len, last] if last == name && len.starts_with('(') => parse_number(bare(inode)),
                    _ => None,
                })
            }
            Self::Extent { entry, column } => said.lines().find_map(|line| {
                let numbers: Vec<u64> = line.split([' ', '/', '-']).filter_map(|w| w.parse().ok()).collect();
                match numbers.as_slice() {
                    [0, 0, number, _, columns @ ..] if *number == u64::from(*entry) + 1 => {
                        columns.get(*column).copied()
                    }
                    _ => None,
                }
            }),
            Self::Dx { block, index, label } => {
                let start = format!("Entry #{index}: ");
                dx_block(said, *block)
                    .into_iter()
                    .find(|l| l.starts_with(&start))
                    .and_then(|l| number(behind(l, &[label])?))
            }
            Self::DxHead { block, label } => {
                dx_block(said, *block).into_iter().find_map(|l| number(l.strip_prefix(label)?))
            }
            Self::Row { id, column } => said.lines().find_map(|line| {
                let mut words = line.split_whitespace();
                let of_id = words.next().and_then(parse_number) == Some(u64::from(*id));
                of_id.then(|| words.nth(column.checked_sub(1)?).and_then(parse_number))?
            }),
        }
    }
}

/// The rest of the text behind labels that follow each other.
fn behind<'t>(said: &'t str, labels: &[&str]) -> Option<&'t str> {
    labels.iter().try_fold(said, |rest, label| Some(rest.split_once(label)?.1))
}

/// The rest of the line behind a label.
pub(super) fn line_behind<'t>(said: &'t str, label: &str) -> Option<&'t str> {
    behind(said, &[label])?.lines().next()
}

fn word(text: &str) -> Option<&str> {
    text.split_whitespace().next()
}

/// The number that a text begins with; a time goes on behind a colon, a sentence behind a comma.
fn number(text: &str) -> Option<u64> {
    parse_number(word(text)?.split([':', ',', ']']).next()?)
}

/// A number that stands in brackets of some kind.
fn bare(text: &str) -> &str {
    text.trim_matches(['(', ')', '<', '>'])
}

/// The lines of an htree block: its head, from the number of entries on, and its entries. The first head that is printed is that of
/// block 0; each of the others follows the entry that leads to its block.
fn dx_block(said: &str, wanted: u64) -> Vec<&str> {
    let (mut block, mut inside, mut lines) = (0, false, Vec::new());
    for line in said.lines() {
        if line.trim().is_empty() {
            inside = false;
        } else if line.starts_with("Number of entries (count):") {
            inside = true;
        }
        if inside && block == wanted {
            lines.push(line);
        } else if !inside && line.starts_with("Entry #") {
            block = behind(line, &["block "]).and_then(number).unwrap_or(block);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "Inode: 12   Type: regular    Mode:  0644   Flags: 0x80000\n\
        User:     0   Group:     0   Project:     0   Size: 4096\n\
        Links: 1   Blockcount: 32\n dtime: 0x5e0be100:(0) -- Wed Jan  1 00:00:00 2020\n";

    #[test]
    fn what_stands_beside_a_label() {
        assert_eq!(Find::Behind(&["Flags:"]).number(STAT), Some(0x80000));
        assert_eq!(Find::Behind(&["Size:"]).number(STAT), Some(4096));
        assert_eq!(Find::Behind(&["dtime:"]).number(STAT), Some(0x5e0b_e100));
        assert_eq!(Find::Behind(&["Wishes:"]).number(STAT), None);
        let group = "           483 free blocks, 244 free inodes, 2 used directories\n           [Checksum 0xa6e5]\n";
        assert_eq!(Find::Before(" free blocks").number(group), Some(483));
        assert_eq!(Find::Behind(&["Checksum "]).number(group), Some(0xa6e5));
        let bitmaps = "  Block bitmap at 2 (+2), csum 0xbc6584a5\n  Inode bitmap at 3 (+3), csum 0xec8b7d45\n";
        assert_eq!(Find::Behind(&["Block bitmap", "csum"]).number(bitmaps), Some(0xbc65_84a5));
        assert_eq!(Find::Hex("sequence:").number("sequence: e24d4d50\n"), Some(0xe24d_4d50));
        assert_eq!(Find::Says("marked in use").number("Block 401 not in use\n"), Some(0));
        assert_eq!(Find::Alone.number("1000000\n"), Some(1_000_000));
    }

    #[test]
    fn names_of_a_directory() {
        let short = " 2  (12) .    2  (12) ..    11  (20) lost+found    <15>  (4040) victim   \n";
        assert_eq!(Find::InodeOf("victim".to_owned()).number(short), Some(15));
        assert_eq!(Find::InodeOf("..".to_owned()).number(short), Some(2));
        let long = "     11   40700 (2)      0      0   16384  1-Jan-2026 00:00 lost+found\n\
            \x20    12  100644 (1)      0      0   16384  1-Jan-2026 00:00 victim\n";
        assert_eq!(Find::TypeOf("victim".to_owned()).number(long), Some(1));
    }

    #[test]
    fn entries_of_trees() {
        let extents = "Level Entries       Logical      Physical Length Flags\n\
            \x200/ 0   1/  2     0 -     1    26 -    27      2 \n 0/ 0   2/  2     2 -     3   400 -   401      2 Uninit\n";
        let column = |name| EXTENT_COLUMNS.iter().position(|c| *c == name).expect("a column");
        let of = |entry, name| Find::Extent { entry, column: column(name) }.number(extents);
        assert_eq!((of(0, "ee_start"), of(1, "ee_start"), of(1, "ee_block")), (Some(26), Some(400), Some(2)));
        assert_eq!((of(1, "ee_len"), of(2, "ee_len")), (Some(2), None));
        let htree = "Root node dump:\n\t Indirect levels: 1\nNumber of entries (count): 2\nNumber of entries (limit): 123\n\
            Checksum: 0x10d22d42 --- EXPECTED: 0x10d22d43\nEntry #0: Hash 0x00000000, block 1\n\
            Entry #1: Hash 0xf14cfb2c, block 2\n\nEntry #0: Hash 0x00000000, block 1\nNumber of entries (count): 126\n\
            Entry #0: Hash 0x00000000, block 3\nEntry #1: Hash 0xfffffffe, block 4\n\n";
        let dx = |block, index, label| Find::Dx { block, index, label }.number(htree);
        assert_eq!((dx(0, 1, "Hash "), dx(1, 1, "Hash ")), (Some(0xf14c_fb2c), Some(0xffff_fffe)));
        assert_eq!((dx(0, 1, "block "), dx(1, 1, "block "), dx(2, 0, "block ")), (Some(2), Some(4), None));
        let head = |block, label| Find::DxHead { block, label }.number(htree);
        assert_eq!(head(0, "Checksum:"), Some(0x10d2_2d42));
        assert_eq!((head(1, "Number of entries (count):"), head(1, "Checksum:")), (Some(126), None));
        let quota = "   user id      space    quota    limit\n         0   1073778688        0        0\n";
        assert_eq!(Find::Row { id: 0, column: 1 }.number(quota), Some(1_073_778_688));
    }
}
