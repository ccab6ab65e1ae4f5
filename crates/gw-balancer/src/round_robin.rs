//! Smooth weighted round robin: nginx's sequence, computed once per table and walked by one shared position.

mod sequence;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::apportion;
use crate::random::choose;
use crate::rng::{GOLDEN, scale};
use crate::target::{Eligible, eligible};
use crate::{Algorithm, Ask, Load, Rng, Target, TargetIdx, Tried};

/// Smooth weighted round robin, the sequence nginx has: weights 5, 1, 1 give `a a b a c a a`.
///
/// The sequence of one cycle is computed when the table is built and walked by one atomic counter, so that a pick costs
/// the same for three targets and for ten thousand, and concurrent picks together follow the sequence exactly.
///
/// A cycle is as long as the weights' sum divided by their greatest common divisor. Bound: if that exceeds 65,536
/// entries, the weights are scaled down to this sum by largest remainder; every positive weight keeps at least one
/// entry (with more than 65,536 targets the cycle is as long as their number). A share is then off by less than one
/// entry, plus its part of the entries given to targets too small to earn one.
///
/// Retries take no turn in the sequence. They go to the untried targets by weight, evenly,
/// at the cost of one scan of the targets.
#[derive(Debug)]
pub struct RoundRobin {
    cycle: Box<[TargetIdx]>,
    eligible: Box<[Eligible]>,
    position: Arc<Position>,
}

impl RoundRobin {
    /// A table over `targets` that starts at the beginning of its sequence.
    pub fn new(targets: &[Target]) -> Self {
        Self::at(Arc::default(), &eligible(targets))
    }

    /// A table over other targets that goes on from the position of this one; the two share it.
    #[must_use]
    pub fn rebuild(&self, targets: &[Target]) -> Self {
        Self::at(Arc::clone(&self.position), &eligible(targets))
    }

    /// After how many first picks the sequence repeats; 0 if nothing can be picked.
    pub fn cycle(&self) -> usize {
        self.cycle.len()
    }

    pub(crate) fn at(position: Arc<Position>, eligible: &[Eligible]) -> Self {
        let weights: Vec<u64> = eligible.iter().map(|e| e.weight).collect();
        let cycle = sequence::cycle(&apportion::reduce(&weights, CYCLE_BOUND))
            .map(|place| eligible[place].target)
            .collect();
        Self {
            cycle,
            eligible: eligible.into(),
            position,
        }
    }

    /// Those that can be picked, in order.
    pub(crate) fn eligible(&self) -> &[Eligible] {
        &self.eligible
    }

    fn first(&self) -> Option<TargetIdx> {
        let turn = self.position.turns.0.fetch_add(1, Relaxed);
        let place = turn.checked_rem(self.cycle.len() as u64)?;
        self.cycle.get(place as usize).copied()
    }

    /// Walking on in the sequence instead would hand the whole share of a failing target to whoever follows it, and
    /// taking a turn would shift the others' first picks: of two targets the dead one could get every first pick.
    fn retry(&self, tried: &Tried) -> Option<TargetIdx> {
        let untried = || self.eligible.iter().filter(|entry| !tried.contains(entry.target));
        let point = |total| {
            let turn = self.position.retries.0.fetch_add(1, Relaxed);
            scale(turn.wrapping_mul(GOLDEN), total)
        };
        Some(choose(untried, point)?.target)
    }
}

impl Algorithm for RoundRobin {
    fn pick(&self, ask: &Ask<'_>, _load: &(impl Load + ?Sized), _rng: &mut Rng) -> Option<TargetIdx> {
        if ask.tried.is_empty() {
            self.first()
        } else {
            self.retry(ask.tried)
        }
    }
}

/// The most entries a cycle has, unless there are more targets than this.
const CYCLE_BOUND: u64 = 65_536;

/// Where the sequence stands. Shared by all workers and by all tables rebuilt from one another.
#[derive(Debug, Default)]
pub(crate) struct Position {
    turns: Counter,
    retries: Counter,
}

/// On a cache line of its own: every pick writes to it.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counter(AtomicU64);
