//! `cargo xtask man`: manual pages and shell completions of the tools, as they describe themselves.

use std::fs;

use anyhow::Result;

use crate::process;
use crate::workspace::{Profile, Workspace};

/// What a tool prints with `--document`, and the name of the file it becomes, `NAME` standing for the tool's.
const DOCUMENTS: [(&str, &str); 4] =
    [("man", "man/man8/NAME.8"), ("bash", "bash/NAME"), ("fish", "fish/NAME.fish"), ("zsh", "zsh/_NAME")];

/// Writes them all below `documents` in the target directory.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let bin = workspace.build_tools(Profile::Checked)?;
    let out = workspace.target.join("documents");
    for tool in workspace.tools() {
        for (kind, file) in DOCUMENTS {
            let path = out.join(file.replace("NAME", tool));
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir)?;
            }
            fs::write(&path, process::output(process::command(bin.join(tool)).args(["--document", kind]))?)?;
            println!("{}", path.display());
        }
    }
    Ok(())
}
