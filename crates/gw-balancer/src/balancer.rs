//! A table of targets with the state that outlives it.

use std::sync::Arc;
use std::time::Instant;

use crate::policy::{Algorithm as _, Table};
use crate::state::{Record, Shared};
use crate::{Outcome, Outcomes, Policy, Rng, Target, TargetIdx, Tried};

/// Chooses a target for each attempt and counts the requests in flight.
///
/// Immutable, and shared by all workers. A change of targets makes a new one with [`rebuild`](Self::rebuild).
#[derive(Debug)]
pub struct Balancer {
    table: Table,
    targets: Box<[Target]>,
    // Invariant: one for each of `targets`, in their order; entries of one name share one.
    records: Box<[Arc<Record>]>,
    shared: Arc<Shared>,
}

impl Balancer {
    /// A balancer over `targets`, starting from nothing.
    ///
    /// A name listed twice is one target, at its first place, with both weights.
    pub fn new(policy: &Policy, targets: &[Target]) -> Self {
        Self::build(policy, targets, Arc::default())
    }

    /// A balancer over other targets, or by another policy, that carries on where this one is.
    ///
    /// The position is shared, and so are the counts of every name that either knows or still has in flight. This
    /// one stays usable: requests that began with it finish with it.
    #[must_use]
    pub fn rebuild(&self, policy: &Policy, targets: &[Target]) -> Self {
        Self::build(policy, targets, Arc::clone(&self.shared))
    }

    fn build(policy: &Policy, targets: &[Target], shared: Arc<Shared>) -> Self {
        Self {
            table: Table::build(policy, targets, Arc::clone(&shared.position)),
            targets: targets.into(),
            records: shared.records(targets),
            shared,
        }
    }

    /// Chooses the target of one attempt and counts it in flight until the handle is dropped.
    ///
    /// Never a target of weight 0 nor one in `tried`; `None` when no other is left. Allocates nothing.
    pub fn pick(&self, key: Option<u64>, tried: &Tried, now: Instant, rng: &mut Rng) -> Option<Handle> {
        let target = self.table.pick(key, tried, now, rng)?;
        let record = Arc::clone(self.records.get(target.index())?);
        record.enter();
        Some(Handle { target, record })
    }

    /// Whether nothing can ever be picked: no target has a weight above 0.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The targets it was built from, in order.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// How many handles of this target are alive, those of earlier and later rebuilds included; 0 if unknown.
    pub fn in_flight(&self, target: TargetIdx) -> u32 {
        self.records
            .get(target.index())
            .map_or(0, |record| record.in_flight())
    }

    /// What was reported about this target, to earlier and later rebuilds too; nothing if unknown.
    pub fn outcomes(&self, target: TargetIdx) -> Outcomes {
        self.records
            .get(target.index())
            .map_or_else(Outcomes::default, |record| record.outcomes())
    }
}

/// One attempt at a target: counted in flight while it lives.
///
/// It owns what it needs and may outlive the balancer, for instance inside a response body.
#[derive(Debug)]
#[must_use = "dropping the handle ends the attempt"]
pub struct Handle {
    target: TargetIdx,
    record: Arc<Record>,
}

impl Handle {
    /// The chosen target, as an index into the list of the balancer that was asked.
    pub fn target(&self) -> TargetIdx {
        self.target
    }

    /// Counts how the attempt ended, at time `_now`. Call it once; each call counts.
    pub fn report(&self, outcome: Outcome, _now: Instant) {
        self.record.count(outcome);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.record.leave();
    }
}
