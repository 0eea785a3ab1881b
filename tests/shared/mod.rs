//! What the test programs of this member share: source trees, the tools under test and the oracles, an image as each reader
//! sees it, and the comparison of what they see.

pub(crate) mod fixtures;
pub(crate) mod judge;
pub(crate) mod oracle;
pub(crate) mod readers;
pub(crate) mod snapshot;
pub(crate) mod tools;
pub(crate) mod tree_compare;
