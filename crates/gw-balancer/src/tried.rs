//! The set of targets that a request has already been sent to.

use smallvec::SmallVec;

use crate::TargetIdx;

/// Targets already tried for one request, as a bit set.
///
/// Indices below 128 are kept inline; one above allocates, once per request at most if it is the largest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    // Invariant: the last word has a bit set, so equal sets are equal words.
    words: SmallVec<[u64; 2]>,
}

impl Tried {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a target; false if it was there already.
    pub fn insert(&mut self, target: TargetIdx) -> bool {
        let (word, bit) = place(target);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        fresh
    }

    /// Whether the target has been added.
    pub fn contains(&self, target: TargetIdx) -> bool {
        let (word, bit) = place(target);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// How many targets have been added.
    pub fn len(&self) -> usize {
        self.words.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// Adds all of these to an empty set, unless one is at `bound` or above.
    pub(crate) fn copy_to(&self, empty: &mut Self, bound: u32) -> bool {
        let fits = self.words.len() as u64 * 64 <= u64::from(bound);
        if fits {
            empty.words.extend(self.words.iter().copied());
        }
        fits
    }

    /// Whether none has been added: the request is at its first attempt.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

impl FromIterator<TargetIdx> for Tried {
    fn from_iter<I: IntoIterator<Item = TargetIdx>>(targets: I) -> Self {
        let mut tried = Self::new();
        for target in targets {
            tried.insert(target);
        }
        tried
    }
}

fn place(target: TargetIdx) -> (usize, u64) {
    (target.index() / 64, 1 << (target.0 % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn agrees_with_a_set_of_numbers() {
        let (mut tried, mut oracle) = (Tried::new(), BTreeSet::new());
        assert!(tried.is_empty());
        for idx in [0, 63, 64, 127, 0, 128, 10_000, 128, 5] {
            assert_eq!(tried.insert(TargetIdx(idx)), oracle.insert(idx), "insert {idx}");
            assert_eq!(tried.len(), oracle.len());
            assert!(
                (0..10_100).all(|i| tried.contains(TargetIdx(i)) == oracle.contains(&i)),
                "after {idx}"
            );
        }
        assert!(!tried.is_empty());
    }

    #[test]
    fn equality_ignores_the_order_of_insertion() {
        let set = |order: &[u32]| {
            let mut tried = Tried::new();
            for &idx in order {
                tried.insert(TargetIdx(idx));
            }
            tried
        };
        assert_eq!(set(&[3, 200]), set(&[200, 3, 3]));
        assert_ne!(set(&[3]), set(&[3, 200]));
    }
}
