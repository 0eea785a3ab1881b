//! Recipes: an image described in one TOML file, with what is deliberately wrong with it and the verdict expected of a checker.
//!
//! What a recipe says is kept here as it was understood: paths clean, numbers in bytes, times as times. Where each thing stood
//! in the file stays with it ([`At`]), so that what turns out wrong later (a path that does not exist, a file that does not fit)
//! can still be told by line and column.

mod types;

pub use types::{
    At, Attrs, Checksum, Content, Defect, DefectChange, DirEntries, DirItem, E2fsckVerdict, Expect, FileItem,
    FileSystemOptions, Item, ItemKind, Pattern, Piece, Recipe, Rule,
};
