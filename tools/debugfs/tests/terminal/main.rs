//! The shell on a pseudo-terminal.

#[path = "../common/mod.rs"]
mod common;
mod completion;
mod output;
mod pty;

use common::Scratch;
use pty::{CTRL_C, CTRL_D, PROMPT, Terminal, UP};
use std::os::unix::fs::PermissionsExt;

/// An image of the tree, and its path as text.
fn image(scratch: &Scratch) -> String {
    scratch.image("image", "16M", &["-t", "ext4"]).to_str().unwrap().to_owned()
}

#[test]
fn commands_are_typed_until_quit() {
    let scratch = Scratch::new();
    let mut terminal = Terminal::start(&[&image(&scratch)], &[]);
    terminal.expect(PROMPT);
    assert_eq!(terminal.run("cat hello"), "hello, world\n");
    assert_eq!(terminal.run("nosuch"), "dax-debugfs: error: nosuch: no such command (help lists the commands)\n");
    assert_eq!(terminal.run("# a \"comment"), "");
    assert_eq!(terminal.run(""), "");
    terminal.send("quit\r");
    assert!(terminal.end().success());
}

#[test]
fn nothing_typed_ahead_or_pasted_is_lost() {
    let scratch = Scratch::new();
    let mut terminal = Terminal::start(&[&image(&scratch)], &[]);
    // Before there is a prompt, and more than a line at once.
    terminal.send("cat hello\rcat \"two words\"\rcd /sub/deeper\rcat quote\"\"\"\"d\r");
    terminal.expect("hello, world\r\n");
    terminal.expect("blank\r\n");
    terminal.expect("quoted\r\n");
    terminal.expect(PROMPT);
    // As a terminal sends what is pasted: nothing is run before the return key.
    terminal.send("\x1b[200~cat /hello\n# don\"t\ncat \"/two words\"\x1b[201~");
    terminal.expect("words\"");
    terminal.send("\r");
    assert_eq!(terminal.expect(PROMPT).replace('\r', ""), "\nhello, world\nblank\n");
    // After an interrupted line, and with an open quote.
    terminal.send("\x1b[200~pwd\ncat \"two\x1b[201~");
    terminal.expect("\"two");
    terminal.send("\r");
    terminal.expect("\n");
    terminal.send(CTRL_C);
    terminal.expect(PROMPT);
    terminal.send(CTRL_D);
    assert!(terminal.end().success());
}

#[test]
fn control_c_throws_the_line_away_and_control_d_ends() {
    let scratch = Scratch::new();
    let mut terminal = Terminal::start(&[&image(&scratch)], &[]);
    terminal.expect(PROMPT);
    terminal.send("cat nos");
    terminal.expect("cat nos");
    terminal.send(CTRL_C);
    terminal.expect(PROMPT);
    assert_eq!(terminal.run("cat hello"), "hello, world\n");
    terminal.send(CTRL_D);
    assert!(terminal.end().success());
}

#[test]
fn control_c_stops_a_command_and_not_the_shell() {
    let scratch = Scratch::new();
    let huge = std::fs::File::create(scratch.path("tree/huge")).unwrap();
    use std::io::Write;
    (&huge).write_all(b"begin\n").unwrap();
    huge.set_len(1 << 40).unwrap();
    let mut terminal = Terminal::start(&["--no-pager", &image(&scratch)], &[]);
    terminal.expect(PROMPT);
    terminal.send("cat huge\r");
    terminal.expect("begin");
    terminal.send(CTRL_C);
    terminal.expect("dax-debugfs: error: interrupted");
    terminal.expect(PROMPT);
    assert_eq!(terminal.run("cat hello"), "hello, world\n");
    terminal.send(CTRL_D);
    assert!(terminal.end().success());
}

#[test]
fn a_command_may_ask() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    let mut terminal = Terminal::start(&["-w", &image], &[]);
    terminal.expect(PROMPT);
    terminal.send("modify_inode hello\r");
    terminal.expect("] ");
    // The kernel edits the answer.
    terminal.send("0100600\r");
    terminal.expect("] ");
    terminal.send(CTRL_C);
    terminal.expect("dax-debugfs: error: interrupted");
    terminal.expect(PROMPT);
    // Nothing of it was kept.
    assert!(terminal.run("stat hello").contains("Mode:  04711"));
    terminal.send("modify_inode hello\r");
    terminal.expect("] ");
    terminal.send("0100600\r");
    terminal.expect("] ");
    terminal.send(CTRL_D);
    // Without more answers the rest stays.
    terminal.expect(PROMPT);
    assert!(terminal.run("stat hello").contains("Mode:  0600 "));
}

#[test]
fn a_signal_at_the_prompt_leaves_the_terminal_as_it_was() {
    let scratch = Scratch::new();
    let mut terminal = Terminal::start(&[&image(&scratch)], &[]);
    terminal.expect(PROMPT);
    assert!(!terminal.is_cooked());
    terminal.signal(rustix::process::Signal::TERM);
    terminal.expect("dax-debugfs: error: interrupted; ");
    terminal.expect("\n");
    assert!(terminal.is_cooked());
    assert_eq!(terminal.end().code(), Some(1));
}

#[test]
fn history_survives_the_shell() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    let state = scratch.path("state");
    let env = [("XDG_STATE_HOME", state.to_str().unwrap())];
    let mut first = Terminal::start(&[&image], &env);
    first.expect(PROMPT);
    first.run("cat hello");
    first.run(" cat sub/again");
    first.run("pwd");
    // Within one run.
    first.send(UP);
    first.expect("pwd");
    first.send(UP);
    first.expect("cat hello");
    first.send("\r");
    first.expect("hello, world");
    first.expect(PROMPT);
    first.send(CTRL_D);
    assert!(first.end().success());
    let file = state.join("dax-debugfs/history");
    // A line that begins with a blank is not kept.
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "#V2\ncat hello\npwd\ncat hello\n");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut second = Terminal::start(&[&image], &env);
    second.expect(PROMPT);
    second.send(UP);
    second.expect("cat hello");
    second.send("\r");
    second.expect("hello, world");
    second.expect(PROMPT);
    second.send(CTRL_D);
    assert!(second.end().success());
}

#[test]
fn a_history_that_fails_is_said_once_and_stops_nothing() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    let plain = scratch.path("tree/hello/history");
    let mut terminal = Terminal::start(&[&image], &[("DAX_DEBUGFS_HISTORY", plain.to_str().unwrap())]);
    assert!(terminal.expect(PROMPT).contains("warning: cannot read the history"));
    assert_eq!(terminal.run("cat hello"), "hello, world\n");
    assert_eq!(terminal.run("cat hello"), "hello, world\n");
    // Without a home there is none, and nothing to say about that.
    let mut terminal = Terminal::start(&[&image], &[]);
    assert_eq!(terminal.expect(PROMPT), "");
    assert_eq!(terminal.run("cat hello"), "hello, world\n");
}

#[test]
fn a_quote_that_does_not_end_asks_for_more() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path("tree/two\nlines"), "of a name\n").unwrap();
    let mut terminal = Terminal::start(&[&image(&scratch)], &[]);
    terminal.expect(PROMPT);
    terminal.send("cat \"two\r");
    terminal.expect("cat \"two\r\n");
    terminal.send("lines\"\r");
    terminal.expect("lines\"");
    assert_eq!(terminal.expect(PROMPT).replace('\r', ""), "\nof a name\n");
    terminal.send(CTRL_D);
    assert!(terminal.end().success());
}

#[test]
fn the_prompt_shows_what_was_begun() {
    let scratch = Scratch::new();
    let mut terminal = Terminal::start(&["-w", &image(&scratch)], &[]);
    terminal.expect(PROMPT);
    terminal.send("begin\r");
    terminal.expect("dax-debugfs*: ");
    assert_eq!(terminal.run("abort"), "");
    terminal.send("extent_open hello\r");
    terminal.expect("dax-debugfs (extent ino ");
    terminal.expect("): ");
    terminal.send("begin\r");
    terminal.expect("dax-debugfs* (extent ino ");
    terminal.send(CTRL_D);
    terminal.expect("a change was begun and not committed; nothing of it is written");
    assert_eq!(terminal.end().code(), Some(1));
}

#[test]
fn help_shows_examples() {
    let scratch = Scratch::new();
    let mut terminal = Terminal::start(&[&image(&scratch)], &[]);
    terminal.expect(PROMPT);
    let one = terminal.run("help pwd");
    assert!(one.contains("usage: pwd\n") && one.ends_with("example: pwd\n"), "{one}");
    let several = terminal.run("help list_directory");
    assert!(several.contains("also called: list_directory\nexamples:\n  ls -l /\n  ls -p <2>\n"), "{several}");
}

#[test]
fn a_terminal_that_can_do_nothing_gets_plain_lines() {
    let scratch = Scratch::new();
    let mut terminal = Terminal::start(&[&image(&scratch)], &[("TERM", "dumb"), ("PAGER", "false")]);
    let prompt = "dax-debugfs: ";
    terminal.expect(prompt);
    assert!(terminal.is_cooked());
    terminal.send("cat hello\r");
    assert_eq!(terminal.expect(prompt), "cat hello\r\nhello, world\r\n");
    terminal.send("help\r");
    let help = terminal.expect(prompt);
    assert!(help.lines().count() > 24, "{help}");
    assert!(!terminal.raw().contains('\x1b'), "{:?}", terminal.raw());
    terminal.send(CTRL_D);
    assert!(terminal.end().success());
}
