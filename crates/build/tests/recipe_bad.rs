//! Recipes that are refused: each with the exact line, column and message. They stand in `recipe_bad.txt`.

use daxkit_build::recipe::{At, RecipeError, parse};
use std::path::Path;

const CASES: &str = include_str!("recipe_bad.txt");

/// The recipes of the file with their messages.
fn cases() -> Vec<(String, &'static str)> {
    let (mut cases, mut text) = (Vec::new(), String::new());
    let recipes = CASES.lines().skip_while(|line| !line.starts_with("===== "));
    for line in recipes.filter(|line| !line.starts_with("===== ")) {
        match line.strip_prefix("=> ") {
            Some(message) => cases.push((std::mem::take(&mut text), message)),
            None => text += &format!("{line}\n"),
        }
    }
    assert_eq!(text, "", "the last recipe has no message");
    cases
}

#[test]
fn what_is_wrong_is_told_by_line_and_column() {
    let cases = cases();
    assert!(cases.len() > 200, "there are {} cases", cases.len());
    let mut wrong = Vec::new();
    for (text, expected) in &cases {
        let found = match parse(text, Path::new("/r")) {
            Ok(_) => "it is taken".to_owned(),
            Err(error) => error.to_string(),
        };
        if found != *expected {
            wrong.push(format!("{text}  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The same with lines of Windows, behind a comment with characters of several bytes, and without the last line's end.
#[test]
fn columns_do_not_depend_on_the_ends_of_lines() {
    for (text, expected) in cases() {
        if text.contains("\"\"\"") || expected.contains("unclosed") || expected.contains("invalid basic string") {
            continue;
        }
        let shifted = format!("# \u{20ac}\u{e4}\r\n{}", text.trim_end().replace('\n', "\r\n"));
        let error = parse(&shifted, Path::new("/r")).expect_err(&text);
        let (line, rest) = expected.split_once(':').expect("a line");
        let line: u32 = line.parse().expect("a number");
        let found = error.to_string();
        let (_, found) = found.split_once(':').expect("a line");
        assert_eq!(error.at.line, line + 1, "{text}");
        // Lines named in messages move as well.
        let without_lines = |text: &str| text.split("line ").next().map(str::to_owned);
        assert_eq!(without_lines(found), without_lines(rest), "{text}");
    }
}

#[test]
fn later_stages_tell_their_errors_in_the_same_form() {
    let error = RecipeError::at(At { line: 12, column: 3 }, format_args!("{} is not there", "/a\nb"));
    assert_eq!(error.to_string(), "12:3: /a\\nb is not there");
}
