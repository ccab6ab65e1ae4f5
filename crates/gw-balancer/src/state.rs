//! What is known about a target beyond its place in a table: it outlives rebuilds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::health::Health;
use crate::peak_ewma::Ewma;

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
    /// The connection could not be secured: no TLS, or a certificate that is not trusted.
    TlsFailed,
    /// A probe was answered, and not in the words of its protocol.
    Unreadable,
    /// A probe was answered by the target that it does not serve.
    NotServing,
}

impl Outcome {
    /// Whether an answer that came so soon is no sign of a fast target.
    pub(crate) fn is_failure(self) -> bool {
        !matches!(self, Self::Success | Self::Status(..500))
    }
}

/// How often each outcome was reported for a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcomes {
    /// [`Outcome::Success`].
    pub success: u64,
    /// [`Outcome::ConnectFailed`] and [`Outcome::TlsFailed`].
    pub connect_failed: u64,
    /// [`Outcome::TimedOut`].
    pub timed_out: u64,
    /// [`Outcome::Broken`] and [`Outcome::Unreadable`].
    pub broken: u64,
    /// [`Outcome::Status`] by class: 1xx first, 5xx last. A status beyond these counts in the nearest class,
    /// [`Outcome::NotServing`] in the last.
    pub statuses: [u64; 5],
}

/// Counts and health of one target. On cache lines of its own, so that two targets' counts do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Record {
    in_flight: AtomicU32,
    pub(crate) latency: Ewma,
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

/// What changes rarely.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(super) health: Health,
    /// Whether the target counts among those of the newest list.
    pub(super) listed: bool,
    /// Since when it is sent requests again, or for the first time among others that were there before it.
    pub(super) started: Option<Instant>,
}

// Relaxed throughout: these are counts, nothing else is published through them.
impl Record {
    /// Counts one more in flight, if that does not make more than `most`.
    pub(crate) fn enter(&self, most: u32) -> bool {
        if self.in_flight.fetch_add(1, Relaxed) < most {
            return true;
        }
        self.leave();
        false
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
            Outcome::ConnectFailed | Outcome::TlsFailed => &self.connect_failed,
            Outcome::TimedOut => &self.timed_out,
            Outcome::Broken | Outcome::Unreadable => &self.broken,
            Outcome::NotServing => &self.statuses[4],
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
            Outcome::TlsFailed,
            Outcome::Unreadable,
            Outcome::NotServing,
        ] {
            record.count(outcome);
        }
        for status in [0, 100, 204, 299, 304, 404, 500, 599, 999, u16::MAX] {
            record.count(Outcome::Status(status));
        }
        let expected = Outcomes {
            success: 1,
            connect_failed: 2,
            timed_out: 1,
            broken: 2,
            statuses: [2, 2, 1, 1, 5],
        };
        assert_eq!(record.outcomes(), expected);
    }

    #[test]
    fn a_record_has_cache_lines_of_its_own() {
        assert_eq!((size_of::<Record>(), align_of::<Record>()), (320, 64));
    }
}
