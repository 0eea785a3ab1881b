//! ext4 volumes made on the spot: what `dax-mkfs` makes of nothing, in memory.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use daxkit_build::options::{self, Facts, Request, Target};
use daxkit_build::plan::Plan;
use daxkit_build::progress::NoProgress;
use daxkit_build::source::{Attributes, Source, Tree};
use daxkit_build::write::write_image;
use daxkit_device::MemoryDevice;
use daxkit_device::pmem::{Persistence, Pmem, PmemOptions, Resident};
use daxkit_format::ext4::inode::Timestamp;
use daxkit_mount::fs::FileSystem;
use daxkit_mount::fs::ext4::Ext4Fs;
use daxkit_scenario::ast::Feature;

/// When they are made: the same volume every time.
const WHEN: Timestamp = Timestamp { seconds: 1_700_000_000, nanos: 0 };
/// Seeds of what would be random.
const SEEDS: ([u8; 16], [u8; 16]) = (*b"daxkit scenarios", *b"hash seed of one");

/// A mounted, empty volume of `size` bytes with blocks of 4 KiB.
///
/// # Errors
/// Features that do not go together, or are not known; no such size.
pub(crate) fn make(size: u64, features: &[Feature]) -> anyhow::Result<Ext4Fs<Persistence>> {
    let word = |feature: &Feature| format!("{}{}", if feature.off { "^" } else { "" }, feature.name);
    let mut words = vec!["project".to_owned()];
    words.extend(features.iter().map(word));
    let request = Request {
        size: Some(format!("{}K", size >> 10)),
        block_size: Some("4096".to_owned()),
        features: vec![words.join(",")],
        ..Request::default()
    };
    let facts = Facts {
        target: Some(Target { len: size, can_grow: false }),
        sector_size: 512,
        content: None,
        now: WHEN,
        random_uuid: SEEDS.0,
        random_seed: SEEDS.1,
        caller: (0, 0),
        journal_device: None,
        processors: 1,
    };
    let params = options::resolve(&request, &facts)?.params;
    let root = Attributes { mode: 0o755, uid: 0, gid: 0, atime: WHEN, ctime: WHEN, mtime: WHEN };
    let source = Source::empty(Tree::empty(&root));
    let plan = Plan::new(&params, source.tree(), Default::default())?;
    let device = MemoryDevice::new(size);
    write_image(&plan, &source, &device, &NoProgress)?;
    let memory = Pmem::new(Arc::new(Resident::read(&device)?), PmemOptions::default(), Persistence::default());
    let mut fs = Ext4Fs::mount(memory.context("pmem")?, false, 0).context("mount")?;
    // As empty as a file system in memory.
    let gone = fs.lookup(fs.root(), b"lost+found").and_then(|dir| {
        fs.unlink(fs.root(), b"lost+found", true, WHEN.seconds)?;
        fs.free_inode(dir)?;
        fs.commit()
    });
    if let Err(errno) = gone {
        bail!("lost+found: {errno}");
    }
    Ok(fs)
}
