//! The checker held against e2fsck: over the corpus of broken images, and over images that are broken at random.

#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

mod attributes;
mod bad_blocks;
mod bases;
mod by_hand;
mod corpus;
mod coverage;
mod crash;
mod differential;
mod duplicates;
mod fixtures;
mod mutate;
mod omissions;
mod quota;
mod tree;
mod verdict;
