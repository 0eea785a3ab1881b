//! `[expect]`: the verdict expected of checkers.

use super::reader::{Field, Table};
use super::schema::{E2FSCK, EXPECT};
use super::types::{E2fsckVerdict, Expect};

/// Reads the table.
pub(super) fn expect(field: Field<'_>) -> Option<Expect> {
    let t = field.table(&EXPECT, "one table, [expect]")?;
    Some(Expect {
        e2fsck: t.get("e2fsck").and_then(e2fsck),
        dax_fsck: t.get("dax_fsck").and_then(codes),
        mounts: t.get("mounts").and_then(|field| field.bool()),
    })
}

fn e2fsck(field: Field<'_>) -> Option<E2fsckVerdict> {
    let Some(t) = field.as_table(&E2FSCK) else {
        if field.integer().is_none() {
            return field.wants("an exit status such as 4, or a table such as { exit = 4, says = [\"...\"] }");
        }
        return Some(E2fsckVerdict { exit: status(field)?, ..E2fsckVerdict::default() });
    };
    let exit = t.need("exit").and_then(status);
    let says = t.get("says").map_or(Some(Vec::new()), |field| field.texts("a text of its output, or a list of them"));
    let blind = reason(&t);
    Some(E2fsckVerdict { exit: exit?, says: says?.into_iter().map(str::to_owned).collect(), blind })
}

fn status(field: Field<'_>) -> Option<i32> {
    field.number(0..=u8::MAX).map(i32::from)
}

fn reason(t: &Table<'_>) -> Option<String> {
    let field = t.get("blind")?;
    match field.text("the reason why it does not see the defect")? {
        "" => field.refuse("is empty: it wants the reason"),
        text => Some(text.to_owned()),
    }
}

/// Codes of findings: capital letters and digits behind them.
fn codes(field: Field<'_>) -> Option<Vec<String>> {
    const WANTED: &str = "a list of codes such as [\"DAX001\"]";
    let mut codes = Vec::new();
    for element in field.list(WANTED)? {
        let code = element.text(WANTED)?;
        let digits = code.trim_start_matches(|c: char| c.is_ascii_uppercase());
        if digits.len() == code.len() || digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return element.wants("a code such as \"DAX001\"");
        }
        codes.push(code.to_owned());
    }
    Some(codes)
}
