//! Images to be dumped and restored.

use daxkit_build::dump::{Data, DumpOptions, dump};
use daxkit_build::restore::{RestoreError, restore};
use daxkit_device::{BlockDevice, MemoryDevice};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

/// Runs a tool of e2fsprogs, naming it when it is missing.
pub(crate) fn spawn(tool: &str, args: &[&str]) -> Output {
    let path = ["/usr/sbin", "/sbin"].iter().map(|d| format!("{d}/{tool}")).find(|p| Path::new(p).exists());
    Command::new(path.as_deref().unwrap_or(tool))
        .args(args)
        .env("MKE2FS_SKIP_CHECK_MSG", "1")
        .output()
        .unwrap_or_else(|e| panic!("oracle missing: cannot run {tool} (package e2fsprogs): {e}"))
}

pub(crate) fn run(tool: &str, args: &[&str]) -> String {
    let output = spawn(tool, args);
    assert!(output.status.success(), "{tool} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn source(dir: &Path) {
    std::fs::create_dir_all(dir.join("sub")).unwrap();
    std::fs::write(dir.join("hello"), "hello, world\n").unwrap();
    std::fs::write(dir.join("sub/big"), vec![7u8; 70_000]).unwrap();
    std::fs::write(dir.join("sub/odd \"name\"\n\u{fffd}"), "x").unwrap();
    let sparse = std::fs::File::create(dir.join("sparse")).unwrap();
    for i in 0..12u8 {
        std::os::unix::fs::FileExt::write_at(&sparse, &[i; 3000], u64::from(i) * 40_000 + 17).unwrap();
    }
    symlink("hello", dir.join("fast")).unwrap();
    symlink("x".repeat(100), dir.join("slow")).unwrap();
    for i in 0..120 {
        std::fs::write(dir.join(format!("sub/entry-with-a-long-name-{i:04}")), "").unwrap();
    }
}

/// An image of `size` made by mke2fs with these arguments, and edited by debugfs.
pub(crate) fn image(size: &str, args: &[&str]) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    source(&tree);
    let image = scratch.path().join("image");
    let path = image.to_str().unwrap();
    let mut all = vec!["-q", "-F"];
    if !args.contains(&"journal_dev") {
        all.extend(["-d", tree.to_str().unwrap()]);
    }
    all.extend(args);
    all.extend([path, size]);
    run("mke2fs", &all);
    if !args.contains(&"journal_dev") {
        let edits = [
            "ea_set hello user.text \"a value\"",
            "ea_set hello user.empty \"\"",
            &format!("ea_set sub/big user.long {}", "v".repeat(700)),
            &format!("ea_set sub user.long {}", "v".repeat(700)),
            "mknod null c 1 3",
            "mknod disk b 259 65535",
            "mknod pipe p",
            "sif hello mtime @1700000000",
            "sif hello atime 22000101",
            "sif hello crtime @-5",
            "rm sub/entry-with-a-long-name-0007",
            "fallocate hello 20 30",
        ];
        let script = scratch.path().join("script");
        std::fs::write(&script, edits.join("\n")).unwrap();
        spawn("debugfs", &["-w", "-f", script.to_str().unwrap(), path]);
        journal(scratch.path(), path);
    }
    std::fs::read(image).unwrap()
}

/// The kinds of image.
pub(crate) const KINDS: &[(&str, &[&str])] = &[
    ("1M", &["-t", "ext4", "-b", "1024", "-N", "256"]),
    ("2M", &["-t", "ext2", "-b", "1024", "-N", "256", "-I", "128"]),
    ("2M", &["-t", "ext2", "-b", "1024", "-N", "256", "-O", "none", "-I", "128", "-r", "0"]),
    ("2M", &["-t", "ext4", "-b", "4096", "-N", "256", "-O", "inline_data,^has_journal,^64bit"]),
    ("2M", &["-t", "ext4", "-b", "4096", "-N", "256", "-I", "1024", "-O", "inline_data,ea_inode,^has_journal"]),
    ("4M", &["-t", "ext3", "-b", "1024", "-N", "256", "-O", "^sparse_super,^resize_inode"]),
    ("4M", &["-t", "ext3", "-b", "1024", "-g", "512", "-N", "256", "-E", "resize=20000"]),
    ("4M", &["-t", "ext4", "-b", "2048", "-N", "256", "-O", "mmp,quota,orphan_file,^metadata_csum,uninit_bg"]),
    ("4M", &["-t", "ext4", "-b", "1024", "-g", "512", "-N", "256", "-O", "meta_bg,^resize_inode,quota,project"]),
    ("2M", &["-t", "ext4", "-b", "1024", "-N", "256", "-O", "bigalloc,^resize_inode", "-C", "4096"]),
    ("4M", &["-t", "ext4", "-b", "1024", "-g", "512", "-N", "256", "-O", "sparse_super2", "-E", "num_backup_sb=2"]),
    ("4M", &["-t", "ext4", "-b", "1024", "-N", "256", "-O", "casefold,encrypt,verity,orphan_file,metadata_csum_seed"]),
    ("8M", &["-t", "ext4", "-b", "1024", "-N", "256", "-O", "fast_commit", "-J", "size=2,fast_commit_size=256"]),
    ("8M", &["-t", "ext4", "-b", "65536", "-N", "256", "-O", "^has_journal"]),
    ("5M", &["-t", "ext4", "-b", "4096", "-O", "journal_dev"]),
];

pub(crate) fn text(bytes: &[u8], data: Data) -> Vec<u8> {
    let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(bytes));
    let mut out = Vec::new();
    dump(&device, &DumpOptions { data }, &mut out).unwrap();
    out
}

/// The image a text stands for.
pub(crate) fn built(text: &[u8]) -> Result<Vec<u8>, RestoreError> {
    let device = restore(&mut &text[..], &mut |len| Ok(Arc::new(MemoryDevice::new(len))))?;
    let mut bytes = vec![0; usize::try_from(device.len()).unwrap()];
    device.read_at(0, &mut bytes).unwrap();
    Ok(bytes)
}

/// Says where an image differs from its text's.
pub(crate) fn check(bytes: &[u8], what: &str) {
    let text = text(bytes, Data::Full);
    let again = match built(&text) {
        Ok(again) => again,
        Err(error) => {
            let line = error.to_string().split_whitespace().nth(1).and_then(|n| n.trim_end_matches(':').parse().ok());
            let lines = String::from_utf8_lossy(&text);
            let near = line.map(|n: usize| lines.lines().skip(n.saturating_sub(6)).take(6).collect::<Vec<_>>());
            panic!("{what}: {error}\n{near:#?}");
        }
    };
    assert_eq!(bytes.len(), again.len(), "{what}");
    let differ: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != again[*at]).take(20).collect();
    let shown: Vec<String> = differ.iter().map(|at| format!("{at:#x}: {:#x} {:#x}", bytes[*at], again[*at])).collect();
    assert!(differ.is_empty(), "{what}: {shown:#?}");
}

/// Leaves transactions in the log, where there is one: tags of all kinds, revoked blocks, a block that has to be escaped.
fn journal(scratch: &Path, image: &str) {
    let blocks = scratch.join("blocks");
    let mut bytes = vec![0x5a; 3 * 4096];
    bytes[..4].copy_from_slice(&0xC03B_3998u32.to_be_bytes());
    std::fs::write(&blocks, bytes).unwrap();
    let script = scratch.join("journal");
    let lines =
        format!("jo -c\njw -b 700,701,702 {0}\njw -b 703 -r 700,701 {0}\njw -c -b 704 {0}\njc\n", blocks.display());
    std::fs::write(&script, lines).unwrap();
    spawn("debugfs", &["-w", "-f", script.to_str().unwrap(), image]);
}
