//! (insert)
