//! A file system made on a device that has none worth keeping.

use super::Command;
use crate::opening::Opening;
use crate::output::shown;
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_build::options::{self, Facts, Request, Target};
use daxkit_build::plan::{Plan, RangeOverrides};
use daxkit_build::progress::NoProgress;
use daxkit_build::source::{Attributes, Source, Tree};
use daxkit_build::write::write_image;
use daxkit_device::rollback::{honour, write_all_or_none};
use daxkit_device::{BlockDevice, FileDevice, FileOptions, Overlay};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["init_filesys"],
    args: "DEVICE BLOCKS",
    summary: "Make an empty ext2 file system of so many KiB on a device, at once, and open it; unlike debugfs's it is whole",
    example: "init_filesys disk.img 8192",
    run: init,
}];

/// Bytes of a block, as the file systems have that debugfs makes.
const BLOCK: u64 = 1024;

fn init(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (2, 2))?;
    let [device, blocks] = options.rest else { return Ok(()) };
    if !session.closed {
        bail!("{} is still open; close it first", session.opening.path().display());
    }
    if session.opening.dry_run {
        bail!("a dry run makes no file system");
    }
    let path = Path::new(OsStr::from_bytes(device));
    make(session, path, number(blocks, "a number of blocks")?).with_context(|| shown(device))?;
    session.reopen(Opening { image: Some(path.to_owned()), writable: true, replay: true, ..Opening::default() })
}

fn make(session: &Session<'_>, path: &Path, blocks: u64) -> Result<()> {
    let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open(path, FileOptions::read_write())?);
    let (device, _) = honour(path, 0, device)?;
    let len = blocks.checked_mul(BLOCK).filter(|len| *len <= device.len());
    let len =
        len.with_context(|| format!("{blocks} blocks of {BLOCK} bytes do not fit into {} bytes", device.len()))?;
    let text = |text: &str| Some(text.to_owned());
    let request = Request {
        size: Some(format!("{blocks}k")),
        block_size: Some(BLOCK.to_string()),
        fs_type: text("ext2"),
        features: vec!["none".to_owned()],
        revision: text("0"),
        reserved_percent: text("0"),
        uuid: text("clear"),
        ..Request::default()
    };
    let facts = Facts {
        target: Some(Target { len: device.len(), can_grow: false }),
        sector_size: 512,
        content: None,
        now: session.time(),
        random_uuid: [0; 16],
        random_seed: [0; 16],
        caller: (0, 0),
        journal_device: None,
        processors: 1,
    };
    let params = options::resolve(&request, &facts)?.params;
    let time = params.time;
    let root = Attributes { mode: 0o755, uid: 0, gid: 0, atime: time, ctime: time, mtime: time };
    let source = Source::empty(Tree::empty(&root));
    let plan = Plan::new(&params, source.tree(), RangeOverrides::default())?;
    let overlay = Overlay::new(Arc::clone(&device));
    overlay.write_zeroes(0, len)?;
    write_image(&plan, &source, &overlay, &NoProgress)?;
    write_all_or_none(path, 0, &*device, &overlay)?;
    Ok(())
}
