//! What the tab key does.

use crate::common::Scratch;
use crate::image;
use crate::pty::{CTRL_U, PROMPT, Terminal};

fn start(scratch: &Scratch) -> Terminal {
    let mut terminal = Terminal::start(&[&image(scratch)], &[]);
    terminal.expect(PROMPT);
    terminal
}

/// What the line becomes when the tab key is hit behind `typed`; the line is thrown away.
fn completed(terminal: &mut Terminal, typed: &str, wanted: &str) {
    terminal.send(typed);
    terminal.expect(typed);
    terminal.send("\t");
    terminal.expect(&format!("{PROMPT}{wanted}"));
    terminal.send(CTRL_U);
    // The line is empty when something else can be typed behind the prompt.
    terminal.send("#\x7f");
    terminal.expect("#");
}

/// The list that appears.
fn listed(terminal: &mut Terminal, typed: &str) -> Vec<String> {
    terminal.send(typed);
    terminal.expect(typed);
    terminal.send("\t");
    terminal.expect("\n");
    let list = terminal.expect(PROMPT);
    terminal.send(CTRL_U);
    terminal.send("#\x7f");
    terminal.expect("#");
    list.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn commands_and_their_aliases() {
    let scratch = Scratch::new();
    let mut terminal = start(&scratch);
    completed(&mut terminal, "fref", "freefrag ");
    completed(&mut terminal, "change_w", "change_working_directory ");
    let list = listed(&mut terminal, "l");
    for name in ["lcd", "list_directory", "ln", "locate", "ls", "lsattr"] {
        assert!(list.iter().any(|n| n == name), "{name}: {list:?}");
    }
    assert!(list.iter().all(|name| name.starts_with('l')), "{list:?}");
    completed(&mut terminal, "help lsat", "help lsattr ");
    // Those of the extent mode are there while a tree is open.
    terminal.send("next_l\t");
    terminal.expect("next_l");
    terminal.send(CTRL_U);
    terminal.send("extent_open hello\r");
    terminal.expect("): ");
    terminal.send("next_l\t");
    terminal.expect("next_leaf ");
}

#[test]
fn paths_of_the_image() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path("tree/-dash"), "").unwrap();
    std::fs::write(scratch.path("tree/bad\x1b[2Jname"), "").unwrap();
    std::fs::create_dir(scratch.path("tree/my dir")).unwrap();
    std::fs::write(scratch.path("tree/my dir/in it"), "inside\n").unwrap();
    let mut terminal = start(&scratch);
    completed(&mut terminal, "cat hel", "cat hello ");
    completed(&mut terminal, "ls /su", "ls /sub/");
    completed(&mut terminal, "ls -l /sub/de", "ls -l /sub/deeper/");
    // Only directories, where a directory is wanted.
    completed(&mut terminal, "cd s", "cd s");
    completed(&mut terminal, "cd su", "cd sub/");
    assert_eq!(listed(&mut terminal, "cat s"), ["slow", "sparse", "sub/"]);
    completed(&mut terminal, "cat sub/deeper/", "cat \"sub/deeper/quote\"\"d\" ");
    completed(&mut terminal, "cat two", "cat \"two words\" ");
    completed(&mut terminal, "cat \"two w", "cat \"two words\" ");
    completed(&mut terminal, "cat my", "cat \"my dir/\"");
    completed(&mut terminal, "cat \"my dir/\"", "cat \"my dir/in it\" ");
    completed(&mut terminal, "cat -", "cat ./-dash ");
    // What a name would do to the terminal, it cannot do from here.
    assert!(!listed(&mut terminal, "cat ").iter().any(|name| name.starts_with("bad")));
    assert!(!terminal.raw().contains("bad\x1b"));
    // From another directory, and from another root.
    terminal.run("cd /sub/deeper");
    completed(&mut terminal, "cat q", "cat \"quote\"\"d\" ");
    completed(&mut terminal, "cat ../da", "cat ../data ");
    terminal.run("chroot /sub");
    completed(&mut terminal, "cat /da", "cat /data ");
    // What was completed is found.
    terminal.send("cat q\t\r");
    terminal.expect("quoted\r\n");
}

#[test]
fn a_closed_image_has_no_names() {
    let scratch = Scratch::new();
    let mut terminal = start(&scratch);
    terminal.run("close");
    terminal.send("stat hel\t");
    terminal.expect("stat hel");
    terminal.send("\r");
    terminal.expect("stat: no image is open");
}

#[test]
fn options_places_fields_and_host_paths() {
    let scratch = Scratch::new();
    let mut terminal = start(&scratch);
    assert_eq!(listed(&mut terminal, "ls -"), ["-c", "-d", "-l", "-p", "-r"]);
    completed(&mut terminal, "rdump --t", "rdump --tar ");
    completed(&mut terminal, "print sup", "print super");
    completed(&mut terminal, "print inode:2.i_fl", "print inode:2.i_flags");
    completed(&mut terminal, "print group.0/block", "print group.0/block_bitmap");
    completed(&mut terminal, "locate inode:2.i_flags.DA", "locate inode:2.i_flags.DAX ");
    completed(&mut terminal, "locate /hel", "locate /hello ");
    completed(&mut terminal, "set_inode_field hello links", "set_inode_field hello links_count ");
    completed(&mut terminal, "set_super_value s_inodes_c", "set_super_value s_inodes_count ");
    completed(&mut terminal, "ea_get hello user.t", "ea_get hello user.text ");
    completed(&mut terminal, "feature -metadata_csum_", "feature -metadata_csum_seed ");
    completed(&mut terminal, "convert bl", "convert block ");
    terminal.run("locate inode:2");
    completed(&mut terminal, "print .i_links", "print .i_links_count");
    let host = scratch.path("");
    let host = host.to_str().unwrap();
    // A line no longer than the screen.
    terminal.run(&format!("lcd {host}"));
    completed(&mut terminal, "lcd tr", "lcd tree/");
    completed(&mut terminal, "dump hello tree/hel", "dump hello tree/hello ");
    completed(&mut terminal, "dump -p hel", "dump -p hello ");
}
