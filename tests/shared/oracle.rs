//! Those who are asked about an image: `e2fsck` (with `dax-fsck` beside it), `dumpe2fs`, `debugfs` and the kernel.

use super::tools::{Failure, output, succeed, system, told};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// `e2fsck -fn` finds nothing, and neither does `dax-fsck -n`.
pub(crate) fn clean(image: &Path) -> Result<(), Failure> {
    super::judge::both(image).map(drop)
}

/// The superblock as `dumpe2fs -h` tells it: field to value.
pub(crate) fn dumpe2fs(image: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let text = succeed(system("dumpe2fs").arg("-h").arg(image))?;
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|l| l.split_once(':'))
        .map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned()))
        .collect())
}

/// The names of the features.
pub(crate) fn features(super_block: &BTreeMap<String, String>) -> BTreeSet<String> {
    let names = super_block.get("Filesystem features").map_or("", String::as_str);
    names.split_whitespace().map(str::to_owned).collect()
}

/// Runs a script of debugfs commands, which must all be carried out.
pub(crate) fn debugfs(image: &Path, script: &[u8], scratch: &Path) -> Result<Vec<u8>, Failure> {
    let file = scratch.join("debugfs-script");
    std::fs::write(&file, script).map_err(|e| format!("writing a script: {e}"))?;
    let mut command = system("debugfs");
    let out = output(command.arg("-f").arg(&file).arg(image));
    // debugfs ends with 0 whatever happens; complaints go to stderr behind the line with its version.
    let complaints: Vec<_> = String::from_utf8_lossy(&out.stderr)
        .lines()
        .filter(|l| !l.starts_with("debugfs 1."))
        .map(str::to_owned)
        .collect();
    if out.status.success() && complaints.is_empty() { Ok(out.stdout) } else { Err(told(&command, &out)) }
}

/// An image the kernel has mounted, read-only unless told otherwise; unmounted when dropped.
pub(crate) struct Mounted {
    at: PathBuf,
    mounted: bool,
}

impl Mounted {
    /// Mounts an ext4 image through a loop device.
    pub(crate) fn new(image: &Path, at: &Path, options: &str) -> Result<Self, Failure> {
        Self::of("ext4", image, at, options)
    }

    /// Mounts an image of some type through a loop device.
    pub(crate) fn of(kind: &str, image: &Path, at: &Path, options: &str) -> Result<Self, Failure> {
        std::fs::create_dir_all(at).map_err(|e| format!("{}: {e}", at.display()))?;
        let mut command = system("mount");
        command.args(["-t", kind, "-o", &format!("loop,{options}")]).arg(image).arg(at);
        succeed(&mut command).map_err(|e| format!("the kernel does not mount it (as root, with loop devices)\n{e}"))?;
        Ok(Self { at: at.to_owned(), mounted: true })
    }

    /// Where.
    pub(crate) fn path(&self) -> &Path {
        &self.at
    }

    /// Unmounts and reports failure.
    pub(crate) fn unmount(mut self) -> Result<(), Failure> {
        self.mounted = false;
        // A process that another thread is just starting holds our files open until it runs its own program.
        let mut last = Ok(());
        for _ in 0..500 {
            last = succeed(system("umount").arg(&self.at)).map(drop);
            match &last {
                Err(e) if e.contains("busy") => std::thread::yield_now(),
                _ => break,
            }
        }
        last
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.mounted {
            let _ = output(system("umount").arg(&self.at));
        }
    }
}

/// Whether the running kernel can mount an image with these features and blocks of this size; else the reason.
pub(crate) fn kernel_mounts(block_size: u32, features: &BTreeSet<String>) -> Result<(), String> {
    if block_size > 4096 {
        return Err(format!("blocks of {block_size} bytes"));
    }
    // What a kernel may be built without, and says so.
    for feature in ["casefold"] {
        if features.contains(feature) && !Path::new("/sys/fs/ext4/features").join(feature).exists() {
            return Err(format!("a kernel without {feature}"));
        }
    }
    Ok(())
}

/// Whether `blkid` takes the file for a file system of any kind; probed without its cache.
pub(crate) fn looks_like_a_file_system(image: &Path) -> Option<String> {
    let out = output(system("blkid").args(["-p", "-u", "filesystem", "-o", "value", "-s", "TYPE"]).arg(image));
    let found = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    (out.status.success() && !found.is_empty()).then_some(found)
}

/// One name of a directory as debugfs lists it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) inode: u32,
    pub(crate) name: Vec<u8>,
}

/// Takes the output of `ls -p` apart: records `/inode/mode/uid/gid/name/size/` and a newline each. A name may hold a
/// newline, never a slash.
pub(crate) fn parse_ls(text: &[u8]) -> Result<Vec<Listed>, Failure> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        while let Some(after) = rest.strip_prefix(b"\n") {
            rest = after;
        }
        if rest.is_empty() || rest.starts_with(b"debugfs:") {
            return Ok(found);
        }
        let fields: Vec<&[u8]> = rest.splitn(8, |b| *b == b'/').collect();
        let [b"", inode, _, _, _, name, _, after] = fields[..] else {
            return Err(format!("cannot make sense of debugfs's list: {}", rest.escape_ascii()));
        };
        let inode = std::str::from_utf8(inode).ok().and_then(|t| t.parse().ok());
        found.push(Listed { inode: inode.ok_or("no inode number in debugfs's list")?, name: name.to_vec() });
        rest = after;
    }
}

/// Quotes a path for debugfs; only for names of this harness's own making.
pub(crate) fn plain(path: &Path) -> &OsStr {
    assert!(!path.as_os_str().as_bytes().iter().any(|b| b" \"\n\\".contains(b)), "a scratch path without blanks");
    path.as_os_str()
}
