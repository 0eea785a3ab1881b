//! The pager, and colour.

use crate::common::{Scratch, tool};
use crate::image;
use crate::pty::{CTRL_D, PROMPT, Terminal};
use std::os::unix::fs::PermissionsExt;

/// A pager that keeps what it is given.
fn pager(scratch: &Scratch) -> String {
    let path = scratch.path("pager");
    std::fs::write(&path, format!("#!/bin/sh\ncat >> {}\necho paged\n", scratch.path("record").display())).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn long_output_goes_through_the_pager() {
    let scratch = Scratch::new();
    let (image, pager) = (image(&scratch), pager(&scratch));
    let help = String::from_utf8(tool(&["-R", "help", &image], b"").stdout).unwrap();
    let env = [("DAX_DEBUGFS_PAGER", pager.as_str()), ("PAGER", "false")];
    let mut terminal = Terminal::start(&[&image], &env);
    terminal.expect(PROMPT);
    // What fits does not.
    assert_eq!(terminal.run("cat hello"), "hello, world\n");
    assert!(!scratch.path("record").exists());
    assert_eq!(terminal.run("help"), "paged\n");
    assert_eq!(std::fs::read_to_string(scratch.path("record")).unwrap(), help);
    // Each command has its own.
    assert_eq!(terminal.run("cat hello"), "hello, world\n");
    // What a command complains about is said where the rest is.
    assert_eq!(terminal.run("stat hello sub sparse nosuch"), "paged\n");
    let record = std::fs::read_to_string(scratch.path("record")).unwrap();
    let last = record.lines().last().unwrap();
    assert!(last.starts_with("dax-debugfs: \x1b[1;31merror\x1b[0m: stat: nosuch: "), "{last:?}");
    terminal.send(CTRL_D);
    assert!(terminal.end().success());
    // Nobody asks for a pager elsewhere.
    let mut terminal = Terminal::start(&["--no-pager", &image], &env);
    terminal.expect(PROMPT);
    assert_eq!(terminal.run("help"), help);
    let mut terminal = Terminal::start(&["-R", "help", &image], &env);
    terminal.expect("`help COMMAND` has examples.");
    assert!(terminal.end().success());
}

#[test]
fn a_pager_may_be_left_early() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    for mode in ["-n", "-w"] {
        let mut terminal = Terminal::start(&[mode, &image], &[("PAGER", "head -n 1")]);
        terminal.expect(PROMPT);
        assert_eq!(terminal.run("dump_image -d"), "daxkit-dump 2\n");
        assert_eq!(terminal.run("cat hello"), "hello, world\n");
        terminal.send(CTRL_D);
        assert!(terminal.end().success());
    }
}

#[test]
fn a_pager_that_is_missing_is_no_failure() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    let mut terminal = Terminal::start(&[&image], &[("PAGER", "no-such-pager")]);
    terminal.expect(PROMPT);
    assert!(terminal.run("help").ends_with("`help COMMAND` has examples.\n"));
    // A shell tells it too late for this command.
    let mut terminal = Terminal::start(&[&image], &[("PAGER", "no-such-pager | cat; exit 127")]);
    terminal.expect(PROMPT);
    assert!(terminal.run("help").contains("cannot be run as a pager"));
    assert!(terminal.run("help").ends_with("`help COMMAND` has examples.\n"));
}

#[test]
fn less_is_the_pager_without_another() {
    let scratch = Scratch::new();
    let mut terminal = Terminal::start(&[&image(&scratch)], &[]);
    terminal.expect(PROMPT);
    terminal.send("help\r");
    terminal.expect("The file system");
    // less shows a colon where it waits for keys.
    terminal.expect("\n:");
    terminal.send("q");
    terminal.expect(PROMPT);
    assert_eq!(terminal.run("cat hello"), "hello, world\n");
}

#[test]
fn colour_is_for_terminals() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("tree/dir")).unwrap();
    let image = image(&scratch);
    let flag = tool(&["-w", "-R", "chattr +x sub/data", &image], b"");
    assert!(flag.status.success(), "{}", String::from_utf8_lossy(&flag.stderr));
    let shown = |args: &[&str], env: &[(&str, &str)]| {
        let mut all = args.to_vec();
        all.push(&image);
        let mut terminal = Terminal::start(&all, env);
        for command in ["ls", "ls -l", "lsattr sub", "nosuch", "pwd"] {
            terminal.send(&format!("{command}\r"));
        }
        // Behind all the others.
        terminal.expect(if args.contains(&"--json") { "root_path" } else { "[root]" });
        terminal.raw()
    };
    let (dir, device, letter, error) =
        ("\x1b[1m\x1b[34msub\x1b[0m", "\x1b[1m\x1b[33mfifo\x1b[0m", "\x1b[1m\x1b[32mx\x1b[0m-", "\x1b[1;31merror");
    for (args, env) in [(vec![], vec![]), (vec!["--color", "always"], vec![("NO_COLOR", "1")])] {
        let raw = shown(&args, &env);
        assert_eq!((raw.matches(dir).count(), raw.matches(device).count()), (2, 2), "{raw:?}");
        assert_eq!((raw.matches(letter).count(), raw.matches(error).count()), (1, 1), "{raw:?}");
    }
    for (args, env) in
        [(vec!["--color", "never"], vec![]), (vec![], vec![("NO_COLOR", "1")]), (vec![], vec![("TERM", "dumb")])]
    {
        let raw = shown(&args, &env);
        assert!(!raw.contains("\x1b[1m") && !raw.contains("\x1b[3"), "{args:?} {env:?} {raw:?}");
    }
    let raw = shown(&["--json"], &[]);
    assert!(!raw.contains("\x1b[1m"), "{raw:?}");
    // Elsewhere only for who insists.
    let piped = |args: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["-R", "ls", &image]);
        String::from_utf8(tool(&all, b"").stdout).unwrap()
    };
    assert!(!piped(&[]).contains('\x1b'));
    assert!(piped(&["--color", "always"]).contains(dir));
    assert!(!piped(&["--color", "always", "--json"]).contains('\x1b'));
}
