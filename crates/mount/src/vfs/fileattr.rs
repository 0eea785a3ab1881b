//! (fileattr)
