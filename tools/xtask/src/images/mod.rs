//! `cargo xtask images`: every recipe below `images/` is made twice, and what it says of itself is held against those who know.
//!
//! An image is as expected when both runs gave the same bytes (image and manifest), `e2fsck -fn` ends as `[expect]` says and
//! prints what it says, the kernel mounts it read-only or refuses as it says, and debugfs shows every field that a
//! defect changed with the value that it got. A recipe that expects nothing of e2fsck must be clean; one of `defects/` must say
//! how its defect is found, or why it is not.
//!
//! An oracle that is missing is an error in continuous integration and a note elsewhere. What no machine can be given (a feature
//! that its kernel was built without) is a note everywhere.

mod answer;
mod build;
mod field;
mod judge;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::setup;
use crate::workspace::{Profile, Workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One recipe or a directory of them, as named below images/: faults, defects, defects/inode-size
    name: Option<String>,
    /// Take recipes from here instead of images/
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Keep images and manifests in this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// A recipe, read.
struct Recipe {
    /// Its path below `images/`, without the extension.
    name: String,
    path: PathBuf,
    what: daxkit_build::recipe::Recipe,
}

/// Who is asked, beside `dax-mkfs`.
struct Oracles {
    /// Why e2fsck and debugfs cannot be asked, if they cannot.
    e2fsprogs: Option<String>,
    /// Why nothing can be mounted, if so.
    mount: Option<String>,
}

/// Makes and judges the images.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let oracles = Oracles::find()?;
    let root = args.from.clone().unwrap_or_else(|| workspace.root.join("images"));
    let recipes = wanted(&root, args.name.as_deref())?;
    let bin = match std::env::var_os("DAXKIT_BIN_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => workspace.build_tools(Profile::Release)?,
    };
    let scratch = Scratch::new(workspace, args.keep.as_deref())?;
    let mut failed = 0;
    table::head();
    for recipe in &recipes {
        let judged = judge::judge(recipe, &oracles, &bin.join("dax-mkfs"), &scratch.dir)
            .with_context(|| recipe.path.display().to_string())?;
        failed += usize::from(!judged.differs.is_empty());
        table::row(recipe, &judged);
    }
    for (what, why) in [("checked", &oracles.e2fsprogs), ("mounted", &oracles.mount)] {
        if let Some(why) = why {
            println!("note: nothing was {what}: {why}");
        }
    }
    let all = recipes.len();
    if failed > 0 {
        bail!("not as expected: {failed} of {all}");
    }
    println!("as expected: {all} of {all}, each made twice");
    Ok(())
}

/// The recipes below `root` that `name` means, in the order of their names.
fn wanted(root: &Path, name: Option<&str>) -> Result<Vec<Recipe>> {
    let mut names = Vec::new();
    list(root, "", &mut names)?;
    names.sort_by_key(|n| (n.contains('/'), n.clone()));
    if let Some(name) = name {
        let name = name.trim_end_matches('/').trim_end_matches(".toml");
        names.retain(|n| n == name || n.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')));
        if names.is_empty() {
            bail!("there is no recipe {name:?} below {}", root.display());
        }
    }
    names.into_iter().map(|name| read(root, name)).collect()
}

fn list(dir: &Path, prefix: &str, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{name}/"), names)?;
        } else if let Some(name) = name.strip_suffix(".toml") {
            names.push(name.to_owned());
        }
    }
    Ok(())
}

fn read(root: &Path, name: String) -> Result<Recipe> {
    let path = root.join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let dir = path.parent().unwrap_or(root);
    // The error begins with line and column.
    let what = daxkit_build::recipe::parse(&text, dir).map_err(|e| anyhow::anyhow!("{}:{e}", path.display()))?;
    Ok(Recipe { name, path, what })
}

impl Oracles {
    fn find() -> Result<Self> {
        let missing = setup::missing();
        let lacks = |program: &str| missing.programs.contains(&program);
        let e2fsprogs = ["e2fsck", "debugfs", "dumpe2fs"].iter().any(|p| lacks(p)).then(|| missing.to_string());
        let mount = if lacks("mount") || lacks("umount") {
            Some(missing.to_string())
        } else if !rustix::process::geteuid().is_root() {
            Some("mounting needs root".to_owned())
        } else if !Path::new("/dev/loop-control").exists() {
            Some("mounting needs loop devices (/dev/loop-control)".to_owned())
        } else {
            None
        };
        let found = Self { e2fsprogs, mount };
        if setup::in_ci()
            && let Some(reason) = found.e2fsprogs.as_ref().or(found.mount.as_ref())
        {
            bail!("{reason}");
        }
        Ok(found)
    }
}

/// Where images are made; what is not to be kept goes with it.
struct Scratch {
    dir: PathBuf,
    keep: bool,
}

impl Scratch {
    fn new(workspace: &Workspace, keep: Option<&Path>) -> Result<Self> {
        let dir = match keep {
            Some(dir) => dir.to_owned(),
            None => workspace.target.join(format!("images-{}", std::process::id())),
        };
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        // Programs that are asked about an image are told its whole path.
        let dir = dir.canonicalize().with_context(|| dir.display().to_string())?;
        Ok(Self { dir, keep: keep.is_some() })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            // A directory that cannot be removed is no reason to call images wrong.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images")
    }

    #[test]
    fn a_name_means_a_recipe_or_a_directory_of_them() {
        let names =
            |name| -> Vec<String> { wanted(&root(), name).expect("recipes").into_iter().map(|r| r.name).collect() };
        assert_eq!(names(Some("faults")), ["faults"]);
        assert_eq!(names(Some("faults.toml")), ["faults"]);
        assert_eq!(names(Some("defects/inode-size")), ["defects/inode-size"]);
        let defects = names(Some("defects/"));
        assert!(defects.len() > 12 && defects.iter().all(|n| n.starts_with("defects/")));
        assert_eq!(names(None).first().map(String::as_str), Some("casefold"));
        assert!(wanted(&root(), Some("fault")).is_err());
    }

    /// A reader meets the comment before the recipe.
    #[test]
    fn every_recipe_says_what_it_is_for_and_what_a_test_can_do_with_it() {
        for recipe in wanted(&root(), None).expect("recipes") {
            let text = fs::read_to_string(&recipe.path).expect("it was read before");
            let head: Vec<&str> = text.lines().take_while(|l| l.starts_with('#')).collect();
            let has = |start: &str| head.iter().any(|l| l.starts_with(start));
            let kind = if recipe.name.starts_with("defects/") { "# Breaks: " } else { "# For: " };
            assert!(has(kind) && has("# A test can: "), "{}", recipe.name);
        }
    }

    /// The table of `images/README.md` has a row for each recipe and none beside.
    #[test]
    fn the_table_of_the_directory_is_complete() {
        let text = fs::read_to_string(root().join("README.md")).expect("images/README.md");
        let mut listed: Vec<&str> = text
            .lines()
            .filter_map(|l| l.strip_prefix("| [")?.split_once("](").and_then(|(_, rest)| rest.split_once(".toml)")))
            .map(|(name, _)| name)
            .collect();
        listed.sort_by_key(|n| (n.contains('/'), *n));
        let names: Vec<String> = wanted(&root(), None).expect("recipes").into_iter().map(|r| r.name).collect();
        assert_eq!(listed, names);
    }
}
