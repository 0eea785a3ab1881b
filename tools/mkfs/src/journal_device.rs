//! The external journal that `-J device=` names: what it is, and the entry of the new file system in its list of users.
//!
//! Layout: `ext2fs_add_journal_device` of e2fsprogs 1.47: a superblock with `journal_dev`, the journal's superblock in the
//! block behind it.

use anyhow::{Context, Result, anyhow, bail};
use daxkit_build::options::JournalDevice;
use daxkit_device::{BlockDevice, FileDevice, FileOptions};
use daxkit_format::OnDisk;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::super_block::{self, SUPER_BLOCK_OFFSET};
use daxkit_format::jbd2::{JournalSuperBlock, MAGIC};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zerocopy::IntoBytes;

/// An external journal, open.
#[derive(Debug)]
pub(crate) struct External {
    device: FileDevice,
    path: PathBuf,
    at: u64,
    /// What resolution needs to know.
    pub(crate) facts: JournalDevice,
}

impl External {
    /// Opens a journal device, for writing unless the run is dry.
    pub(crate) fn open(path: &str, dry_run: bool) -> Result<Self> {
        if path.starts_with("UUID=") || path.starts_with("LABEL=") {
            bail!("-J device={path}: wants a path; devices are not searched by UUID or label");
        }
        let path = Path::new(path);
        let options = if dry_run { FileOptions::read_only() } else { FileOptions::read_write() };
        let device = FileDevice::open(path, options)?;
        Self::read(device, path).with_context(|| format!("-J device={}", path.display()))
    }

    fn read(device: FileDevice, path: &Path) -> Result<Self> {
        let mut bytes = [0; 1024];
        if device.len() < SUPER_BLOCK_OFFSET + 1024 {
            bail!("is too short to be a journal device");
        }
        device.read_at(SUPER_BLOCK_OFFSET, &mut bytes)?;
        let sb = super_block::parse(&bytes).filter(|sb| sb.incompat().contains(Incompat::JOURNAL_DEV));
        let sb = sb.ok_or_else(|| anyhow!("is not a journal device (dax-mkfs -O journal_dev makes one)"))?;
        let block_size = sb.block_size().ok_or_else(|| anyhow!("has an impossible block size"))?;
        let meta = device.file().metadata()?;
        let number = if device.is_block_device() { old_device_number(meta.rdev()) } else { 0 };
        let at = u64::from(block_size) * if block_size == 1024 { 2 } else { 1 };
        let external =
            Self { device, path: path.to_owned(), at, facts: JournalDevice { uuid: sb.s_uuid, block_size, number } };
        let journal = external.journal()?.check(block_size, sb.blocks_count())?;
        if journal.start != 0 {
            bail!("its log is not empty: a file system that uses it was not unmounted");
        }
        Ok(external)
    }

    fn journal(&self) -> Result<JournalSuperBlock> {
        let mut bytes = [0; 1024];
        self.device.read_at(self.at, &mut bytes)?;
        let journal = JournalSuperBlock::peek(&bytes).copied().filter(|j| j.h_magic.get() == MAGIC && !j.is_v1());
        journal.ok_or_else(|| anyhow!("has no journal superblock of version 2"))
    }

    /// Adds a file system to the users.
    pub(crate) fn add_user(&self, uuid: [u8; 16]) -> Result<()> {
        let add = || -> Result<()> {
            let mut journal = self.journal()?;
            if !journal.add_user(uuid) {
                bail!("already serves as many file systems as it can");
            }
            journal.seal();
            self.device.write_at(self.at, journal.as_bytes())?;
            Ok(self.device.flush()?)
        };
        add().with_context(|| format!("-J device={}", self.path.display()))
    }
}

/// A device number in the 32 bits of `s_journal_dev` (`new_encode_dev`).
fn old_device_number(rdev: u64) -> u32 {
    let (major, minor) = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}
