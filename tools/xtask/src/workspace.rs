//! The workspace as cargo sees it: its members, their test targets, the programs it makes, where they are built.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// Part of the output of `cargo metadata`.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

/// A member of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) targets: Vec<Target>,
}

/// Something cargo builds: a library, a program, a test.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

impl Package {
    /// Whether it has a target of this kind.
    pub(crate) fn has(&self, kind: &str) -> bool {
        self.targets.iter().any(|target| target.is(kind))
    }
}

impl Target {
    fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|k| k == kind)
    }
}

/// How the tools are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As the tests are: optimised a little, with overflow checks.
    Checked,
    /// As users run them.
    Release,
}

/// The repository this program was built in.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    packages: Vec<Package>,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root.canonicalize().with_context(|| format!("the repository {} is gone", root.display()))?;
        let mut cargo = process::command(cargo());
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(&root);
        let metadata: Metadata = serde_json::from_slice(&process::output(&mut cargo)?)
            .context("`cargo metadata` gave an unexpected answer")?;
        Ok(Self { root, target: metadata.target_directory, packages: metadata.packages })
    }

    /// cargo, to be run at the root.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = process::command(cargo());
        command.current_dir(&self.root);
        command
    }

    /// The member that `name` means: in full, or without the prefix of the family.
    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        let spelled = [name.to_owned(), format!("daxkit-{name}"), format!("dax-{name}")];
        spelled.iter().find_map(|full| self.packages.iter().find(|p| p.name == *full))
    }

    /// The member that has an integration test called `name`.
    pub(crate) fn owner_of_test(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|p| p.targets.iter().any(|t| t.is("test") && t.name == name))
    }

    /// The tools: every program called `dax-NAME`, sorted.
    pub(crate) fn tools(&self) -> Vec<&str> {
        let targets = self.packages.iter().flat_map(|p| &p.targets);
        let mut names: Vec<&str> =
            targets.filter(|t| t.is("bin") && t.name.starts_with("dax-")).map(|t| t.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Builds an example of a member, to be measured, and returns the program.
    pub(crate) fn build_example(&self, package: &str, example: &str) -> Result<PathBuf> {
        let mut cargo = self.cargo();
        cargo.args(["build", "--quiet", "--release", "--package", package, "--example", example]);
        process::run(&mut cargo)?;
        Ok(self.target.join("release/examples").join(example))
    }

    /// Builds the tools and returns the directory they are in.
    pub(crate) fn build_tools(&self, profile: Profile) -> Result<PathBuf> {
        let mut cargo = self.cargo();
        cargo.args(["build", "--quiet"]);
        for tool in self.tools() {
            cargo.args(["--bin", tool]);
        }
        if profile == Profile::Release {
            cargo.arg("--release");
        }
        process::run(&mut cargo)?;
        Ok(self.target.join(match profile {
            Profile::Checked => "debug",
            Profile::Release => "release",
        }))
    }
}

/// The cargo that started this program, so that both are of one toolchain.
fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
