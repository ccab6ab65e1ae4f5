//! One cycle of the smooth sequence, in time proportional to the number of *distinct* weights per entry.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Yields the places (indices into `weights`) of one cycle: as many entries as the weights' sum.
///
/// nginx adds to each target its weight, takes the largest sum (the first in order among equals) and subtracts the
/// total from it. Targets of equal weight differ only in how often each was taken, so of each weight only the one
/// taken least, the first in order, can win: members of a class take turns, and one candidate per class is compared.
pub(super) fn cycle(weights: &[u64]) -> impl Iterator<Item = usize> {
    let total: u64 = weights.iter().sum();
    let mut classes = classes(weights);
    (0..total).map(move |_| {
        let mut best = 0;
        for i in 0..classes.len() {
            classes[i].current += classes[i].weight;
            if classes[i].rank() > classes[best].rank() {
                best = i;
            }
        }
        classes[best].take(total as i64)
    })
}

/// The targets of one weight.
struct Class {
    members: Vec<usize>,
    /// Which member is the candidate: the one whose turn it is.
    turn: usize,
    weight: i64,
    /// nginx's running sum of the candidate. Members not yet taken in this lap have the same one; the others have
    /// `total` less, and so has everybody once the lap is over.
    current: i64,
}

impl Class {
    fn candidate(&self) -> usize {
        self.members[self.turn]
    }

    /// Larger is chosen first; among equal sums the first in order.
    fn rank(&self) -> (i64, Reverse<usize>) {
        (self.current, Reverse(self.candidate()))
    }

    fn take(&mut self, total: i64) -> usize {
        let taken = self.candidate();
        self.turn += 1;
        if self.turn == self.members.len() {
            self.turn = 0;
            self.current -= total;
        }
        taken
    }
}

fn classes(weights: &[u64]) -> Vec<Class> {
    let mut by_weight: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (place, &weight) in weights.iter().enumerate() {
        by_weight.entry(weight).or_default().push(place);
    }
    let class = |(weight, members)| Class {
        members,
        turn: 0,
        weight: weight as i64,
        current: 0,
    };
    by_weight.into_iter().map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(weights: &[u64], expected: &str) {
        let names: String = cycle(weights)
            .map(|place| char::from(b'a' + place as u8))
            .collect();
        assert_eq!(names, expected, "{weights:?}");
    }

    #[test]
    fn the_sequence_is_the_one_nginx_documents() {
        check(&[5, 1, 1], "aabacaa");
    }

    #[test]
    fn equal_weights_take_turns_in_order() {
        check(&[], "");
        check(&[1], "a");
        check(&[1, 1, 1], "abc");
        check(&[2, 3, 1], "babcab");
    }
}
