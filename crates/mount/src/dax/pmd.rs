//! (pmd)
