//! The checker held against e2fsck: over the corpus of broken images, and over images that are broken at random.

#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

mod bases;
mod corpus;
mod coverage;
mod crash;
mod differential;
mod mutate;
mod omissions;
mod tree;
mod verdict;
