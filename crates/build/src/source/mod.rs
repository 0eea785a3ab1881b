//! A directory of the host as a source of images: its tree in memory, compact, and its content when it is asked for.
//!
//! [`scan`] walks the directory once and keeps what an image needs of each name in 56 bytes and the name itself; nothing
//! of the content. The order of the tree is that of the names' bytes, breadth first by directory: it does not depend on
//! the order the host lists names in, nor on threads. [`Reader`] opens the content later and notices when a file is no
//! longer what the scan saw.

mod builder;
pub(crate) mod draft;
mod draft_error;
mod entry;
mod error;
mod exclude;
mod extra;
mod host;
mod layers;
mod pattern;
mod reader;
pub(crate) mod roots;
mod scan;
mod tree;
mod xattr;

pub use draft_error::DraftError;
pub use error::{ScanError, SkipReason, Skipped, SourceError};
pub use exclude::exclude_set;
pub use extra::{Extra, Mapping, PlacedExtent, Placement};
pub use layers::{LayerError, Layers};
pub use pattern::{Pattern, Piece};
pub use reader::{OpenFile, Reader};
pub use roots::Source;
pub use scan::{OwnerPolicy, ScanOptions, scan};
pub use tree::{Attributes, Kind, NodeId, Time, Tree, XattrSet};

#[cfg(test)]
mod tests;
