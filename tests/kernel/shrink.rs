//! Fewer calls with the same end.

/// Takes calls out as long as what is left still fails; stretches first, then one by one.
pub(crate) fn shrink<T: Clone>(calls: &[T], mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut left = calls.to_vec();
    let mut size = left.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        let mut shrunk = false;
        while at < left.len() {
            let end = (at + size).min(left.len());
            let without: Vec<T> = left[..at].iter().chain(&left[end..]).cloned().collect();
            if fails(&without) {
                left = without;
                shrunk = true;
            } else {
                at = end;
            }
        }
        size = if size == 1 && shrunk { 1 } else { size / 2 };
    }
    left
}

#[test]
fn what_matters_stays() {
    let all: Vec<u32> = (0..100).collect();
    assert_eq!(shrink(&all, |part| part.contains(&17) && part.contains(&71)), [17, 71]);
}
