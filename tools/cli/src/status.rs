//! Exit status. A tool promises its own set; these are the names.

/// Everything went as asked.
pub const OK: u8 = 0;
/// It did not, and one line on standard error says why.
pub const FAILED: u8 = 1;
