//! Which features this crate can read.

use daxkit_format::ext4::features::{Compat, Feature, Features, NAMES, RoCompat};

use super::open::READABLE_INCOMPAT;

/// The features a volume may have and still be read: every compatible and read-only-compatible one that has a name, and the
/// incompatible ones that are known.
#[must_use]
pub fn readable_features() -> Features {
    let mut all = Features { compat: Compat::empty(), incompat: READABLE_INCOMPAT, ro_compat: RoCompat::empty() };
    for (_, feature) in NAMES.iter().filter(|(_, f)| !matches!(f, Feature::Incompat(_))) {
        all.set(*feature, true);
    }
    all
}
