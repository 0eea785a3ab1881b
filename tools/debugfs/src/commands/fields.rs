//! Fields set by name, as debugfs does it: of the superblock, of inodes, of group descriptors, of the block of multiple mount protection.
//!
//! What is written gets right checksums; nothing else changes, whatever that makes of the image.

use super::Command;
use crate::output::shown;
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::InodeNr;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::mmp;
use daxkit_format::field::{Access, Format, Place, Structure};
use daxkit_volume::ext4::edit::Sums;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["set_super_value", "ssv"],
        args: "-l | FIELD VALUE",
        summary: "Set a field of the superblock; -l: list the fields",
        example: "set_super_value volume_name data",
        run: set_super_value,
    },
    Command {
        names: &["set_inode_field", "sif"],
        args: "-l | FILE FIELD VALUE",
        summary: "Set a field of an inode, or a block of its map (bmap[N]); -l: list the fields",
        example: "set_inode_field /file mode 0100600",
        run: set_inode_field,
    },
    Command {
        names: &["set_block_group", "set_bg"],
        args: "-l | GROUP FIELD VALUE",
        summary: "Set a field of a group descriptor (checksum calc: make it right); -l: list the fields",
        example: "set_block_group 0 free_inodes_count 10",
        run: set_block_group,
    },
    Command {
        names: &["set_mmp_value", "smmp"],
        args: "-l | clear | FIELD VALUE",
        summary: "Set a field of the block of multiple mount protection; clear: as if nobody had it mounted; -l: list the fields",
        example: "set_mmp_value clear",
        run: set_mmp_value,
    },
];

/// The value as the field table reads it: what only the program knows (`now`, `random`) is put in.
fn value(session: &Session<'_>, format: Format, word: &[u8]) -> Result<String> {
    let text = String::from_utf8_lossy(word).into_owned();
    match (format, text.as_str()) {
        (Format::Time | Format::TimeNanos, "now") => Ok(format!("@{}", session.now)),
        (Format::Uuid, "random") => {
            let mut bytes = [0; 16];
            rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
                .map_err(std::io::Error::from)
                .context("no random numbers")?;
            Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
        }
        _ => Ok(text),
    }
}

/// The names of the fields of a structure, without its prefix.
fn list(session: &mut Session<'_>, structure: Structure) -> Result<()> {
    let prefix = structure.prefix();
    for def in structure.fields() {
        let name = def.name.strip_prefix(prefix).unwrap_or(def.name);
        writeln!(session.out, "\t{name:<25}\t{}", Format::of(structure, def.name, def.kind).describe())?;
    }
    Ok(())
}

fn is_list(words: &[Vec<u8>]) -> bool {
    words.len() == 1 && words.first().is_some_and(|w| w == b"-l")
}

/// `name[3]` is element 3 of `name`.
fn access(structure: Structure, name: &[u8]) -> Result<Access> {
    let name = String::from_utf8_lossy(name).into_owned();
    let unknown = || format!("{name}: no such field");
    let Some((array, index)) = name.split_once('[') else {
        return Access::find(structure, &name).with_context(unknown);
    };
    let index = index.strip_suffix(']').with_context(unknown)?;
    Access::find(structure, array).and_then(|a| a.element(index)).with_context(unknown)
}

fn set_super_value(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    if is_list(words) {
        return list(session, Structure::SuperBlock);
    }
    let [field, word] = words else { bail!("{}", command.usage()) };
    session.check_writable()?;
    let access = access(Structure::SuperBlock, field)?;
    let text = value(session, access.format(), word)?;
    let whole = access.second().is_none() && access.low.name == "s_checksum";
    session.edit_raw(|editor| {
        let mut failed = None;
        let change = |sb: &mut daxkit_format::ext4::super_block::SuperBlock| {
            failed = access.set_text(zerocopy::IntoBytes::as_mut_bytes(sb), &text).err();
        };
        if whole {
            // The checksum itself is written as it is.
            let place: Place = "super.s_checksum".parse()?;
            return Ok(editor.set_field(&place, &text, Sums::Stale)?);
        }
        editor.change_super_block(change)?;
        failed.map_or(Ok(()), |e| Err(e.into()))
    })
}

fn set_inode_field(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    if is_list(words) {
        return list(session, Structure::Inode);
    }
    let [spec, field, word] = words else { bail!("{}", command.usage()) };
    session.check_writable()?;
    let inode = session.inode(spec)?;
    if let Some(index) = field.strip_prefix(b"bmap[").and_then(|f| f.strip_suffix(b"]")) {
        return set_bmap(session, inode.nr(), index, word);
    }
    let access = access(Structure::Inode, field)?;
    let text = value(session, access.format(), word)?;
    let mut raw = inode.raw().to_vec();
    access.set_text(&mut raw, &text).with_context(|| shown(field))?;
    let sums = if access.name.contains("checksum") { Sums::Stale } else { Sums::Right };
    session.edit_raw(|editor| Ok(editor.write_raw_inode(inode.nr(), raw, sums).map(drop)?))
}

fn set_bmap(session: &mut Session<'_>, nr: InodeNr, index: &[u8], word: &[u8]) -> Result<()> {
    let (logical, physical) = (number(index, "a block of the file")?, number(word, "a block")?);
    session.edit_raw(|editor| {
        let mut inode = editor.inode(nr)?;
        Ok(editor.set_block(&mut inode, logical, (physical != 0).then_some((physical, true)))?)
    })
}

fn set_block_group(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    if is_list(words) {
        return list(session, Structure::GroupDesc);
    }
    let [group, field, word] = words else { bail!("{}", command.usage()) };
    session.check_writable()?;
    let group = number(group, "a group")?;
    let name = String::from_utf8_lossy(field).into_owned();
    let place: Place = format!("group.{group}").parse()?;
    let found = session.volume.locate(&place)?;
    if name == "checksum" && word == b"calc" {
        let edits =
            found.seals.iter().map(|seal| seal.fix(&**session.volume.device())).collect::<Result<Vec<_>, _>>()?;
        let edits = edits.concat();
        session.edit_raw(|editor| Ok(editor.apply(&found, &edits, Sums::Stale)?))?;
        let after = found.read(&**session.volume.device())?;
        let sum = found.structure.and_then(|s| Access::find(s, "bg_checksum")).and_then(|a| a.get_text(&after));
        if !session.json {
            writeln!(session.out, "Checksum set to {}", sum.unwrap_or_default())?;
        }
        return Ok(());
    }
    let structure = found.structure.context("no descriptor")?;
    let access = access(structure, field)?;
    let text = value(session, access.format(), word)?;
    let before = found.read(&**session.volume.device())?;
    let mut after = before.clone();
    access.set_text(&mut after, &text).with_context(|| name.clone())?;
    let edits = found.edits(&before, &after);
    let sums = if access.low.name == "bg_checksum" { Sums::Stale } else { Sums::Right };
    session.edit_raw(|editor| Ok(editor.apply(&found, &edits, sums)?))
}

fn set_mmp_value(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    if is_list(words) {
        return list(session, Structure::MmpStruct);
    }
    session.check_writable()?;
    if !session.volume.has_incompat(Incompat::MMP) {
        bail!("multiple mount protection (feature mmp) is not on");
    }
    let place = |field: &str| -> Result<Place> { Ok(format!("mmp.{field}").parse()?) };
    match words {
        [clear] if clear == b"clear" => {
            let fields = [
                ("mmp_magic", format!("{:#x}", mmp::MAGIC)),
                ("mmp_seq", format!("{:#x}", mmp::SEQ_CLEAN)),
                ("mmp_time", format!("@{}", session.now)),
                ("mmp_nodename", String::new()),
                ("mmp_bdevname", String::new()),
                ("mmp_check_interval", session.volume.super_block().s_mmp_update_interval.to_string()),
            ];
            session.edit_raw(|editor| {
                for (field, text) in &fields {
                    editor.set_field(&place(field)?, text, Sums::Right)?;
                }
                Ok(())
            })
        }
        [field, word] => {
            let access = access(Structure::MmpStruct, field)?;
            let text = value(session, access.format(), word)?;
            let sums = if access.low.name == "mmp_checksum" { Sums::Stale } else { Sums::Right };
            let place = place(access.low.name)?;
            session.edit_raw(|editor| Ok(editor.set_field(&place, &text, sums)?))
        }
        _ => bail!("{}", command.usage()),
    }
}
