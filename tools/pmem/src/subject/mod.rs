//! The emulated kernel as what a scenario is run against.
//!
//! Every operation runs as a coroutine of the stepping runtime until it ends or cannot go on; what waits goes on as soon as
//! another operation lets it. So a run is the same each time, and a task that waits is seen to wait.

mod names;
mod options;
mod perform;
pub(crate) mod report;
mod state;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use daxkit_format::dax::ext4::DataMode;
use daxkit_format::dax::{Errno, Kernel};
use daxkit_mount::fail::Fail;
use daxkit_mount::fs::FileSystem as _;
use daxkit_mount::ids::{MmId, PAGE_SIZE};
use daxkit_mount::invariants;
use daxkit_mount::mm::mmap;
use daxkit_mount::profile::{Personality, Profile};
use daxkit_mount::runtime::stepping::{Stepped, Stepper};
use daxkit_mount::vfs::mount::{self, MountRequest};
use daxkit_mount::world::World;
use daxkit_mount::world::counters::Counters;
use daxkit_mount::world::findings::Finding;
use daxkit_mount::world::tasks::Cred;
use daxkit_scenario::ast::{Turn, TurnExtent};
use daxkit_scenario::case::{Case, FileSystem as FsSpec};
use daxkit_scenario::ops::Operation;
use daxkit_scenario::subject::{ConcurrentStep, SetUpError, Subject, TaskRef};
use daxkit_scenario::value::{Outcome, Record};
use daxkit_scenario::words::{Capability, Device, Need, Rules};

use crate::any_fs::{self, AnyFs, Ground};
use names::{Mounted, Names};
use options::Options;
use perform::{SharedNames, perform};
use report::FileReport;
pub(crate) use state::word_of;

/// What an operation came to, once it has ended.
type Slot = Rc<RefCell<Option<Outcome>>>;

/// Most atomic steps of one operation, or of one concurrent block: more is a task that goes round without end.
const MOST_STEPS: usize = 50_000_000;

/// An operation that waits.
struct Waiting {
    slot: usize,
    out: Slot,
}

/// The emulated kernel under a scenario.
pub(crate) struct Emulation {
    stepper: Stepper<AnyFs>,
    names: SharedNames,
    /// Operations that wait, by the number of their task in the case.
    waiting: BTreeMap<usize, Waiting>,
    ground: Ground,
    trace: bool,
    /// Most pages of the devices that files had mapped at once.
    most_mapped: usize,
}

impl Emulation {
    pub(crate) fn new(ground: Ground, trace: bool) -> Self {
        let stepper = Stepper::new(World::new());
        Self { stepper, names: Rc::default(), waiting: BTreeMap::new(), ground, trace, most_mapped: 0 }
    }

    /// The files that are open or mapped now.
    pub(crate) fn files(&self) -> Vec<FileReport> {
        self.stepper.with(|w| report::files(w, &self.names.borrow()))
    }

    /// What was counted since the case began, and how many bytes were mapped at once at most.
    pub(crate) fn counters(&self) -> (Counters, u64) {
        (self.stepper.with(|w| w.counters), self.most_mapped as u64 * PAGE_SIZE)
    }

    /// Looks at the world between two operations: how much the page cache would hold, and, while nothing is under way, whether the
    /// properties of a state at rest hold.
    fn sample(&mut self) {
        if self.waiting.is_empty() {
            self.stepper.with(invariants::note_all);
        }
        self.most_mapped = self.most_mapped.max(self.stepper.with(|w| w.frame_owners.len()));
    }

    /// Starts a program of `task`, which stands at `index` of the case, and runs it as far as it goes.
    fn start(&mut self, index: usize, program: impl FnOnce(&Stepped<'_, AnyFs>) + 'static) -> usize {
        let task = self.names.borrow().tasks[index];
        let slot = self.stepper.start(task, program);
        self.drive(slot);
        slot
    }

    /// Runs the program in `slot` until it ends or waits, and whatever it lets go on.
    fn drive(&mut self, slot: usize) {
        for _ in 0..MOST_STEPS {
            if self.stepper.pending(slot).is_some() && self.stepper.enabled(slot) {
                self.stepper.advance(slot);
                continue;
            }
            let others = self.waiting.values().map(|waiting| waiting.slot);
            let Some(next) = others.into_iter().find(|&at| at != slot && self.stepper.enabled(at)) else { return };
            self.stepper.advance(next);
        }
    }

    fn run_as_root<T: 'static>(&mut self, program: impl FnOnce(&Stepped<'_, AnyFs>) -> T + 'static) -> Option<T> {
        let out = Rc::new(RefCell::new(None));
        let slot = {
            let out = Rc::clone(&out);
            self.start(0, move |rt| *out.borrow_mut() = Some(program(rt)))
        };
        self.stepper.retire(slot);
        out.take()
    }

    fn mount_at_begin(&mut self, spec: &FsSpec<'_>) -> Result<Mounted, SetUpError> {
        let words = &spec.options.0;
        let options = options::parse(words).map_err(|word| SetUpError(format!("unknown mount option {word}")))?;
        let fs = any_fs::for_case(spec, &self.ground).map_err(|e| SetUpError(format!("{e:#}")))?;
        let request = MountRequest {
            fs,
            personality: match spec.rules {
                Rules::Ext4 => Personality::Ext4,
                Rules::Xfs => Personality::Xfs,
            },
            profile: Profile::for_kernel(Kernel(spec.release.0, spec.release.1)),
            dax: options.dax,
            data: options.data.unwrap_or(DataMode::Ordered),
            delalloc: options.delalloc,
            device_dax: can_dax(spec.device),
            synchronous: matches!(spec.device, Device::Pmem | Device::PmemPartition),
            partition: matches!(spec.device, Device::PmemPartition | Device::PmemMisaligned),
            realtime: spec.realtime.map(can_dax),
            read_only: options.read_only.unwrap_or(false),
        };
        if spec.mounted && !options.are_known_to(&request.profile) {
            return Err(SetUpError(format!("{} knows no option {}", spec.release, spec.options)));
        }
        self.place(request, options, spec.mounted).map_err(|fail| SetUpError(format!("mount of {}: {fail}", spec.name)))
    }

    /// Mounts, or makes something that can be mounted later.
    fn place(&mut self, request: MountRequest<AnyFs>, options: Options, mounted: bool) -> Result<Mounted, Fail> {
        // What is not mounted is mounted once without options, so that its contents and device have a place.
        let first = if mounted { request } else { MountRequest { dax: None, data: DataMode::Ordered, ..request } };
        let result = self.run_as_root(move |rt| {
            let sb = mount::mount(rt, first)?;
            if !mounted {
                let fs = mount::umount(rt, sb)?;
                state::keep_unmounted(rt, sb, fs);
            }
            Ok::<_, Fail>(sb)
        });
        // A mount waits for nobody.
        let sb = result.unwrap_or(Err(Fail::Errno(Errno::EBUSY)))?;
        Ok(Mounted { sb: mounted.then_some(sb), last: Some(sb), options })
    }

    /// Cuts the power of the machine: of every file system that is left what was durable; descriptors, mappings, pins and what
    /// waited are gone, and the tasks begin anew. What was mounted is mounted again with its options.
    fn power_cut(&mut self) -> Result<(), Fail> {
        let (mut requests, tasks, counters) = {
            let names = self.names.borrow();
            self.stepper.with(|w| {
                let request = |(name, fs): (&String, &Mounted)| {
                    let last = fs.last.ok_or(Errno::ENODEV)?;
                    let mut request = state::request_of(w, last, &fs.options);
                    request.fs.crash(true)?;
                    request.read_only = fs.sb.is_some() && w.sb(last).read_only;
                    Ok::<_, Errno>((name.clone(), request, fs.options, fs.sb.is_some()))
                };
                let requests = names.fs.iter().map(request).collect::<Result<Vec<_>, _>>()?;
                let tasks: Vec<_> = names.tasks.iter().map(|task| (w.tasks.cred(*task), w.tasks.mm(*task))).collect();
                Ok::<_, Errno>((requests, tasks, w.counters))
            })?
        };
        self.waiting.clear();
        let mut world = World::new();
        world.trace.set(true);
        world.counters = counters;
        let mut memory: BTreeMap<MmId, MmId> = BTreeMap::new();
        {
            let mut names = self.names.borrow_mut();
            names.fds.clear();
            names.maps.clear();
            names.pins.clear();
            names.tasks.clear();
            for (cred, old) in tasks {
                let known = memory.get(&old).copied();
                let mm = known.unwrap_or_else(|| mmap::mm_alloc(&mut world));
                world.mms[mm].users += u32::from(known.is_some());
                memory.insert(old, mm);
                names.tasks.push(world.tasks.spawn(cred, mm));
            }
        }
        self.stepper = Stepper::new(world);
        for (name, request, options, mounted) in requests.drain(..) {
            let placed = self.place(request, options, mounted)?;
            self.names.borrow_mut().fs.insert(name, placed);
        }
        Ok(())
    }
}

/// Whether a device can be accessed directly.
fn can_dax(device: Device) -> bool {
    matches!(device, Device::Pmem | Device::VirtioPmem | Device::PmemPartition)
}

impl Subject for Emulation {
    fn supports(&self, need: Need) -> bool {
        matches!(
            need,
            Need::PageCache
                | Need::MemoryFailure
                | Need::MediaPoison
                | Need::PowerCut
                | Need::Reflink
                | Need::Rmap
                | Need::Realtime
                | Need::MoveExtents
                | Need::Swap
                | Need::Verity
                | Need::Encryption
                | Need::Stepping
                | Need::Trace
                | Need::State
                | Need::UserNs
        )
    }

    fn begin(&mut self, case: &Case<'_>) -> Result<(), SetUpError> {
        self.waiting.clear();
        self.most_mapped = 0;
        let mut world = World::new();
        world.trace.set(true);
        self.stepper = Stepper::new(world);
        *self.names.borrow_mut() = Names::default();
        for (index, spec) in case.tasks.iter().enumerate() {
            let cred = Cred {
                uid: spec.uid,
                gid: spec.gid,
                privileged: spec.caps.contains(Capability::Fowner) || spec.caps.contains(Capability::DacOverride),
                linux_immutable: spec.caps.contains(Capability::LinuxImmutable),
                sys_resource: spec.caps.contains(Capability::SysResource),
                init_user_ns: !spec.userns,
            };
            let leader = spec.thread_of.map(|at| self.names.borrow().tasks[at]);
            let task = self.stepper.with(|w| {
                let mm = match leader {
                    Some(leader) => {
                        let mm = w.tasks.mm(leader);
                        w.mms[mm].users += 1;
                        mm
                    }
                    None => mmap::mm_alloc(w),
                };
                w.tasks.spawn(cred, mm)
            });
            debug_assert_eq!(index, self.names.borrow().tasks.len());
            let mut names = self.names.borrow_mut();
            names.tasks.push(task);
            names.task_names.push(spec.name.to_owned());
        }
        if let Some(first) = case.filesystems.first() {
            self.names.borrow_mut().first_fs = first.name.to_owned();
        }
        for spec in &case.filesystems {
            let mounted = self.mount_at_begin(spec)?;
            self.names.borrow_mut().fs.insert(spec.name.to_owned(), mounted);
        }
        self.stepper.with(|w| {
            w.trace.take();
            w.findings.take();
        });
        Ok(())
    }

    fn run(&mut self, task: TaskRef<'_>, operation: &Operation) -> Outcome {
        if matches!(operation, Operation::Wait {}) {
            return self.wait(task.index);
        }
        if self.waiting.contains_key(&task.index) {
            return Outcome::Unsupported(format!("{} waits already", task.name));
        }
        if let Operation::PowerCut { fs } = operation {
            if !self.names.borrow().fs.contains_key(&*fs.0.text) {
                return Outcome::Failed(daxkit_scenario::Errno::ENODEV);
            }
            return match self.power_cut() {
                Ok(()) => Outcome::Done(daxkit_scenario::Value::Unit),
                Err(fail) => Outcome::Unsupported(format!("power_cut: {fail}")),
            };
        }
        let out: Slot = Rc::default();
        let slot = {
            let (names, operation, out) = (Rc::clone(&self.names), operation.clone(), Rc::clone(&out));
            self.start(task.index, move |rt| *out.borrow_mut() = Some(perform(rt, &names, &operation)))
        };
        let ended = out.take();
        let outcome = match ended {
            Some(outcome) => {
                self.stepper.retire(slot);
                outcome
            }
            None => {
                self.waiting.insert(task.index, Waiting { slot, out });
                Outcome::Blocked
            }
        };
        // A crash leaves things as they were.
        if !matches!(outcome, Outcome::Oops(_)) {
            self.sample();
        }
        outcome
    }

    fn concurrent(&mut self, steps: &[ConcurrentStep<'_>], schedule: &[Turn]) -> Option<Vec<Outcome>> {
        let outcomes = self.run_concurrent(steps, schedule);
        if !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Oops(_) | Outcome::Blocked)) {
            self.sample();
        }
        Some(outcomes)
    }

    fn take_events(&mut self) -> Vec<Record> {
        if !self.trace {
            return Vec::new();
        }
        self.stepper.with(|w| w.trace.take()).iter().map(|(task, event)| state::event_record(*task, event)).collect()
    }

    fn take_incidents(&mut self) -> Vec<String> {
        let told = |finding: &Finding| match finding {
            Finding::Oops(task, oops) => format!("oops in {task}: {oops}"),
            Finding::LockOrder(order) => format!("lock_order {order}"),
            Finding::Deadlock => "deadlock".to_owned(),
            Finding::Broken { property, what } => format!("P{property} {what}"),
            Finding::BrokenAt { property, task, step, what } => format!("P{property} {task} {step}: {what}"),
            Finding::Livelock { steps, task, step } => format!("livelock {steps} steps, {task} {step}"),
            Finding::Undeclared { op, object, write } => {
                format!("undeclared {} of {object} in {op:?}", if *write { "write" } else { "read" })
            }
            Finding::Warning(what) => format!("warning {what}"),
        };
        self.stepper.with(|w| w.findings.take()).iter().map(told).collect()
    }
}

impl Emulation {
    /// How the operation ended that the task waited in.
    fn wait(&mut self, index: usize) -> Outcome {
        let Some(waiting) = self.waiting.remove(&index) else {
            return Outcome::Unsupported("there is nothing to wait for".to_owned());
        };
        self.drive(waiting.slot);
        let ended = waiting.out.take();
        match ended {
            Some(outcome) => {
                self.stepper.retire(waiting.slot);
                outcome
            }
            None => {
                self.waiting.insert(index, waiting);
                Outcome::Blocked
            }
        }
    }

    /// Runs each task's steps as one program, one atomic step at a time: by the schedule, then (or without one) round and
    /// round.
    fn run_concurrent(&mut self, steps: &[ConcurrentStep<'_>], schedule: &[Turn]) -> Vec<Outcome> {
        let outcomes: Rc<RefCell<Vec<Option<Outcome>>>> = Rc::new(RefCell::new(vec![None; steps.len()]));
        let mut programs: Vec<(String, usize)> = Vec::new();
        let mut order: Vec<usize> = steps.iter().map(|step| step.task.index).collect();
        order.sort_unstable();
        order.dedup();
        for index in order {
            let mine: Vec<(usize, Operation)> = steps
                .iter()
                .enumerate()
                .filter(|(_, step)| step.task.index == index)
                .map(|(at, step)| (at, step.operation.clone()))
                .collect();
            let name = self.names.borrow().task_names[index].clone();
            let task = self.names.borrow().tasks[index];
            let (names, outcomes) = (Rc::clone(&self.names), Rc::clone(&outcomes));
            let slot = self.stepper.start(task, move |rt| {
                for (at, operation) in mine {
                    let outcome = perform(rt, &names, &operation);
                    let dead = matches!(outcome, Outcome::Oops(_));
                    outcomes.borrow_mut()[at] = Some(outcome);
                    if dead {
                        break;
                    }
                }
            });
            programs.push((name, slot));
        }
        let done = |outcomes: &RefCell<Vec<Option<Outcome>>>, name: &str| {
            let outcomes = outcomes.borrow();
            steps.iter().zip(outcomes.iter()).filter(|(step, out)| step.task.name == name && out.is_some()).count()
        };
        for turn in schedule {
            let Some((name, slot)) = programs.iter().find(|(name, _)| **name == *turn.task.text) else { continue };
            let before = done(&outcomes, name) as u64;
            let mut left = MOST_STEPS;
            let mut made = 0;
            while left > 0 && self.stepper.pending(*slot).is_some() && self.stepper.enabled(*slot) {
                match &turn.extent {
                    TurnExtent::Operations(n) if done(&outcomes, name) as u64 - before >= *n => break,
                    TurnExtent::Steps(n) if made >= *n => break,
                    TurnExtent::Point(point) => {
                        let at_point =
                            self.stepper.pending(*slot).is_some_and(|pending| pending.op().name == point.as_str());
                        if at_point && made > 0 {
                            break;
                        }
                    }
                    _ => {}
                }
                self.stepper.advance(*slot);
                made += 1;
                left -= 1;
            }
        }
        for turn in 0..MOST_STEPS {
            let enabled: Vec<usize> =
                programs.iter().map(|(_, slot)| *slot).filter(|&slot| self.stepper.enabled(slot)).collect();
            let Some(&slot) = enabled.get(turn % enabled.len().max(1)) else { break };
            self.stepper.advance(slot);
        }
        if programs.iter().any(|(_, slot)| self.stepper.pending(*slot).is_some()) {
            self.stepper.with(World::note_stuck);
        }
        for (_, slot) in &programs {
            self.stepper.retire(*slot);
        }
        outcomes.take().into_iter().map(|outcome| outcome.unwrap_or(Outcome::Blocked)).collect()
    }
}
