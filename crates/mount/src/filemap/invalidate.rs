//! (invalidate)
