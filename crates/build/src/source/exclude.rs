//! Patterns of names to leave out.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// The set for patterns as a user writes them: one that begins with `/` is a path from the root of the tree; any other
/// matches at every depth (`*.o`, `target/debug`). `*` does not cross a `/`, `**` does. A pattern is matched against the path
/// inside the tree, which begins with `/`; a directory that matches is left out with all it holds.
///
/// # Errors
/// A pattern that is not a glob.
pub fn exclude_set<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let pattern = pattern.as_ref();
        let pattern = pattern.strip_suffix('/').filter(|p| !p.is_empty()).unwrap_or(pattern);
        let full = if pattern.starts_with('/') { pattern.to_owned() } else { format!("**/{pattern}") };
        set.add(GlobBuilder::new(&full).literal_separator(true).backslash_escape(true).build()?);
    }
    set.build()
}
