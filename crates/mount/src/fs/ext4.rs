//! The real ext4 volume behind the trait.
