//! Fields of superblock, inodes, group descriptors and multiple mount protection, set one by one.
//!
//! A field is written and the checksum over it made right; nothing else follows, so the image may well be damaged afterwards, on
//! purpose. A checksum that is set itself stays as it was given; `calc` makes it right.

mod together;
mod value;
mod wanted;

use super::Command;
use crate::output::shown;
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::inode::Inode as DiskInode;
use daxkit_format::ext4::mmp::{self, MmpStruct, SEQ_CLEAN};
use daxkit_format::field::{InodeRef, Object, Structure};
use daxkit_format::{FieldValue, InodeNr, OnDisk};
use daxkit_volume::{Edit, Located, Seal, seal_freely};
use std::mem::offset_of;
use std::sync::OnceLock;
use zerocopy::IntoBytes;

pub(crate) use together::Together;
pub(super) use value::{set, time};
pub(crate) use wanted::Wanted;

/// What inodes have beyond the fields of the table: the name of a field under another operating system, and the map.
const INODE_ONLY: &[(&str, &str)] =
    &[("translator", "unsigned integer"), ("bmap[]", "set physical->logical block map")];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["set_super_value", "ssv"],
        args: "-l | FIELD VALUE",
        summary: "Set a field of the superblock (the copies stay as they are); -l: list the fields",
        example: "set_super_value volume_name pmem",
        run: set_super,
    },
    Command {
        names: &["set_inode_field", "sif"],
        args: "-l | FILE FIELD VALUE",
        summary: "Set a field of an inode, or where a block of it lies (bmap[N]); -l: list the fields",
        example: "set_inode_field <12> mtime 20240229120000",
        run: set_inode,
    },
    Command {
        names: &["set_block_group", "set_bg"],
        args: "-l | GROUP FIELD VALUE",
        summary: "Set a field of a group descriptor; its checksum follows. -l: list the fields",
        example: "set_block_group 0 used_dirs_count 3",
        run: set_group,
    },
    Command {
        names: &["set_mmp_value", "smmp"],
        args: "-l | FIELD VALUE | clear",
        summary: "Set a field of the block of multiple mount protection, or make it say that nobody has the image; -l: list",
        example: "set_mmp_value check_interval 10",
        run: set_mmp,
    },
];

fn set_super(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "l", &[], (0, 2))?;
    if options.has('l') && options.rest.is_empty() {
        return wanted::list(session, command, Structure::SuperBlock, &[]);
    }
    session.check_writable()?;
    let [field, word] = options.rest else { bail!("{}", command.usage()) };
    let wanted = Wanted::find(Structure::SuperBlock, field)?;
    let before = *session.volume.super_block();
    let found = session.volume.locate(&Object::Super { copy: None }.place())?;
    set_field(session, &found, &wanted, word, &found.seals)?;
    let after = session.volume.super_block();
    let stale = if after.has_metadata_csum() {
        before.checksum_seed() != after.checksum_seed()
    } else {
        after.ro_compat().contains(RoCompat::GDT_CSUM) && before.s_uuid != after.s_uuid
    };
    if stale {
        let what = wanted.access.name;
        session
            .messages
            .warning(format_args!("{what}: no other checksum of the image fits any more, they are computed from it"));
    }
    Ok(())
}

fn set_inode(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "l", &[], (0, 3))?;
    if options.has('l') && options.rest.is_empty() {
        return wanted::list(session, command, Structure::Inode, INODE_ONLY);
    }
    session.check_writable()?;
    let [spec, field, word] = options.rest else { bail!("{}", command.usage()) };
    if let Some(logical) = wanted::bmap(field)? {
        session.settle()?;
        return map_block(session, spec, logical, word);
    }
    let wanted = session.wanted(Structure::Inode, field)?;
    // The generation concerns more than the inode.
    let wide = wanted.access.name == "i_generation";
    if !wide && !wanted.is_checksum() && session.put_off(command, spec, field, &wanted, word)? {
        return Ok(());
    }
    // What was put off came first.
    session.settle()?;
    // What a path costs counts: scripts name hundreds of thousands of files.
    let nr = session.inode_number(spec)?;
    if wanted.is_checksum() {
        return set_inode_checksum(session, nr, &wanted, word);
    }
    if wide {
        let object = Object::Inode(InodeRef::Number(session.volume.inode(nr)?.nr().get()));
        let found = session.volume.locate(&object.field(wanted.access.name))?;
        return set_field(session, &found, &wanted, word, &found.seals);
    }
    change_field(session, &[nr], field, &wanted, word)
}

/// Sets a field of inodes, which come in ascending order.
fn change_field(
    session: &mut Session<'_>,
    inodes: &[InodeNr],
    field: &[u8],
    wanted: &Wanted,
    word: &[u8],
) -> Result<()> {
    let now = session.time();
    // Most values are the same whatever was there before.
    let value = OnceLock::new();
    session
        .edit_at_once(|editor| {
            editor.change_inodes_alike(inodes, |_, raw| {
                let room = room(raw);
                let bytes = raw.get_mut(..room).unwrap_or_default();
                has_room(wanted, bytes)?;
                match value.get() {
                    Some(value) => value::store(wanted, bytes, value, word)?,
                    None => {
                        if let Some(new) = set(wanted, bytes, word, now)? {
                            value.get_or_init(|| new);
                        }
                    }
                }
                Ok::<_, anyhow::Error>(true)
            })
        })
        .with_context(|| shown(field))
}

/// Sets the checksum of an inode, or a part of it. It may be wrong before: that is why it is set.
fn set_inode_checksum(session: &mut Session<'_>, nr: InodeNr, wanted: &Wanted, word: &[u8]) -> Result<()> {
    let found = session.volume.locate(&Object::Inode(InodeRef::Number(nr.get())).place())?;
    set_field(session, &found, wanted, word, &found.seals)
}

/// Says where a block of a file lies; 0: nowhere.
fn map_block(session: &mut Session<'_>, spec: &[u8], logical: u64, word: &[u8]) -> Result<()> {
    let mut inode = session.inode(spec)?;
    let block = number(word, "a block number")?;
    let count = session.volume.geometry().blocks_count;
    if block >= count {
        bail!("block:{block}: there are {count} blocks");
    }
    let to = (block != 0).then_some((block, true));
    session.edit(|editor| Ok(editor.set_block(&mut inode, logical, to)?))
}

/// How much of an inode's bytes are fields. Behind them attributes may lie.
fn room(raw: &[u8]) -> usize {
    const OLD: usize = 128;
    const EXTRA: usize = offset_of!(DiskInode, i_extra_isize);
    let Some(extra) = raw.get(EXTRA..EXTRA + 2) else { return raw.len() };
    let extra = usize::from(extra.iter().rev().fold(0u16, |n, b| n << 8 | u16::from(*b)));
    // The field that says how many there are is always one.
    raw.len().min(OLD.saturating_add(extra.max(2)))
}

fn has_room(wanted: &Wanted, bytes: &[u8]) -> Result<()> {
    let low = wanted.access.low;
    if low.offset.saturating_add(low.kind.len()) > bytes.len() {
        bail!("the structure ends before this field, after {} bytes", bytes.len());
    }
    Ok(())
}

fn set_group(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "l", &[], (0, 3))?;
    if options.has('l') && options.rest.is_empty() {
        let wide = usize::from(session.volume.geometry().desc_size) >= Structure::GroupDesc.size();
        let structure = if wide { Structure::GroupDesc } else { Structure::GroupDesc32 };
        return wanted::list(session, command, structure, &[]);
    }
    session.check_writable()?;
    let [group, field, word] = options.rest else { bail!("{}", command.usage()) };
    let group = u32::try_from(number(group, "a group number")?).context("the group number is too large")?;
    let found = session.volume.locate(&Object::Group { group, copy: None }.place())?;
    let wanted = Wanted::find(found.structure.unwrap_or(Structure::GroupDesc), field)?;
    // The last one is the descriptor's. Those of the bitmaps are computed from the bitmaps, which have not changed.
    let own = found.seals.last().into_iter().cloned().collect::<Vec<_>>();
    set_field(session, &found, &wanted, word, &own)
}

fn set_mmp(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "l", &[], (0, 2))?;
    if options.has('l') && options.rest.is_empty() {
        return wanted::list(session, command, Structure::MmpStruct, &[("clear", "nobody has it, no value")]);
    }
    session.check_writable()?;
    let found = session.volume.locate(&Object::Mmp.place())?;
    match options.rest {
        [word, ..] if word == b"clear" => clear_mmp(session, &found),
        [field, word] => {
            let wanted = Wanted::find(Structure::MmpStruct, field)?;
            set_field(session, &found, &wanted, word, &found.seals)
        }
        _ => bail!("{}", command.usage()),
    }
}

/// The shortest interval of checks (`EXT4_MMP_MIN_CHECK_INTERVAL`).
const MIN_CHECK_INTERVAL: u16 = 5;

/// Makes a block of multiple mount protection that nobody has written yet.
fn clear_mmp(session: &mut Session<'_>, found: &Located) -> Result<()> {
    let interval = session.volume.super_block().s_mmp_update_interval.get();
    let mut new = MmpStruct::zeroed();
    new.mmp_magic.set(mmp::MAGIC);
    new.mmp_seq.set(SEQ_CLEAN);
    new.mmp_check_interval.set(interval.max(MIN_CHECK_INTERVAL));
    let edit = Edit { offset: found.structure_bytes.start, bytes: new.as_bytes().to_vec() };
    // The checksum is not what is set.
    let at = offset_of!(MmpStruct, mmp_checksum);
    let bytes = edit.bytes.get(..at).unwrap_or_default().to_vec();
    write(session, &[Edit { bytes, ..edit }], &found.seals)
}

/// Sets a field of what was found, or makes the checksum in it right, and the checksums over it.
fn set_field(session: &mut Session<'_>, found: &Located, wanted: &Wanted, word: &[u8], seals: &[Seal]) -> Result<()> {
    let before = found.read(&**session.volume.device())?;
    has_room(wanted, &before)?;
    let low = wanted.access.low;
    if wanted.is_checksum() && word == b"calc" {
        return calculate(session, found, wanted);
    }
    let mut after = before.clone();
    set(wanted, &mut after, word, session.time()).with_context(|| wanted.access.name)?;
    let mut edits = found.edits(&before, &after);
    if edits.is_empty() {
        // The same value: the checksum over it is made right all the same.
        let same = before.get(low.offset..low.offset.saturating_add(low.kind.len())).unwrap_or_default();
        let at = found.structure_bytes.start.saturating_add(low.offset as u64);
        edits.push(Edit { offset: at, bytes: same.to_vec() });
    }
    write(session, &edits, seals)
}

/// Makes the checksum right that a field holds, and those over it.
fn calculate(session: &mut Session<'_>, found: &Located, wanted: &Wanted) -> Result<()> {
    let device = session.volume.device().clone();
    let at = found.structure_bytes.start.saturating_add(wanted.access.low.offset as u64);
    for seal in &found.seals {
        if !seal.stored_at(&*device)?.iter().any(|r| r.contains(&at)) {
            continue;
        }
        let edits = seal.fix(&*device)?;
        write(session, &edits, &found.seals)?;
        if let Some(FieldValue::Int(sum)) = wanted.access.get(&found.read(&*device)?) {
            let digits = 2 * (wanted.access.low.kind.len() + wanted.access.second().map_or(0, |f| f.kind.len()));
            writeln!(session.out, "Checksum set to 0x{sum:0digits$x}")?;
        }
        return Ok(());
    }
    bail!("nothing has a checksum there");
}

/// Writes bytes and the checksums over them.
pub(super) fn write(session: &mut Session<'_>, edits: &[Edit], seals: &[Seal]) -> Result<()> {
    let device = session.volume.device().clone();
    let sums = seal_freely(&*device, seals, edits)?;
    session.edit_raw(|editor| {
        editor.apply(edits)?;
        Ok(editor.apply(&sums)?)
    })
}
