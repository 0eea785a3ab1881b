//! Commands about the program itself.

use super::{Command, GROUPS, Group};
use crate::output;
use crate::session::Session;
use anyhow::{Context, Result};
use serde_json::{Value, json};

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["help", "list_requests", "lr", "?"],
        args: "[COMMAND]",
        summary: "List the commands, or explain one",
        example: "help\nhelp stat",
        run: help,
    },
    Command { names: &["quit", "q"], args: "", summary: "Leave the program", example: "quit", run: quit },
];

fn help(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (0, 1))?;
    let describe = |c: &Command| json!({ "name": c.name(), "aliases": c.names.get(1..), "args": c.args, "summary": c.summary, "examples": c.examples().collect::<Vec<_>>() });
    if let Some(name) = options.rest.first() {
        let name = output::shown(name);
        let about = super::find(session, name.as_bytes()).with_context(|| format!("{name}: no such command"))?;
        if session.json {
            return output::document(&mut session.out, command.name(), describe(about));
        }
        writeln!(session.out, "{}", about.summary)?;
        writeln!(session.out, "{}", about.usage())?;
        if let Some(others) = about.names.get(1..).filter(|o| !o.is_empty()) {
            writeln!(session.out, "also called: {}", others.join(", "))?;
        }
        match about.examples().collect::<Vec<_>>().as_slice() {
            [one] => writeln!(session.out, "example: {one}")?,
            several => {
                writeln!(session.out, "examples:")?;
                for example in several {
                    writeln!(session.out, "  {example}")?;
                }
            }
        }
        return Ok(());
    }
    if session.json {
        let all: Vec<Value> = super::all().map(describe).collect();
        return output::document(&mut session.out, command.name(), Value::from(all));
    }
    let mode = super::extent_mode::MODE.iter().filter(|_| session.extent.is_some());
    let mode = mode.map(|commands| Group { title: "In the open extent tree", commands });
    for group in GROUPS.iter().copied().chain(mode) {
        writeln!(session.out, "{}", group.title)?;
        for c in group.commands {
            writeln!(session.out, "  {:<28} {}", format!("{} {}", c.name(), c.args).trim_end(), c.summary)?;
        }
    }
    writeln!(
        session.out,
        "\nA file is a path, <12> (an inode number) or a place such as inode:12. Names with blanks go in"
    )?;
    writeln!(session.out, "double quotes. `help COMMAND` has examples.")?;
    Ok(())
}

fn quit(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    session.done = true;
    Ok(())
}
