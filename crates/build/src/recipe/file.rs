//! A recipe's file.

use super::{Recipe, RecipeError, parse};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Most bytes of a recipe.
const MOST: u64 = 16 << 20;

/// Why a file is no recipe; every text names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is longer than any recipe.
    #[error("{}: a recipe has at most {MOST} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It is not text.
    #[error("{}:{line}: is not UTF-8", path.display())]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// It is no recipe.
    #[error("{}:{source}", path.display())]
    Recipe {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: RecipeError,
    },
}

/// Reads the recipe in a file; relative paths of the host in it count from the file's directory.
///
/// # Errors
/// See [`ReadError`].
pub fn read(path: &Path) -> Result<Recipe, ReadError> {
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > MOST {
        return Err(ReadError::TooLong { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = 1 + e.as_bytes().iter().take(at).filter(|b| **b == b'\n').count();
        ReadError::Utf8 { path: path.to_owned(), line }
    })?;
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    parse(&text, dir).map_err(|source| ReadError::Recipe { path: path.to_owned(), source })
}
