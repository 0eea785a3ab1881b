//! One check of an image, from the superblock to the counts.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use daxkit_device::{BlockDevice, Overlay};

use crate::code::Severity;
use crate::finding::Finding;
use crate::image::Image;
use crate::open::{Edits, Opened, Opening, open};
use crate::pass::dax::DaxRules;
use crate::pass::{Context, Local, Usage};
use crate::state::{BlockMap, Inodes};
use crate::wishes::Wishes;

/// Told how far a check has got: the pass (1 inodes, 2 directories, 3 connectivity, 4 links, 5 bitmaps), and how much of it is done.
pub trait Progress: std::fmt::Debug + Send + Sync {
    /// So much of a pass is done.
    fn pass(&self, pass: u8, done: u64, all: u64);
}

/// How to check.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads; at least one.
    pub threads: usize,
    /// What time it is, in seconds since 1970.
    pub now: u64,
    /// How the rules of the DAX flag are applied.
    pub dax: DaxRules,
    /// The UUID of a file system that has none.
    pub uuid: [u8; 16],
    /// How to open.
    pub opening: Opening,
    /// What is to be done besides mending.
    pub wishes: Wishes,
    /// Told how far it has got.
    pub progress: Option<Arc<dyn Progress>>,
    /// Set by somebody who wants the check to end.
    pub stop: Arc<AtomicBool>,
}

impl Options {
    /// On one thread, at this time.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self {
            threads: 1,
            now,
            dax: DaxRules::default(),
            uuid: *b"daxkit-check-id.",
            opening: Opening::default(),
            wishes: Wishes::default(),
            progress: None,
            stop: Arc::default(),
        }
    }
}

/// What a check came to.
#[derive(Debug)]
pub struct Report {
    /// What was found, in order.
    pub findings: Vec<Finding>,
    /// What is used.
    pub usage: Usage,
    /// Inodes and blocks that there are; `None` when the superblock cannot be used.
    pub size: Option<(u64, u64)>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|f| f.code.severity() == Severity::Advice)
    }
}

/// Checks an image. Nothing is written.
#[must_use]
pub fn check(device: Arc<dyn BlockDevice>, options: &Options) -> Report {
    let edits: Arc<Edits> = Arc::new(Overlay::new(device));
    let checked = run(&edits, options, |_| ());
    Report { findings: checked.findings, usage: checked.usage, size: checked.size }
}

/// What a check leaves behind for whoever repairs.
pub(crate) struct Checked {
    pub(crate) findings: Vec<Finding>,
    pub(crate) usage: Usage,
    pub(crate) size: Option<(u64, u64)>,
}

/// A state after all passes, with the findings that came out of it.
pub(crate) struct State<'c, 'i> {
    pub(crate) cx: &'c Context<'i>,
    pub(crate) findings: &'c [Finding],
    pub(crate) dirs: &'c [crate::pass::Dir],
}

/// Checks the image below `edits`, and shows the state to `keep`.
pub(crate) fn run(edits: &Arc<Edits>, options: &Options, keep: impl FnOnce(&State<'_, '_>)) -> Checked {
    let Opened { image, mut findings } = open(edits, &options.opening);
    let Some(image) = image else { return Checked { findings, usage: Usage::default(), size: None } };
    let image = if edits.is_unchanged() {
        // Nothing stands between the check and the image.
        Image::open(Arc::clone(edits.base())).unwrap_or(image)
    } else {
        image
    };
    let size = Some((image.geo.inodes_count.into(), image.geo.blocks_count));
    let mut cx = Context {
        blocks: BlockMap::new(image.clusters_count()),
        meta: BlockMap::new(image.clusters_count()),
        inodes: Inodes::new(image.geo.groups_count, image.geo.inodes_per_group),
        scans: Vec::new(),
        bad: std::collections::HashSet::new(),
        now: options.now,
        threads: options.threads.max(1),
        dax_rules: options.dax,
        wishes: &options.wishes,
        progress: options.progress.as_deref(),
        stop: &options.stop,
        image: &image,
    };
    let mut local = Local::default();
    cx.scans = cx.groups(&mut local);
    cx.inodes.open(cx.scans.iter().map(|scan| scan.inodes));
    cx.bad = cx.bad_list().into_iter().collect();
    cx.bad_parts(&mut local);
    let (usage, dirs) = passes(&cx, &mut local);
    findings.append(&mut local.findings);
    // What comes first is mended first; the order of a table is the order of a text.
    findings.sort_by_key(Finding::key);
    findings.dedup_by_key(|finding| finding.key());
    keep(&State { cx: &cx, findings: &findings, dirs: &dirs });
    Checked { findings, usage, size }
}

/// All passes after that over the groups.
fn passes(cx: &Context<'_>, local: &mut Local) -> (Usage, Vec<crate::pass::Dir>) {
    cx.super_block(local);
    cx.journal(local);
    cx.orphans(local);
    let mut scan = cx.scan();
    cx.xattr_blocks(&mut scan);
    cx.features_used(&mut scan);
    local.findings.append(&mut scan.findings);
    if !scan.twice.is_empty() && (!cx.image.has.shared_blocks || cx.wishes.unshare) {
        local.findings.extend(cx.duplicates(&scan.twice));
    } else if cx.wishes.unshare {
        cx.nothing_shared(local);
    }
    let dirs = std::mem::take(&mut scan.dirs);
    let mut found = cx.directories(&dirs);
    found.dax = std::mem::take(&mut scan.dax);
    found.usage = scan.usage;
    cx.dax(&mut found);
    local.findings.append(&mut found.findings);
    let mut tree = Local::default();
    let said = |done| cx.progress.iter().for_each(|progress| progress.pass(3, done, 1));
    said(0);
    cx.tree(&dirs, &found, &mut tree);
    said(1);
    local.findings.append(&mut tree.findings);
    local.findings.append(&mut cx.links(&scan.ea_inodes).findings);
    cx.quota(&scan.charges, local);
    let mut maps = cx.bitmaps(&scan.dirs_of);
    local.findings.append(&mut maps.findings);
    let mut usage = scan.usage;
    let free = maps.free.0 * u64::from(cx.image.geo.cluster_ratio);
    usage.inodes = u64::from(cx.image.geo.inodes_count).saturating_sub(maps.free.1);
    usage.blocks = cx.image.geo.blocks_count.saturating_sub(free);
    (usage, dirs)
}
