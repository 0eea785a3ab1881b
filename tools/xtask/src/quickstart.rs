//! `cargo xtask quickstart`: the main job on a small tree, end to end, and a repair, each step shown as one would type it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::bench::Xorshift;
use crate::process;
use crate::workspace::{Profile, Workspace};

/// The length of the generated file: three windows of 2 MiB.
const TABLE_LEN: usize = 6 << 20;

/// What everything in the tree is dated: the first second of 2026. Times are content, and the image is the same each time.
const DATE: i64 = 1_767_225_600;

/// Makes the tree and the image, looks inside, has it checked, and damages and repairs a copy.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    println!("Building the tools.");
    let bin = workspace.build_tools(Profile::Release)?;
    let target = &workspace.target;
    let tree = target.join("quick-start");
    make_tree(&workspace.root.join("images/quick-start"), &tree)?;

    let tool = |name: &str| {
        let mut command = process::command(bin.join(name));
        command.current_dir(target);
        command
    };
    let image = "quick-start.img";
    step("An image of the tree; everything below /pmem gets the DAX flag.")?;
    let mkfs = |image: &str| {
        let mut command = tool("dax-mkfs");
        command.args(["-F", "--reproducible", "--owner", "0:0", "-L", "quick-start", "-d", "quick-start"]);
        command.args(["--dax", "/pmem", image, "64M"]);
        command
    };
    show(&mut mkfs(image))?;

    step("What is in it: the root directory, and which files carry the flag (x).")?;
    show(tool("dax-debugfs").args(["-R", "ls -l /", image]))?;
    show(tool("dax-debugfs").args(["-R", "lsattr /pmem", image]))?;

    step("What one page fault can map of the 6 MiB file: three windows of 2 MiB, each with a single fault.")?;
    show(tool("dax-debugfs").args(["-R", "pmd /pmem/table.bin", image]))?;

    let mut verdict = "e2fsprogs is not on this machine, so nobody was asked (`cargo xtask setup` brings it)";
    if process::find_program("mke2fs").is_some() {
        step("The same tree by mke2fs, for comparison.")?;
        let peer = "quick-start-mke2fs.img";
        let mut mke2fs = process::command("mke2fs");
        show(mke2fs.args(["-q", "-F", "-b", "4096", "-d", "quick-start", peer, "64M"]).current_dir(target))?;
        show(tool("dax-debugfs").args(["-R", "pmd /pmem/table.bin", peer]))?;
        fs::remove_file(target.join(peer))?;
    }
    if process::find_program("e2fsck").is_some() {
        step("Is it a sound ext4? The reference checker decides.")?;
        show(process::command("e2fsck").args(["-fn", image]).current_dir(target))?;
        verdict = "e2fsck finds it clean";
    }

    step("Is the DAX flag as its directories would give it? dax-fsck checks that as well; it is advice.")?;
    show(tool("dax-fsck").args(["-n", image]))?;

    step("A copy is damaged; dax-fsck finds what is wrong (exit status 4), and mends it (1).")?;
    let broken = "quick-start-broken.img";
    fs::copy(target.join(image), target.join(broken))?;
    let requests = ["-R", "set_inode_field /pmem/log links_count 7", "-R", "freeb 1000 40"];
    show(tool("dax-debugfs").arg("-w").args(requests).arg(broken))?;
    ends(tool("dax-fsck").args(["-n", broken]), 4)?;
    ends(tool("dax-fsck").args(["-y", broken]), 1)?;
    if process::find_program("e2fsck").is_some() {
        show(process::command("e2fsck").args(["-fn", broken]).current_dir(target))?;
    }
    fs::remove_file(target.join(broken))?;

    step(
        "What would a kernel do with it? An emulated one mounts the image and maps the file: three faults, no page cache.",
    )?;
    let scenario = workspace.root.join("images/quick-start.dax");
    show(tool("dax-pmem").args(["run", "-v", image]).arg(&scenario))?;
    show(tool("dax-pmem").args(["explain", image]).arg(&scenario))?;

    step("The same input gives the same bytes: a second image, compared.")?;
    let again = "quick-start-again.img";
    if !mkfs(again).stdout(std::process::Stdio::null()).status()?.success() {
        bail!("the second image could not be made");
    }
    let same = same_bytes(&target.join(image), &target.join(again))?;
    fs::remove_file(target.join(again))?;
    if !same {
        bail!("two images of one tree differ");
    }
    println!("identical");

    println!("\nDone: {} is a real ext4 image; {verdict}.", target.join(image).display());
    println!("Mount it where there is persistent memory with `mount -o dax=inode`, or anywhere with `mount -o loop`.");
    println!("Your own directory: {} -d DIR --dax /PATH IMAGE", bin.join("dax-mkfs").display());
    Ok(())
}

fn step(what: &str) -> Result<()> {
    println!("\n{what}");
    Ok(std::io::stdout().flush()?)
}

/// Prints the command and lets it print; it must succeed.
fn show(command: &mut Command) -> Result<()> {
    ends(command, 0)
}

/// Prints the command and lets it print; it must end with this status.
fn ends(command: &mut Command, wanted: i32) -> Result<()> {
    let line = process::shown(command);
    println!("$ {line}");
    std::io::stdout().flush()?;
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    if status.code() != Some(wanted) {
        bail!("`{line}` ended with {status}, and not with {wanted}");
    }
    Ok(())
}

/// A fresh copy of the committed tree, with the generated file, in which modes and times depend on nothing.
fn make_tree(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    let mut data = vec![0; TABLE_LEN];
    Xorshift::new(TABLE_LEN as u64).fill(&mut data);
    let table = to.join("pmem/table.bin");
    File::create(&table)?.write_all(&data)?;
    set_mode(&table, 0o644)?;
    date(to)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let kind = from.symlink_metadata()?;
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if kind.is_dir() {
        fs::create_dir(to)?;
        set_mode(to, 0o755)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else {
        fs::write(to, fs::read(from)?)?;
        // What a checkout keeps of a mode is whether the file is a program.
        set_mode(to, if kind.permissions().mode() & 0o100 != 0 { 0o755 } else { 0o644 })?;
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// Dates everything below `path`, and it.
fn date(path: &Path) -> Result<()> {
    if path.symlink_metadata()?.is_dir() {
        for entry in fs::read_dir(path)? {
            date(&entry?.path())?;
        }
    }
    let time = Timespec { tv_sec: DATE, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).with_context(|| format!("cannot date {}", path.display()))
}

fn same_bytes(a: &Path, b: &Path) -> Result<bool> {
    Ok(fs::read(a)? == fs::read(b)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_tree_is_whole_and_depends_on_nothing() {
        let to = std::env::temp_dir().join(format!("daxkit-quick-start-{}", std::process::id()));
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/quick-start");
        for _again in 0..2 {
            make_tree(&from, &to).expect("the tree can be made");
            let of = |path: &str| to.join(path).symlink_metadata().expect("it is in the tree");
            assert_eq!(of("pmem/table.bin").len(), TABLE_LEN as u64);
            assert_eq!(of("bin/hello").mode() & 0o7777, 0o755);
            assert_eq!(of("README.txt").mode() & 0o7777, 0o644);
            assert!(of("docs/start-here").is_symlink());
            for path in ["", "pmem", "pmem/table.bin", "docs/start-here"] {
                assert_eq!(of(path).mtime(), DATE, "{path}");
            }
        }
        fs::remove_dir_all(&to).expect("the tree is ours");
    }
}
