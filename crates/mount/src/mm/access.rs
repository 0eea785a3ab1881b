//! (access)
