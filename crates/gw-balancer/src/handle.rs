//! One attempt at a target.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::health::Transition;
use crate::seat::{Attempt, Claim, Seat};
use crate::{Outcome, TargetIdx};

/// One attempt at a target: counted in flight while it lives.
///
/// It owns what it needs and may outlive the balancer, for instance inside a response body. Dropped without a report,
/// it says nothing of the target.
#[derive(Debug)]
#[must_use = "dropping the handle ends the attempt"]
pub struct Handle {
    target: TargetIdx,
    /// By how much a pause is shortened that begins with this attempt.
    chance: u32,
    seat: Arc<Seat>,
    /// The claim to the trial that this attempt is; 0 if it is none, or has been reported.
    claim: AtomicU64,
    picked: Instant,
}

impl Handle {
    /// None if the target has as many in flight as may be.
    pub(crate) fn enter(target: TargetIdx, seat: &Arc<Seat>, picked: Instant, chance: u64) -> Option<Self> {
        seat.enter(target).then(|| Self {
            target,
            chance: chance as u32,
            seat: Arc::clone(seat),
            claim: AtomicU64::new(0),
            picked,
        })
    }

    /// The same attempt as the trial of its target.
    pub(crate) fn trying(mut self, claim: Claim) -> Self {
        *self.claim.get_mut() = claim.0;
        self
    }

    /// The chosen target, as an index into the list of the balancer that was asked.
    pub fn target(&self) -> TargetIdx {
        self.target
    }

    /// Whether this attempt is the trial of a target that is out.
    pub fn is_trial(&self) -> bool {
        self.claim.load(Relaxed) != 0
    }

    /// Counts how the attempt ended, at time `now`, since the pick. Call it once; each call counts.
    ///
    /// If that changed the target's health, the change is handed back: to take effect it needs a
    /// [`refresh`](crate::Balancer::refresh) of the newest balancer.
    pub fn report(&self, outcome: Outcome, now: Instant) -> Option<Transition> {
        self.report_after(outcome, now.saturating_duration_since(self.picked), now)
    }

    /// The same, where the attempt took so long: less than since the pick, if something had to be done in between.
    pub fn report_after(&self, outcome: Outcome, elapsed: Duration, now: Instant) -> Option<Transition> {
        let attempt = Attempt {
            outcome,
            elapsed,
            claim: self.take_claim(),
            chance: self.chance,
        };
        self.seat.report(attempt, now)
    }

    fn take_claim(&self) -> Option<Claim> {
        if self.is_trial() {
            Some(Claim(self.claim.swap(0, Relaxed))).filter(|claim| claim.0 != 0)
        } else {
            None
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(claim) = self.take_claim() {
            self.seat.let_go(claim);
        }
        self.seat.leave(self.target);
    }
}
