//! `cargo xtask test`: every test of every member, or a part of them, with the tools built and their place announced.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process;
use crate::setup;
use crate::workspace::{Profile, Workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Unit tests only: no oracle, no image larger than memory likes
    #[arg(long)]
    quick: bool,
    /// Build the tools and the tests as users run them (default: with overflow checks)
    #[arg(long)]
    release: bool,
    /// A member (format, dax-mkfs), an integration test, or a part of a test's name
    name: Option<String>,
}

/// What cargo is told to test.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    All,
    Member(String),
    Integration { member: String, test: String },
    Named(String),
}

fn part(workspace: &Workspace, name: Option<&str>) -> Part {
    let Some(name) = name else { return Part::All };
    if let Some(member) = workspace.package(name) {
        return Part::Member(member.name.clone());
    }
    match workspace.owner_of_test(name) {
        Some(member) => Part::Integration { member: member.name.clone(), test: name.to_owned() },
        None => Part::Named(name.to_owned()),
    }
}

/// `libs` and `bins` say whether the part has such targets: cargo refuses to be asked for what a single member lacks.
fn select(cargo: &mut Command, part: &Part, quick: bool, libs: bool, bins: bool) {
    match part {
        Part::All | Part::Named(_) => cargo.arg("--workspace"),
        Part::Member(member) => cargo.args(["--package", member]),
        Part::Integration { member, test } => cargo.args(["--package", member, "--test", test]),
    };
    if quick && !matches!(part, Part::Integration { .. }) {
        cargo.args(libs.then_some("--lib")).args(bins.then_some("--bins"));
    }
    if let Part::Named(name) = part {
        cargo.args(["--", name]);
    }
}

/// Runs the tests.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let in_ci = setup::in_ci();
    let part = part(workspace, args.name.as_deref());
    let mut cargo = workspace.cargo();
    cargo.arg("test");
    if args.release {
        cargo.arg("--release");
    }
    if !args.quick {
        if let Err(error) = setup::ensure(workspace) {
            if in_ci {
                return Err(error);
            }
            eprintln!("note: {error}");
            eprintln!("note: every test that needs one of these will fail and name it");
        }
        let profile = if args.release { Profile::Release } else { Profile::Checked };
        cargo.env("DAXKIT_BIN_DIR", workspace.build_tools(profile)?);
    }
    if in_ci {
        // One failure does not hide the others.
        cargo.arg("--no-fail-fast");
    }
    let member = if let Part::Member(name) = &part { workspace.package(name) } else { None };
    let has = |kind| member.is_none_or(|m| m.has(kind));
    if args.quick && !has("lib") && !has("bin") {
        bail!("{} has no unit tests", args.name.as_deref().unwrap_or_default());
    }
    select(&mut cargo, &part, args.quick, has("lib"), has("bin"));
    process::run(&mut cargo)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(part: &Part, quick: bool) -> String {
        let mut command = Command::new("cargo");
        select(&mut command, part, quick, true, !matches!(part, Part::Member(_)));
        process::shown(&command)
    }

    #[test]
    fn a_name_is_a_member_then_an_integration_test_then_a_filter() {
        let workspace = Workspace::find().expect("this is a workspace");
        assert_eq!(part(&workspace, None), Part::All);
        assert_eq!(part(&workspace, Some("format")), Part::Member("daxkit-format".into()));
        assert_eq!(part(&workspace, Some("dax-mkfs")), Part::Member("dax-mkfs".into()));
        assert_eq!(
            part(&workspace, Some("dirhash_debugfs")),
            Part::Integration { member: "daxkit-format".into(), test: "dirhash_debugfs".into() }
        );
        assert_eq!(part(&workspace, Some("seals_twice")), Part::Named("seals_twice".into()));
    }

    #[test]
    fn quick_leaves_out_integration_and_documentation_tests() {
        assert_eq!(arguments(&Part::All, false), "cargo --workspace");
        assert_eq!(arguments(&Part::All, true), "cargo --workspace --lib --bins");
        assert_eq!(arguments(&Part::Named("x".into()), true), "cargo --workspace --lib --bins -- x");
        assert_eq!(arguments(&Part::Member("daxkit-format".into()), true), "cargo --package daxkit-format --lib");
    }
}
