//! Recipes: an image described in one TOML file, with what is deliberately wrong with it and the verdict expected of a checker.
//!
//! What a recipe says is kept here as it was understood: paths clean, numbers in bytes, times as times. Where each thing stood
//! in the file stays with it ([`At`]), so that what turns out wrong later (a path that does not exist, a file that does not fit)
//! can still be told by line and column.
//!
//! [`parse`] reads the language of `docs/recipes.md`. Its parts: `syntax` makes TOML of the text, `schema` lists the
//! tables and their keys, `reader` takes values by key and notes what is wrong, and a file for each table says what its keys
//! mean. Invariants: no recipe leads to a panic or into deep recursion; of all that is wrong the first in the order of the text
//! is told; a recipe that is taken has nothing in it that was not understood.

mod acl;
mod apply;
mod attrs;
mod content;
mod defects;
mod error;
mod expect;
mod file;
mod filesystem;
mod fill;
mod items;
mod placement;
mod position;
mod reader;
mod rules;
mod schema;
mod syntax;
mod target;
mod times;
mod types;
mod values;

pub use crate::source::{Pattern, Piece};
pub use apply::{Surroundings, apply};
pub use error::RecipeError;
pub use file::{ReadError, read};
pub use schema::{TableInfo, tables};
pub use types::{
    At, Attrs, Checksum, Content, Defect, DefectChange, DirEntries, DirItem, E2fsckVerdict, Expect, FileItem,
    FileSystemOptions, Item, ItemKind, Recipe, Rule,
};

use position::Lines;
use reader::{Reader, Table};
use std::path::Path;

/// The version of the language that is read here.
const VERSION: u8 = 1;

/// Reads a recipe. `dir` is the directory of the recipe's file; relative paths of the host are joined with it.
///
/// The caller bounds the length of the text; time and memory grow with it.
///
/// # Errors
/// The first thing in the order of the text that is not TOML; else the first that is not a recipe.
pub fn parse(text: &str, dir: &Path) -> Result<Recipe, RecipeError> {
    let lines = Lines::new(text);
    let document =
        syntax::Document::read(text, &lines).map_err(|(offset, message)| RecipeError::at(lines.at(offset), message))?;
    let reader = Reader::new(text, &lines, dir);
    let recipe = recipe(&Table::open(&reader, &schema::RECIPE, document.top(), 0));
    match reader.first() {
        Some(error) => Err(error),
        None => Ok(recipe),
    }
}

fn recipe(t: &Table<'_>) -> Recipe {
    if let Some(version) = t.get("version")
        && version.integer() != Some(VERSION.into())
    {
        version.wants::<()>(format_args!("{VERSION}, the version of the language that is read here"));
    }
    let sources = t.get("source").map(|field| field.one_or_list()).unwrap_or_default();
    Recipe {
        filesystem: t.get("filesystem").and_then(filesystem::filesystem).unwrap_or_default(),
        sources: sources
            .into_iter()
            .filter_map(|source| Some((t.reader.at(source.offset()), values::host_path(source)?)))
            .collect(),
        items: items::items(t),
        rules: rules::rules(t),
        defects: defects::defects(t),
        expect: t.get("expect").and_then(expect::expect).unwrap_or_default(),
    }
}
