//! Where the place commands stand: the present place, a stack to come back to, and everywhere they have been.

use daxkit_format::field::Place;

/// Most places remembered.
const LIMIT: usize = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Position {
    /// Kept by `push`, for `pop`.
    pub(crate) stack: Vec<Place>,
    /// Everywhere, the first visit first.
    pub(crate) history: Vec<Place>,
    /// Which of them is the present one.
    at: usize,
}

impl Position {
    /// The present place.
    pub(crate) fn here(&self) -> Option<&Place> {
        self.history.get(self.at)
    }

    /// Which of the history it is.
    pub(crate) fn index(&self) -> usize {
        self.at
    }

    /// Goes to a place. What lay ahead after going back is forgotten.
    pub(crate) fn go(&mut self, place: Place) {
        self.history.truncate(self.at.saturating_add(1));
        if self.history.last() != Some(&place) {
            if self.history.len() == LIMIT {
                self.history.remove(0);
            }
            self.history.push(place);
        }
        self.at = self.history.len().saturating_sub(1);
    }

    /// Goes back; false at the beginning.
    pub(crate) fn back(&mut self) -> bool {
        let Some(at) = self.at.checked_sub(1) else { return false };
        self.at = at;
        true
    }

    /// Goes forward; false at the end.
    pub(crate) fn forward(&mut self) -> bool {
        let ahead = self.at + 1 < self.history.len();
        self.at += usize::from(ahead);
        ahead
    }

    /// Keeps the present place; false when there is none, or too many are kept.
    pub(crate) fn push(&mut self) -> bool {
        match self.here().cloned() {
            Some(place) if self.stack.len() < LIMIT => {
                self.stack.push(place);
                true
            }
            _ => false,
        }
    }

    /// Goes to the place kept last; false when none is kept.
    pub(crate) fn pop(&mut self) -> bool {
        let Some(place) = self.stack.pop() else { return false };
        self.go(place);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        text.parse().unwrap()
    }

    #[test]
    fn history_and_stack_lead_back() {
        let mut p = Position::default();
        assert!(!p.back() && !p.forward() && !p.push() && !p.pop());
        p.go(place("super"));
        assert!(p.push());
        p.go(place("inode:2"));
        p.go(place("inode:2"));
        p.go(place("block:9"));
        assert!(p.back() && p.here() == Some(&place("inode:2")) && p.forward() && !p.forward());
        assert!(p.back() && p.back() && !p.back());
        p.go(place("mmp"));
        assert_eq!(p.history, [place("super"), place("mmp")]);
        assert!(p.pop() && p.here() == Some(&place("super")) && p.index() == 2);
    }

    #[test]
    fn the_history_ends() {
        let mut p = Position::default();
        for nr in 0..3000 {
            p.go(place(&format!("block:{nr}")));
        }
        assert_eq!((p.history.len(), p.here()), (LIMIT, Some(&place("block:2999"))));
    }
}
