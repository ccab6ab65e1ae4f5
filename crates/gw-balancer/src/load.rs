//! What algorithms ask of the targets and of the request.

use std::time::Instant;

use crate::{Rng, TargetIdx, Tried};

/// Chooses a target. Pure: no clock, no I/O, no allocation. Who can be chosen at all is compiled into the table.
pub trait Algorithm {
    /// The target for one attempt, never one that was tried; `None` when no other is left.
    fn pick(&self, ask: &Ask<'_>, load: &(impl Load + ?Sized), rng: &mut Rng) -> Option<TargetIdx>;
}

/// The request that a target is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The hash of what it is to stick to, for algorithms that hash; without one it goes to whoever is next.
    pub key: Option<u64>,
    /// Where it has been sent already.
    pub tried: &'a Tried,
    /// The time now.
    pub now: Instant,
}

/// How busy and how fast targets are, for algorithms that heed it.
pub trait Load {
    /// How many requests the target has in flight.
    fn in_flight(&self, target: TargetIdx) -> u32;

    /// How many all targets have in flight. Asked for only by a table with a [`Bound`](crate::Bound).
    fn total_in_flight(&self) -> u64;

    /// How long the target takes for an answer, in seconds; `None` while nothing is known of it.
    fn latency(&self, target: TargetIdx, now: Instant) -> Option<f64>;
}

/// Of nobody is anything known: for algorithms that do not ask.
impl Load for () {
    fn in_flight(&self, _target: TargetIdx) -> u32 {
        0
    }

    fn total_in_flight(&self) -> u64 {
        0
    }

    fn latency(&self, _target: TargetIdx, _now: Instant) -> Option<f64> {
        None
    }
}
