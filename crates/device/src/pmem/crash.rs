//! What a power cut may leave: of each line in flight one of several contents, whatever the other lines have.

use super::access::LINE;
use super::emulated::Pmem;
use super::error::PmemError;
use super::persistence::Persistence;
use super::watch::{NoWatch, Tracks};
use crate::block::BlockDevice;

/// A line in flight, and how many contents a power cut may leave of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashLine {
    /// Number of the line.
    pub line: u64,
    /// Contents, numbered from 0 (nothing but what is durable) to `states - 1` (everything). Two may be equal.
    pub states: u64,
}

/// The states that a power cut at this moment may leave. A state is chosen by one number per line.
#[derive(Debug)]
pub struct CrashStates<'a, B, W> {
    memory: &'a Pmem<B, W>,
    lines: Vec<CrashLine>,
}

impl<B: BlockDevice, W: Tracks> Pmem<B, W> {
    /// What a power cut now may leave.
    pub fn crash_states(&self) -> CrashStates<'_, B, W> {
        let in_flight = self.watch.persistence().in_flight();
        let mut lines: Vec<_> = in_flight.map(|l| CrashLine { line: l.line, states: l.states }).collect();
        lines.sort_unstable_by_key(|l| l.line);
        CrashStates { memory: self, lines }
    }

    /// Reads what is certain to survive a power cut.
    ///
    /// # Errors
    /// Out of range, or the base fails.
    pub fn read_durable(&self, addr: u64, buf: &mut [u8]) -> Result<(), PmemError> {
        self.check(addr, buf.len() as u64)?;
        self.read_visible(addr, buf)?;
        let end = addr + buf.len() as u64;
        for line in addr / LINE as u64..end.div_ceil(LINE as u64) {
            if let Some(durable) = self.watch.persistence().durable_line(line) {
                let start = line * LINE as u64;
                let part = start.max(addr)..(start + LINE as u64).min(end);
                buf[(part.start - addr) as usize..(part.end - addr) as usize]
                    .copy_from_slice(&durable[(part.start - start) as usize..(part.end - start) as usize]);
            }
        }
        Ok(())
    }
}

impl<B: BlockDevice, W: Tracks> CrashStates<'_, B, W> {
    /// The lines that have a choice, ascending.
    #[must_use]
    pub fn lines(&self) -> &[CrashLine] {
        &self.lines
    }

    /// How many states there are; `None` where a `u128` does not hold the number.
    #[must_use]
    pub fn count(&self) -> Option<u128> {
        self.lines.iter().try_fold(1u128, |n, line| n.checked_mul(u128::from(line.states)))
    }

    /// The choice in which nothing in flight has persisted.
    #[must_use]
    pub fn none(&self) -> Vec<u64> {
        vec![0; self.lines.len()]
    }

    /// The choice in which everything has.
    #[must_use]
    pub fn all(&self) -> Vec<u64> {
        self.lines.iter().map(|line| line.states - 1).collect()
    }

    /// Goes on to the next choice, the first line's number running fastest. Returns whether there is one.
    #[must_use]
    pub fn next(&self, choice: &mut [u64]) -> bool {
        for (digit, line) in choice.iter_mut().zip(&self.lines) {
            *digit += 1;
            if *digit < line.states {
                return true;
            }
            *digit = 0;
        }
        false
    }

    /// The content that a choice gives the line at this place of [`lines`](Self::lines).
    #[must_use]
    pub fn content(&self, place: usize, choice: u64) -> Option<[u8; LINE]> {
        self.persistence().content(self.lines.get(place)?.line, choice)
    }

    /// The memory after the power cut. A number that is missing is 0; one that is too large is the largest.
    #[must_use]
    pub fn image(&self, choice: &[u64]) -> Pmem<B> {
        let mut image = self.memory.watched_by(NoWatch);
        self.set_lines(choice, &mut image);
        image
    }

    /// The same in a memory that is there already; allocates nothing in the steady state.
    pub fn image_into(&self, choice: &[u64], image: &mut Pmem<B>) {
        image.take_contents(self.memory);
        self.set_lines(choice, image);
    }

    fn set_lines(&self, choice: &[u64], image: &mut Pmem<B>) {
        for (place, line) in self.lines.iter().enumerate() {
            let Some(content) = self.content(place, choice.get(place).copied().unwrap_or(0)) else { continue };
            match image.lines.get_mut(line.line) {
                Some(bytes) => *bytes = content,
                // Zeroed as a whole: visible without a line of its own.
                None => {
                    image.lines.insert_new(line.line, content);
                }
            }
        }
    }

    fn persistence(&self) -> &Persistence {
        self.memory.watch.persistence()
    }
}
