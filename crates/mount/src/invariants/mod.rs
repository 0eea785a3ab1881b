//! (module invariants)
