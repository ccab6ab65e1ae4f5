//! The policies one can choose, and the closed set of algorithms behind them.

use std::sync::Arc;
use std::time::Instant;

use crate::round_robin::{Position, RoundRobin};
use crate::target::Eligible;
use crate::{Rng, TargetIdx, Tried};

/// How a balancer chooses among its targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Smooth weighted round robin in nginx's order, see [`RoundRobin`].
    #[default]
    RoundRobin,
}

/// Chooses a target. Pure: no clock, no I/O, no allocation. Who can be chosen at all is compiled into the table.
pub trait Algorithm {
    /// The target for one attempt, never one in `tried`; `None` when no other is left.
    ///
    /// `key` is the hash of what the request is to stick to, for algorithms that hash.
    fn pick(&self, key: Option<u64>, tried: &Tried, now: Instant, rng: &mut Rng) -> Option<TargetIdx>;
}

/// The closed set of algorithms: an enum, so that a pick is a branch and not a virtual call.
#[derive(Debug)]
pub(crate) enum Table {
    RoundRobin(RoundRobin),
}

impl Table {
    pub(crate) fn build(policy: &Policy, eligible: &[Eligible], position: Arc<Position>) -> Self {
        match policy {
            Policy::RoundRobin => Self::RoundRobin(RoundRobin::at(position, eligible)),
        }
    }
}

impl Algorithm for Table {
    fn pick(&self, key: Option<u64>, tried: &Tried, now: Instant, rng: &mut Rng) -> Option<TargetIdx> {
        match self {
            Self::RoundRobin(table) => table.pick(key, tried, now, rng),
        }
    }
}
