//! `cargo xtask lint`: the formatting and clippy, warnings as errors.

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// Checks, and changes nothing.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    process::run(workspace.cargo().args(["fmt", "--all", "--check"]))?;
    process::run(workspace.cargo().args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))
}
