//! What belongs to nobody: the boot sector, free blocks, the rest of the device.

use super::DumpError;
use super::content::Digest;
use super::cover::Cover;
use super::image::Image;
use std::ops::Range;

/// Fewer bytes than this that are not zero are printed even where the rest is hashed.
const FEW: usize = 64;

/// Longest run under one hash: a change is found in at most this many bytes.
const RUN: u64 = 1 << 20;

impl Image<'_> {
    /// Prints the content of unclaimed ranges that is not zero.
    pub(super) fn free(&mut self) -> Result<(), DumpError> {
        writeln!(self.out, "free")?;
        let bs = self.geo.map_or(1024, |g| u64::from(g.block_size));
        let mut at = 0;
        let mut run: Option<(Range<u64>, Digest)> = None;
        while let Some(gap) = self.next_unclaimed(at..self.len) {
            at = gap.start;
            while at < gap.end {
                let data = self.data_from(at)?.unwrap_or(gap.end).min(gap.end);
                if data > at {
                    // To the start of the block that has data, as blocks are what is printed.
                    at = (data / bs * bs).max(at);
                    if data == gap.end {
                        at = gap.end;
                        continue;
                    }
                }
                // Blocks do not always begin where gaps do.
                let end = (at / bs * bs).saturating_add(bs).min(gap.end);
                let bytes = self.read(at, (end - at) as usize)?;
                let some = bytes.iter().filter(|b| **b != 0).count();
                let many = some > FEW && !self.wants_full();
                let joins = run.as_ref().is_some_and(|(r, _)| r.end == at && r.end - r.start < RUN);
                if !(many && joins) {
                    self.finish_run(&mut run, bs)?;
                }
                if many {
                    let (range, digest) = run.get_or_insert_with(|| (at..at, Digest::default()));
                    digest.update(&bytes);
                    range.end = end;
                } else if some > 0 && self.wants_full() {
                    let from = at;
                    self.full(at..end, None, &|o| place(from + o, bs))?;
                } else if some > 0 {
                    let (block, base) = (at / bs, (at % bs) as usize);
                    Cover::new(&bytes).rest(self.out, "  ", &format!("block:{block}"), base)?;
                }
                at = end;
            }
        }
        self.finish_run(&mut run, bs)
    }

    fn finish_run(&mut self, run: &mut Option<(Range<u64>, Digest)>, bs: u64) -> Result<(), DumpError> {
        match run.take() {
            Some((range, digest)) => digest.finish(self.out, "  ", &place(range.start, bs)),
            None => Ok(()),
        }
    }
}

fn place(at: u64, bs: u64) -> String {
    match at % bs {
        0 => format!("block:{}", at / bs),
        rest => format!("block:{}+{rest:#x}", at / bs),
    }
}
