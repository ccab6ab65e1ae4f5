//! Targets, and what they have in flight: a few requests each, in one list.

use std::time::Instant;

use gw_balancer::{Load, Target, TargetIdx};

/// So many targets with weights from 1 to 5.
pub(crate) fn targets(count: usize) -> Vec<Target> {
    (0..count).map(|i| target(i, 1 + (i % 5) as u16)).collect()
}

/// So many of equal weight.
pub(crate) fn equal(count: usize) -> Vec<Target> {
    (0..count).map(|i| target(i, 1)).collect()
}

pub(crate) fn target(i: usize, weight: u16) -> Target {
    Target::new(
        format!("10.{}.{}.{}:80", i >> 16, (i >> 8) & 255, i & 255),
        weight,
    )
}

/// What a target has in flight, and how fast it is.
#[derive(Debug)]
pub(crate) struct Flat(Vec<(u32, f64)>);

impl Flat {
    pub(crate) fn new(count: usize) -> Self {
        Self(
            (0..count)
                .map(|i| (1 + (i * 7 % 5) as u32, 0.01 + (i % 11) as f64 / 1e3))
                .collect(),
        )
    }
}

impl Load for Flat {
    fn in_flight(&self, target: TargetIdx) -> u32 {
        self.0.get(target.index()).map_or(0, |load| load.0)
    }

    fn total_in_flight(&self) -> u64 {
        self.0.len() as u64 * 3
    }

    fn latency(&self, target: TargetIdx, _now: Instant) -> Option<f64> {
        Some(self.0.get(target.index())?.1)
    }
}
