//! What is marked as in use and free, whole inodes, whole blocks, the state of the file system: set without regard to the rest.

use super::Command;
use crate::output::shown;
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::BlockNr;
use daxkit_format::ext4::features::{Feature, Features};
use daxkit_format::ext4::super_block::STATE_VALID;
use daxkit_volume::ext4::Segment;
use daxkit_volume::ext4::edit::Sums;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["seti"],
        args: "FILE [COUNT]",
        summary: "Mark inodes as in use in the bitmap, COUNT from this one on; counts stay as they are",
        example: "seti <12>",
        run: seti,
    },
    Command {
        names: &["freei"],
        args: "FILE [COUNT]",
        summary: "Mark inodes as free in the bitmap; counts stay as they are",
        example: "freei <12>",
        run: freei,
    },
    Command {
        names: &["setb"],
        args: "BLOCK [COUNT]",
        summary: "Mark blocks as in use in the bitmap; counts stay as they are",
        example: "setb 5000 8",
        run: setb,
    },
    Command {
        names: &["freeb"],
        args: "BLOCK [COUNT]",
        summary: "Mark blocks as free in the bitmap; counts stay as they are",
        example: "freeb 5000 8",
        run: freeb,
    },
    Command {
        names: &["clri"],
        args: "FILE",
        summary: "Make the first 128 bytes of an inode zero",
        example: "clri <12>",
        run: clri,
    },
    Command {
        names: &["copy_inode"],
        args: "FROM TO",
        summary: "Write the fields of one inode into another",
        example: "copy_inode <12> <13>",
        run: copy_inode,
    },
    Command {
        names: &["zap_block", "zap"],
        args: "[-f FILE] [-b BIT | [-o OFFSET] [-l LENGTH] [-p PATTERN]] BLOCK",
        summary: "Fill a block, of the image or with -f of a file, with zeroes or a byte; -b: flip a bit of it. Checksums stay",
        example: "zap_block -p 0x55 5000",
        run: zap_block,
    },
    Command {
        names: &["dirty_filesys", "dirty"],
        args: "[-clean]",
        summary: "Clear the flag that says that the file system was unmounted cleanly; -clean: set it",
        example: "dirty_filesys",
        run: dirty,
    },
    Command {
        names: &["set_current_time"],
        args: "TIME",
        summary: "Say what time counts as now for what follows",
        example: "set_current_time 20260102030405",
        run: set_current_time,
    },
];

fn count(words: &[Vec<u8>]) -> Result<u64> {
    words.first().map_or(Ok(1), |word| number(word, "a count"))
}

fn seti(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    inode_bits(session, command, words, true)
}

fn freei(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    inode_bits(session, command, words, false)
}

fn inode_bits(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>], used: bool) -> Result<()> {
    let options = command.options(words, "", &[], (1, 2))?;
    session.check_writable()?;
    let Some((spec, rest)) = options.rest.split_first() else { return Ok(()) };
    let (nr, count) = (session.inode(spec)?.nr(), count(rest)?);
    session.edit_raw(|editor| Ok(editor.set_inode_bits(nr, count, used).map(drop)?))
}

fn setb(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    block_bits(session, command, words, true)
}

fn freeb(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    block_bits(session, command, words, false)
}

fn block_bits(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>], used: bool) -> Result<()> {
    let options = command.options(words, "", &[], (1, 2))?;
    session.check_writable()?;
    let Some((block, rest)) = options.rest.split_first() else { return Ok(()) };
    let (block, count) = (number(block, "a block")?, count(rest)?);
    let end = block.checked_add(count).context("no such blocks")?;
    session.edit_raw(|editor| Ok(editor.set_block_bits(block..end, used).map(drop)?))
}

fn clri(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 1))?;
    session.check_writable()?;
    let Some(spec) = options.rest.first() else { return Ok(()) };
    let inode = session.inode(spec)?;
    let mut raw = inode.raw().to_vec();
    raw.iter_mut().take(128).for_each(|b| *b = 0);
    session.edit_raw(|editor| Ok(editor.write_raw_inode(inode.nr(), raw, Sums::Right).map(drop)?))
}

fn copy_inode(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (2, 2))?;
    session.check_writable()?;
    let [from, to] = options.rest else { return Ok(()) };
    let (raw, nr) = (session.inode(from)?.raw().to_vec(), session.inode(to)?.nr());
    session.edit_raw(|editor| Ok(editor.write_raw_inode(nr, raw, Sums::Right).map(drop)?))
}

fn zap_block(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "f:o:l:p:b:", &[], (1, 1))?;
    session.check_writable()?;
    let Some(word) = options.rest.first() else { return Ok(()) };
    let asked = number(word, "a block")?;
    let block = match options.value("f") {
        None => asked,
        Some(spec) => {
            let inode = session.inode(spec)?;
            match session.volume.map_block(&inode, asked)? {
                Segment::Mapped(m) => m.physical.get(),
                Segment::Hole { .. } => bail!("{}: has no block {asked}", shown(spec)),
            }
        }
    };
    let size = session.volume.block_size() as usize;
    let small = |name: &str, default: usize| -> Result<usize> {
        let Some(word) = options.value(name) else { return Ok(default) };
        usize::try_from(number(word, "a number")?).with_context(|| format!("-{name}: too large"))
    };
    let mut bytes = session.volume.read_block(BlockNr(block))?;
    if options.value("b").is_some() {
        let bit = small("b", 0)?;
        if options.value("o").is_some() || options.value("l").is_some() || options.value("p").is_some() {
            bail!("{}", command.usage());
        }
        let byte = bytes.get_mut(bit / 8).with_context(|| format!("a block has {} bits", size * 8))?;
        *byte ^= 1 << (bit % 8);
    } else {
        let offset = small("o", 0)?;
        let len = small("l", size.saturating_sub(offset))?;
        let pattern = u8::try_from(small("p", 0)?).context("-p: not a byte")?;
        let end = offset.checked_add(len).filter(|end| *end <= size);
        let part = end.and_then(|end| bytes.get_mut(offset..end));
        part.with_context(|| format!("a block has {size} bytes"))?.fill(pattern);
    }
    session.edit_raw(|editor| {
        editor.write_data(BlockNr(block), &bytes)?;
        Ok(())
    })?;
    Ok(session.volume.read_super_block()?)
}

fn dirty(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let clean = match words {
        [] => false,
        [word] if word == b"-clean" => true,
        _ => bail!("{}", command.usage()),
    };
    session.edit_raw(|editor| {
        Ok(editor.change_super_block(|sb| {
            let state = sb.s_state.get();
            sb.s_state.set(if clean { state | STATE_VALID } else { state & !STATE_VALID });
        })?)
    })
}

fn set_current_time(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 1))?;
    let text = shown(options.rest.first().map(Vec::as_slice).unwrap_or_default());
    let time = if text == "now" { Some(session.time()) } else { daxkit_format::field::parse_time(&text) };
    let seconds = time.and_then(|t| u64::try_from(t.seconds).ok()).with_context(|| format!("{text}: not a time"))?;
    session.now = seconds;
    if !session.json {
        let t = daxkit_format::ext4::inode::Timestamp { seconds: seconds.cast_signed(), nanos: 0 };
        writeln!(session.out, "Setting current time to {}", crate::files::long_time(t))?;
    }
    Ok(())
}

/// Sets and clears features: `NAME` and `-NAME`. Nothing but the bits changes.
pub(super) fn change_features(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    session.check_writable()?;
    let mut changes = Vec::new();
    for word in words {
        let text = shown(word);
        let (name, set) = match text.strip_prefix(['-', '^']) {
            Some(name) => (name, false),
            None => (text.strip_prefix('+').unwrap_or(&text), true),
        };
        let feature = Feature::by_name(name).with_context(|| format!("{name}: no such feature"))?;
        changes.push((feature, set));
    }
    session.edit_raw(|editor| {
        Ok(editor.change_super_block(|sb| {
            let mut features = Features::of(sb);
            changes.iter().for_each(|(feature, set)| features.set(*feature, *set));
            sb.s_feature_compat.set(features.compat.bits());
            sb.s_feature_incompat.set(features.incompat.bits());
            sb.s_feature_ro_compat.set(features.ro_compat.bits());
        })?)
    })?;
    super::image::show_features(session, command)
}
