//! The difference of two texts, line by line, with what stands around it.

/// Lines shown around a difference.
const AROUND: usize = 3;
/// Most lines shown.
const MOST: usize = 150;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Both,
    Old,
    New,
}

/// The lines that differ: `-` what was, `+` what is.
pub(crate) fn lines(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let edits = edits(&old, &new);
    let mut shown = vec![false; edits.len()];
    for (i, (side, _)) in edits.iter().enumerate() {
        if *side != Side::Both {
            let around = i.saturating_sub(AROUND)..(i + AROUND + 1).min(edits.len());
            shown[around].fill(true);
        }
    }
    let mut text = String::new();
    let (mut count, mut left_out) = (0, false);
    // A section begins in the first column: its line says where a difference lies.
    let (mut section, mut section_shown) = ("", true);
    for ((side, line), shown) in edits.iter().zip(shown) {
        if !line.starts_with(' ') {
            (section, section_shown) = (line, false);
        }
        if !shown {
            left_out = true;
            continue;
        }
        if count == MOST {
            text.push_str("... and more\n");
            break;
        }
        count += 1;
        if left_out {
            text.push_str("@@");
            if !section_shown && *line != section {
                text.push(' ');
                text.push_str(section);
            }
            text.push('\n');
            left_out = false;
        }
        section_shown = true;
        text.push(match side {
            Side::Both => ' ',
            Side::Old => '-',
            Side::New => '+',
        });
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// All lines of both, those they have in common once: the longest common subsequence, unless that would take too long.
fn edits<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Side, &'a str)> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut all: Vec<(Side, &str)> = old[..head].iter().map(|l| (Side::Both, *l)).collect();
    if a.len() * b.len() > 16 << 20 {
        all.extend(a.iter().map(|l| (Side::Old, *l)));
        all.extend(b.iter().map(|l| (Side::New, *l)));
    } else {
        let width = b.len() + 1;
        let mut common = vec![0u32; (a.len() + 1) * width];
        for i in (0..a.len()).rev() {
            for j in (0..b.len()).rev() {
                common[i * width + j] = if a[i] == b[j] {
                    common[(i + 1) * width + j + 1] + 1
                } else {
                    common[(i + 1) * width + j].max(common[i * width + j + 1])
                };
            }
        }
        let (mut i, mut j) = (0, 0);
        while i < a.len() || j < b.len() {
            if i < a.len() && j < b.len() && a[i] == b[j] {
                all.push((Side::Both, a[i]));
                (i, j) = (i + 1, j + 1);
            } else if j == b.len() || (i < a.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
                all.push((Side::Old, a[i]));
                i += 1;
            } else {
                all.push((Side::New, b[j]));
                j += 1;
            }
        }
    }
    all.extend(old[old.len() - tail..].iter().map(|l| (Side::Both, *l)));
    all
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn a_difference_is_shown_with_its_surroundings_and_its_section() {
        assert_eq!(lines("a\nb\nc\n", "a\nb\nc\n"), "");
        let old: String = (0..20).map(|i| format!(" {i}\n")).collect();
        let old = format!("inode:12\n{old}");
        let new = old.replace(" 11\n", " eleven\n").replace(" 15\n", "");
        let expected = "@@ inode:12\n  8\n  9\n  10\n- 11\n+ eleven\n  12\n  13\n  14\n- 15\n  16\n  17\n  18\n";
        assert_eq!(lines(&old, &new), expected);
        assert_eq!(lines("a\n", "a\nb\n"), " a\n+b\n");
    }
}
