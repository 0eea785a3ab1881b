//! The recipe of the command line, and its options beneath those that were typed.

use crate::args::{self, Args};
use crate::input::in_recipe;
use anyhow::{Result, anyhow};
use daxkit_build::options::Request;
use daxkit_build::plan::PlanError;
use daxkit_build::recipe::{self, FileSystemOptions, Recipe};

/// Reads the recipe, where there is one.
pub(crate) fn read(args: &Args) -> Result<Option<Recipe>> {
    Ok(args.recipe.as_deref().map(recipe::read).transpose()?)
}

/// Puts the recipe's options beneath those of the command line: what was typed wins, lists are joined with the recipe's first.
pub(crate) fn merge(request: &mut Request, recipe: &Recipe) -> Result<()> {
    let f: &FileSystemOptions = &recipe.filesystem;
    for (typed, own) in [
        (&mut request.size, &f.size),
        (&mut request.reserve, &f.reserve),
        (&mut request.block_size, &f.block_size),
        (&mut request.cluster_size, &f.cluster_size),
        (&mut request.fs_type, &f.fs_type),
        (&mut request.usage, &f.usage),
        (&mut request.uuid, &f.uuid),
        (&mut request.inodes, &f.inodes),
        (&mut request.inode_ratio, &f.inode_ratio),
        (&mut request.inode_size, &f.inode_size),
        (&mut request.reserved_percent, &f.reserved_percent),
        (&mut request.flex_bg_size, &f.flex_bg_size),
        (&mut request.blocks_per_group, &f.blocks_per_group),
        (&mut request.revision, &f.revision),
        (&mut request.creator_os, &f.creator_os),
        (&mut request.errors, &f.errors),
        (&mut request.page_size, &f.page_size),
    ] {
        if typed.is_none() {
            typed.clone_from(own);
        }
    }
    for (typed, own) in [(&mut request.label, &f.label), (&mut request.last_mounted, &f.last_mounted)] {
        if typed.is_none() {
            *typed = own.as_ref().map(|text| text.clone().into_bytes());
        }
    }
    for (typed, own) in
        [(&mut request.features, &f.features), (&mut request.extended, &f.extended), (&mut request.journal, &f.journal)]
    {
        typed.splice(0..0, own.iter().cloned());
    }
    request.dax_paths.splice(0..0, f.dax_paths.iter().map(|p| p.clone().into_bytes()));
    if request.holes.is_none() {
        request.holes = word("holes", f.holes.as_deref(), args::parse_holes)?;
    }
    if request.pmem_align.is_none() {
        request.pmem_align = word("pmem_align", f.pmem_align.as_deref(), args::parse_pmem_align)?;
    }
    request.time = f.time;
    // A recipe says what the image is; whoever makes it should get the same one.
    request.reproducible |= f.reproducible.unwrap_or(true);
    Ok(())
}

fn word<T>(key: &str, text: Option<&str>, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
    text.map(|text| parse(text).ok_or_else(|| anyhow!("[filesystem] {key} = {text:?}: no such word"))).transpose()
}

/// An error about a path that an item of the recipe brought, with the place of the item.
pub(crate) fn locate(args: &Args, recipe: Option<&Recipe>, error: &PlanError) -> Option<anyhow::Error> {
    let path = match error {
        PlanError::Extra { path, .. }
        | PlanError::FileTooLarge { path, .. }
        | PlanError::Xattr { path, .. }
        | PlanError::Xattrs { path, .. } => &path.0,
        _ => return None,
    };
    let item = recipe?.items.iter().rev().find(|i| i.path == *path)?;
    Some(in_recipe(args, &recipe::RecipeError::at(item.at, error)))
}
