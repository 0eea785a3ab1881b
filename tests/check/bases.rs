//! The images that are broken: small, sound, and different in what they are made of.

use crate::shared::{oracle, tools};
use crate::tree;
use std::fs;
use std::path::Path;

/// An image that is sound.
pub(crate) struct Base {
    /// How it was made.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

/// Options of mke2fs, and the size.
const MKE2FS: &[(&[&str], &str)] = &[
    (&["-t", "ext4", "-b", "1024", "-N", "160"], "2M"),
    (&["-t", "ext4", "-b", "4096", "-N", "160", "-O", "^has_journal"], "2M"),
    (&["-t", "ext4", "-b", "1024", "-N", "160", "-O", "^metadata_csum,uninit_bg,^64bit,^has_journal"], "1M"),
    (&["-t", "ext2", "-b", "1024", "-N", "160"], "1M"),
    (&["-t", "ext3", "-b", "1024", "-N", "160"], "3M"),
    (&["-t", "ext4", "-b", "1024", "-N", "160", "-O", "inline_data,^has_journal"], "1M"),
    (&["-t", "ext4", "-b", "1024", "-C", "4096", "-N", "160", "-O", "bigalloc,^has_journal"], "2M"),
    (
        &[
            "-t",
            "ext4",
            "-b",
            "1024",
            "-N",
            "160",
            "-O",
            "quota,project,^has_journal",
            "-E",
            "quotatype=usrquota:grpquota:prjquota",
        ],
        "1M",
    ),
    (&["-t", "ext4", "-b", "1024", "-N", "256", "-g", "256", "-O", "meta_bg,^resize_inode,^has_journal"], "1M"),
    (&["-t", "ext4", "-b", "1024", "-N", "160", "-O", "casefold,^has_journal,metadata_csum_seed"], "1M"),
];

/// Options of dax-mkfs, and the size.
const DAX_MKFS: &[(&[&str], &str)] = &[
    (&["-b", "1024"], "2M"),
    (&["-b", "1024", "-O", "ea_inode,^has_journal"], "1M"),
    (&["-b", "4096", "-O", "orphan_file"], "8M"),
    (&["-t", "ext2", "-b", "1024"], "1M"),
];

/// Where files cost nothing, and directories are read in the same order on every machine.
pub(crate) fn scratch() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    let place = if shm.is_dir() { shm } else { Path::new("/tmp") };
    tempfile::Builder::new().tempdir_in(place).expect("a temporary directory")
}

/// Makes them all.
pub(crate) fn make(scratch: &Path) -> Vec<Base> {
    let source = scratch.join("tree");
    fs::create_dir(&source).expect("mkdir");
    tree::make(&source);
    let image = scratch.join("base");
    let mut bases = Vec::new();
    for (args, size) in MKE2FS {
        let mut command = tools::system("mke2fs");
        command.args([
            "-q",
            "-F",
            "-E",
            "hash_seed=01234567-89ab-cdef-0123-456789abcdef",
            "-U",
            "01234567-89ab-cdef-0123-456789abcdef",
        ]);
        command.env("E2FSPROGS_FAKE_TIME", "1700000000");
        command.args(*args).arg("-d").arg(&source).arg(&image).arg(size);
        tools::succeed(&mut command).unwrap_or_else(|told| panic!("{told}"));
        // mke2fs -d does not count what it puts in into quota.
        let mut count = tools::system("e2fsck");
        count.env("E2FSPROGS_FAKE_TIME", "1700000000").env("E2FSCK_TIME", "1700000000");
        tools::output(count.arg("-fy").arg(&image));
        bases.push(base(&image, format!("mke2fs {}", args.join(" "))));
    }
    for (args, size) in DAX_MKFS {
        let mut command = tools::dax_mkfs();
        command.env("SOURCE_DATE_EPOCH", "1700000000").args(["-q", "--reproducible", "--pmem-align", "none"]);
        command.args([
            "-U",
            "01234567-89ab-cdef-0123-456789abcdef",
            "-E",
            "hash_seed=01234567-89ab-cdef-0123-456789abcdef",
        ]);
        command.args(*args).arg("-d").arg(&source).arg(&image).arg(size);
        tools::succeed(&mut command).unwrap_or_else(|told| panic!("{told}"));
        bases.push(base(&image, format!("dax-mkfs {}", args.join(" "))));
    }
    bases
}

fn base(image: &Path, name: String) -> Base {
    oracle::clean(image).unwrap_or_else(|told| panic!("{name}: {told}"));
    let bytes = fs::read(image).expect("readable");
    fs::remove_file(image).expect("removable");
    Base { name, bytes }
}
