//! The rules at one place of the tree that nothing parts, best first.

use std::sync::Arc;

use crate::{entry::Entry, order::Rank};

/// Bound: how many entries a list holds in one piece; a change to a longer one copies only pieces.
const PIECE: usize = 32;

/// An entry with the best rank it can have.
pub(crate) struct Ranked<T> {
    pub(crate) rank: Rank,
    pub(crate) entry: Entry<T>,
}

/// Entries sorted by rank, the best first; equal ones in the order of insertion.
pub(crate) struct List<T> {
    /// Pieces of at most twice [`PIECE`] entries, none empty.
    pieces: Vec<Arc<Vec<Ranked<T>>>>,
}

impl<T> List<T> {
    pub(crate) fn insert(&mut self, rank: Rank, entry: Entry<T>) {
        let after = self
            .pieces
            .partition_point(|piece| piece.first().is_some_and(|first| first.rank >= rank));
        let index = after.saturating_sub(1);
        let ranked = Ranked { rank, entry };
        let Some(piece) = self.pieces.get_mut(index) else {
            self.pieces.push(Arc::new(vec![ranked]));
            return;
        };
        let piece = Arc::make_mut(piece);
        piece.insert(piece.partition_point(|other| other.rank >= rank), ranked);
        if piece.len() > 2 * PIECE {
            let second = piece.split_off(PIECE);
            self.pieces.insert(index + 1, Arc::new(second));
        }
    }

    /// Removes one entry of this rank.
    pub(crate) fn remove(&mut self, rank: Rank, entry: &Entry<T>) {
        let first = self
            .pieces
            .partition_point(|piece| piece.last().is_some_and(|last| last.rank > rank));
        for index in first..self.pieces.len() {
            let piece = &mut self.pieces[index];
            if piece.first().is_none_or(|first| first.rank < rank) {
                return;
            }
            if let Some(place) = piece.iter().position(|ranked| ranked.entry.is(entry)) {
                Arc::make_mut(piece).remove(place);
                if piece.is_empty() {
                    self.pieces.remove(index);
                }
                return;
            }
        }
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Ranked<T>> {
        self.pieces.iter().flat_map(|piece| piece.iter())
    }

    /// In pieces, so that a scan is a loop over a slice.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[Ranked<T>]> {
        self.pieces.iter().map(|piece| piece.as_slice())
    }

    /// The best rank, if there is one.
    pub(crate) fn best(&self) -> Option<Rank> {
        Some(self.pieces.first()?.first()?.rank)
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        Self {
            pieces: self.pieces.clone(),
        }
    }
}

impl<T> Clone for Ranked<T> {
    fn clone(&self) -> Self {
        Self {
            rank: self.rank,
            entry: self.entry.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{List, PIECE};
    use crate::{
        Profile, Rule,
        entry::{Entry, Stored},
        router::RuleId,
    };

    fn entry(id: u64, priority: i64) -> Entry<u64> {
        let rule = Rule::any().priority(priority);
        Entry::new(
            Profile::Kong,
            &Arc::new(Stored {
                id: RuleId::new(id),
                rule,
                value: id,
            }),
            0,
            0,
        )
    }

    fn ids(list: &List<u64>) -> Vec<u64> {
        list.iter().map(|ranked| ranked.entry.stored.value).collect()
    }

    fn insert(list: &mut List<u64>, entry: Entry<u64>) {
        list.insert(entry.rank(), entry);
    }

    fn remove(list: &mut List<u64>, entry: &Entry<u64>) {
        list.remove(entry.rank(), entry);
    }

    /// Priorities that come in no order, with many equal ones.
    fn priority(id: u64) -> i64 {
        (id * 7919 % 31) as i64
    }

    #[test]
    fn a_list_stays_sorted_whatever_its_length() {
        let mut list = List::default();
        let count = 20 * PIECE as u64;
        for id in 0..count {
            insert(&mut list, entry(id, priority(id)));
        }
        let mut expected: Vec<u64> = (0..count).collect();
        expected.sort_by_key(|id| (-priority(*id), *id));
        assert_eq!(ids(&list), expected);
        assert_eq!(
            list.best(),
            Some(entry(expected[0], priority(expected[0])).rank())
        );

        let kept = list.clone();
        for id in (0..count).filter(|id| id % 3 != 0) {
            remove(&mut list, &entry(id, priority(id)));
        }
        assert_eq!(ids(&kept), expected, "a clone is its own");
        expected.retain(|id| id % 3 == 0);
        assert_eq!(ids(&list), expected);

        for id in expected.drain(..) {
            assert!(list.best().is_some());
            remove(&mut list, &entry(id, priority(id)));
        }
        assert_eq!(list.best(), None);
    }

    #[test]
    fn a_change_of_a_long_list_copies_one_piece() {
        let mut list = List::default();
        for id in 0..2_000 {
            insert(&mut list, entry(id, priority(id)));
        }
        let before = list.clone();
        insert(&mut list, entry(2_000, 5));
        let (old, new) = (&before.pieces, &list.pieces);
        let shared = new
            .iter()
            .filter(|piece| old.iter().any(|other| Arc::ptr_eq(piece, other)))
            .count();
        assert!(
            new.len() - shared <= 2,
            "{} of {} pieces are new",
            new.len() - shared,
            new.len()
        );
        assert!(new.len() <= 2_000 / PIECE + 1, "{} pieces", new.len());
    }

    #[test]
    fn of_entries_with_one_rank_each_goes_alone() {
        let mut list = List::default();
        for _ in 0..3 * PIECE {
            insert(&mut list, entry(7, 1));
        }
        insert(&mut list, entry(6, 1));
        insert(&mut list, entry(8, 1));
        for left in (0..3 * PIECE).rev() {
            remove(&mut list, &entry(7, 1));
            assert_eq!(list.iter().count(), left + 2);
        }
        remove(&mut list, &entry(7, 1));
        assert_eq!(ids(&list), [6, 8]);
        remove(&mut list, &entry(6, 1));
        assert_eq!(ids(&list), [8]);
    }
}
