//! Fields of a structure, one a line, zeroes left out.

use super::DumpError;
use super::cover::Cover;
use daxkit_format::ext4::{mmp, orphan, super_block, xattr};
use daxkit_format::field::{Access, Structure};
use daxkit_format::{FieldValue, jbd2};
use std::io::Write;

/// What is known about a field beyond its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// A checksum: the value that would fit.
    Fits(u64),
    /// Has another text, which says as much.
    Text(String),
    /// Left out when it has this value.
    Usual(u64),
    /// Printed by somebody else.
    Elsewhere,
}

/// Prints the fields of `structure`, which begins at `base` of the covered bytes, that lie wholly before `end` (counted from
/// `base`). `known` knows the fields that are not simply printed.
pub(super) fn fields(
    out: &mut dyn Write,
    cover: &mut Cover<'_>,
    structure: Structure,
    base: usize,
    end: usize,
    known: &dyn Fn(&str) -> Option<Known>,
) -> Result<(), DumpError> {
    let bytes = cover.bytes().get(base..).unwrap_or_default();
    for def in structure.fields() {
        let Some(access) = Access::find(structure, def.name) else { continue };
        let stop = def.offset + def.kind.len();
        let Some(value) = access.get(bytes).filter(|_| stop <= end) else { continue };
        let what = known(def.name).or_else(|| magic(structure, def.name).map(Known::Usual));
        if what == Some(Known::Elsewhere) || !cover.take(base + def.offset..base + stop) {
            continue;
        }
        match (what, &value) {
            (Some(Known::Fits(right)), FieldValue::Int(x)) if *x == right => writeln!(out, "  .{} ok", def.name)?,
            (Some(Known::Text(text)), _) => writeln!(out, "  .{} {text}", def.name)?,
            (Some(Known::Usual(usual)), FieldValue::Int(x)) if *x == usual => {}
            (None, v) if is_zero(v) => {}
            (_, v) => writeln!(out, "  .{} {}", def.name, access.format().format(def.kind, v))?,
        }
    }
    Ok(())
}

/// The magic numbers of structures that are told by them: nobody prints such a structure whose number is another.
pub(crate) fn magic(structure: Structure, name: &str) -> Option<u64> {
    match (structure, name) {
        (Structure::SuperBlock, "s_magic") => Some(super_block::MAGIC.into()),
        (Structure::MmpStruct, "mmp_magic") => Some(mmp::MAGIC.into()),
        (Structure::XattrHeader, "h_magic") => Some(xattr::MAGIC.into()),
        (Structure::OrphanBlockTail, "ob_magic") => Some(orphan::MAGIC.into()),
        (
            Structure::JournalSuperBlock | Structure::JournalHeader | Structure::CommitHeader | Structure::RevokeHeader,
            "h_magic",
        ) => Some(jbd2::MAGIC.into()),
        _ => None,
    }
}

pub(super) fn is_zero(value: &FieldValue) -> bool {
    match value {
        FieldValue::Int(x) => *x == 0,
        FieldValue::Ints(v) => v.iter().all(|x| *x == 0),
        FieldValue::Bytes(b) => b.iter().all(|x| *x == 0),
    }
}

/// Nothing is known about any field.
pub(super) fn plain(_: &str) -> Option<Known> {
    None
}
