//! One difference as a line, and for JSON. Fields have the names of the field table, so that a line begins with a path and goes on
//! with what `print` and `set_inode_field` call the same.

use crate::files::type_name;
use crate::output::{shown, text};
use daxkit_build::diff::{Change, Difference, Layout, Side};
use daxkit_format::ext4::acl;
use daxkit_format::ext4::inode::{Timestamp, mode};
use daxkit_format::field::{format_time, quote};
use daxkit_format::pmd::WindowState;
use daxkit_volume::Mapping;
use serde_json::{Map, Value, json};

/// Bytes of an attribute's value that are shown in a line.
const SHOWN: usize = 64;

/// A name for a side.
fn letter(side: Side) -> &'static str {
    match side {
        Side::A => "a",
        Side::B => "b",
    }
}

fn ordinal(side: Side) -> &'static str {
    match side {
        Side::A => "first",
        Side::B => "second",
    }
}

/// The line.
pub(super) fn line(difference: &Difference) -> String {
    match difference {
        Difference::Feature { name, side } => format!("super feature {name}: only in the {}", ordinal(*side)),
        Difference::Super { field, a, b, .. } => format!("super.{field}: {a} -> {b}"),
        Difference::Only { side, path, mode, below } => {
            let sign = if *side == Side::A { '-' } else { '+' };
            let below = match (mode.is_some_and(|m| m & mode::IFMT == mode::IFDIR), below) {
                (false, _) => String::new(),
                (true, 1) => ", 1 name below".to_owned(),
                (true, n) => format!(", {n} names below"),
            };
            let kind = mode.map_or("damaged", type_name);
            format!("{sign} {} ({kind}{below})", shown(path))
        }
        Difference::Changed { path, what } => format!("{} {}", shown(path), change(what)),
        Difference::Damaged { side, path, error } => {
            format!("{}: damaged in the {}: {error}", shown(path), ordinal(*side))
        }
    }
}

fn change(what: &Change) -> String {
    match what {
        Change::Type(a, b) => format!("type: {} -> {}", type_name(*a), type_name(*b)),
        Change::Field("i_mode", a, b) => format!("i_mode: {a:04o} -> {b:04o}"),
        Change::Field(name, a, b) => format!("{name}: {a} -> {b}"),
        Change::Time(name, a, b) => format!("{name}: {} -> {}", time(*a), time(*b)),
        Change::Flag(name, side) => format!("i_flags.{name}: {}", bit(*side)),
        Change::Xattr(name, a, b) => {
            format!("xattr.{}: {} -> {}", quote(name), value(name, a.as_deref()), value(name, b.as_deref()))
        }
        Change::Target(a, b) => format!("target: {} -> {}", quote(a), quote(b)),
        Change::Device(a, b) => format!("device: {}:{} -> {}:{}", a.0, a.1, b.0, b.1),
        Change::Content { first, bytes } => {
            let s = if *bytes == 1 { " differs" } else { "s differ" };
            format!("content: {bytes} byte{s}, the first at {first:#x}")
        }
        Change::Linked { with, side } => {
            format!("is one file with {} in the {} only", shown(with), ordinal(*side))
        }
        Change::Layout(what) => format!("layout {}", layout(what)),
    }
}

fn layout(what: &Layout) -> String {
    match what {
        Layout::Inode(a, b) => format!("inode: {a} -> {b}"),
        Layout::Flag(name, side) => format!("i_flags.{name}: {}", bit(*side)),
        Layout::DirSize(a, b) => format!("i_size: {a} -> {b}"),
        Layout::Extents { runs_a, runs_b, moved, first, a, b } => {
            let place = |m: &Option<Mapping>| match m {
                Some(m) => {
                    let how = if m.written { "" } else { " unwritten" };
                    format!("{}+{}@{}{how}", m.logical, m.len, m.physical)
                }
                None => "hole".to_owned(),
            };
            let (one, other) = (place(a), place(b));
            format!(
                "extents: {moved} bytes elsewhere, the first at {first:#x}: {one} -> {other} ({runs_a} -> {runs_b} runs)"
            )
        }
        Layout::Windows { mappable_a, mappable_b, changed, first, a, b } => {
            let state = |s: &Option<WindowState>| s.map_or("behind the end".to_owned(), |s| s.to_string());
            format!(
                "pmd windows: {mappable_a} -> {mappable_b} mappable, {changed} changed, the first is {first}: {} -> {}",
                state(a),
                state(b)
            )
        }
    }
}

fn bit(side: Side) -> &'static str {
    match side {
        Side::A => "1 -> 0",
        Side::B => "0 -> 1",
    }
}

fn time(t: Option<Timestamp>) -> String {
    t.map_or_else(|| "none".to_owned(), format_time)
}

/// A value as text: an ACL in words, anything else quoted, and cut when it is long.
fn value(name: &[u8], value: Option<&[u8]>) -> String {
    let Some(value) = value else { return "none".to_owned() };
    if matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default")
        && let Some(words) = acl::from_disk(value).ok().and_then(|v| acl::text(&v))
    {
        return words;
    }
    match value.get(..SHOWN) {
        Some(cut) if value.len() > SHOWN => format!("{}... ({} bytes)", quote(cut), value.len()),
        _ => quote(value),
    }
}

/// The row for JSON: `kind` says which, `a` and `b` are the two values.
pub(super) fn document(difference: &Difference) -> Value {
    match difference {
        Difference::Feature { name, side } => json!({ "kind": "feature", "name": name, "in": letter(*side) }),
        Difference::Super { field, a, b, layout } => {
            json!({ "kind": "super", "field": field, "layout": layout, "a": a, "b": b })
        }
        Difference::Only { side, path, mode, below } => json!({
            "kind": "only", "in": letter(*side), "path": text(path), "type": mode.map(type_name), "below": below
        }),
        Difference::Changed { path, what } => {
            let (kind, mut facts) = match what {
                Change::Layout(what) => ("layout", layout_facts(what)),
                what => ("changed", change_facts(what)),
            };
            facts.insert("kind".to_owned(), json!(kind));
            facts.insert("path".to_owned(), text(path));
            Value::from(facts)
        }
        Difference::Damaged { side, path, error } => {
            json!({ "kind": "damaged", "in": letter(*side), "path": text(path), "why": error.to_string() })
        }
    }
}

/// What changed, and the two values.
fn facts(what: &str, a: impl Into<Value>, b: impl Into<Value>) -> Map<String, Value> {
    let pairs = [("what", what.into()), ("a", a.into()), ("b", b.into())];
    pairs.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect()
}

fn flag_facts(name: &str, side: Side) -> Map<String, Value> {
    facts(&format!("i_flags.{name}"), side == Side::A, side == Side::B)
}

fn change_facts(what: &Change) -> Map<String, Value> {
    match what {
        Change::Type(a, b) => facts("type", type_name(*a), type_name(*b)),
        Change::Field(name, a, b) => facts(name, *a, *b),
        Change::Time(name, a, b) => facts(name, a.map(format_time), b.map(format_time)),
        Change::Flag(name, side) => flag_facts(name, *side),
        Change::Xattr(name, a, b) => {
            let mut facts = facts("xattr", a.as_deref().map(text), b.as_deref().map(text));
            facts.insert("name".to_owned(), text(name));
            facts
        }
        Change::Target(a, b) => facts("target", text(a), text(b)),
        Change::Device(a, b) => facts("device", vec![a.0, a.1], vec![b.0, b.1]),
        Change::Content { first, bytes } => {
            [("what", json!("content")), ("first", json!(first)), ("bytes", json!(bytes))]
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect()
        }
        Change::Linked { with, side } => {
            let mut facts = facts("linked", *side == Side::A, *side == Side::B);
            facts.insert("with".to_owned(), text(with));
            facts
        }
        // Told by its own kind.
        Change::Layout(_) => Map::new(),
    }
}

fn layout_facts(what: &Layout) -> Map<String, Value> {
    let run = |m: &Option<Mapping>| {
        m.map(|m| json!({ "logical": m.logical, "physical": m.physical.get(), "len": m.len, "written": m.written }))
    };
    let (mut facts, extra) = match what {
        Layout::Inode(a, b) => (facts("inode", a.get(), b.get()), None),
        Layout::Flag(name, side) => (flag_facts(name, *side), None),
        Layout::DirSize(a, b) => (facts("i_size", *a, *b), None),
        Layout::Extents { runs_a, runs_b, moved, first, a, b } => {
            let side = |runs: &u64, m| json!({ "runs": runs, "run": run(m) });
            (facts("extents", side(runs_a, a), side(runs_b, b)), Some(("moved", moved, first)))
        }
        Layout::Windows { mappable_a, mappable_b, changed, first, a, b } => {
            let side = |mappable: &u64, state: &Option<WindowState>| json!({ "mappable": mappable, "state": state.map(crate::commands::dax::kind) });
            (facts("pmd_windows", side(mappable_a, a), side(mappable_b, b)), Some(("changed", changed, first)))
        }
    };
    if let Some((name, count, first)) = extra {
        facts.insert(name.to_owned(), json!(count));
        facts.insert("first".to_owned(), json!(first));
    }
    facts
}
