//! Blocks overwritten, and blocks that nobody should have written.

use super::Command;
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::BlockNr;
use daxkit_volume::Edit;
use daxkit_volume::ext4::Segment;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["zap_block", "zap"],
        args: "[-f FILE] [-o OFFSET] [-l LENGTH] [-p BYTE] | [-b BIT] BLOCK",
        summary: "Fill a block, or a part of it, with zeroes or another byte; -b: flip one bit. -f: count blocks in a file. No \
                  checksum follows",
        example: "zap_block -o 16 -l 4 -p 0xff 5000",
        run: zap,
    },
    Command {
        names: &["dump_unused"],
        args: "",
        summary: "Print the free blocks that are not all zero",
        example: "dump_unused",
        run: dump_unused,
    },
];

fn zap(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "b:f:l:o:p:", &[], (1, 1))?;
    session.check_writable()?;
    let size = u64::from(session.volume.block_size());
    let value = |name: &str, what: &str| options.value(name).map(|v| number(v, what)).transpose();
    let (bit, pattern) = (value("b", "a bit")?, value("p", "a pattern")?);
    let (offset, length) = (value("o", "an offset")?, value("l", "a length")?);
    if bit.is_some() && (offset.is_some() || length.is_some() || pattern.is_some()) {
        bail!("-b flips one bit; it does not go with -o, -l or -p");
    }
    if bit.is_some_and(|bit| bit >= size * 8) {
        bail!("the bit to flip must lie in a block of {size} bytes");
    }
    let offset = offset.unwrap_or(0);
    if offset >= size {
        bail!("the offset must lie in a block of {size} bytes");
    }
    let length = length.unwrap_or(size - offset);
    if length > size - offset {
        bail!("the length leads out of a block of {size} bytes");
    }
    let pattern = u8::try_from(pattern.unwrap_or(0)).context("the pattern must be one byte")?;
    let nr = number(options.rest.first().map(Vec::as_slice).unwrap_or_default(), "a block number")?;
    let block = match options.value("f") {
        None => BlockNr(nr),
        Some(spec) => {
            let inode = session.inode(spec)?;
            match session.volume.map_block(&inode, nr)? {
                Segment::Mapped(run) => run.physical,
                Segment::Hole { .. } => bail!("block {nr} of the file is a hole"),
            }
        }
    };
    let mut bytes = session.volume.read_block(block)?;
    match bit {
        Some(bit) => {
            let byte = usize::try_from(bit / 8).ok().and_then(|at| bytes.get_mut(at));
            byte.into_iter().for_each(|byte| *byte ^= 1 << (bit % 8));
        }
        None => bytes.iter_mut().skip(offset as usize).take(length as usize).for_each(|byte| *byte = pattern),
    }
    let at = session.volume.base().saturating_add(block.get() * size);
    session.edit_raw(|editor| Ok(editor.apply(&[Edit { offset: at, bytes }])?))
}

fn dump_unused(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    let mut free = Vec::new();
    let errors = session.volume.free_runs(|first, len| free.push(first..first.saturating_add(len)));
    let device = session.volume.device().clone();
    let (base, size) = (session.volume.base(), u64::from(session.volume.block_size()));
    let mut block = vec![0; size as usize];
    for nr in free.into_iter().flatten() {
        let at = base.saturating_add(nr * size);
        if device.known_zero(at, size) {
            continue;
        }
        device.read_at(at, &mut block)?;
        if block.iter().any(|b| *b != 0) {
            writeln!(session.out, "\nUnused block {nr} contains non-zero data:\n")?;
            session.out.write_all(&block)?;
        }
    }
    session.complain_all(errors);
    Ok(())
}
