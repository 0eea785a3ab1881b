//! One run: look at the target, read the source, decide, write, print.

use crate::args::Args;
use crate::journal_device::External;
use crate::report::{Action, Document, JournalDeviceReport};
use crate::target::{self, Target};
use crate::{host, print};
use anyhow::{Context, Result, anyhow};
use daxkit_build::geometry::Geometry;
use daxkit_build::options::{self, Content, Facts, Level, Request, Resolved};
use daxkit_build::params::{Holes, Params};
use daxkit_build::plan::identity::{self, ContentSum};
use daxkit_build::plan::{Plan, RangeOverrides};
use daxkit_build::progress::Progress;
use daxkit_build::report::{PlanReport, uuid_text};
use daxkit_build::source::{Attributes, Kind, OwnerPolicy, ScanOptions, Skipped, Tree, exclude_set, scan};
use daxkit_build::write::{JournalDeviceParams, Written, find_zero_blocks, write_image, write_journal_device};
use daxkit_cli::interrupt::Interrupt;
use daxkit_cli::json;
use daxkit_cli::message::Messages;
use daxkit_cli::progress::Watcher;
use daxkit_device::new_file::Existing;
use daxkit_device::{BlockDevice, FileDevice, FileOptions, NewFile, UndoDevice, UndoOptions};
use daxkit_format::ext4::features::Incompat;
use std::io::{self, Write};
use std::path::Path;

/// More groups than this are not laid out just to be looked at.
const MOST_GROUPS_TO_LAY_OUT: u32 = 1 << 22;

/// Does what the command line says.
pub(crate) fn run(args: &Args, messages: &Messages) -> Result<()> {
    if let Some(reason) = args.refused() {
        return Err(anyhow!(reason));
    }
    let path = args.image.as_deref().ok_or_else(|| anyhow!("IMAGE is needed"))?;
    let request = args.request(host::source_date_epoch()?);
    let job = Job { args, path, request: &request, messages };
    let watcher = Watcher::new(Interrupt::catch()?, args.quiet || args.json);
    let done = job.run(&watcher);
    watcher.clear();
    done
}

struct Job<'a> {
    args: &'a Args,
    path: &'a Path,
    request: &'a Request,
    messages: &'a Messages,
}

/// What goes into the image: a tree, and what of the source is not in it.
type Source = Option<(Tree, Vec<Skipped>)>;

impl Job<'_> {
    fn run(&self, watcher: &Watcher) -> Result<()> {
        let target = Target::open(self.path, self.args.dry_run)?;
        if let (Target::Existing(device), false) = (&target, self.args.dry_run) {
            target::check_content(self.path, device, options::offset(self.request)?, self.args.force > 0)?;
        }
        if matches!(target, Target::New)
            && let Some(undo) = &self.args.undo
        {
            return Err(anyhow!("-z {}: there is no image yet, and so nothing to undo", undo.display()));
        }
        let external = options::journal_device_path(self.request)?
            .map(|path| External::open(&path, self.args.dry_run))
            .transpose()?;
        let mut source = self.scan(&target, watcher)?;
        let facts = self.facts(&target, source.as_ref().map(|(tree, _)| tree), external.as_ref())?;
        let resolved = options::resolve(self.request, &facts).with_context(|| self.path.display().to_string())?;
        if let Some((tree, _)) = &mut source {
            tree.set_root(resolved.root_owner, resolved.root_perms);
        }
        let skipped = source.as_ref().map(|(_, skipped)| skipped.as_slice()).unwrap_or_default();
        self.tell(&resolved, skipped);
        if resolved.params.features.incompat.contains(Incompat::JOURNAL_DEV) {
            return self.journal_device(target, &resolved, watcher);
        }
        let document = |action| Document::new(self.path, action, &resolved, skipped);
        let empty = empty_tree(&resolved.params);
        let tree = source.as_ref().map_or(&empty, |(tree, _)| tree);

        if self.args.dry_run && source.is_none() {
            let g = Geometry::new(&resolved.params, 0).with_context(|| self.path.display().to_string())?;
            if g.groups > MOST_GROUPS_TO_LAY_OUT {
                let plan = PlanReport::of_geometry(&g, resolved.params.reserved_blocks, &resolved.params.label);
                return self.print(&resolved.params, plan, None, document(Action::Planned));
            }
        }
        let plan = self.plan(&resolved.params, tree, watcher)?;
        let report = plan.report(tree);
        if self.args.dry_run {
            return self.print(&plan.params, report, None, document(Action::Planned));
        }
        let action = if matches!(target, Target::New) { Action::Created } else { Action::Overwritten };
        let written = self.write(target, &resolved, watcher, |device| {
            write_image(&plan, tree, self.args.source.as_deref(), device, watcher)
        })?;
        watcher.clear();
        if let Some(external) = &external {
            external.add_user(written.uuid)?;
        }
        self.print(&plan.params, report, Some(&written), document(action))
    }

    fn scan(&self, target: &Target, watcher: &Watcher) -> Result<Source> {
        let Some(root) = &self.args.source else {
            return Ok(None);
        };
        let undo = self.args.undo.as_ref().and_then(|p| std::fs::metadata(p).ok());
        let undo =
            undo.map(|meta| (std::os::unix::fs::MetadataExt::dev(&meta), std::os::unix::fs::MetadataExt::ino(&meta)));
        let scan_options = ScanOptions {
            exclude: exclude_set(&self.args.exclude).map_err(|e| anyhow!("--exclude: {e}"))?,
            owner: self.args.owner.map_or(OwnerPolicy::AsIs, |(uid, gid)| OwnerPolicy::Fixed(uid, gid)),
            skip_unreadable: self.args.skip_unreadable,
            threads: self.request.threads.unwrap_or_else(host::processors),
            read_xattrs: options::copies_xattrs(self.request)?,
            detect_holes: self.request.holes != Holes::None,
            leave_out: target.identity().into_iter().chain(undo).collect(),
        };
        Ok(Some(scan(root, &scan_options, watcher)?))
    }

    fn facts(&self, target: &Target, tree: Option<&Tree>, external: Option<&External>) -> Result<Facts> {
        let existing = match target {
            Target::New => None,
            Target::Existing(device) => Some(device),
        };
        Ok(Facts {
            target: existing.map(|d| options::Target { len: d.len(), can_grow: !d.is_block_device() }),
            sector_size: existing.map_or(512, |d| d.geometry().logical_sector_size),
            content: tree.map(content),
            now: host::now(),
            random_uuid: host::random()?,
            random_seed: host::random()?,
            caller: host::caller(),
            journal_device: external.map(|e| e.facts),
            processors: host::processors(),
        })
    }

    /// Notices and what was left out, before anything is written.
    fn tell(&self, resolved: &Resolved, skipped: &[Skipped]) {
        for s in skipped {
            self.messages.warning(s);
        }
        for notice in &resolved.notices {
            let line = format!("{}: {}", self.path.display(), notice.text);
            match notice.level {
                // A document carries its notices itself.
                Level::Note if self.args.json => {}
                Level::Note => self.messages.note(line),
                Level::Warning => self.messages.warning(line),
            }
        }
    }

    fn plan(&self, params: &Params, tree: &Tree, watcher: &Watcher) -> Result<Plan> {
        let overrides = match &self.args.source {
            Some(root) if params.holes == Holes::ZeroBlocks => {
                find_zero_blocks(tree, root, params.block_size, params.threads, watcher)?
            }
            _ => RangeOverrides::new(),
        };
        Plan::new(params, tree, overrides).with_context(|| self.path.display().to_string())
    }

    fn journal_device(&self, target: Target, resolved: &Resolved, watcher: &Watcher) -> Result<()> {
        let p = &resolved.params;
        let blocks = u32::try_from(p.blocks_count)
            .map_err(|_| anyhow!("{}: a journal has fewer than 2^32 blocks", self.path.display()))?;
        let uuid = identity::uuid(p, &identity::tree_digest(p, &empty_tree(p)), &ContentSum::default());
        let journal =
            JournalDeviceParams { block_size: p.block_size, blocks, uuid, label: p.label.clone(), time: p.time };
        let action = match &target {
            _ if self.args.dry_run => Action::Planned,
            Target::New => Action::Created,
            Target::Existing(_) => Action::Overwritten,
        };
        if !self.args.dry_run {
            self.write(target, resolved, watcher, |device| write_journal_device(&journal, device))?;
        }
        if self.args.json {
            let mut document = Document::new(self.path, action, resolved, &[]);
            let uuid = (!self.args.dry_run).then(|| uuid_text(&uuid));
            document.journal_device = Some(JournalDeviceReport { block_size: p.block_size, blocks, uuid });
            return Ok(json::print(&document)?);
        }
        if !self.args.quiet {
            writeln!(
                io::stdout(),
                "{}: journal device, {blocks} blocks of {} bytes; UUID {}",
                self.path.display(),
                p.block_size,
                uuid_text(&uuid)
            )?;
        }
        Ok(())
    }

    /// Prepares the target, has `work` write to it, and keeps the promise when that fails.
    fn write<T, E: Into<anyhow::Error>>(
        &self,
        target: Target,
        resolved: &Resolved,
        watcher: &Watcher,
        work: impl FnOnce(&dyn BlockDevice) -> Result<T, E>,
    ) -> Result<T> {
        let named = || self.path.display().to_string();
        let p = &resolved.params;
        let len = p.blocks_count * u64::from(p.block_size);
        let window = FileOptions::read_write().offset(resolved.offset).len(len).grow();
        if watcher.cancelled() {
            return Err(anyhow!("interrupted"));
        }
        match target {
            Target::New => {
                let new = NewFile::create(self.path, Existing::Refuse)?;
                let device = FileDevice::from_file(new.file().try_clone()?, self.path, window)?;
                new.set_len(resolved.image_len)?;
                let done = work(&device).map_err(Into::into).with_context(named)?;
                new.publish()?;
                Ok(done)
            }
            Target::Existing(whole) => {
                let old_len = whole.len();
                let window = if resolved.prezeroed { window.fresh() } else { window };
                let device = FileDevice::from_file(whole.file().try_clone()?, self.path, window)?;
                if !whole.is_block_device() && old_len < resolved.image_len {
                    whole.file().set_len(resolved.image_len).with_context(named)?;
                }
                let done = match &self.args.undo {
                    None => overwrite(&device, resolved, work),
                    Some(undo) => self.overwrite_with_undo(device, undo, resolved, work),
                };
                if done.is_err() && !whole.is_block_device() && old_len < resolved.image_len {
                    // The error at hand matters more than a length that cannot be put back.
                    let _ = whole.file().set_len(old_len);
                }
                done.with_context(named)
            }
        }
    }

    fn overwrite_with_undo<T, E: Into<anyhow::Error>>(
        &self,
        device: FileDevice,
        undo: &Path,
        resolved: &Resolved,
        work: impl FnOnce(&dyn BlockDevice) -> Result<T, E>,
    ) -> Result<T> {
        let named = || format!("-z {}", undo.display());
        device.learn_holes(1 << 16)?;
        let undo_options = UndoOptions { fs_offset: resolved.offset, ..UndoOptions::default() };
        let device = UndoDevice::create(device, undo, undo_options).with_context(named)?;
        let done = target::zap(&device).map_err(anyhow::Error::from).and_then(|()| work(&device).map_err(Into::into));
        if done.is_err() {
            target::zap(&device)?;
        }
        device.finish().with_context(named)?;
        self.messages.note(format!("e2undo {} {} takes it back", undo.display(), self.path.display()));
        done
    }

    fn print(
        &self,
        params: &Params,
        plan: PlanReport,
        written: Option<&Written>,
        mut document: Document,
    ) -> Result<()> {
        let result = written.map(Written::report);
        if self.args.json {
            document.plan = Some(plan);
            document.result = result;
            return Ok(json::print(&document)?);
        }
        if self.args.quiet {
            return Ok(());
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.args.verbose || self.args.dry_run {
            print::geometry(&mut out, params, &plan)?;
        }
        if self.args.verbose {
            print::files(&mut out, &plan)?;
        }
        print::summary(&mut out, self.path, &plan, result.as_ref())?;
        Ok(out.flush()?)
    }
}

/// Overwrites without a way back.
fn overwrite<T, E: Into<anyhow::Error>>(
    device: &FileDevice,
    resolved: &Resolved,
    work: impl FnOnce(&dyn BlockDevice) -> Result<T, E>,
) -> Result<T> {
    if !resolved.prezeroed {
        target::wipe(device, resolved.discard)?;
    }
    work(device).map_err(|error| {
        // What was written may hold copies of a superblock. The error at hand matters more than this one's.
        let _ = target::wipe(device, resolved.discard);
        error.into()
    })
}

/// A tree without a source: its root belongs to whom the options say.
fn empty_tree(p: &Params) -> Tree {
    Tree::empty(&Attributes {
        mode: p.root_perms.unwrap_or(0o755),
        uid: p.root_owner.0,
        gid: p.root_owner.1,
        atime: p.time,
        ctime: p.time,
        mtime: p.time,
    })
}

fn content(tree: &Tree) -> Content {
    let mut c = Content::default();
    for id in tree.ids() {
        let mtime = tree.mtime(id);
        let later = |t| (mtime.seconds, mtime.nanos) > t;
        if c.newest.is_none_or(|t| later((t.seconds, t.nanos))) {
            c.newest = Some(mtime);
        }
        if tree.primary(id) == id {
            c.inodes += 1;
            if tree.kind(id) == Kind::File {
                c.bytes = c.bytes.saturating_add(tree.size(id));
            }
        }
    }
    c
}
