//! A bar for long work: on a terminal only, and only when the work has taken a second already.

use crate::interrupt::Interrupt;
use daxkit_build::progress::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Work that is over sooner is not worth a bar.
const DELAY: Duration = Duration::from_secs(1);
/// So many units pass between two looks at the clock.
const LOOK_EVERY: u64 = 1 << 20;

/// What the libraries report to. Shown or not, it passes interrupts on.
#[derive(Debug)]
pub struct Watcher {
    interrupt: Interrupt,
    show: bool,
    begin: Instant,
    visible: AtomicBool,
    done: AtomicU64,
    stage: Mutex<Stage>,
}

#[derive(Debug)]
struct Stage {
    name: String,
    total: u64,
    bar: ProgressBar,
}

impl Watcher {
    /// A watcher that shows a bar where there is a terminal, unless `hidden`.
    #[must_use]
    pub fn new(interrupt: Interrupt, hidden: bool) -> Self {
        Self {
            interrupt,
            show: !hidden && std::io::stderr().is_terminal(),
            begin: Instant::now(),
            visible: AtomicBool::new(false),
            done: AtomicU64::new(0),
            stage: Mutex::new(Stage { name: String::new(), total: 0, bar: ProgressBar::hidden() }),
        }
    }

    /// Takes the bar off the screen, so that a message can follow.
    pub fn clear(&self) {
        self.lock().bar.finish_and_clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, stage: &mut Stage) {
        if stage.bar.is_hidden() {
            let target = ProgressDrawTarget::stderr_with_hz(10);
            stage.bar = ProgressBar::with_draw_target((stage.total > 0).then_some(stage.total), target);
            stage.bar.set_style(style(stage.total));
            stage.bar.set_message(stage.name.clone());
            self.visible.store(true, Ordering::Relaxed);
        }
        stage.bar.set_position(self.done.load(Ordering::Relaxed));
    }
}

fn style(total: u64) -> ProgressStyle {
    let template = if total > 0 { "{msg:<20} {wide_bar} {percent:>3}% {eta:>4}" } else { "{msg:<20} {spinner} {pos}" };
    // A template that does not parse shows the plain bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress for Watcher {
    fn stage(&self, name: &str, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        if !self.show {
            return;
        }
        let mut stage = self.lock();
        stage.bar.finish_and_clear();
        *stage = Stage { name: name.to_owned(), total, bar: ProgressBar::hidden() };
        self.visible.store(false, Ordering::Relaxed);
        if self.begin.elapsed() >= DELAY {
            self.draw(&mut stage);
        }
    }

    fn advance(&self, units: u64) {
        let before = self.done.fetch_add(units, Ordering::Relaxed);
        if !self.show {
            return;
        }
        let look = self.visible.load(Ordering::Relaxed) || before / LOOK_EVERY != (before + units) / LOOK_EVERY;
        // Whoever finds the lock taken leaves the drawing to its holder.
        if look
            && self.begin.elapsed() >= DELAY
            && let Ok(mut stage) = self.stage.try_lock()
        {
            self.draw(&mut stage);
        }
    }

    fn cancelled(&self) -> bool {
        self.interrupt.came()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.clear();
    }
}
