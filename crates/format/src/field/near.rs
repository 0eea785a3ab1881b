//! What somebody may have meant: the nearest of the words that would have done.

/// Most words offered when several are equally near (`uid` and `gid` for `did`, any time for `rtime`).
const MOST: usize = 5;

/// `; did you mean WORD?` for a message, with every word of `known` that is nearest to `word`; empty when none is near.
/// Case does not count.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let word = word.to_ascii_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    let mut best = limit;
    let mut nearest: Vec<&str> = Vec::new();
    for candidate in known {
        // One that differs that much in length is not near, and comparing costs the product of both.
        if word.len().abs_diff(candidate.len()) > 4 * limit || word.len() > 4 * (candidate.len() + 1) {
            continue;
        }
        let distance = strsim::osa_distance(&word, &candidate.to_ascii_lowercase());
        // A word that shares nothing is not near, short as both may be.
        if distance > best || distance >= candidate.len() {
            continue;
        }
        if distance < best {
            best = distance;
            nearest.clear();
        }
        if !nearest.contains(&candidate) && nearest.len() < MOST {
            nearest.push(candidate);
        }
    }
    match nearest.split_last() {
        None => String::new(),
        Some((only, [])) => format!("; did you mean `{only}`?"),
        Some((last, others)) => format!("; did you mean `{}` or `{last}`?", others.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_words_are_offered() {
        let known = ["size", "source", "uid", "gid", "path"];
        for (word, offered) in [
            ("sise", "; did you mean `size`?"),
            ("SIZE", "; did you mean `size`?"),
            ("szie", "; did you mean `size`?"),
            ("sourcce", "; did you mean `source`?"),
            ("did", "; did you mean `uid` or `gid`?"),
            ("pth", "; did you mean `path`?"),
            ("mapping", ""),
            ("x", ""),
            ("", ""),
        ] {
            assert_eq!(did_you_mean(word, known), offered, "{word}");
        }
        assert_eq!(did_you_mean(&"size".repeat(1 << 20), known), "");
        assert_eq!(did_you_mean("xtime", ["atime", "ctime", "mtime", "time"]).matches('`').count(), 8);
    }
}
