//! Images from sources: parameters, the tree of files, the layout plan, the writer.
//!
//! What it knows: how an ext4 file system is laid out on an empty device, and what goes into it. What it must never know:
//! a screen, a clock, a random number, the host's configuration. All of those enter as arguments.
#![forbid(unsafe_code)]

pub mod auto_size;
pub mod defect;
pub mod diff;
pub mod dump;
pub mod extent_tree;
pub mod geometry;
pub mod manifest;
pub mod options;
pub mod params;
pub mod plan;
mod pool;
pub mod progress;
pub mod quota_file;
pub mod recipe;
pub mod report;
pub mod restore;
pub mod source;
pub mod space;
pub mod write;
