//! Tasks as the world sees them: credentials, address space, what they hold, what they sleep on.

use crate::ids::{MmId, TaskId};
use crate::locks::{LockId, Mode};

/// Most locks that one task holds at a time.
const MAX_HELD: usize = 16;

/// Capabilities that the emulated kernel asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cred {
    /// File system user.
    pub uid: u32,
    /// File system group.
    pub gid: u32,
    /// `CAP_FOWNER`, `CAP_DAC_OVERRIDE`, `CAP_CHOWN`, `CAP_SYS_ADMIN` and the like: root's usual powers.
    pub privileged: bool,
    /// `CAP_LINUX_IMMUTABLE`.
    pub linux_immutable: bool,
    /// `CAP_SYS_RESOURCE`.
    pub sys_resource: bool,
    /// Whether the task lives in the initial user namespace.
    pub init_user_ns: bool,
}

impl Cred {
    /// Root.
    pub const ROOT: Self =
        Self { uid: 0, gid: 0, privileged: true, linux_immutable: true, sys_resource: true, init_user_ns: true };

    /// A user without capabilities.
    #[must_use]
    pub const fn user(uid: u32) -> Self {
        Self { uid, gid: uid, privileged: false, linux_immutable: false, sys_resource: false, init_user_ns: true }
    }
}

/// What a task sleeps on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sleep {
    /// It runs.
    #[default]
    No,
    /// A lock.
    Lock(LockId),
    /// A wait queue.
    Queue(u64),
}

#[derive(Debug, Clone, Copy)]
struct Task {
    cred: Cred,
    mm: MmId,
    alive: bool,
    in_kernel: bool,
    signal: bool,
    sigbus: bool,
    sleep: Sleep,
    wanted: Mode,
    exclusive: bool,
    next: TaskId,
    held: [(LockId, Mode); MAX_HELD],
    held_len: u8,
}

/// All tasks of a world.
#[derive(Debug, Default)]
pub struct Tasks {
    tasks: Vec<Task>,
    woken: Vec<TaskId>,
}

impl Clone for Tasks {
    fn clone(&self) -> Self {
        Self { tasks: self.tasks.clone(), woken: self.woken.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        self.tasks.clone_from(&source.tasks);
        self.woken.clone_from(&source.woken);
    }
}

impl Tasks {
    /// A new task.
    pub fn spawn(&mut self, cred: Cred, mm: MmId) -> TaskId {
        let none = LockId { class: crate::locks::LockClass::SUmount, of: u32::MAX };
        self.tasks.push(Task {
            cred,
            mm,
            alive: true,
            in_kernel: false,
            signal: false,
            sigbus: false,
            sleep: Sleep::No,
            wanted: Mode::Shared,
            exclusive: false,
            next: TaskId::NONE,
            held: [(none, Mode::Shared); MAX_HELD],
            held_len: 0,
        });
        TaskId((self.tasks.len() - 1) as u16)
    }

    fn get(&self, task: TaskId) -> &Task {
        &self.tasks[usize::from(task.0)]
    }

    fn get_mut(&mut self, task: TaskId) -> &mut Task {
        &mut self.tasks[usize::from(task.0)]
    }

    /// Ids of all tasks.
    pub fn ids(&self) -> impl Iterator<Item = TaskId> + use<> {
        (0..self.tasks.len() as u16).map(TaskId)
    }

    /// Credentials.
    #[must_use]
    pub fn cred(&self, task: TaskId) -> Cred {
        self.get(task).cred
    }

    /// Changes credentials.
    pub fn set_cred(&mut self, task: TaskId, cred: Cred) {
        self.get_mut(task).cred = cred;
    }

    /// The address space.
    #[must_use]
    pub fn mm(&self, task: TaskId) -> MmId {
        self.get(task).mm
    }

    /// Whether the task has not died of an oops or ended.
    #[must_use]
    pub fn alive(&self, task: TaskId) -> bool {
        self.get(task).alive
    }

    /// The task is gone: what it holds stays held.
    pub fn kill(&mut self, task: TaskId) {
        self.get_mut(task).alive = false;
    }

    /// Marks that the task is inside a system call or fault, or back in user mode.
    pub fn set_in_kernel(&mut self, task: TaskId, inside: bool) {
        self.get_mut(task).in_kernel = inside;
    }

    /// Whether the task is inside a fault.
    #[must_use]
    pub fn in_kernel(&self, task: TaskId) -> bool {
        self.get(task).in_kernel
    }

    /// Whether a signal is pending; interruptible sleeps end.
    #[must_use]
    pub fn signal_pending(&self, task: TaskId) -> bool {
        self.get(task).signal
    }

    /// Sends SIGBUS for memory that has failed (`BUS_MCEERR_AO`); it is delivered when the task is next in user mode.
    pub fn post_sigbus(&mut self, task: TaskId) {
        self.get_mut(task).sigbus = true;
    }

    /// Delivers it, if it is pending.
    pub fn take_sigbus(&mut self, task: TaskId) -> bool {
        std::mem::take(&mut self.get_mut(task).sigbus)
    }

    /// Sends or takes back the pending signal.
    pub fn set_signal(&mut self, task: TaskId, pending: bool) {
        self.get_mut(task).signal = pending;
    }

    /// Whether the task sleeps.
    #[must_use]
    pub fn is_blocked(&self, task: TaskId) -> bool {
        self.get(task).sleep != Sleep::No
    }

    /// What the task sleeps on.
    #[must_use]
    pub fn sleep(&self, task: TaskId) -> Sleep {
        self.get(task).sleep
    }

    /// Locks that the task holds, in the order taken.
    pub fn held(&self, task: TaskId) -> impl Iterator<Item = LockId> + '_ {
        let task = self.get(task);
        task.held[..usize::from(task.held_len)].iter().map(|(lock, _)| *lock)
    }

    /// Whether the task holds `lock` (exclusively, if asked).
    #[must_use]
    pub fn holds(&self, task: TaskId, lock: LockId, exclusive: bool) -> bool {
        let task = self.get(task);
        task.held[..usize::from(task.held_len)]
            .iter()
            .any(|(held, mode)| *held == lock && (!exclusive || *mode == Mode::Exclusive))
    }

    pub(crate) fn hold(&mut self, task: TaskId, lock: LockId, mode: Mode) {
        let task = self.get_mut(task);
        let at = usize::from(task.held_len);
        assert!(at < MAX_HELD, "a task holds too many locks");
        task.held[at] = (lock, mode);
        task.held_len += 1;
    }

    pub(crate) fn drop_held(&mut self, task: TaskId, lock: LockId) -> Mode {
        let task = self.get_mut(task);
        let len = usize::from(task.held_len);
        let at =
            task.held[..len].iter().rposition(|(held, _)| *held == lock).expect("a lock is given back by its holder");
        let mode = task.held[at].1;
        task.held.copy_within(at + 1..len, at);
        task.held_len -= 1;
        mode
    }

    /// The lock stays held, but no task counts as its holder: a frozen file system's.
    pub(crate) fn forget_held(&mut self, task: TaskId, lock: LockId) {
        self.drop_held(task, lock);
    }

    pub(crate) fn sleep_for_lock(&mut self, task: TaskId, lock: LockId, mode: Mode) {
        let task = self.get_mut(task);
        task.sleep = Sleep::Lock(lock);
        task.wanted = mode;
        task.next = TaskId::NONE;
    }

    pub(crate) fn sleep_on_queue(&mut self, task: TaskId, key: u64, exclusive: bool) {
        let task = self.get_mut(task);
        task.sleep = Sleep::Queue(key);
        task.exclusive = exclusive;
        task.next = TaskId::NONE;
    }

    pub(crate) fn waits_exclusively(&self, task: TaskId) -> bool {
        self.get(task).exclusive
    }

    /// Which way the lock is wanted that the task sleeps for, and who asked next.
    pub(crate) fn waiting(&self, task: TaskId) -> (Mode, TaskId) {
        let task = self.get(task);
        (task.wanted, task.next)
    }

    pub(crate) fn next(&self, task: TaskId) -> TaskId {
        self.get(task).next
    }

    pub(crate) fn set_next(&mut self, task: TaskId, next: TaskId) {
        self.get_mut(task).next = next;
    }

    pub(crate) fn make_runnable(&mut self, task: TaskId) {
        self.get_mut(task).sleep = Sleep::No;
        self.woken.push(task);
    }

    pub(crate) fn next_woken(&mut self) -> Option<TaskId> {
        self.woken.pop()
    }

    pub(crate) fn forget_woken(&mut self) {
        self.woken.clear();
    }

    /// Whether every live task that is inside the kernel sleeps, and some task is.
    #[must_use]
    pub fn all_inside_sleep(&self) -> bool {
        let mut some = false;
        for task in self.tasks.iter().filter(|task| task.alive && task.in_kernel) {
            if task.sleep == Sleep::No {
                return false;
            }
            some = true;
        }
        some
    }
}
