//! A recipe that has everything, cut off everywhere; and recipes that are long, deep or wide.

use daxkit_build::recipe::{ItemKind, RecipeError, parse, tables};
use std::fmt::Write;
use std::path::Path;

const FULL: &str = include_str!("recipe_full.toml");

/// The error of a recipe must lie in it, and fit in one line.
fn check(text: &str, error: &RecipeError) {
    let shown = error.to_string();
    let lines: Vec<&str> = text.split('\n').collect();
    let line = lines.get(error.at.line as usize - 1).unwrap_or_else(|| panic!("no such line: {shown}"));
    assert!((1..=line.chars().count() + 1).contains(&(error.at.column as usize)), "no such column: {shown}");
    assert!(!shown.chars().any(char::is_control) && shown.len() < 1000, "{shown:?}");
}

#[test]
fn the_full_recipe_is_taken() {
    let recipe = parse(FULL, Path::new("/r")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((recipe.sources.len(), recipe.items.len(), recipe.rules.len(), recipe.defects.len()), (2, 14, 1, 7));
    assert!(recipe.items.is_sorted_by_key(|item| item.at));
    assert!(recipe.defects.is_sorted_by_key(|defect| defect.at));
    assert!(matches!(recipe.items.last().map(|item| &item.kind), Some(ItemKind::Node(..))));
    assert_eq!(recipe.items.last().map(|item| item.path.as_slice()), Some(&b"/pipe\xff"[..]));
    for key in tables().iter().flat_map(|table| table.keys) {
        let given = FULL.contains(&format!("{key} = "))
            || FULL.contains(&format!("[{key}]"))
            || FULL.contains(&format!(".{key}]"));
        assert!(given, "the full recipe lacks {key}");
    }
}

#[test]
fn a_recipe_cut_off_anywhere_is_taken_or_refused() {
    let (mut taken, mut refused) = (0, 0);
    for end in (0..=FULL.len()).filter(|end| FULL.is_char_boundary(*end)) {
        match parse(&FULL[..end], Path::new("/r")) {
            Ok(_) => taken += 1,
            Err(error) => {
                check(&FULL[..end], &error);
                refused += 1;
            }
        }
    }
    assert!(taken > 100 && refused > 1000, "{taken} taken, {refused} refused");
}

/// Every byte of the recipe in turn becomes another, three times.
#[test]
fn a_recipe_with_a_wrong_byte_is_taken_or_refused() {
    const WRONG: &[u8] = b"\"'{]=.,\n-9z";
    for at in 0..FULL.len() {
        for byte in WRONG.iter().cycle().skip(at % WRONG.len()).step_by(4).take(3) {
            let mut text = FULL.as_bytes().to_vec();
            text[at] = *byte;
            let text = String::from_utf8(text).expect("the recipe is ASCII");
            if let Err(error) = parse(&text, Path::new("/r")) {
                check(&text, &error);
            }
        }
    }
}

/// Brackets and dots are bounded each, their product is not: as deep as `toml` lets anything be, in an
/// eighth of a thread's usual stack.
#[test]
fn deep_recipes_do_not_overflow_the_stack() {
    let dots = vec!["a"; 79].join(".");
    let nested = |levels: usize, open: &str, close: &str| open.repeat(levels) + "1" + &close.repeat(levels);
    for (text, expected) in [
        (format!("{dots} = {}\n", nested(79, &format!("{{ {dots} = "), " }")), "1:1: unknown key `a` in the recipe"),
        (format!("source = {}\n", nested(70, "[", "]")), "1:11: `source` wants a path of the host, found a list"),
        (format!("source = {}\n", nested(100_000, "[", "]")), "1:90: cannot recurse further; max recursion depth met"),
        (
            format!("source = {}\n", nested(100_000, "{ a = ", " }")),
            "1:490: cannot recurse further; max recursion depth met",
        ),
        (format!("\nx = 1\n{} = 1\n", vec!["a"; 100_000].join(".")), "3:1: a key has more than 80 parts"),
        (format!("[{}]\n", vec!["a"; 100_000].join(".")), "1:1: a key has more than 80 parts"),
        (
            format!("[[rule]]\nmode = 0\nmatch = \"{}b{}\"", "{a,".repeat(1023), "}".repeat(1023)),
            "3:9: `match` has a pattern that is none: it is too long, or its braces are too deep",
        ),
        // The same with an error, where the document is never handed out.
        (format!("{dots} = {}\n", "{ a.b.c.d = ".repeat(70)), ""),
        (
            format!("{dots} = {}\n\"\n", nested(79, &format!("{{ {dots} = "), " }")),
            "2:2: key with no value, expected `=`",
        ),
    ] {
        let parsed = std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
            let error = parse(&text, Path::new("/r")).expect_err("no recipe is that deep");
            check(&text, &error);
            error.to_string()
        });
        let message = parsed.expect("a thread").join().expect("no panic");
        assert!(expected.is_empty() || message == expected, "{message}");
    }
}

/// Time and memory grow with the length of the text, whatever it holds.
#[test]
fn long_recipes_are_read_in_one_go() {
    let mut many = String::new();
    for i in 0..20_000 {
        // Writing to a string does not fail.
        let _ = writeln!(many, "[[file]]\npath = \"/{i}\"\nsize = {i}");
    }
    assert_eq!(parse(&many, Path::new("/r")).map(|recipe| recipe.items.len()).ok(), Some(20_000));
    let one_line: Vec<String> = (0..20_000).map(|i| format!("{{ path = \"/\u{e4}{i}\" }}")).collect();
    let one_line = format!("file = [{}]", one_line.join(", "));
    let recipe = parse(&one_line, Path::new("/r")).expect("it is right");
    let last = recipe.items.last().expect("there are items").at;
    assert_eq!(last.column as usize, one_line.chars().count() - "{ path = \"/\u{e4}19999\" }]".chars().count() + 1);
    for (text, expected) in [
        ("x = 1\n".repeat(100_000), "2:1: `x` is given twice, first on line 1"),
        (format!("{} = 1", "k".repeat(1 << 20)), &*format!("1:1: unknown key `{}...` in the recipe", "k".repeat(60))),
        (
            format!("[filesystem]\ntype = \"{}\"", "t".repeat(1 << 20)),
            &*format!("2:8: `type` wants one of `ext2`, `ext3`, `ext4`, found \"{}\"...", "t".repeat(60)),
        ),
        (
            format!("[[rule]]\nmode = 0\nmatch = \"{}\"", "{a,".repeat(1 << 18) + &"}".repeat(1 << 18)),
            "3:9: `match` has a pattern of 1048576 bytes; the most is 4096",
        ),
        ("[".repeat(1 << 20), ""),
        ("\"".repeat(1 << 20), ""),
        ("=".repeat(1 << 20), ""),
        ("a.".repeat(1 << 19), ""),
    ] {
        let error = parse(&text, Path::new("/r")).expect_err("it is wrong");
        check(&text, &error);
        assert!(expected.is_empty() || error.to_string() == expected, "{error}");
    }
}
