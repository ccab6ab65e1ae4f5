//! A table of targets with the state that outlives it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::health::{Checks, Condition, Transition};
use crate::lineage::{self, Lineage};
use crate::policy::{Algorithm as _, Table};
use crate::seat::{Claim, Seat};
use crate::target::{Eligible, eligible};
use crate::{Outcome, Outcomes, Policy, Rng, Target, TargetIdx, Tried};

/// Chooses a target for each attempt, counts the requests in flight and keeps unhealthy targets out.
///
/// Immutable, and shared by all workers. A change of targets makes a new one with [`rebuild`](Self::rebuild), a change
/// of health with [`refresh`](Self::refresh).
#[derive(Debug)]
pub struct Balancer {
    table: Table,
    // Invariant: one for each of the roster's targets, in their order; entries of one name share a record.
    seats: Arc<[Arc<Seat>]>,
    /// Those that are out and come back by themselves.
    out: Box<[Out]>,
    /// When the first of their trials is due.
    due: Option<Instant>,
    /// Whether too little is available for any request to be sent.
    blocked: bool,
    weights: Weights,
    roster: Arc<Roster>,
}

/// What a change of health leaves as it is.
#[derive(Debug)]
struct Roster {
    policy: Policy,
    checks: Checks,
    targets: Box<[Target]>,
    eligible: Box<[Eligible]>,
    lineage: Arc<Lineage>,
}

#[derive(Debug)]
struct Out {
    target: TargetIdx,
    due: Instant,
    ticket: u64,
}

/// The weight of a balancer's targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Weights {
    /// Of all.
    pub total: u64,
    /// Of those that are healthy.
    pub available: u64,
}

impl Balancer {
    /// A balancer over `targets`, starting from nothing.
    ///
    /// A name listed twice is one target, at its first place, with both weights.
    pub fn new(policy: &Policy, checks: &Checks, targets: &[Target]) -> Self {
        let (roster, seats) = Self::seat(policy, checks, targets, Arc::default());
        Self::compile(roster, seats)
    }

    /// A balancer over other targets, or by another policy or other checks, that carries on where this one is.
    ///
    /// The position is shared, and so are counts and health of every name that either knows or still has in flight.
    /// This one stays usable: requests that began with it finish with it.
    ///
    /// With it comes what this has changed: targets that would not have gone out with these checks among these
    /// targets are let in.
    #[must_use]
    pub fn rebuild(
        &self,
        policy: &Policy,
        checks: &Checks,
        targets: &[Target],
        now: Instant,
    ) -> (Self, Box<[(TargetIdx, Transition)]>) {
        let (roster, seats) = Self::seat(policy, checks, targets, Arc::clone(&self.roster.lineage));
        let released = lineage::settle(&seats, &roster.eligible, now);
        (Self::compile(roster, seats), released)
    }

    /// The same balancer with the health its targets have now. Needed after each [`Transition`].
    #[must_use]
    pub fn refresh(&self) -> Self {
        Self::compile(Arc::clone(&self.roster), Arc::clone(&self.seats))
    }

    fn seat(
        policy: &Policy,
        checks: &Checks,
        targets: &[Target],
        lineage: Arc<Lineage>,
    ) -> (Arc<Roster>, Arc<[Arc<Seat>]>) {
        let eligible = eligible(targets);
        let seats = lineage.seats(targets, &eligible, checks);
        let roster = Roster {
            policy: policy.clone(),
            checks: checks.clone(),
            targets: targets.into(),
            eligible: eligible.into(),
            lineage,
        };
        (Arc::new(roster), seats)
    }

    fn compile(roster: Arc<Roster>, seats: Arc<[Arc<Seat>]>) -> Self {
        let (mut healthy, mut out) = (Vec::with_capacity(roster.eligible.len()), Vec::new());
        let mut weights = Weights::default();
        for entry in &roster.eligible {
            let Some(standing) = seats.get(entry.target.index()).map(|seat| seat.standing()) else {
                continue;
            };
            weights.total += entry.weight;
            if standing.condition.healthy {
                weights.available += entry.weight;
                healthy.push(*entry);
            } else if let Some(due) = standing.condition.trial {
                out.push(Out {
                    target: entry.target,
                    due,
                    ticket: standing.ticket,
                });
            }
        }
        Self {
            table: Table::build(&roster.policy, &healthy, Arc::clone(&roster.lineage.position)),
            due: out.iter().map(|out| out.due).min(),
            out: out.into(),
            blocked: !roster.checks.threshold.is_met(weights.available, weights.total),
            weights,
            seats,
            roster,
        }
    }

    /// Chooses the target of one attempt and counts it in flight until the handle is dropped.
    ///
    /// Never a target of weight 0 nor one in `tried`; `None` when no other is left, or when less is healthy than the
    /// checks' threshold demands. A target that is out is picked for one first attempt once its pause is over.
    /// Allocates nothing.
    pub fn pick(&self, key: Option<u64>, tried: &Tried, now: Instant, rng: &mut Rng) -> Option<Handle> {
        if tried.is_empty()
            && self.due.is_some_and(|due| due <= now)
            && let Some(handle) = self.trial(now)
        {
            return Some(handle);
        }
        if self.blocked {
            return None;
        }
        let target = self.table.pick(key, tried, now, rng)?;
        self.handle(target, None)
    }

    /// A target whose trial is due and not under way.
    #[cold]
    fn trial(&self, now: Instant) -> Option<Handle> {
        let due = self.out.iter().filter(|out| out.due <= now);
        due.filter_map(|out| {
            let claim = self.seats.get(out.target.index())?.claim(out.ticket)?;
            self.handle(out.target, Some(claim))
        })
        .next()
    }

    fn handle(&self, target: TargetIdx, claim: Option<Claim>) -> Option<Handle> {
        let seat = Arc::clone(self.seats.get(target.index())?);
        seat.record.enter();
        let claim = AtomicU64::new(claim.map_or(0, |claim| claim.0));
        Some(Handle { target, seat, claim })
    }

    /// Whether nothing can ever be picked: no target has a weight above 0.
    pub fn is_empty(&self) -> bool {
        self.roster.eligible.is_empty()
    }

    /// Whether more of the weight is healthy than the threshold demands; if not, only trials are picked.
    pub fn is_available(&self) -> bool {
        !self.blocked
    }

    /// The weight of its targets, and how much of it is healthy.
    pub fn weights(&self) -> Weights {
        self.weights
    }

    /// The targets it was built from, in order.
    pub fn targets(&self) -> &[Target] {
        &self.roster.targets
    }

    /// How many handles of this target are alive, those of earlier and later rebuilds included; 0 if unknown.
    pub fn in_flight(&self, target: TargetIdx) -> u32 {
        self.seats
            .get(target.index())
            .map_or(0, |seat| seat.record.in_flight())
    }

    /// What was reported about this target, to earlier and later rebuilds too; nothing if unknown.
    pub fn outcomes(&self, target: TargetIdx) -> Outcomes {
        self.seats
            .get(target.index())
            .map_or_else(Outcomes::default, |seat| seat.record.outcomes())
    }

    /// How this target is now, and why; none if unknown.
    pub fn condition(&self, target: TargetIdx) -> Option<Condition> {
        let seat = self.seats.get(target.index())?;
        Some(seat.standing().condition)
    }

    /// Puts a target in or takes it out because an operator says so; hands back what that changed.
    ///
    /// If more than half are out then, others that went out by themselves are let in.
    pub fn set_health(&self, target: TargetIdx, healthy: bool, now: Instant) -> Vec<(TargetIdx, Transition)> {
        let seat = self.seats.get(target.index());
        let set = seat.and_then(|seat| seat.change(|health, _| health.set(healthy, now)));
        let mut changed: Vec<_> = set.map(|transition| (target, transition)).into_iter().collect();
        if !healthy {
            changed.extend(lineage::settle(&self.seats, &self.roster.eligible, now));
        }
        changed
    }
}

/// One attempt at a target: counted in flight while it lives.
///
/// It owns what it needs and may outlive the balancer, for instance inside a response body. Dropped without a report,
/// it says nothing of the target.
#[derive(Debug)]
#[must_use = "dropping the handle ends the attempt"]
pub struct Handle {
    target: TargetIdx,
    seat: Arc<Seat>,
    /// The claim to the trial that this attempt is; 0 if it is none, or has been reported.
    claim: AtomicU64,
}

impl Handle {
    /// The chosen target, as an index into the list of the balancer that was asked.
    pub fn target(&self) -> TargetIdx {
        self.target
    }

    /// Whether this attempt is the trial of a target that is out.
    pub fn is_trial(&self) -> bool {
        self.claim.load(Relaxed) != 0
    }

    /// Counts how the attempt ended, at time `now`. Call it once; each call counts.
    ///
    /// If that changed the target's health, the change is handed back: to take effect it needs a
    /// [`refresh`](Balancer::refresh) of the newest balancer.
    pub fn report(&self, outcome: Outcome, now: Instant) -> Option<Transition> {
        let claim = self.take_claim();
        self.seat.report(outcome, claim, now)
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
        self.seat.record.leave();
    }
}
