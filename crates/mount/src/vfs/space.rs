//! (space)
