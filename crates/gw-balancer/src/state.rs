//! What is known about a target beyond its place in a table: it outlives rebuilds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::Target;
use crate::round_robin::Position;

/// How an attempt at a target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It succeeded, and there was no status to tell more, as with a plain TCP stream.
    Success,
    /// No connection could be opened.
    ConnectFailed,
    /// The target did not answer in time.
    TimedOut,
    /// The connection broke, or what came over it was not understood.
    Broken,
    /// The target answered with this HTTP status.
    Status(u16),
}

/// How often each outcome was reported for a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcomes {
    /// [`Outcome::Success`].
    pub success: u64,
    /// [`Outcome::ConnectFailed`].
    pub connect_failed: u64,
    /// [`Outcome::TimedOut`].
    pub timed_out: u64,
    /// [`Outcome::Broken`].
    pub broken: u64,
    /// [`Outcome::Status`] by class: 1xx first, 5xx last. A status beyond these counts in the nearest class.
    pub statuses: [u64; 5],
}

/// What all balancers of one lineage share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) position: Arc<Position>,
    // Only building takes this lock. Weak, so that a target that left is forgotten with its last request in flight,
    // and found again if it returns before that.
    records: Mutex<HashMap<Box<str>, Weak<Record>>>,
}

impl Shared {
    /// The records of these targets, one for each in order: known names keep theirs.
    pub(crate) fn records(&self, targets: &[Target]) -> Box<[Arc<Record>]> {
        // A poisoned lock is sound to use: nothing below leaves the map half changed.
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.retain(|_, record| record.strong_count() > 0);
        let mut record = |target: &Target| {
            if let Some(known) = records.get(&target.name).and_then(Weak::upgrade) {
                return known;
            }
            let fresh = Arc::new(Record::default());
            records.insert(target.name.clone(), Arc::downgrade(&fresh));
            fresh
        };
        targets.iter().map(&mut record).collect()
    }
}

/// Counts of one target. On cache lines of its own, so that two targets' counts do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Record {
    in_flight: AtomicU32,
    success: AtomicU64,
    connect_failed: AtomicU64,
    timed_out: AtomicU64,
    broken: AtomicU64,
    statuses: [AtomicU64; 5],
}

// Relaxed throughout: these are counts, nothing else is published through them.
impl Record {
    pub(crate) fn enter(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Success => &self.success,
            Outcome::ConnectFailed => &self.connect_failed,
            Outcome::TimedOut => &self.timed_out,
            Outcome::Broken => &self.broken,
            Outcome::Status(status) => &self.statuses[usize::from((status / 100).clamp(1, 5) - 1)],
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn outcomes(&self) -> Outcomes {
        Outcomes {
            success: self.success.load(Relaxed),
            connect_failed: self.connect_failed.load(Relaxed),
            timed_out: self.timed_out.load(Relaxed),
            broken: self.broken.load(Relaxed),
            statuses: std::array::from_fn(|class| self.statuses[class].load(Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_own_count() {
        let record = Record::default();
        for outcome in [
            Outcome::Success,
            Outcome::ConnectFailed,
            Outcome::TimedOut,
            Outcome::Broken,
        ] {
            record.count(outcome);
        }
        for status in [0, 100, 204, 299, 304, 404, 500, 599, 999, u16::MAX] {
            record.count(Outcome::Status(status));
        }
        let expected = Outcomes {
            success: 1,
            connect_failed: 1,
            timed_out: 1,
            broken: 1,
            statuses: [2, 2, 1, 1, 4],
        };
        assert_eq!(record.outcomes(), expected);
    }

    #[test]
    fn a_record_is_forgotten_with_its_last_owner_and_not_before() {
        let shared = Shared::default();
        let targets = [Target::new("a", 1), Target::new("b", 1)];
        let first = shared.records(&targets);
        first[0].enter();
        let kept = Arc::clone(&first[0]);
        drop(first);
        drop(shared.records(&[]));
        assert_eq!(
            shared.records.lock().unwrap().len(),
            1,
            "only the one still in use stays"
        );
        assert!(Arc::ptr_eq(&kept, &shared.records(&targets)[0]));
    }

    #[test]
    fn a_record_with_its_reference_counts_fits_three_cache_lines() {
        // The reference counts of the `Arc` take one line, for the alignment.
        assert_eq!((size_of::<Record>(), align_of::<Record>()), (128, 64));
    }
}
