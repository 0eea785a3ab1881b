//! (setattr)
