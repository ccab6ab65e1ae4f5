//! What is counted of every plugin, whatever it does.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How many counters a plugin's are spread over, so that workers do not share a cache line.
const SHARDS: usize = 16;

/// What is counted of a plugin, in all of its instances.
#[derive(Debug, Default)]
pub struct Stats {
    shards: [Shard; SHARDS],
}

/// One worker's, or several's whose numbers meet.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    runs: AtomicU64,
    answers: AtomicU64,
    panics: AtomicU64,
    timed: AtomicU64,
    nanos: AtomicU64,
}

/// What has been counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests it ran for.
    pub runs: u64,
    /// Requests it answered in the upstream's place.
    pub answers: u64,
    /// Requests it failed on by a panic.
    pub panics: u64,
    /// Requests whose time in it was taken: a sample.
    pub timed: u64,
    /// The time those spent in it, in its request phases.
    pub time: Duration,
}

impl Stats {
    /// Whether the time of the next run is to be taken: of one in 32.
    pub fn run(&self, worker: usize) -> bool {
        const SAMPLE: u64 = 32;
        self.shard(worker)
            .runs
            .fetch_add(1, Relaxed)
            .is_multiple_of(SAMPLE)
    }

    /// It answered.
    pub fn answered(&self, worker: usize) {
        self.shard(worker).answers.fetch_add(1, Relaxed);
    }

    /// It panicked.
    pub fn panicked(&self, worker: usize) {
        self.shard(worker).panics.fetch_add(1, Relaxed);
    }

    /// The time of a run.
    pub fn took(&self, worker: usize, time: Duration) {
        let shard = self.shard(worker);
        shard.timed.fetch_add(1, Relaxed);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        shard.nanos.fetch_add(nanos, Relaxed);
    }

    /// The sum.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.shards.iter().fold(Counted::default(), |sum, shard| Counted {
            runs: sum.runs + shard.runs.load(Relaxed),
            answers: sum.answers + shard.answers.load(Relaxed),
            panics: sum.panics + shard.panics.load(Relaxed),
            timed: sum.timed + shard.timed.load(Relaxed),
            time: sum.time + Duration::from_nanos(shard.nanos.load(Relaxed)),
        })
    }

    fn shard(&self, worker: usize) -> &Shard {
        &self.shards[worker % SHARDS]
    }
}
