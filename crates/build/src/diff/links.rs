//! Which names are one file. Numbers of inodes mean nothing, but that two names have the same one does.

use super::Side;
use daxkit_format::InodeNr;
use std::collections::HashMap;

/// Inodes with several names, and the names under which they came first.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// The partner of an inode of the first, and the path of both.
    a: HashMap<InodeNr, (InodeNr, Vec<u8>)>,
    /// The same from the other side.
    b: HashMap<InodeNr, (InodeNr, Vec<u8>)>,
}

/// What a further pair of inodes is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// Not met before.
    New,
    /// This very pair was met, and compared.
    Before,
    /// One of them was met with another partner, under this name.
    Apart(Side, Vec<u8>),
}

impl Links {
    pub(super) fn meet(&mut self, path: &[u8], a: InodeNr, b: InodeNr) -> Met {
        let (known_a, known_b) = (self.a.get(&a), self.b.get(&b));
        let met = match (known_a, known_b) {
            (Some((partner, _)), _) if *partner == b => return Met::Before,
            (Some((_, with)), _) => Met::Apart(Side::A, with.clone()),
            (None, Some((_, with))) => Met::Apart(Side::B, with.clone()),
            (None, None) => Met::New,
        };
        self.a.entry(a).or_insert_with(|| (b, path.to_vec()));
        self.b.entry(b).or_insert_with(|| (a, path.to_vec()));
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_one_file_on_one_side_only_are_told() {
        let mut links = Links::default();
        let mut meet = |path: &[u8], a, b| links.meet(path, InodeNr(a), InodeNr(b));
        assert_eq!(meet(b"/one", 12, 50), Met::New);
        assert_eq!(meet(b"/two", 12, 50), Met::Before);
        assert_eq!(meet(b"/three", 12, 51), Met::Apart(Side::A, b"/one".to_vec()));
        assert_eq!(meet(b"/four", 13, 50), Met::Apart(Side::B, b"/one".to_vec()));
        assert_eq!(meet(b"/five", 14, 52), Met::New);
    }
}
