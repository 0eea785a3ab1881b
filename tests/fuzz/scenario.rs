//! The target for scenarios.

use daxkit_scenario::case::{MOST as MOST_CASES, cases};
use daxkit_scenario::error::MOST;
use daxkit_scenario::{Errors, check, parse, print};

pub(crate) fn scenario(data: &[u8]) {
    // As with recipes: with the wrong bytes replaced a mutated scenario gets past the first character.
    let text = String::from_utf8_lossy(data);
    let file = match parse(&text) {
        Ok(file) => file,
        Err(errors) => return lie_within(&errors, &text),
    };
    // What parses has a text that means the same, whether or not what it says makes sense.
    let printed = print(&file);
    match parse(&printed) {
        Ok(again) => assert_eq!(again, file, "{printed}"),
        Err(errors) => panic!("what was printed does not parse: {errors}\n{printed}"),
    }
    assert_eq!(print(&parse(&printed).expect("it just did")), printed, "the canonical text is not its own");
    match check(&file, &text) {
        Ok(()) => {
            for scenario in &file.scenarios {
                let count = cases(&file, scenario).len();
                assert!((1..MOST_CASES).contains(&count), "{:?} has {count} cases", scenario.title);
            }
        }
        Err(errors) => lie_within(&errors, &text),
    }
}

/// Errors are some, not too many, in order, each one line that names a place of the text.
fn lie_within(errors: &Errors, text: &str) {
    assert!((1..=MOST).contains(&errors.list.len()) && (!errors.more || errors.list.len() == MOST), "{errors}");
    assert!(errors.list.is_sorted_by_key(|error| (error.place.line, error.place.column)), "{errors}");
    for error in &errors.list {
        let shown = error.one_line();
        assert!(!shown.chars().any(char::is_control), "{shown:?} is not one line");
        let line = text.split('\n').nth(error.place.line as usize - 1).expect("the line is there");
        assert!((1..=line.chars().count() + 1).contains(&(error.place.column as usize)), "{shown:?} is past its line");
        assert!(error.to_string().lines().count() <= 3, "{error}");
    }
}
