//! `--order`: a file with a path on each line, in the order in which inodes and blocks are to lie.

use anyhow::{Context, Result, bail};
use std::io::Read;
use std::path::Path;

/// Most bytes of an order file.
const MOST: u64 = 1 << 30;

/// Reads the paths. Empty lines and lines that begin with `#` do not count.
pub(crate) fn read(path: &Path) -> Result<Vec<Vec<u8>>> {
    let named = || format!("--order {}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(named)?;
    file.take(MOST + 1).read_to_end(&mut bytes).with_context(named)?;
    if bytes.len() as u64 > MOST {
        bail!("{}: longer than {MOST} bytes", named());
    }
    parse(&bytes).with_context(named)
}

fn parse(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut paths = Vec::new();
    for (nr, line) in (1..).zip(bytes.split(|b| *b == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if !line.starts_with(b"/") {
            bail!("line {nr}: \"{}\" is not an absolute path inside the image", line.escape_ascii());
        }
        paths.push(line.to_vec());
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_lines() {
        let paths = parse(b"# first\n/a\n\n/b c\r\n/d").expect("an order");
        assert_eq!(paths, [b"/a".to_vec(), b"/b c".to_vec(), b"/d".to_vec()]);
        let error = parse(b"/a\nb\n").expect_err("no path");
        assert_eq!(error.to_string(), "line 2: \"b\" is not an absolute path inside the image");
    }
}
