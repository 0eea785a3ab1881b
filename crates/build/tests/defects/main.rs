//! Defects against the real tools: what `e2fsck -fn` and `debugfs` say of an image with one, and that a defect taken back
//! leaves the image as it was.

#![allow(unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;

mod applying;
mod images;
mod judge;
mod places;
mod property;
mod structures;
mod sums;
mod tools;
