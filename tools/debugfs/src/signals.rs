//! Signals end the program: at once, since nothing is half done before a change is written; after it, when one is being written.
//!
//! Ctrl-C of somebody who types asks the command that runs to stop, and no more: its next read of the image or line of output fails
//! ([`Interruptible`], and the screen of the shell), and what it has changed is taken back.

use anyhow::{Context, Result, bail};
use daxkit_cli::interrupt::{self, Interrupt, Signal};
use daxkit_cli::message::{Messages, with_causes};
use daxkit_cli::status;
use daxkit_device::{BlockDevice, DeviceError, Geometry};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Held while an image is being written.
static WRITING: Mutex<()> = Mutex::new(());

/// Whether a signal came.
static INTERRUPT: OnceLock<Interrupt> = OnceLock::new();
/// What is being written is written to its end.
static HELD: AtomicBool = AtomicBool::new(false);

/// A signal that ends the program came.
static CAME: AtomicBool = AtomicBool::new(false);

/// Somebody types the commands.
static TYPED: AtomicBool = AtomicBool::new(false);

/// The command that runs is to stop.
static STOP: AtomicBool = AtomicBool::new(false);

/// The terminal as it was before lines were edited on it.
static TERMINAL: Mutex<Option<Termios>> = Mutex::new(None);

/// Watches for SIGINT, SIGTERM and SIGHUP from now on.
pub(crate) fn watch(messages: Messages) -> Result<()> {
    let interrupt = interrupt::watch(move |signal| {
        if signal == Signal::Interrupt && TYPED.load(Ordering::SeqCst) {
            STOP.store(true, Ordering::SeqCst);
            return;
        }
        CAME.store(true, Ordering::SeqCst);
        // Who is writing sees that a signal came when it is done, and does not come back.
        let _alone = alone();
        end(messages, "what was not written yet is left out");
    })
    .context("cannot watch for signals")?;
    INTERRUPT.get_or_init(|| interrupt);
    Ok(())
}

/// From now on SIGINT stops commands, not the program.
pub(crate) fn typed() {
    TYPED.store(true, Ordering::SeqCst);
}

/// Whether somebody types.
pub(crate) fn is_typed() -> bool {
    TYPED.load(Ordering::SeqCst)
}

/// Whether the command that runs is to stop.
pub(crate) fn stop() -> bool {
    STOP.load(Ordering::Relaxed) && !HELD.load(Ordering::Relaxed)
}

/// Another command begins: what came before was not meant for it.
pub(crate) fn forget_stop() {
    STOP.store(false, Ordering::SeqCst);
}

/// How often who waits for an answer looks whether it is wanted any more.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Waits until somebody has answered, in standard input.
///
/// # Errors
/// The command that asks is to stop.
pub(crate) fn wait_for_input() -> Result<()> {
    let stdin = std::io::stdin();
    loop {
        if stop() {
            bail!("interrupted");
        }
        let mut input = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut input, Some(&LOOK)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error).context("cannot wait for the answer"),
        }
    }
}

/// Keeps the terminal as it is now, for the case that a signal ends the program while a line is edited.
pub(crate) fn keep_terminal() {
    *TERMINAL.lock().unwrap_or_else(PoisonError::into_inner) = tcgetattr(std::io::stdin()).ok();
}

/// Writes to an image. A signal that comes meanwhile ends the program afterwards.
pub(crate) fn hold<T>(messages: Messages, write: impl FnOnce() -> Result<T>) -> Result<T> {
    let _alone = alone();
    if came() {
        end(messages, "what was not written yet is left out");
    }
    HELD.store(true, Ordering::SeqCst);
    let done = write();
    HELD.store(false, Ordering::SeqCst);
    if came() {
        match done {
            Ok(_) => end(messages, "the change that was being written is in the image"),
            Err(error) => end(messages, &with_causes(error.as_ref())),
        }
    }
    done
}

/// Whether a signal that ends the program came; the thread that looks after signals may not know yet.
fn came() -> bool {
    let first = INTERRUPT.get().is_some_and(Interrupt::came);
    CAME.load(Ordering::SeqCst) || (first && !is_typed())
}

fn alone() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(messages: Messages, what: &str) -> ! {
    if let Some(before) = &*TERMINAL.lock().unwrap_or_else(PoisonError::into_inner) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        // The editor of lines asks the terminal to mark what is pasted.
        let _ = std::io::stderr().write_all(b"\x1b[?2004l\r\n");
    }
    messages.error(format_args!("interrupted; {what}"));
    std::process::exit(status::FAILED.into())
}

/// An image whose reads fail when the command that reads is to stop. Writes go through: they belong to a change that is being written.
#[derive(Debug)]
pub(crate) struct Interruptible(pub(crate) Arc<dyn BlockDevice>);

impl BlockDevice for Interruptible {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        if stop() {
            let source = std::io::Error::other("interrupted");
            return Err(DeviceError::Io { op: "read", offset, len: buf.len() as u64, source });
        }
        self.0.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.0.write_at(offset, data)
    }

    fn write_out(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.0.write_out(offset, data)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        self.0.write_zeroes(offset, len)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<bool, DeviceError> {
        self.0.discard(offset, len)
    }

    fn known_zero(&self, offset: u64, len: u64) -> bool {
        self.0.known_zero(offset, len)
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, DeviceError> {
        self.0.next_data(offset)
    }

    fn flush(&self) -> Result<(), DeviceError> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daxkit_device::MemoryDevice;

    #[test]
    fn reads_fail_while_a_command_is_to_stop_and_none_while_an_image_is_written() {
        let device = Interruptible(Arc::new(MemoryDevice::new(4096)));
        let read = || device.read_at(0, &mut [0; 16]);
        assert!(read().is_ok());
        STOP.store(true, Ordering::SeqCst);
        assert!(read().is_err_and(|e| e.to_string().ends_with("interrupted")));
        assert!(device.write_at(0, &[1]).is_ok());
        assert!(hold(Messages::new("test", true), || Ok(read()?)).is_ok());
        assert!(read().is_err());
        forget_stop();
        assert!(read().is_ok());
    }
}
