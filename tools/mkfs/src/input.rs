//! What the image is made from: directories, archives and a recipe become one source.

use crate::args::Args;
use crate::host;
use anyhow::{Context, Result, anyhow, bail};
use daxkit_build::options::{self, Content, Request};
use daxkit_build::params::Holes;
use daxkit_build::recipe::{self, Recipe};
use daxkit_build::source::{
    Archive, Attributes, Kind, Layers, OwnerPolicy, ScanOptions, Source, TarInput, TarOptions, Tree, exclude_set, scan,
};
use daxkit_cli::progress::Watcher;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// What the image is made from.
pub(crate) struct Input {
    pub(crate) source: Source,
    /// What of it is not in the image, a line each.
    pub(crate) left_out: Vec<String>,
}

/// What sources have in common.
struct Common<'a> {
    scan: ScanOptions,
    tar: TarOptions,
    watcher: &'a Watcher,
}

/// Reads all sources; `None` where there are none. `leave_out` are files of the host that are not to be copied, should they lie in a
/// source.
pub(crate) fn read(
    args: &Args,
    recipe: Option<&Recipe>,
    request: &Request,
    surroundings: Option<recipe::Surroundings>,
    leave_out: Vec<(u64, u64)>,
    watcher: &Watcher,
) -> Result<Option<Input>> {
    // What a recipe stands on lies beneath what the command line names.
    let beneath = recipe.iter().flat_map(|r| r.sources.iter().map(|(_, path)| path));
    let paths: Vec<&PathBuf> = beneath.chain(&args.sources).collect();
    if paths.is_empty() && recipe.is_none() {
        return Ok(None);
    }
    if paths.iter().filter(|p| p.as_os_str() == "-").count() > 1 {
        bail!("-d -: standard input can be read once only");
    }
    let exclude = recipe.iter().flat_map(|r| &r.filesystem.exclude).chain(&args.exclude);
    let exclude = exclude_set(exclude).map_err(|e| anyhow!("--exclude: {e}"))?;
    let owner = args.owner.or(recipe.and_then(|r| r.filesystem.owner));
    let owner = owner.map_or(OwnerPolicy::AsIs, |(uid, gid)| OwnerPolicy::Fixed(uid, gid));
    let read_xattrs = options::copies_xattrs(request)?;
    let common = Common {
        scan: ScanOptions {
            exclude: exclude.clone(),
            owner,
            skip_unreadable: args.skip_unreadable,
            threads: request.threads.unwrap_or_else(host::processors),
            read_xattrs,
            detect_holes: request.holes != Some(Holes::None),
            leave_out,
        },
        tar: TarOptions { spool_dir: spool_dir(args), read_xattrs, ids: host::acl_ids(request.is_reproducible()) },
        watcher,
    };
    // The usual case: the tree of one directory needs nobody to put it together.
    if let ([path], None) = (paths.as_slice(), recipe)
        && is_directory(path)
    {
        let (tree, skipped) = scan(path, &common.scan, watcher)?;
        let left_out = skipped.iter().map(ToString::to_string).collect();
        return Ok(Some(Input { source: Source::directory(tree, path), left_out }));
    }
    let mut layers = Layers::new(exclude, owner);
    let mut left_out = Vec::new();
    for path in paths {
        common.add(path, &mut layers, &mut left_out)?;
    }
    if let (Some(recipe), Some(surroundings)) = (recipe, surroundings) {
        recipe::apply(recipe, &mut layers, surroundings).map_err(|e| in_recipe(args, &e))?;
    }
    Ok(Some(Input { source: layers.finish()?, left_out }))
}

/// An error of the recipe, which begins with line and column, with the name of its file in front.
pub(crate) fn in_recipe(args: &Args, error: &dyn Display) -> anyhow::Error {
    let file = args.recipe.as_deref().unwrap_or(Path::new("recipe"));
    anyhow!("{}:{error}", file.display())
}

impl Common<'_> {
    fn add(&self, path: &Path, layers: &mut Layers, left_out: &mut Vec<String>) -> Result<()> {
        if path.as_os_str() != "-" && is_directory(path) {
            let (tree, skipped) = scan(path, &self.scan, self.watcher)?;
            left_out.extend(skipped.iter().map(ToString::to_string));
            return layers.add_directory(tree, path).with_context(|| path.display().to_string());
        }
        let (input, name) = if path.as_os_str() == "-" {
            (TarInput::Stream(Box::new(std::io::stdin())), Path::new("standard input"))
        } else {
            (TarInput::Path(path), path)
        };
        let named = || format!("-d {}", name.display());
        let mut archive = Archive::open(input, self.tar.clone()).with_context(named)?;
        let added = layers.add_archive(&mut archive, self.watcher);
        left_out.extend(archive.take_notices().iter().map(|n| format!("{}: {n}", name.display())));
        added.with_context(named)?;
        layers.end_archive(archive.finish().with_context(named)?, name);
        Ok(())
    }
}

fn is_directory(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Where content of a stream is put aside: beside the image, where there must be room for it anyway.
fn spool_dir(args: &Args) -> PathBuf {
    let image = args.image.as_deref().unwrap_or(Path::new("."));
    let dir = image.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(image) {
        // A device lies in a directory that has no room.
        Ok(meta) if !meta.is_file() => std::env::temp_dir(),
        _ => dir.to_path_buf(),
    }
}

/// A tree without a source: its root belongs to whom the options say.
pub(crate) fn empty(p: &daxkit_build::params::Params) -> Source {
    Source::empty(Tree::empty(&Attributes {
        mode: p.root_perms.unwrap_or(0o755),
        uid: p.root_owner.0,
        gid: p.root_owner.1,
        atime: p.time,
        ctime: p.time,
        mtime: p.time,
    }))
}

/// What options need to know of the content.
pub(crate) fn content(tree: &Tree) -> Content {
    let mut c = Content::default();
    for id in tree.ids() {
        let mtime = tree.mtime(id);
        let later = |t| (mtime.seconds, mtime.nanos) > t;
        if c.newest.is_none_or(|t| later((t.seconds, t.nanos))) {
            c.newest = Some(mtime);
        }
        if tree.primary(id) == id {
            c.inodes += 1;
            if tree.kind(id) == Kind::File {
                c.bytes = c.bytes.saturating_add(tree.size(id));
            }
        }
    }
    c
}
