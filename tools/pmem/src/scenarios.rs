//! The scenarios that a command names: read, checked, chosen.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use daxkit_cli::message::Messages;
use daxkit_scenario::{File, check, parse};

use crate::args::What;

/// Reads all files before anything is run. `None` when one of them is wrong, which has been said.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn read_all<'w>(what: &'w What, messages: &Messages) -> anyhow::Result<Option<Vec<(&'w PathBuf, File)>>> {
    let mut files = Vec::new();
    let mut usable = true;
    for path in &what.scenarios {
        match read(path, messages)? {
            Some(mut file) => {
                if let Some(text) = &what.only {
                    file.scenarios.retain(|scenario| scenario.title.contains(text));
                }
                files.push((path, file));
            }
            None => usable = false,
        }
    }
    Ok(usable.then_some(files))
}

fn read(path: &Path, messages: &Messages) -> anyhow::Result<Option<File>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let checked = parse(&text).and_then(|file| check(&file, &text).map(|()| file));
    Ok(match checked {
        Ok(file) => Some(file),
        Err(errors) => {
            for error in &errors.list {
                messages.error(format!("{}:{error}", path.display()));
            }
            None
        }
    })
}
