//! What is known about a target beyond its place in a table: it outlives rebuilds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::health::Health;

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

/// Counts and health of one target. On cache lines of its own, so that two targets' counts do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Record {
    in_flight: AtomicU32,
    /// Whether a success must be told to `health`. Written with that lock held.
    pub(super) heeds_success: AtomicBool,
    success: AtomicU64,
    connect_failed: AtomicU64,
    timed_out: AtomicU64,
    broken: AtomicU64,
    statuses: [AtomicU64; 5],
    /// The ticket of the trial that may be made, one more while it is under way; the next ticket with each transition.
    pub(super) trial: AtomicU64,
    // A pick never takes this lock, nor does a report that changes nothing.
    pub(super) health: Mutex<Kept>,
}

/// A target's health, and whether it counts among the targets of the newest list.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(super) health: Health,
    pub(super) listed: bool,
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

    /// How many attempts have ended.
    pub(super) fn seen(&self) -> u64 {
        let counts = [&self.success, &self.connect_failed, &self.timed_out, &self.broken];
        let counts = counts.into_iter().chain(&self.statuses);
        counts.map(|count| count.load(Relaxed)).sum()
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
    fn a_record_has_four_cache_lines_of_its_own() {
        assert_eq!((size_of::<Record>(), align_of::<Record>()), (256, 64));
    }
}
