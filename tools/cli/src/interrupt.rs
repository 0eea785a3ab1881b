//! SIGINT, SIGTERM and SIGHUP ask the work to stop; it then leaves the promised state behind. A second one ends at once.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The flag that the signals set.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over the signals of the process.
    ///
    /// # Errors
    /// The host does not let signals be caught.
    pub fn catch() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the first signal finds the flag still down, so only the second one ends the process.
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&flag))?;
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    /// Whether a signal came.
    #[must_use]
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: stop what you are doing. It comes from the keyboard.
    Interrupt,
    /// SIGTERM, SIGHUP: end.
    End,
}

/// Calls `then` for each of the signals, in a thread of its own; the flag is set before.
///
/// # Errors
/// The host does not let signals be caught, or makes no thread.
pub fn watch(then: impl Fn(Signal) + Send + 'static) -> io::Result<Interrupt> {
    let flag = Arc::new(AtomicBool::new(false));
    // In this order: whoever is told has the flag set.
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let meaning = |signal| if signal == SIGINT { Signal::Interrupt } else { Signal::End };
    let work = move || signals.forever().map(meaning).for_each(then);
    std::thread::Builder::new().name("signals".to_owned()).spawn(work)?;
    Ok(Interrupt(flag))
}

/// Something that SIGUSR1 turns on and SIGUSR2 off.
#[derive(Debug, Clone)]
pub struct Toggle(Arc<std::sync::atomic::AtomicUsize>);

impl Toggle {
    /// Takes over the two signals.
    ///
    /// # Errors
    /// The host does not let signals be caught.
    pub fn of_user_signals(on: bool) -> io::Result<Self> {
        let state = Arc::new(std::sync::atomic::AtomicUsize::new(usize::from(on)));
        signal_hook::flag::register_usize(signal_hook::consts::SIGUSR1, Arc::clone(&state), 1)?;
        signal_hook::flag::register_usize(signal_hook::consts::SIGUSR2, Arc::clone(&state), 0)?;
        Ok(Self(state))
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}
