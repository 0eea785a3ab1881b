//! `docs/scenarios.md` against the parser's tables: the same operations, in the same order, and every example is taken.

use daxkit_scenario::word::Word;
use daxkit_scenario::{Errno, Operation, check, letters, parse, print, words};

const REFERENCE: &str = include_str!("../../../docs/scenarios.md");

/// The cells of each row of the tables whose first column is headed so, with the heading above.
fn rows(head: &str) -> Vec<(String, Vec<String>)> {
    let (mut heading, mut inside) = (String::new(), false);
    let mut rows = Vec::new();
    for line in REFERENCE.lines() {
        if let Some(title) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
            heading = title.to_owned();
        }
        if !line.starts_with('|') {
            inside = false;
        } else if line.starts_with(&format!("| {head} |")) {
            inside = true;
        } else if inside && !line.starts_with("|---") {
            let cells = line.trim_start_matches("| ").trim_end_matches(" |").split(" | ");
            rows.push((heading.clone(), cells.map(|cell| cell.replace("\\|", "|")).collect()));
        }
    }
    rows
}

fn code(cell: &str) -> &str {
    cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).unwrap_or_else(|| panic!("no code: {cell}"))
}

#[test]
fn the_reference_lists_the_operations_there_are() {
    let found: Vec<_> = rows("Operation");
    assert_eq!(found.len(), Operation::TABLE.len());
    for ((group, cells), row) in found.iter().zip(Operation::TABLE) {
        assert_eq!(group, row.group, "{}", row.name);
        assert_eq!(code(&cells[0]), row.usage_line());
        assert_eq!(cells[1], row.gives(), "{}", row.name);
        assert_eq!(cells[2], row.about.trim(), "{}", row.name);
    }
}

/// Makes what examples use: descriptors, a mapping, a pin, another task.
const AROUND: &str =
    "scenario t\nfs a ext4 mem=64M\ntask B\nopen f /d/f O_RDWR\nopen g /d/g O_RDWR\nmmap m f 0 4M shared\npin p m 4K\n";

#[test]
fn every_example_of_an_operation_is_one_and_is_taken() {
    for ((_, cells), row) in rows("Operation").iter().zip(Operation::TABLE) {
        let example = code(&cells[3]);
        let words: Vec<_> = example.split(' ').filter(|word| *word != "print").collect();
        assert_eq!(words.first(), Some(&row.name), "{example}");
        let text = format!("{AROUND}{example}\n");
        let file = parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
        check(&file, &text).unwrap_or_else(|errors| panic!("{errors}"));
        let line = print(&file).lines().last().map(|line| line.trim().to_owned());
        assert_eq!(parse(&format!("{AROUND}{}\n", line.expect("a line"))).as_ref(), Ok(&file), "{example}");
    }
}

#[test]
fn every_scenario_of_the_reference_is_taken() {
    let mut blocks = 0;
    for block in REFERENCE.split("```dax\n").skip(1) {
        let text = block.split("```").next().expect("the block ends");
        let file = parse(text).unwrap_or_else(|errors| panic!("{errors}"));
        check(&file, text).unwrap_or_else(|errors| panic!("{errors}"));
        blocks += 1;
    }
    assert_eq!(blocks, 3);
}

#[test]
fn the_reference_lists_the_words_there_are() {
    fn of<W: Word>() -> (String, String) {
        (W::USAGE.to_owned(), W::ALL.iter().map(|word| format!("`{}`", word.word())).collect::<Vec<_>>().join(" "))
    }
    let errnos: Vec<_> = Errno::ALL.iter().map(|errno| format!("`{errno}`")).collect();
    let there = [
        of::<words::OpenFlag>(),
        of::<words::NodeKind>(),
        of::<words::RenameFlag>(),
        of::<words::Whence>(),
        of::<words::FallocFlag>(),
        of::<words::FileAdvice>(),
        of::<words::StatxFlag>(),
        of::<words::MapFlag>(),
        of::<words::Prot>(),
        of::<words::MapAdvice>(),
        of::<words::MsyncFlag>(),
        of::<words::Width>(),
        of::<words::StoreFlag>(),
        of::<words::PinFlag>(),
        of::<words::Shutdown>(),
        of::<words::CounterName>(),
        of::<letters::Flag>(),
        of::<letters::XFlag>(),
        of::<words::Device>(),
        of::<words::Capability>(),
        of::<words::Need>(),
        of::<daxkit_scenario::Signal>(),
        ("ERRNO".to_owned(), errnos.join(" ")),
    ];
    let documented = rows("Type");
    assert_eq!(documented.len(), there.len());
    for ((_, cells), (usage, words)) in documented.iter().zip(there) {
        assert_eq!((code(&cells[0]), &cells[2]), (&*usage, &words));
    }
}
