//! Which request of debugfs (or dumpe2fs, of the same maker) shows a field that a defect changed, and whether it shows the value
//! that it got.
//!
//! The rows are those that the defects of `images/` use; a field without a row is not asked for, which the table tells.

use std::path::Path;

use anyhow::{Context, Result};
use daxkit_build::recipe::{Defect, DefectChange};
use daxkit_format::FieldValue;
use daxkit_format::field::{Access, InodeRef, Object, Place, parse_number};

use super::answer::{EXTENT_COLUMNS, Find, line_behind};
use super::judge::text;
use crate::process;

/// What became of the question.
pub(super) enum Shown {
    /// The field is shown with its value.
    Same,
    /// No request shows it, or the image cannot be opened.
    Nowhere,
    /// What is shown instead.
    Other(String),
}

/// A question.
struct Request {
    /// A request of debugfs; `None` for what dumpe2fs prints.
    line: Option<String>,
    answer: Answer,
}

enum Answer {
    /// The value is this number.
    Number(Find),
    /// The words of the value are among those behind a label.
    Words(&'static str),
}

/// Asks for the field of a defect, which is `after` the change.
pub(super) fn look(image: &Path, defect: &Defect, after: &str) -> Result<Shown> {
    let Some(request) = request(defect) else { return Ok(Shown::Nowhere) };
    let mut command = match &request.line {
        // Checksums are broken on purpose.
        Some(line) => {
            let mut command = process::command("debugfs");
            command.args(["-n", "-R", line]);
            command
        }
        None => process::command("dumpe2fs"),
    };
    command.env("DEBUGFS_PAGER", "cat").env("TZ", "UTC").arg(image);
    let output = command.output().with_context(|| format!("cannot run `{}`", process::shown(&command)))?;
    let (said, all) = (String::from_utf8_lossy(&output.stdout), text(&output));
    if all.contains("while trying to open") {
        return Ok(Shown::Nowhere);
    }
    let same = match &request.answer {
        Answer::Number(find) => find.number(&said).is_some_and(|shown| Some(shown) == value(&defect.place, after)),
        Answer::Words(label) => {
            let shown = line_behind(&said, label).unwrap_or_default().to_lowercase();
            let shown: Vec<&str> = shown.split_whitespace().collect();
            after.to_lowercase().split_whitespace().all(|word| shown.contains(&word))
        }
    };
    if same {
        return Ok(Shown::Same);
    }
    Ok(Shown::Other(format!("{} is {after}, and `{}` says:\n{all}", defect.place, process::shown(&command))))
}

/// The number that a text of the field table stands for.
fn value(place: &Place, text: &str) -> Option<u64> {
    let Some(field) = place.field.as_ref().filter(|f| f.bit.is_none()) else { return parse_number(text) };
    let access = place.object.structures().iter().find_map(|s| Access::find(*s, &field.name))?;
    match access.format().parse(access.kind(), text) {
        Ok(FieldValue::Int(value)) => Some(value),
        _ => parse_number(text),
    }
}

fn request(defect: &Defect) -> Option<Request> {
    let place = &defect.place;
    let field = place.field.as_ref().map(|f| f.name.as_str()).unwrap_or_default();
    let number = |line: String, find| Some(Request { line: Some(line), answer: Answer::Number(find) });
    match &place.object {
        Object::Super { copy: None } => {
            Some(Request { line: Some("show_super_stats -h".to_owned()), answer: of_super(field)? })
        }
        Object::Group { group: 0, copy: None } if field == "bg_block_bitmap_csum" => {
            dumpe2fs(&["Block bitmap at", "csum"])
        }
        Object::Group { group: 0, copy: None } => number("show_super_stats".to_owned(), of_group(field)?),
        Object::BlockBitmap(0) => number(format!("testb {}", bit(defect)?), Find::Says("marked in use")),
        Object::InodeBitmap(0) => number(format!("testi <{}>", bit(defect)? + 1), Find::Says("marked in use")),
        Object::Inode(inode) => number(format!("stat {}", named(inode)?), Find::Behind(of_inode(field)?)),
        Object::Entry(dir, name) => {
            let name = plain(name)?.to_owned();
            match field {
                "inode" => number(format!("ls -d {}", named(dir)?), Find::InodeOf(name)),
                "file_type" => number(format!("ls -l {}", named(dir)?), Find::TypeOf(name)),
                _ => None,
            }
        }
        Object::Extent(inode, path) => {
            let [entry] = *path.as_slice() else { return None };
            let column = EXTENT_COLUMNS.iter().position(|c| *c == field)?;
            number(format!("dump_extents {}", named(inode)?), Find::Extent { entry, column })
        }
        Object::Map(inode, path) => {
            let logical = match *path.as_slice() {
                [direct @ ..=11] => direct,
                [12, word] => word.checked_add(12)?,
                _ => return None,
            };
            number(format!("bmap {} {logical}", named(inode)?), Find::Alone)
        }
        Object::Dx(dir, block, index) => {
            let label = match field {
                "hash" => "Hash ",
                "block" => "block ",
                _ => return None,
            };
            number(format!("htree {}", named(dir)?), Find::Dx { block: *block, index: *index, label })
        }
        Object::DirBlock(dir, block) => {
            let label = match field {
                "count" => "Number of entries (count):",
                "limit" => "Number of entries (limit):",
                "dt_checksum" => "Checksum:",
                _ => return None,
            };
            number(format!("htree {}", named(dir)?), Find::DxHead { block: *block, label })
        }
        Object::Journal => match field {
            "s_start" => dumpe2fs(&["Journal start:"]),
            "s_maxlen" => dumpe2fs(&["Total journal blocks:"]),
            "s_sequence" => dumpe2fs(&["Journal sequence:"]),
            _ => None,
        },
        Object::Mmp if field == "mmp_seq" => number("dump_mmp".to_owned(), Find::Hex("sequence:")),
        Object::Quota(kind, Some(id)) if field == "dqb_curspace" => {
            let kind = format!("{kind:?}").to_lowercase();
            number(format!("get_quota {kind} {id}"), Find::Row { id: *id, column: 1 })
        }
        _ => None,
    }
}

fn dumpe2fs(labels: &'static [&'static str]) -> Option<Request> {
    Some(Request { line: None, answer: Answer::Number(Find::Behind(labels)) })
}

fn of_super(field: &str) -> Option<Answer> {
    let labels: &[&str] = match field {
        "s_magic" => &["Filesystem magic number:"],
        "s_inodes_count" => &["Inode count:"],
        "s_blocks_count" => &["Block count:"],
        "s_free_blocks_count" => &["Free blocks:"],
        "s_free_inodes_count" => &["Free inodes:"],
        "s_last_orphan" => &["First orphan inode:"],
        "s_checksum" => &["Checksum:"],
        "s_default_mount_opts" => return Some(Answer::Words("Default mount options:")),
        "s_feature_compat" | "s_feature_incompat" | "s_feature_ro_compat" => {
            return Some(Answer::Words("Filesystem features:"));
        }
        _ => return None,
    };
    Some(Answer::Number(Find::Behind(labels)))
}

/// Of group 0, which is printed first.
fn of_group(field: &str) -> Option<Find> {
    Some(match field {
        "bg_block_bitmap" => Find::Behind(&["block bitmap at"]),
        "bg_inode_bitmap" => Find::Behind(&["inode bitmap at"]),
        "bg_inode_table" => Find::Behind(&["inode table at"]),
        "bg_free_blocks_count" => Find::Before(" free blocks"),
        "bg_free_inodes_count" => Find::Before(" free inodes"),
        "bg_used_dirs_count" => Find::Before(" used director"),
        "bg_itable_unused" => Find::Before(" unused inodes"),
        "bg_checksum" => Find::Behind(&["Checksum "]),
        _ => return None,
    })
}

fn of_inode(field: &str) -> Option<&'static [&'static str]> {
    Some(match field {
        "i_flags" => &["Flags:"],
        "i_size" => &["Size:"],
        "i_links_count" => &["Links:"],
        "i_blocks" => &["Blockcount:"],
        "i_uid" | "i_uid_full" => &["User:"],
        "i_gid" | "i_gid_full" => &["Group:"],
        "i_generation" => &["Generation:"],
        "i_dtime" => &["dtime:"],
        "i_file_acl" => &["File ACL:"],
        _ => return None,
    })
}

/// The bit of a bitmap of group 0, which with blocks of 4 KiB is the number of a block.
fn bit(defect: &Defect) -> Option<u32> {
    match defect.change {
        DefectChange::Bit { index, .. } => Some(index),
        _ => None,
    }
}

/// An inode as debugfs takes it.
fn named(inode: &InodeRef) -> Option<String> {
    match inode {
        InodeRef::Number(n) => Some(format!("<{n}>")),
        InodeRef::Path(path) => plain(path).map(str::to_owned),
    }
}

/// A name that debugfs takes without quotes.
fn plain(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    name.chars().all(|c| c.is_ascii_graphic() && !"\"\\<>".contains(c)).then_some(name)
}
