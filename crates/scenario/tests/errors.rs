//! What is told of a wrong scenario: the place, the reason, the line with a caret.

use daxkit_scenario::{Errors, check, parse};

fn errors(text: &str) -> Errors {
    match parse(text) {
        Ok(file) => check(&file, text).expect_err(text),
        Err(errors) => errors,
    }
}

/// The one error of a scenario that has these lines behind its declarations (which are two).
fn error(lines: &str) -> String {
    let errors = errors(&format!("scenario t\nfs a ext4 mem=64M\n{lines}"));
    assert_eq!(errors.list.len(), 1, "{errors}");
    errors.list[0].one_line()
}

#[test]
fn an_error_shows_its_line_with_a_caret() {
    let errors = errors("scenario t\nfs a ext4 mem=64M\n\n  opne f /d O_RDWR\n");
    let shown = "4:3: there is no operation `opne`; did you mean `open`?\n 4 |   opne f /d O_RDWR\n   |   ^^^^";
    assert_eq!(errors.to_string(), shown);
}

#[test]
fn each_mistake_is_told_by_line_and_column() {
    for (lines, told) in [
        ("C: sync", "3:1: there is no task `C`"),
        ("task Alpha\nAlhpa: sync", "4:1: there is no task `Alhpa`; did you mean `Alpha`?"),
        ("close f", "3:7: this task has made no descriptor `f`"),
        ("task B\nopen f /f O_RDWR\nB: close f", "5:10: this task has made no descriptor `f`"),
        ("open f /f", "3:1: a file is opened O_RDONLY, O_WRONLY or O_RDWR, or as O_PATH"),
        ("open f /f O_RDRW", "3:11: `O_RDRW` is no OPEN_FLAGS; did you mean `O_RDWR`?"),
        ("open f f O_RDWR", "3:8: \"f\" is no absolute path"),
        ("creat b:/f", "3:7: there is no file system `b`"),
        ("creat /f mdoe=0644", "3:10: there is no `mdoe=` here; did you mean `mode`?"),
        ("creat /f mode=0644 mode=0644", "3:20: `mode=` is given twice"),
        ("creat /f mode=9", "3:15: `9` is no mode in octal"),
        ("truncate /f 4X", "3:13: `4X` is no number (digits or 0x, and K, M, G or T)"),
        ("truncate /f", "3:12: a number is wanted, but the line ends"),
        ("sync sync", "3:6: the end of the line is wanted, but `sync` stands there"),
        ("creat /f = 5", "3:1: `creat` gives nothing but success, which `= 5` cannot be held against"),
        ("stat /f = {sise=5}", "3:12: `stat` gives no `sise`; did you mean `size`?"),
        ("fiemap /f has hole", "3:1: `fiemap` gives no `hole`: written unwritten delalloc inline"),
        ("creat /f ! EBUSZ", "3:12: `EBUSZ` is no error number, signal or `oops`; did you mean `EBUSY`?"),
        ("symlink \"a /l", "3:9: the quotes are not closed"),
        ("chattr x /f", "3:8: `x` is no change of flags: `+x` or `-x` is one"),
        ("chattr +q /f", "3:8: there is no flag with the letter `q`"),
        (
            "on 6.x: sync",
            "3:4: `6.x` is no condition; these are: ext4 or xfs, a release (6.1, ..6.1, 6.2..), an option (dax=inode), a file system",
        ),
        ("on ext4: = 5", "3:1: there is no operation before that this could be expected of"),
        ("on b: sync", "3:4: there is no file system `b`"),
        ("never r = 5", "3:7: no operation before gives the register `r`"),
        ("never violated P15", "3:16: `P15` is no property: P1 to P14 are"),
        ("end", "3:1: there is no block to end"),
        ("setup\nsync", "3:1: this block has no `end`"),
        ("concurrent\nsync\nend", "4:1: in a concurrent block each operation says whose it is"),
        ("schedule A", "3:1: a schedule stands in a `concurrent` block"),
        ("repeat 1M\nsync\nend", "1:1: this scenario comes to more than 1000000 operations"),
        ("write /f zero*2G", "3:7: `/f` is no name of a descriptor: letters, digits and `_`, not a digit first"),
        ("fs b ext4", "3:10: a source, `mem=SIZE`, `image=PATH` or `given`, is wanted, but the line ends"),
        ("fs a xfs mem=64M", "3:4: there is a file system `a` already"),
        ("sync ;", "3:6: ';' has no meaning here"),
    ] {
        assert_eq!(error(lines), told, "{lines}");
    }
}

#[test]
fn every_line_is_told_up_to_a_bound() {
    let text = format!("scenario t\nfs a ext4 mem=64M\n{}", "foo\n".repeat(100));
    let told = errors(&text);
    assert_eq!(told.list.len(), daxkit_scenario::error::MOST);
    assert!(told.more && told.list.iter().zip(3..).all(|(error, line)| error.place.line == line));
    assert_eq!(errors("\n\n").list[0].one_line(), "2:1: there is no `scenario \"title\"`");
}
