//! Fuzz targets: one plain function for each parser, given bytes that nobody checked.
//!
//! A target must end, whatever it is given, without a panic and in bounded memory; an error is a good answer. Where it costs
//! little a target also holds what was parsed against the rules: what is written back reads the same, what is listed
//! lies inside the block. Two programs include this file: the fuzz crate, one target each, and the test
//! `fuzz_seeds`, which runs all of them over seeds and seeded mutations.
#![allow(dead_code)]

mod archive;
mod check;
mod input;
mod journal;
mod metadata;
mod names;
mod recipe;
mod rules;
mod scenario;
mod volume;

/// A target and the name that `cargo fuzz run` knows it by.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    ("acl", names::acl),
    ("casefold", names::casefold),
    ("check_repair", check::check_repair),
    ("dax_rules", rules::dax_rules),
    ("dir_block", metadata::dir_block),
    ("dir_hash", names::dir_hash),
    ("dump_image", volume::dump_image),
    ("extent_node", metadata::extent_node),
    ("fast_commit", journal::fast_commit),
    ("fields", rules::fields),
    ("group_desc", metadata::group_desc),
    ("htree_block", metadata::htree_block),
    ("indirect_map", rules::indirect_map),
    ("inode", metadata::inode),
    ("jbd2_commit", journal::jbd2_commit),
    ("jbd2_descriptor", journal::jbd2_descriptor),
    ("jbd2_revoke", journal::jbd2_revoke),
    ("jbd2_super_block", journal::jbd2_super_block),
    ("place", names::place),
    ("pmd_windows", rules::pmd_windows),
    ("recipe", recipe::recipe),
    ("restore_image", volume::restore_image),
    ("scenario", scenario::scenario),
    ("super_block", metadata::super_block),
    ("tails", metadata::tails),
    ("tar", archive::tar),
    ("undo_file", volume::undo_file),
    ("volume", volume::volume),
    ("volume_unchecked", volume::volume_unchecked),
    ("xattr_block", metadata::xattr_block),
    ("xattr_inode", metadata::xattr_inode),
];

/// Runs the target called `name`.
pub(crate) fn run(name: &str, data: &[u8]) {
    let Some((_, target)) = TARGETS.iter().find(|(known, _)| *known == name) else {
        panic!("no target is called {name}");
    };
    target(data);
}
