//! What commands print: text as they make it, or one JSON document for each.

use anyhow::Result;
use daxkit_cli::color::{self, Style};
use daxkit_format::ext4::dir_entry::file_type;
use serde_json::{Map, Value, json};
use std::io::Write;

/// Bytes as a JSON string when they are UTF-8, else as `{"hex": "..."}`: nothing is lost, and most names read well.
pub(crate) fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(s) => Value::from(s),
        Err(_) => json!({ "hex": daxkit_format::field::to_hex(bytes) }),
    }
}

/// A name as it may go to a terminal: control characters and stray bytes are shown as `\xNN`.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let quoted = daxkit_format::field::quote(bytes);
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    // Quotes need no escape here, and a lone backslash is a backslash.
    inner.replace("\\\"", "\"").replace("\\\\", "\\")
}

/// How a name is coloured, by the type of what it names: `file_type` of its entry.
pub(crate) fn style(file_type: u8) -> Style {
    match file_type {
        file_type::DIR => color::DIRECTORY,
        file_type::SYMLINK => color::LINK,
        file_type::CHRDEV | file_type::BLKDEV | file_type::FIFO | file_type::SOCK => color::DEVICE,
        _ => Style::new(),
    }
}

/// The fields of a structure by their kernel names, times and flags as text.
pub(crate) fn fields(structure: daxkit_format::field::Structure, bytes: &[u8], end: usize) -> Map<String, Value> {
    use daxkit_format::FieldValue;
    use daxkit_format::field::{Access, Format};
    let mut map = Map::new();
    for def in structure.fields().iter().filter(|d| d.offset + d.kind.len() <= end) {
        let Some(access) = Access::find(structure, def.name) else { continue };
        let Some(value) = access.get(bytes) else { continue };
        let value = match (access.format(), value) {
            (Format::Decimal | Format::Octal | Format::Hex, FieldValue::Int(x)) => Value::from(x),
            (Format::Decimal, FieldValue::Ints(v)) => Value::from(v),
            (format, value) => Value::from(format.format(def.kind, &value)),
        };
        map.insert(def.name.to_owned(), value);
    }
    map
}

/// Writes the result of a command as one line of JSON.
pub(crate) fn document(out: &mut dyn Write, command: &str, result: Value) -> Result<()> {
    serde_json::to_writer(&mut *out, &json!({ "command": command, "result": result }))?;
    writeln!(out)?;
    Ok(())
}
