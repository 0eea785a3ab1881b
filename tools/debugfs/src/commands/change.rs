//! Changes of several commands.

use super::Command;
use crate::output;
use crate::session::Session;
use anyhow::Result;
use daxkit_volume::Committed;
use serde_json::json;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["begin"],
        args: "",
        summary: "Begin a change: what follows is written at commit, all of it or nothing",
        example: "begin",
        run: begin,
    },
    Command {
        names: &["commit"],
        args: "",
        summary: "Write the change that was begun, and in a script everything before it",
        example: "commit",
        run: commit,
    },
    Command {
        names: &["abort"],
        args: "",
        summary: "Forget what was changed since begin; files written on the host stay",
        example: "abort",
        run: abort,
    },
];

fn begin(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    session.begin()
}

fn commit(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    let done = session.commit_begun()?;
    if session.json {
        let document = match done {
            None | Some(Committed::Nothing) => json!({ "how": "nothing" }),
            Some(Committed::Journal(commit)) => {
                json!({ "how": "journal", "transaction": commit.transaction, "blocks": commit.blocks })
            }
            Some(Committed::InPlace) => json!({ "how": "in-place" }),
        };
        output::document(&mut session.out, command.name(), document)?;
    }
    Ok(())
}

fn abort(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    session.abort()
}
