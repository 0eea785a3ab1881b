//! Signals end the program: at once, since nothing is half done before a change is written; after it, when one is being written.

use crate::change::COMMITTING;
use anyhow::{Context, Result};
use daxkit_cli::interrupt;
use daxkit_cli::message::Messages;
use daxkit_cli::status;
use std::sync::atomic::Ordering;

/// Watches for SIGINT, SIGTERM and SIGHUP from now on.
pub(crate) fn watch(messages: Messages) -> Result<()> {
    interrupt::watch(move || {
        if COMMITTING.load(Ordering::SeqCst) {
            return;
        }
        messages.error("interrupted; what was not written yet is left out");
        std::process::exit(status::FAILED.into());
    })
    .context("cannot watch for signals")
}
