//! What images are made from: a tree in memory, compact, and its content when it is asked for.
//!
//! [`scan`] walks a directory once and keeps what an image needs of each name in 56 bytes and the name itself; nothing of
//! the content. [`Archive`] reads tar archives. [`Layers`] puts directories, archives and made files on each other. The order of the
//! tree is that of the names' bytes, breadth first by directory: it does not depend on the order in which names come, nor
//! on threads. A [`Source`] is a tree that knows where its bytes are; [`Reader`] opens them later and notices when a file is no
//! longer what it was.

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
mod tar;
mod tree;
mod xattr;

pub use self::tar::{
    AclIds, AclTextError, Archive, ContentFile, FileData, Member, MemberKind, Notice, NumericIds, PaxError,
    SparseError, TarError, TarInput, TarOptions, file_flag_names,
};
pub use draft_error::DraftError;
pub use error::{ScanError, SkipReason, Skipped, SourceError};
pub use exclude::exclude_set;
pub use extra::{Extra, Mapping, PlacedExtent, Placement};
pub use layers::{LayerError, Layers};
pub use pattern::{Pattern, Piece, random_word};
pub use reader::{OpenFile, Reader};
pub use roots::Source;
pub use scan::{OwnerPolicy, ScanOptions, scan};
pub use tree::{Attributes, Kind, NodeId, Time, Tree, XattrSet};

#[cfg(test)]
mod tests;
