//! (gup)
