//! A directory of the host as a source of images: its tree in memory, compact, and its content when it is asked for.
//!
//! [`scan`] walks the directory once and keeps what an image needs of each name in 56 bytes and the name itself; nothing
//! of the content. The order of the tree is that of the names' bytes, breadth first by directory: it does not depend on
//! the order the host lists names in, nor on threads. [`Reader`] opens the content later and notices when a file is no
//! longer what the scan saw.

mod entry;
mod error;
mod exclude;
mod extra;
mod host;
mod reader;
mod scan;
mod tar;
mod tree;
mod xattr;

pub use self::tar::{
    AclIds, AclTextError, Archive, ContentFile, FileData, Member, MemberKind, Notice, NumericIds, PaxError,
    SparseError, TarError, TarInput, TarOptions,
};
pub use error::{ScanError, SkipReason, Skipped, SourceError};
pub use exclude::exclude_set;
pub use extra::{Extra, Mapping, PlacedExtent, Placement};
pub use reader::{OpenFile, Reader};
pub use scan::{OwnerPolicy, ScanOptions, scan};
pub use tree::{Attributes, Kind, NodeId, Time, Tree, XattrSet};

#[cfg(test)]
mod tests;
