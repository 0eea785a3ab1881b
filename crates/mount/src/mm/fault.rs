//! (fault)
