//! Kong's `queue` block.

use std::time::Duration;

use super::seconds;

/// Kong's `queue` block, in Kong's units.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub(crate) struct QueueSettings {
    /// Entries handed over at once.
    pub(crate) max_batch_size: usize,
    /// Seconds that a batch may wait to be filled.
    pub(crate) max_coalescing_delay: f64,
    /// Bound: entries that wait.
    pub(crate) max_entries: usize,
    /// Bound: bytes that wait.
    pub(crate) max_bytes: Option<usize>,
    /// Bound: bytes of one entry, where it is handed over in one piece; none if it is not.
    #[serde(skip)]
    pub(crate) max_entry: Option<usize>,
    /// Seconds after which a batch is tried no more; none is tried again if it is not positive.
    pub(crate) max_retry_time: f64,
    /// Seconds before the second try; each later pause is twice as long.
    pub(crate) initial_retry_delay: f64,
    /// Seconds between tries at most.
    pub(crate) max_retry_delay: f64,
    /// Batches under way at once; -1 = as many as there are.
    pub(crate) concurrency_limit: i32,
}

/// Bound: bytes that wait where no bound is set. Kong has none then.
const MOST_BYTES: usize = 64 << 20;
/// Bound: batches under way at once where no bound is set.
const MOST_UNDER_WAY: usize = 16;

impl QueueSettings {
    /// One at a time as soon as it comes, for what has no `queue` block of its own in Kong.
    pub(crate) fn plain(max_batch_size: usize) -> Self {
        Self {
            max_batch_size,
            max_coalescing_delay: 0.0,
            max_entries: 10_000,
            max_bytes: None,
            max_entry: None,
            max_retry_time: 60.0,
            initial_retry_delay: 0.01,
            max_retry_delay: 60.0,
            concurrency_limit: 1,
        }
    }

    /// With what was said by the names of Kong 2, where that is not what they were by default.
    pub(crate) fn with_old_names(
        mut self,
        size: Option<usize>,
        delay: Option<f64>,
        usual: (usize, f64),
    ) -> Self {
        if let Some(size) = size.filter(|size| *size != usual.0) {
            self.max_batch_size = size.max(1);
        }
        #[expect(
            clippy::float_cmp,
            reason = "it is compared with what was written, not with what was computed"
        )]
        if let Some(delay) = delay.filter(|delay| *delay != usual.1) {
            self.max_coalescing_delay = delay;
        }
        self
    }

    /// The same, for entries that are handed over in one piece of so many bytes at most.
    pub(crate) fn of_at_most(mut self, max_entry: usize) -> Self {
        self.max_entry = Some(max_entry);
        self
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes.unwrap_or(MOST_BYTES)
    }

    /// Bytes of the largest entry that is taken.
    pub(super) fn largest(&self) -> usize {
        self.max_entry.unwrap_or(usize::MAX).min(self.max_bytes())
    }

    /// Entries with which a batch waits no longer.
    pub(super) fn full_batch(&self) -> usize {
        self.max_batch_size.min(self.max_entries)
    }

    pub(super) fn takers(&self) -> usize {
        usize::try_from(self.concurrency_limit).map_or(MOST_UNDER_WAY, |limit| limit.max(1))
    }

    /// How long a batch may wait to be filled.
    pub(super) fn patience(&self) -> Duration {
        match self.max_batch_size {
            1 => Duration::ZERO,
            _ => seconds(self.max_coalescing_delay),
        }
    }

    pub(super) fn is_worth_a_retry(&self, spent: Duration) -> bool {
        self.max_retry_time > 0.0 && spent < seconds(self.max_retry_time)
    }

    /// The pauses between tries, without an end.
    pub(super) fn pauses(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        let most = seconds(self.max_retry_delay);
        let first = seconds(self.initial_retry_delay).min(most);
        std::iter::successors(Some(first), move |pause| Some(pause.saturating_mul(2).min(most)))
    }
}
