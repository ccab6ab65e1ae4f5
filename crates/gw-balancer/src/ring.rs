//! The ring: 160 points for each unit of weight, where nginx, Pingora and `resty.chash` have them.

mod points;
#[cfg(test)]
mod tests;

use crate::member::largest_weights;
use crate::policy::Identity;
use crate::sticky::Owners;
use crate::target::{Eligible, eligible};
use crate::{Target, TargetIdx};

/// Ketama's ring, bit by bit the one of nginx's `hash … consistent`: a key belongs to the first point at or after it.
///
/// Each target has 160 points for each unit of its weight, at places that follow from its name. When a target comes or goes,
/// nothing moves between the others. The price is an uneven spread: with equal weights the busiest of 10 targets has about
/// 1.14 times its share, of 1000 about 1.27. A name that is listed twice has the larger weight here, as in nginx, where
/// both lines have the same points.
///
/// Finding a key's owner is one look into an index by the key's first bits and a binary search among the about two points
/// behind it. Building takes time and memory proportional to the points: 10 to 12 bytes each.
///
/// Bound: 4,194,304 points. Beyond 26,214 units of weight in all, weights are divided by their greatest common divisor, and
/// if need be scaled down to that sum; then it is not nginx's ring any more, but one of the same kind.
///
/// Where two targets have a point at the same place, which of some ten thousand points about one does, the first
/// in the list has it, as in nginx with glibc.
#[derive(Clone, Debug)]
pub struct Ring {
    /// In the upper half where a point is, in the lower half whose it is: they are needed together.
    // Invariant: ascending, each place once.
    points: Box<[u64]>,
    /// For each value of the first bits the first point with these or greater ones, and at the end the number of points.
    index: Box<[u32]>,
    /// How many bits of a place are not among the first.
    shift: u32,
    /// How many points are looked at for one key.
    steps: usize,
}

/// nginx looks at a point and twenty more, and then takes whoever is next.
const STEPS_NGINX: usize = 21;

/// What others look at. Bound: when nearly all targets are out, a pick must not go all around the ring.
const STEPS: usize = 4096;

/// The most points of a ring.
const MOST: u64 = 1 << 22;

/// Points of a unit of weight.
const POINTS: u64 = 160;

impl Ring {
    /// A ring over `targets`.
    pub fn new(identity: Identity, targets: &[Target]) -> Self {
        Self::over(identity, &eligible(targets), targets)
    }

    pub(crate) fn over(identity: Identity, eligible: &[Eligible], targets: &[Target]) -> Self {
        let mut weights = largest_weights(eligible, targets);
        if weights.iter().sum::<u64>() > MOST / POINTS {
            weights = crate::apportion::reduce(&weights, MOST / POINTS);
        }
        let sources = eligible.iter().zip(weights).filter_map(|(entry, weight)| {
            let name = &targets.get(entry.target.index())?.name;
            Some((entry.target, points::base(identity, name), weight * POINTS))
        });
        points::ring(&sources.collect::<Vec<_>>(), steps(identity))
    }

    /// How many points it has.
    pub fn points(&self) -> usize {
        self.points.len()
    }

    /// To whom this hash belongs: CRC-32 of the key for what nginx, Pingora and `resty.chash` do.
    ///
    /// `None` only if there are no targets.
    pub fn owner(&self, key: u32) -> Option<TargetIdx> {
        self.owner_of(self.point(key))
    }

    /// The first point at or after this place.
    fn point(&self, place: u32) -> usize {
        let bits = (u64::from(place) >> self.shift) as usize;
        let (Some(&start), Some(&end)) = (self.index.get(bits), self.index.get(bits + 1)) else {
            return 0;
        };
        let (start, end) = (start as usize, end as usize);
        let near = self.points.get(start..end).unwrap_or_default();
        let point = start + near.partition_point(|point| point >> 32 < u64::from(place));
        if point < self.points.len() { point } else { 0 }
    }

    fn owner_of(&self, point: usize) -> Option<TargetIdx> {
        // The lower half.
        self.points.get(point).map(|&point| TargetIdx(point as u32))
    }
}

impl Owners for Ring {
    /// The owners of the points from the key's on, in the order of the ring.
    fn find(&self, key: u64, mut accept: impl FnMut(TargetIdx) -> bool) -> Option<TargetIdx> {
        // A key for the ring has 32 bits.
        let mut point = self.point(key as u32);
        for _ in 0..self.steps.min(self.points.len()) {
            let owner = self.owner_of(point)?;
            if accept(owner) {
                return Some(owner);
            }
            point = if point + 1 < self.points.len() {
                point + 1
            } else {
                0
            };
        }
        None
    }
}

fn steps(identity: Identity) -> usize {
    match identity {
        Identity::NginxText => STEPS_NGINX,
        Identity::SocketAddr | Identity::Raw => STEPS,
    }
}
