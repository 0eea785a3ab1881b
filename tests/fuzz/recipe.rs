//! The target for recipes.

use daxkit_build::recipe::{Content, ItemKind, parse};
use std::path::Path;

pub(crate) fn recipe(data: &[u8]) {
    // A mutated recipe is seldom UTF-8; with the wrong bytes replaced it still gets past the first character.
    let text = String::from_utf8_lossy(data);
    let recipe = match parse(&text, Path::new("/r")) {
        Ok(recipe) => recipe,
        Err(error) => {
            let shown = error.to_string();
            assert!(!shown.chars().any(char::is_control), "{shown:?} is not one line");
            let line = text.split('\n').nth(error.at.line as usize - 1).expect("the line is there");
            assert!((1..=line.chars().count() + 1).contains(&(error.at.column as usize)), "{shown:?} is past its line");
            return;
        }
    };
    assert!(recipe.items.is_sorted_by_key(|item| item.at), "items are in the order of the text");
    for item in &recipe.items {
        let names = item.path.strip_prefix(b"/").expect("paths are absolute");
        let clean = |name: &[u8]| !name.is_empty() && name != b"." && name != b".." && name.len() < 256;
        assert!(names.is_empty() || names.split(|b| *b == b'/').all(clean), "{:?} is not clean", item.path);
        let ItemKind::File(file) = &item.kind else { continue };
        let apart = |ranges: &[std::ops::Range<u64>]| {
            ranges.iter().all(|r| r.start < r.end) && ranges.windows(2).all(|w| w[0].end <= w[1].start)
        };
        assert!(apart(&file.holes) && apart(&file.unwritten), "{:?}, {:?}", file.holes, file.unwritten);
        if let Content::Pieces(pieces) = &file.content {
            let ranges: Vec<_> = pieces.iter().map(|piece| piece.range.clone()).collect();
            assert!(apart(&ranges), "{ranges:?}");
            assert!(ranges.last().is_none_or(|r| r.end <= file.size.unwrap_or(i64::MAX as u64)), "{ranges:?}");
        }
    }
    for defect in &recipe.defects {
        assert_eq!(defect.place.to_string().parse().as_ref(), Ok(&defect.place));
    }
}
