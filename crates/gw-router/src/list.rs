//! The rules at one place of the tree under one host pattern, best first.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::{entry::Entry, order::Rank, tree::Leaf};

/// Bound: how many entries a list holds in one piece; a change to a longer one copies only pieces.
const PIECE: usize = 32;

/// Entries sorted by rank, the best first; equal ones in the order of insertion.
pub(crate) enum List<T> {
    Short(SmallVec<[Entry<T>; 1]>),
    /// Pieces of at most twice [`PIECE`] entries, none empty.
    Long(Vec<Piece<T>>),
}

pub(crate) type Piece<T> = Arc<Vec<Entry<T>>>;

impl<T> List<T> {
    pub(crate) fn insert(&mut self, entry: Entry<T>) {
        match self {
            Self::Short(entries) => {
                entries.insert(entries.partition_point(|other| other.rank >= entry.rank), entry);
                if entries.len() > PIECE {
                    *self = Self::Long(vec![Arc::new(entries.drain(..).collect())]);
                }
            }
            Self::Long(pieces) => {
                let after = pieces
                    .partition_point(|piece| piece.first().is_some_and(|first| first.rank >= entry.rank));
                let index = after.saturating_sub(1);
                let piece = Arc::make_mut(&mut pieces[index]);
                piece.insert(piece.partition_point(|other| other.rank >= entry.rank), entry);
                if piece.len() > 2 * PIECE {
                    let second = piece.split_off(PIECE);
                    pieces.insert(index + 1, Arc::new(second));
                }
            }
        }
    }

    /// Removes the entries of this rank, which are those of one rule.
    pub(crate) fn remove(&mut self, rank: Rank) {
        match self {
            Self::Short(entries) => entries.retain(|entry| entry.rank != rank),
            Self::Long(pieces) => {
                let first = pieces.partition_point(|piece| piece.last().is_some_and(|last| last.rank > rank));
                let holds = |piece: &&mut Piece<T>| piece.first().is_some_and(|first| first.rank >= rank);
                for piece in pieces.iter_mut().skip(first).take_while(holds) {
                    Arc::make_mut(piece).retain(|entry| entry.rank != rank);
                }
                pieces.retain(|piece| !piece.is_empty());
                if let [piece] = pieces.as_slice()
                    && piece.len() <= PIECE
                {
                    *self = Self::Short(piece.iter().cloned().collect());
                } else if pieces.is_empty() {
                    *self = Self::default();
                }
            }
        }
    }

    /// The entries in pieces, so that a scan is a loop over a slice.
    pub(crate) fn pieces(&self) -> (&[Entry<T>], &[Piece<T>]) {
        match self {
            Self::Short(entries) => (entries, &[]),
            Self::Long(pieces) => (&[], pieces),
        }
    }

    fn first(&self) -> Option<&Entry<T>> {
        match self {
            Self::Short(entries) => entries.first(),
            Self::Long(pieces) => pieces.first()?.first(),
        }
    }
}

impl<T> Leaf for List<T> {
    type Best = Rank;
    const NOTHING: Rank = Rank::LOWEST;

    fn best(&self) -> Rank {
        self.first().map_or(Rank::LOWEST, |entry| entry.rank)
    }

    fn is_empty(&self) -> bool {
        self.first().is_none()
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::Short(SmallVec::new())
    }
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Short(entries) => Self::Short(entries.clone()),
            Self::Long(pieces) => Self::Long(pieces.clone()),
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
        tree::Leaf,
    };

    fn entry(id: u64, priority: i64) -> Entry<u64> {
        let rule = Rule::any().priority(priority);
        Entry::new(
            Profile::Kong,
            &Arc::new(Stored {
                id: RuleId::new(id),
                rule,
                value: Arc::new(id),
            }),
            0,
            0,
        )
    }

    fn ids(list: &List<u64>) -> Vec<u64> {
        let (short, long) = list.pieces();
        short
            .iter()
            .chain(long.iter().flat_map(|piece| piece.iter()))
            .map(|entry| *entry.stored.value)
            .collect()
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
            list.insert(entry(id, priority(id)));
        }
        let mut expected: Vec<u64> = (0..count).collect();
        expected.sort_by_key(|id| (-priority(*id), *id));
        assert_eq!(ids(&list), expected);
        assert_eq!(list.best(), entry(expected[0], priority(expected[0])).rank);

        let kept = list.clone();
        for id in (0..count).filter(|id| id % 3 != 0) {
            list.remove(entry(id, priority(id)).rank);
        }
        assert_eq!(ids(&kept), expected, "a clone is its own");
        expected.retain(|id| id % 3 == 0);
        assert_eq!(ids(&list), expected);

        for id in expected.drain(..) {
            assert!(!list.is_empty());
            list.remove(entry(id, priority(id)).rank);
        }
        assert!(list.is_empty() && matches!(list, List::Short(_)));
    }

    #[test]
    fn a_change_of_a_long_list_copies_one_piece() {
        let mut list = List::default();
        for id in 0..2_000 {
            list.insert(entry(id, priority(id)));
        }
        let before = list.clone();
        list.insert(entry(2_000, 5));
        let (List::Long(old), List::Long(new)) = (&before, &list) else {
            panic!("both are long")
        };
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
    fn entries_of_one_rank_go_together() {
        let mut list = List::default();
        for _ in 0..3 * PIECE {
            list.insert(entry(7, 1));
        }
        list.insert(entry(6, 1));
        list.insert(entry(8, 1));
        list.remove(entry(7, 1).rank);
        assert_eq!(ids(&list), [6, 8]);
    }
}
