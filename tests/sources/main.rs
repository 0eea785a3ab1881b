//! What images are made from: directories, archives of every writer and form, recipes, stacks of layers, whole systems. Images
//! of equal trees are asked about through every reader, and compared byte by byte where they must be equal; sizes found from
//! the content, manifests and block maps are held against what others say.
//!
//! These tests need root (device nodes, owners, mounts) and the Debian packages that `cargo xtask setup` downloads; one that
//! lacks what it needs fails and says so.

#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

mod archives;
mod auto_size;
mod bench;
mod copied_out;
mod corners;
mod debs;
mod layers;
mod manifest;
mod members;
mod placement;
mod recipe_of;
mod same_tree;

use shared::{fixtures, oracle, readers, snapshot, tools, tree_compare};
