//! A leaky bucket: calls come out of it at an even rate, and it holds so many at most.

use std::time::Duration;

use crate::limits::table::Kept;

/// How fast it leaks, in calls per second, and how many calls beyond that it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rate: f64,
    pub(crate) burst: f64,
}

/// What one caller has poured in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    excess: f64,
    /// When, in Unix microseconds; 0 = never.
    at: u64,
    /// When it will be empty, in Unix milliseconds.
    over: u64,
}

/// How long a call may have been under way before it is counted, in microseconds.
const LATE: u64 = 300_000_000;

impl Bucket {
    /// Pours a call in at this time in Unix microseconds; says how long it is until it comes out, or nothing if the bucket is
    /// full.
    pub(crate) fn pour(&mut self, shape: Shape, now: u64) -> Option<Duration> {
        let was_set_back = self.at.saturating_sub(now) > LATE;
        let excess = match self.at {
            0 => 0.0,
            _ if was_set_back => 0.0,
            at => {
                let elapsed = Duration::from_micros(now.saturating_sub(at)).as_secs_f64();
                (self.excess - shape.rate * elapsed + 1.0).max(0.0)
            }
        };
        if excess > shape.burst {
            return None;
        }
        self.excess = excess;
        self.at = if was_set_back { now } else { now.max(self.at) };
        let empty = ((excess + 1.0) / shape.rate * 1000.0).ceil();
        self.over = (self.at / 1000).saturating_add(empty as u64);
        Some(delay(excess, shape))
    }
}

/// How long it takes until what is in the bucket has leaked out.
pub(crate) fn delay(excess: f64, shape: Shape) -> Duration {
    Duration::try_from_secs_f64(excess / shape.rate).unwrap_or(Duration::MAX)
}

impl Kept for Bucket {
    fn is_over(&self, now: u64) -> bool {
        self.over <= now
    }

    fn weight(&self) -> u64 {
        self.excess as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn calls_come_out_at_an_even_rate() {
        let shape = Shape {
            rate: 2.0,
            burst: 2.0,
        };
        let mut bucket = Bucket::default();
        let mut pour = |at| bucket.pour(shape, at).map(|delay| delay.as_millis());
        assert_eq!(pour(10 * SECOND), Some(0));
        assert_eq!(pour(10 * SECOND), Some(500));
        assert_eq!(pour(10 * SECOND), Some(1000));
        assert_eq!(pour(10 * SECOND), None);
        assert_eq!(pour(10 * SECOND + SECOND / 2), Some(1000), "one has leaked out");
        assert_eq!(pour(10 * SECOND), None, "a call that was under way for long");
        assert_eq!(pour(20 * SECOND), Some(0));
        assert_eq!(pour(20 * SECOND + SECOND / 4), Some(250));
    }

    #[test]
    fn without_burst_calls_keep_their_distance() {
        let shape = Shape {
            rate: 10.0,
            burst: 0.0,
        };
        let mut bucket = Bucket::default();
        assert!(bucket.pour(shape, SECOND).is_some());
        assert!(bucket.pour(shape, SECOND + 99_000).is_none());
        assert!(bucket.pour(shape, SECOND + 100_000).is_some());
        assert!(!bucket.is_over(1199) && bucket.is_over(1200));
        assert!(bucket.pour(shape, 3600 * SECOND).is_some());
        assert!(bucket.pour(shape, SECOND).is_some(), "the clock was set back");
    }
}
