//! Durations counted in buckets of equal relative width, so that a percentile costs no sorting and no memory per value.

use std::time::Duration;

/// Buckets per doubling: a value is known to within 1/128.
const PER_OCTAVE: u64 = 128;
const BITS: u32 = PER_OCTAVE.ilog2();

/// How often each duration was seen.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest: Duration,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; bucket(u64::MAX) + 1],
            total: 0,
            longest: Duration::ZERO,
        }
    }

    pub(crate) fn add(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.longest = self.longest.max(took);
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// The duration that this share of the values does not exceed; zero where there are none.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let rank = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(longest_in(bucket)).min(self.longest);
            }
        }
        Duration::ZERO
    }
}

fn bucket(nanos: u64) -> usize {
    let octave = nanos.max(1).ilog2().saturating_sub(BITS);
    let within = nanos >> octave;
    (u64::from(octave) * PER_OCTAVE + within) as usize
}

/// The largest value that falls into the bucket.
fn longest_in(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let octave = (bucket / PER_OCTAVE).saturating_sub(1);
    let within = bucket - octave * PER_OCTAVE;
    (((u128::from(within) + 1) << octave) - 1)
        .try_into()
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_lies_in_its_bucket_and_the_buckets_are_narrow() {
        let mut value = 1_u64;
        while value < u64::MAX / 3 {
            for near in [value - 1, value, value + 1] {
                let longest = longest_in(bucket(near));
                assert!(
                    longest >= near,
                    "{near} is above its bucket, which ends at {longest}"
                );
                assert!(
                    longest - near <= near / PER_OCTAVE,
                    "{near} is far from {longest}"
                );
                if near > 0 {
                    assert!(bucket(near) >= bucket(near - 1), "{near}");
                }
            }
            value = value * 3 / 2 + 1;
        }
        assert_eq!(longest_in(bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile(0.5), Duration::ZERO);
        for micros in (1..=1000).rev() {
            histogram.add(Duration::from_micros(micros));
        }
        for (share, exact) in [(0.001, 1.0), (0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = histogram.percentile(share).as_nanos() as f64 / 1000.0;
            assert!(
                (exact..=exact * 1.01).contains(&found),
                "{share}: {found}, not {exact}"
            );
        }
        assert_eq!(
            (histogram.total(), histogram.longest()),
            (1000, Duration::from_millis(1))
        );
    }
}
