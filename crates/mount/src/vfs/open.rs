//! (open)
