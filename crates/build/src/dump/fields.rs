//! Fields of a structure, one a line, zeroes left out.

use super::DumpError;
use super::cover::Cover;
use daxkit_format::FieldValue;
use daxkit_format::field::{Access, Structure};
use std::io::Write;

/// What is known about a field beyond its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// A checksum: the value that would fit.
    Fits(u64),
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
        let what = known(def.name);
        if what == Some(Known::Elsewhere) || !cover.take(base + def.offset..base + stop) {
            continue;
        }
        match (what, &value) {
            (Some(Known::Fits(right)), FieldValue::Int(x)) if *x == right => writeln!(out, "  .{} ok", def.name)?,
            (Some(Known::Fits(_)), v) => writeln!(out, "  .{} {}", def.name, access.format().format(def.kind, v))?,
            (_, v) if is_zero(v) => {}
            (_, v) => writeln!(out, "  .{} {}", def.name, access.format().format(def.kind, v))?,
        }
    }
    Ok(())
}

/// As [`fields`] on one line: ` name value` each, for short structures.
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
