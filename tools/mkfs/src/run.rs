//! One run: look at the target, read what the image is made from, decide, write, print.

use crate::args::Args;
use crate::input::{self, Input};
use crate::journal_device::External;
use crate::outputs::{self, ManifestFile};
use crate::put::Put;
use crate::report::{Action, Document, JournalDeviceReport};
use crate::size::{self, Sized};
use crate::target::{self, Target};
use crate::{host, order, print, recipe};
use anyhow::{Context, Result, anyhow};
use daxkit_build::auto_size::SizeError;
use daxkit_build::defect::{self, Applied};
use daxkit_build::geometry::Geometry;
use daxkit_build::options::{self, Facts, Level, Request, Resolved};
use daxkit_build::params::{Holes, Params};
use daxkit_build::plan::identity::{self, ContentSum};
use daxkit_build::plan::{Needs, Plan, PlanError, RangeOverrides};
use daxkit_build::progress::Progress;
use daxkit_build::recipe::{Recipe, Surroundings};
use daxkit_build::report::{PlanReport, uuid_text};
use daxkit_build::source::{Source, Tree};
use daxkit_build::write::{JournalDeviceParams, Written, find_zero_blocks, write_image, write_journal_device};
use daxkit_cli::interrupt::Interrupt;
use daxkit_cli::json;
use daxkit_cli::message::Messages;
use daxkit_cli::progress::Watcher;
use daxkit_device::BlockDevice;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inode::Timestamp;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// More groups than this are not laid out just to be looked at.
const MOST_GROUPS_TO_LAY_OUT: u32 = 1 << 22;

/// Does what the command line says.
pub(crate) fn run(args: &Args, messages: &Messages) -> Result<()> {
    if let Some(reason) = args.refused() {
        return Err(anyhow!(reason));
    }
    let path = args.image.as_deref().ok_or_else(|| anyhow!("IMAGE is needed"))?;
    let mut request = args.request(host::source_date_epoch()?);
    let recipe = recipe::read(args)?;
    if let Some(recipe) = &recipe {
        recipe::merge(&mut request, recipe)?;
    }
    if let Some(path) = &args.order {
        request.order = order::read(path)?;
    }
    let job = Job { args, path, request: &request, recipe: recipe.as_ref(), messages };
    let watcher = Watcher::new(Interrupt::catch()?, args.quiet || args.json);
    let done = job.run(&watcher);
    watcher.clear();
    done
}

struct Job<'a> {
    args: &'a Args,
    path: &'a Path,
    request: &'a Request,
    recipe: Option<&'a Recipe>,
    messages: &'a Messages,
}

/// What was decided before anything is written.
struct Decided {
    resolved: Resolved,
    /// What the content needs, where the size was found from it.
    needs: Option<Needs>,
}

/// What writing left behind.
struct Made {
    written: Written,
    defects: Vec<Applied>,
}

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
        let mut input = self.read(&target, external.as_ref(), watcher)?;
        let facts = self.facts(&target, input.as_ref().map(|i| i.source.tree()), external.as_ref())?;
        let Decided { resolved, needs } = self.decide(&facts, input.as_ref(), watcher)?;
        if let Some(input) = &mut input {
            input.source.tree_mut().set_root(resolved.root_owner, resolved.root_perms);
        }
        let left_out = input.as_ref().map(|i| i.left_out.as_slice()).unwrap_or_default();
        self.tell(&resolved, left_out);
        if resolved.params.features.incompat.contains(Incompat::JOURNAL_DEV) {
            return self.journal_device(target, &resolved, watcher);
        }
        let document = |action| Document::new(self.path, action, &resolved, left_out);
        let empty = input::empty(&resolved.params);
        let source = input.as_ref().map_or(&empty, |i| &i.source);
        let tree = source.tree();

        if self.args.dry_run && input.is_none() {
            let g = Geometry::new(&resolved.params, 0).with_context(|| self.path.display().to_string())?;
            if g.groups > MOST_GROUPS_TO_LAY_OUT {
                let plan = PlanReport::of_geometry(&g, resolved.params.reserved_blocks, &resolved.params.label);
                return self.print(&resolved.params, plan, None, &[], document(Action::Planned));
            }
        }
        let plan = self.plan(&resolved.params, source, needs, watcher)?;
        let report = plan.report(tree);
        let maps = outputs::block_maps(&plan, tree, self.args.block_maps())?;
        if self.args.dry_run {
            let document = document(Action::Planned).with_maps(maps);
            return self.print(&plan.params, report, None, &[], document);
        }
        let manifest = self.args.manifest.as_deref().map(ManifestFile::begin).transpose()?;
        let action = if matches!(target, Target::New) { Action::Created } else { Action::Overwritten };
        if watcher.cancelled() {
            return Err(anyhow!("interrupted"));
        }
        let made =
            self.put(&resolved).write(target, |device| self.make(&plan, source, manifest.as_ref(), device, watcher))?;
        watcher.clear();
        if let Some(external) = &external {
            external.add_user(made.written.uuid)?;
        }
        if let Some(manifest) = manifest {
            manifest.publish()?;
        }
        let document = document(action).with_maps(maps);
        self.print(&plan.params, report, Some(&made.written), &made.defects, document)
    }

    /// Writes the image, its manifest, and then what is wrong with it on purpose.
    fn make(
        &self,
        plan: &Plan,
        source: &Source,
        manifest: Option<&ManifestFile<'_>>,
        device: &Arc<dyn BlockDevice>,
        watcher: &Watcher,
    ) -> Result<Made> {
        let written = write_image(plan, source, device, watcher)?;
        let defects = self.recipe.map(|r| r.defects.as_slice()).unwrap_or_default();
        if let Some(manifest) = manifest {
            let places = defects.iter().map(|d| d.place.to_string()).collect();
            manifest.write(plan, source, &written, device, places, watcher)?;
        }
        let applied = defect::apply(device, defects).map_err(|e| self.defect_error(e))?;
        device.flush()?;
        Ok(Made { written, defects: applied })
    }

    fn defect_error(&self, error: defect::DefectError) -> anyhow::Error {
        match &error {
            // Its text begins with line and column.
            defect::DefectError::Defect { .. } => input::in_recipe(self.args, &error),
            _ => error.into(),
        }
    }

    fn put<'r>(&'r self, resolved: &'r Resolved) -> Put<'r> {
        Put { path: self.path, undo: self.args.undo.as_deref(), resolved, messages: self.messages }
    }

    fn read(&self, target: &Target, external: Option<&External>, watcher: &Watcher) -> Result<Option<Input>> {
        let undo = self.args.undo.as_ref().and_then(|p| std::fs::metadata(p).ok());
        let undo =
            undo.map(|meta| (std::os::unix::fs::MetadataExt::dev(&meta), std::os::unix::fs::MetadataExt::ino(&meta)));
        let leave_out = target.identity().into_iter().chain(undo).collect();
        let surroundings = match self.recipe {
            None => None,
            Some(_) => {
                let facts = self.facts(target, None, external)?;
                Some(Surroundings {
                    time: self.item_time(&facts),
                    block_size: options::block_size(self.request, &facts)?,
                })
            }
        };
        input::read(self.args, self.recipe, self.request, surroundings, leave_out, watcher)
    }

    /// The time of what a recipe makes and gives no time.
    fn item_time(&self, facts: &Facts) -> Timestamp {
        match (self.request.source_date_epoch, self.request.time) {
            (Some(seconds), _) => Timestamp { seconds, nanos: 0 },
            (None, Some(time)) => time,
            (None, None) if self.request.is_reproducible() => Timestamp::default(),
            (None, None) => facts.now,
        }
    }

    fn decide(&self, facts: &Facts, input: Option<&Input>, watcher: &Watcher) -> Result<Decided> {
        let named = || self.path.display().to_string();
        if !size::is_auto(self.request, facts) {
            size::check_reserve(self.request)?;
            let resolved = options::resolve(self.request, facts).with_context(named)?;
            return Ok(Decided { resolved, needs: None });
        }
        let empty;
        let source = match input {
            Some(input) => &input.source,
            None => {
                empty = Source::empty(Tree::empty(&host::nobody()));
                &empty
            }
        };
        let overrides = |params: &Params| self.overrides(params, source, watcher);
        let Sized { resolved, needs } =
            size::find(self.request, facts, source.tree(), overrides).map_err(|e| self.located(e))?;
        Ok(Decided { resolved, needs: Some(needs).filter(|_| input.is_some()) })
    }

    /// An error of planning with its place in the recipe, where it has one; else with the image's name.
    fn located(&self, error: anyhow::Error) -> anyhow::Error {
        let plan = error.downcast_ref::<PlanError>().or_else(|| match error.downcast_ref() {
            Some(SizeError::Plan(plan)) => Some(plan),
            _ => None,
        });
        match plan.and_then(|plan| recipe::locate(self.args, self.recipe, plan)) {
            Some(located) => located,
            None => error.context(self.path.display().to_string()),
        }
    }

    fn facts(&self, target: &Target, tree: Option<&Tree>, external: Option<&External>) -> Result<Facts> {
        let existing = match target {
            Target::New => None,
            Target::Existing(device) => Some(device),
        };
        Ok(Facts {
            target: existing.map(|d| options::Target { len: d.len(), can_grow: !d.is_block_device() }),
            sector_size: existing.map_or(512, |d| d.geometry().logical_sector_size),
            content: tree.map(input::content),
            now: host::now(),
            random_uuid: host::random()?,
            random_seed: host::random()?,
            caller: host::caller(),
            journal_device: external.map(|e| e.facts),
            processors: host::processors(),
        })
    }

    /// Notices and what was left out, before anything is written.
    fn tell(&self, resolved: &Resolved, left_out: &[String]) {
        for line in left_out {
            self.messages.warning(line);
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

    fn overrides(&self, params: &Params, source: &Source, watcher: &Watcher) -> Result<RangeOverrides> {
        if params.holes != Holes::ZeroBlocks {
            return Ok(RangeOverrides::new());
        }
        Ok(find_zero_blocks(source, params.block_size, params.threads, watcher)?)
    }

    fn plan(&self, params: &Params, source: &Source, needs: Option<Needs>, watcher: &Watcher) -> Result<Plan> {
        let tree = source.tree();
        let planned = match needs {
            Some(needs) => Plan::of_needs(params, tree, needs),
            None => Plan::new(params, tree, self.overrides(params, source, watcher)?),
        };
        planned.map_err(|e| self.located(e.into()))
    }

    fn journal_device(&self, target: Target, resolved: &Resolved, watcher: &Watcher) -> Result<()> {
        let p = &resolved.params;
        let blocks = u32::try_from(p.blocks_count)
            .map_err(|_| anyhow!("{}: a journal has fewer than 2^32 blocks", self.path.display()))?;
        let uuid = identity::uuid(p, &identity::tree_digest(p, input::empty(p).tree()), &ContentSum::default());
        let journal =
            JournalDeviceParams { block_size: p.block_size, blocks, uuid, label: p.label.clone(), time: p.time };
        let action = match &target {
            _ if self.args.dry_run => Action::Planned,
            Target::New => Action::Created,
            Target::Existing(_) => Action::Overwritten,
        };
        if !self.args.dry_run {
            if watcher.cancelled() {
                return Err(anyhow!("interrupted"));
            }
            self.put(resolved).write(target, |device| write_journal_device(&journal, device))?;
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

    fn print(
        &self,
        params: &Params,
        plan: PlanReport,
        written: Option<&Written>,
        defects: &[Applied],
        mut document: Document,
    ) -> Result<()> {
        let result = written.map(Written::report);
        if self.args.json {
            document.plan = Some(plan);
            document.result = result;
            document.defects = defects.iter().map(Into::into).collect();
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
        outputs::print_maps(&mut out, &document.block_maps)?;
        if self.args.verbose {
            print::defects(&mut out, defects)?;
        }
        print::summary(&mut out, self.path, &plan, result.as_ref())?;
        Ok(out.flush()?)
    }
}
