//! The table: one line for an image, and below it what is not as expected.

use super::Recipe;
use super::judge::Judged;

/// Columns are as wide as the longest name of a recipe likes.
const NAME: usize = 34;

/// Prints the head.
pub(super) fn head() {
    println!(
        "{:NAME$} {:>8}  {:>6}  {:>6}  {:>7}  {:>7}  verdict",
        "image", "size", "e2fsck", "mounts", "debugfs", "time"
    );
}

/// Prints a line, and one for each difference and note.
pub(super) fn row(recipe: &Recipe, j: &Judged) {
    let e2fsck = j.e2fsck.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let mounts = j.mounts.map_or("-", |mounts| if mounts { "yes" } else { "no" });
    let debugfs = match j.shown {
        (_, 0) => "-".to_owned(),
        (shown, all) => format!("{shown}/{all}"),
    };
    let size = format!("{:.1} MiB", j.built.len as f64 / 1_048_576.0);
    let time = format!("{:.2} s", j.built.time.as_secs_f64());
    let name = &recipe.name;
    println!("{name:NAME$} {size:>8}  {e2fsck:>6}  {mounts:>6}  {debugfs:>7}  {time:>7}  {}", verdict(recipe, j));
    for line in j.differs.iter().flat_map(|d| d.lines()) {
        println!("    {line}");
    }
    for note in &j.notes {
        println!("    note: {note}");
    }
}

fn verdict(recipe: &Recipe, j: &Judged) -> &'static str {
    if !j.differs.is_empty() {
        return "NOT AS EXPECTED";
    }
    match &recipe.what.expect.e2fsck {
        _ if j.e2fsck.is_none() => "made",
        _ if j.blind => "not seen by e2fsck",
        Some(verdict) if !verdict.says.is_empty() => "found",
        _ => "clean",
    }
}
