//! What others' algorithms do: Pingora's ring, nginx's loop, and the published or reproduced figures of Kong and the rest.

use gw_balancer::{Target, TargetIdx};
use pingora_ketama::{Bucket, Continuum};

/// Pingora's ring over the same targets.
pub(crate) fn pingora(targets: &[Target]) -> Continuum {
    let bucket = |target: &Target| {
        let addr = target.name.parse().expect("names are addresses here");
        Bucket::new(addr, target.weight.0.into())
    };
    Continuum::new(&targets.iter().map(bucket).collect::<Vec<_>>())
}

/// nginx's loop: every pick looks at every target.
pub(crate) struct Naive {
    weights: Vec<i64>,
    current: Vec<i64>,
    total: i64,
}

impl Naive {
    pub(crate) fn new(targets: &[Target]) -> Self {
        let weights: Vec<i64> = targets.iter().map(|target| i64::from(target.weight.0)).collect();
        Self {
            current: vec![0; weights.len()],
            total: weights.iter().sum(),
            weights,
        }
    }

    pub(crate) fn pick(&mut self) -> Option<TargetIdx> {
        let mut best = 0;
        for i in 0..self.weights.len() {
            self.current[i] += self.weights[i];
            if self.current[i] > self.current[best] {
                best = i;
            }
        }
        *self.current.get_mut(best)? -= self.total;
        Some(TargetIdx(best as u32))
    }
}

/// Targets, the busiest one's share of the mean, and percent of keys that moved between those that stayed when one came.
pub(crate) type Published = (usize, f64, Option<f64>);

/// Kong's ring with its default of 10,000 slots, computed by its rules. From 63 targets on it cannot be built.
pub(crate) const KONG: [Published; 6] = [
    (2, 1.047, None),
    (3, 1.074, None),
    (5, 1.100, Some(0.8)),
    (10, 1.118, Some(0.95)),
    (20, 1.120, Some(0.97)),
    (50, 1.073, Some(1.9)),
];
