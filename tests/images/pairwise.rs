//! Test rows in which every allowed pair of values occurs, chosen greedily and always the same.

use std::collections::BTreeSet;

/// A choice for each dimension; `None` while undecided.
pub(crate) type Partial = Vec<Option<usize>>;

/// Two dimensions and their values.
type Pair = (usize, usize, usize, usize);

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n as u64) as usize
    }
}

/// Rows over dimensions of these sizes, at least `least`. `allowed` judges partial rows: it must not refuse one that can be
/// completed, nor accept a complete one that is not wanted.
pub(crate) fn rows(sizes: &[usize], least: usize, allowed: &dyn Fn(&Partial) -> bool) -> Vec<Vec<usize>> {
    let mut numbers = Numbers(2024);
    let mut uncovered = BTreeSet::new();
    for a in 0..sizes.len() {
        for b in a + 1..sizes.len() {
            for x in 0..sizes[a] {
                for y in 0..sizes[b] {
                    let pair = (a, x, b, y);
                    if allowed(&begun(sizes.len(), pair)) {
                        uncovered.insert(pair);
                    }
                }
            }
        }
    }
    let mut rows: Vec<Vec<usize>> = Vec::new();
    while !uncovered.is_empty() || rows.len() < least {
        let mut best: Option<(usize, Vec<usize>)> = None;
        let first = uncovered.iter().nth(numbers.below(uncovered.len().max(1))).copied();
        for _ in 0..40 {
            let begin = first.map_or_else(|| vec![None; sizes.len()], |pair| begun(sizes.len(), pair));
            if let Some(row) = complete(begin, sizes, &uncovered, allowed, &mut numbers) {
                let gain = pairs(&row).filter(|p| uncovered.contains(p)).count();
                if best.as_ref().is_none_or(|(g, _)| gain > *g) {
                    best = Some((gain, row));
                }
            }
        }
        match (best, first) {
            (Some((_, row)), _) => {
                for pair in pairs(&row) {
                    uncovered.remove(&pair);
                }
                rows.push(row);
            }
            // Nothing completes this pair: it cannot be.
            (None, Some(pair)) => drop(uncovered.remove(&pair)),
            (None, None) => panic!("no row is allowed at all"),
        }
    }
    rows
}

fn begun(len: usize, (a, x, b, y): Pair) -> Partial {
    let mut row = vec![None; len];
    (row[a], row[b]) = (Some(x), Some(y));
    row
}

fn pairs(row: &[usize]) -> impl Iterator<Item = Pair> + '_ {
    (0..row.len()).flat_map(move |a| (a + 1..row.len()).map(move |b| (a, row[a], b, row[b])))
}

fn complete(
    mut row: Partial,
    sizes: &[usize],
    uncovered: &BTreeSet<Pair>,
    allowed: &dyn Fn(&Partial) -> bool,
    numbers: &mut Numbers,
) -> Option<Vec<usize>> {
    let mut open: Vec<usize> = (0..sizes.len()).filter(|d| row[*d].is_none()).collect();
    while !open.is_empty() {
        let dimension = open.swap_remove(numbers.below(open.len()));
        let offset = numbers.below(sizes[dimension]);
        let mut best = None;
        for step in 0..sizes[dimension] {
            let value = (offset + step) % sizes[dimension];
            row[dimension] = Some(value);
            if !allowed(&row) {
                continue;
            }
            let gain = (0..sizes.len())
                .filter(|d| *d != dimension)
                .filter_map(|d| row[d].map(|v| (d, v)))
                .filter(|(d, v)| {
                    let pair = if *d < dimension { (*d, *v, dimension, value) } else { (dimension, value, *d, *v) };
                    uncovered.contains(&pair)
                })
                .count();
            if best.is_none_or(|(g, _)| gain > g) {
                best = Some((gain, value));
            }
        }
        row[dimension] = Some(best?.1);
    }
    row.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pairs_occur_but_those_that_cannot() {
        let sizes = [3, 4, 5, 2];
        // Value 0 of the first dimension excludes value 1 of the last.
        let allowed = |row: &Partial| !(row[0] == Some(0) && row[3] == Some(1));
        let all = rows(&sizes, 1, &allowed);
        assert!(all.len() < 30, "{}", all.len());
        let covered: BTreeSet<Pair> = all.iter().flat_map(|r| pairs(r).collect::<Vec<_>>()).collect();
        let mut expected = 0;
        for a in 0..4 {
            for b in a + 1..4 {
                expected += sizes[a] * sizes[b];
            }
        }
        assert_eq!(covered.len(), expected - 1);
        assert_eq!(all, rows(&sizes, 1, &allowed));
        assert_eq!(rows(&sizes, 60, &allowed).len(), 60);
    }
}
