//! (pte)
