//! `cargo xtask ci`: what continuous integration runs, here. The steps themselves stand in `.ci/run`, once.

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// Runs the script.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    process::run(process::command(workspace.root.join(".ci/run")).current_dir(&workspace.root))
}
