//! Trees to make images from: the same on every machine, made once, warm in the page cache when measured.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// xorshift64*: bytes that neither compress nor repeat, the same everywhere.
#[derive(Debug)]
pub(crate) struct Xorshift(u64);

impl Xorshift {
    /// A generator; the seed must not be zero, so zero stands for one.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// The next `buf.len()` bytes.
    pub(crate) fn fill(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(word) {
                *to = from;
            }
        }
    }

    /// A number below `limit`, which must not be zero.
    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit.max(1)
    }
}

/// Many small files, so many to a directory, ten directories to a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct SmallFiles {
    pub(super) count: u64,
    /// Lengths are uniform from zero to one below this.
    pub(super) below: u64,
    /// Files in a directory.
    pub(super) each: u64,
}

impl SmallFiles {
    /// The paths of the files below the root of the tree.
    pub(super) fn paths(self) -> impl Iterator<Item = String> {
        let each = self.each.max(1);
        (0..self.count).map(move |nr| format!("{:04}/{}/file-{nr:07}.dat", nr / each / 10, nr / each % 10))
    }

    /// What the tree and what is made of it is called.
    pub(super) fn name(self) -> String {
        let Self { count, below, each } = self;
        format!("{count}-files-below-{below}-{each}-each")
    }

    /// Makes the tree under `dir`, or finds it there from an earlier run.
    pub(super) fn make(self, dir: &Path) -> Result<PathBuf> {
        once(dir, &self.name(), |root| {
            let mut rng = Xorshift::new(self.count ^ self.below << 32);
            let mut data = vec![0; usize::try_from(self.below)?];
            for (nr, path) in self.paths().enumerate() {
                let path = root.join(path);
                if (nr as u64).is_multiple_of(self.each.max(1))
                    && let Some(parent) = path.parent()
                {
                    fs::create_dir_all(parent)?;
                }
                let len = usize::try_from(rng.below(self.below))?;
                let data = data.get_mut(..len).unwrap_or_default();
                rng.fill(data);
                fs::write(path, data)?;
            }
            Ok(())
        })
    }
}

/// A tree of one file.
pub(super) fn one_file(dir: &Path, len: u64) -> Result<PathBuf> {
    once(dir, &format!("one-file-of-{len}"), |root| {
        let mut rng = Xorshift::new(len);
        let mut file = File::create(root.join("large.dat"))?;
        let mut data = vec![0; 1 << 20];
        let mut left = len;
        while left > 0 {
            let now = left.min(1 << 20);
            let data = data.get_mut(..usize::try_from(now)?).unwrap_or_default();
            rng.fill(data);
            file.write_all(data)?;
            left -= now;
        }
        Ok(())
    })
}

/// A tree in the manner of a root file system: mostly small files, a few large ones, symbolic and hard links.
pub(super) fn root_tree(dir: &Path, bytes: u64) -> Result<PathBuf> {
    once(dir, &format!("root-of-{bytes}"), |root| {
        let mut rng = Xorshift::new(bytes);
        let mut data = vec![0; 256 << 10];
        let mut left = bytes;
        for nr in 0u64.. {
            if left == 0 {
                break;
            }
            let parent = root.join(format!("usr/{:02}/{:02}", nr / 1000 % 100, nr / 40 % 25));
            if nr % 40 == 0 {
                fs::create_dir_all(&parent)?;
            }
            // Sizes by powers of two: as many files from 1 to 2 KiB as from 128 to 256 KiB; one in 400 has up to 64 MiB.
            let power = if nr % 400 == 399 { 20 + rng.below(6) } else { 6 + rng.below(12) };
            let len = ((1 << power) + rng.below(1 << power)).min(left);
            let path = parent.join(format!("file-{nr}"));
            let mut file = File::create(&path)?;
            let mut rest = len;
            // In pieces: what this program holds counts as memory of those it measures.
            while rest > 0 {
                let now = rest.min(256 << 10);
                let data = data.get_mut(..usize::try_from(now)?).unwrap_or_default();
                rng.fill(data);
                file.write_all(data)?;
                rest -= now;
            }
            left -= len;
            if nr % 8 == 0 {
                std::os::unix::fs::symlink(format!("file-{nr}"), parent.join(format!("link-{nr}")))?;
            }
            if nr % 50 == 0 {
                fs::hard_link(&path, parent.join(format!("same-{nr}")))?;
            }
        }
        Ok(())
    })
}

/// The tree as a tar archive beside it, its names in order.
pub(super) fn archive(tree: &Path) -> Result<PathBuf> {
    let done = tree.with_extension("tar");
    if !done.is_file() {
        eprintln!("  making {}", done.display());
        let half = tree.with_extension("tar.half");
        let mut tar = crate::process::command("tar");
        tar.args(["--format=posix", "--sort=name", "-C"]).arg(tree).arg("-cf").arg(&half).arg(".");
        crate::process::run(&mut tar)?;
        fs::rename(&half, &done)?;
    }
    Ok(done)
}

/// Makes `dir/name` whole, or leaves nothing under that name.
fn once(dir: &Path, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let done = dir.join(name);
    if done.is_dir() {
        return Ok(done);
    }
    eprintln!("  making {}", done.display());
    let half = dir.join(format!("{name}.half"));
    if half.exists() {
        fs::remove_dir_all(&half)?;
    }
    fs::create_dir_all(&half)?;
    fill(&half).with_context(|| format!("cannot fill {}", half.display()))?;
    fs::rename(&half, &done)?;
    Ok(done)
}

/// Every regular file below `root`, sorted, so that all sides meet them in one order.
pub(super) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => dirs.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Reads everything below a directory, or one file, once, so that it is in the page cache; returns how many bytes there are.
pub(super) fn warm(root: &Path) -> Result<u64> {
    let mut buf = vec![0; 1 << 20];
    let mut total = 0u64;
    let all = if root.is_file() { vec![root.to_owned()] } else { files(root)? };
    for path in all {
        let mut file = File::open(&path)?;
        loop {
            match file.read(&mut buf)? {
                0 => break,
                n => total = total.saturating_add(n as u64),
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_the_same_each_time_and_made_once() {
        let dir = std::env::temp_dir().join(format!("daxkit-source-{}", std::process::id()));
        let small = SmallFiles { count: 250, below: 40, each: 100 };
        let tree = small.make(&dir).expect("the tree can be made");
        let list = files(&tree).expect("the tree can be read");
        assert_eq!(list.len(), 250);
        assert!(tree.join("0000/2/file-0000249.dat").is_file());
        let content = |list: &[PathBuf]| -> Vec<Vec<u8>> { list.iter().map(|p| fs::read(p).expect("read")).collect() };
        let first = content(&list);
        assert_eq!(warm(&tree).expect("read"), first.iter().map(|c| c.len() as u64).sum::<u64>());
        fs::remove_dir_all(&tree).expect("the tree is ours");
        assert_eq!(small.make(&dir).expect("the tree can be made again"), tree);
        assert_eq!(content(&files(&tree).expect("read")), first);
        fs::remove_file(&list[0]).expect("the file is ours");
        small.make(&dir).expect("found");
        assert!(!list[0].exists(), "an existing tree is left alone");
        fs::remove_dir_all(&dir).expect("the directory is ours");
    }
}
