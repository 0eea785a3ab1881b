//! Signals end the program: at once, since nothing is half done before a change is written; after it, when one is being written.

use anyhow::{Context, Result};
use daxkit_cli::interrupt::{self, Interrupt};
use daxkit_cli::message::{Messages, with_causes};
use daxkit_cli::status;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Held while an image is being written.
static WRITING: Mutex<()> = Mutex::new(());

/// Whether a signal came.
static INTERRUPT: OnceLock<Interrupt> = OnceLock::new();

/// Watches for SIGINT, SIGTERM and SIGHUP from now on.
pub(crate) fn watch(messages: Messages) -> Result<()> {
    let interrupt = interrupt::watch(move || {
        // Who is writing sees that a signal came when it is done, and does not come back.
        let _alone = alone();
        end(messages, "what was not written yet is left out");
    })
    .context("cannot watch for signals")?;
    INTERRUPT.get_or_init(|| interrupt);
    Ok(())
}

/// Writes to an image. A signal that comes meanwhile ends the program afterwards.
pub(crate) fn hold<T>(messages: Messages, write: impl FnOnce() -> Result<T>) -> Result<T> {
    let _alone = alone();
    if came() {
        end(messages, "what was not written yet is left out");
    }
    let done = write();
    if came() {
        match done {
            Ok(_) => end(messages, "the change that was being written is in the image"),
            Err(error) => end(messages, &with_causes(error.as_ref())),
        }
    }
    done
}

fn came() -> bool {
    INTERRUPT.get().is_some_and(Interrupt::came)
}

fn alone() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(messages: Messages, what: &str) -> ! {
    messages.error(format_args!("interrupted; {what}"));
    std::process::exit(status::FAILED.into())
}
