//! Fields by the names that debugfs, the kernel and the field table have for them, and the lists of them.

use crate::output;
use crate::session::Session;
use anyhow::{Result, bail};
use daxkit_format::FieldKind;
use daxkit_format::field::{Access, FieldRef, Format, Structure, parse_number};
use serde_json::json;

/// A field that is to be set, or one bit of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(in crate::commands) access: Access,
    /// How its values are written.
    pub(in crate::commands) format: Format,
    pub(in crate::commands) bit: Option<u64>,
}

impl Wanted {
    /// The field with this name, with an element's index (`jnl_blocks[3]`, `block[IND]`) or a flag (`flags.DAX`) behind it.
    pub(in crate::commands) fn find(structure: Structure, word: &[u8]) -> Result<Self> {
        let unknown = || anyhow::anyhow!("{}: no such field (-l lists them)", output::shown(word));
        let text = std::str::from_utf8(word).ok();
        let wanted: FieldRef = text.and_then(|t| t.parse().ok()).ok_or_else(unknown)?;
        let mut access = Access::find(structure, &wanted.name).ok_or_else(unknown)?;
        if let Some(index) = &wanted.index {
            let number = parse_number(index).map(|n| n.to_string());
            access = access.element(number.as_deref().unwrap_or(index)).ok_or_else(unknown)?;
        }
        let bit = wanted.bit.as_deref().map(|name| access.bit(name).ok_or_else(unknown)).transpose()?;
        Ok(Self { bit, ..Self::new(access) })
    }

    /// A whole field.
    pub(in crate::commands) fn new(access: Access) -> Self {
        Self { access, format: access.format(), bit: None }
    }

    /// Whether it holds a checksum, or a part of one.
    pub(in crate::commands) fn is_checksum(&self) -> bool {
        let name = self.access.name;
        ["checksum", "checksum_lo", "checksum_hi", "csum", "csum_lo", "csum_hi"].iter().any(|end| name.ends_with(end))
    }
}

impl Session<'_> {
    /// As [`Wanted::find`], remembering the last one.
    pub(super) fn wanted(&mut self, structure: Structure, word: &[u8]) -> Result<Wanted> {
        match &self.last_field {
            Some((s, name, wanted)) if *s == structure && name.as_slice() == word => Ok(*wanted),
            _ => {
                let wanted = Wanted::find(structure, word)?;
                self.last_field = Some((structure, word.to_vec(), wanted));
                Ok(wanted)
            }
        }
    }
}

/// Lists the fields of a structure, as `-l` does in debugfs; what is only known here comes last.
pub(in crate::commands) fn list(
    session: &mut Session<'_>,
    command: &crate::commands::Command,
    structure: Structure,
    more: &[(&str, &str)],
) -> Result<()> {
    let mut rows: Vec<(String, String)> = Vec::new();
    for access in Access::all(structure) {
        let name = access.short_name();
        let unused = name.contains("reserved") || name.contains("pad");
        if unused && access.low.name != "s_reserved_gdt_blocks" {
            continue;
        }
        let kind = kind(&access).to_owned();
        let elements = match access.low.kind {
            _ if access.low.name == "i_block" => {
                let word = |name: &str| (name.to_owned(), "unsigned integer".to_owned());
                rows.extend(["block[12]", "block[IND]", "block[DIND]", "block[TIND]"].map(word));
                continue;
            }
            _ if access.format() == Format::Uuid => 1,
            FieldKind::Le { count, .. } | FieldKind::Be { count, .. } => count,
            FieldKind::Bytes { count } if access.format() == Format::Bytes => count,
            FieldKind::Bytes { .. } => 1,
        };
        let halves = if access.second().is_some() { "[_hi|_lo]" } else { "" };
        let index = if elements > 1 { format!("[{elements}]") } else { String::new() };
        rows.push((format!("{name}{index}{halves}"), kind));
        // The second word of a time has a name of its own, too.
        if access.format() == Format::TimeNanos {
            rows.push((format!("{name}_extra"), "unsigned integer".to_owned()));
        }
    }
    rows.extend(more.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())));
    if session.json {
        let rows: Vec<_> = rows.iter().map(|(name, kind)| json!({ "field": name, "value": kind })).collect();
        return output::document(&mut session.out, command.name(), rows.into());
    }
    writeln!(session.out, "Fields of {} that {} can set:", structure.name(), command.name())?;
    for (name, kind) in rows {
        writeln!(session.out, "\t{name:<25}\t{kind}")?;
    }
    Ok(())
}

/// What values a field takes.
fn kind(access: &Access) -> &'static str {
    match access.format() {
        _ if access.name.ends_with("checksum") => "unsigned integer OR \"calc\"",
        Format::Time | Format::TimeNanos => "date/time",
        Format::Uuid => "UUID",
        Format::Text => "string",
        Format::Bits(_) => "unsigned integer or flags by name",
        Format::Names(_) => "unsigned integer or name",
        Format::Decimal | Format::Hex | Format::Octal | Format::Bytes => "unsigned integer",
    }
}

/// The index of `bmap[N]`.
pub(super) fn bmap(word: &[u8]) -> Result<Option<u64>> {
    let text = std::str::from_utf8(word).unwrap_or_default();
    let Some(index) = text.strip_prefix("i_").unwrap_or(text).strip_prefix("bmap") else { return Ok(None) };
    let index = index.strip_prefix('[').and_then(|i| i.strip_suffix(']')).and_then(parse_number);
    match index {
        Some(index) => Ok(Some(index)),
        None => bail!("{text}: which block? bmap[N]"),
    }
}
