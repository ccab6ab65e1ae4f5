//! A target's record as one balancer judges it, and how many may be out.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::health::{Checks, Condition, Health, Report, Transition, Verdict};
use crate::policy::PeakEwma;
use crate::state::{Kept, Record};
use crate::{Load, Outcome, TargetIdx};

/// A target of one balancer.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Seat {
    pub(crate) record: Arc<Record>,
    pub(crate) group: Arc<Group>,
}

/// What the seats of one balancer have in common.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) checks: Checks,
    pub(crate) places: Arc<Places>,
    /// Latencies are only kept where somebody asks for them.
    pub(crate) ewma: Option<PeakEwma>,
    /// So is the sum of what is in flight.
    pub(crate) total: Option<Arc<Total>>,
}

/// How many requests all targets have in flight, in parts on cache lines of their own, so that two targets' requests
/// seldom slow each other down.
#[derive(Debug, Default)]
pub(crate) struct Total {
    parts: [Part; PARTS],
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Part(AtomicU64);

const PARTS: usize = 16;

/// How many of the listed targets are out.
#[derive(Debug, Default)]
pub(crate) struct Places {
    // Invariant: as many as there are listed records whose health is out; changed with the record's lock held.
    out: AtomicU32,
    most: AtomicU32,
}

/// The right to make a target's trial: an odd number, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim(pub(crate) u64);

/// What a table needs to know of a target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) condition: Condition,
    /// With which its trial can be claimed.
    pub(crate) ticket: u64,
    pub(crate) started: Option<Instant>,
}

/// What a handle says of the attempt that it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) outcome: Outcome,
    pub(crate) elapsed: Duration,
    pub(crate) claim: Option<Claim>,
    pub(crate) chance: u32,
}

impl Seat {
    /// Counts an attempt in flight, unless as many are as may be.
    pub(crate) fn enter(&self, target: TargetIdx) -> bool {
        let most = self.group.checks.max_in_flight.map_or(u32::MAX, NonZeroU32::get);
        let entered = self.record.enter(most);
        if let Some(total) = self.group.total.as_ref().filter(|_| entered) {
            total.part(target).fetch_add(1, Relaxed);
        }
        entered
    }

    pub(crate) fn leave(&self, target: TargetIdx) {
        self.record.leave();
        if let Some(total) = &self.group.total {
            total.part(target).fetch_sub(1, Relaxed);
        }
    }

    /// Whether one more may be in flight.
    pub(crate) fn has_room(&self) -> bool {
        let most = self.group.checks.max_in_flight;
        most.is_none_or(|most| self.record.in_flight() < most.get())
    }

    /// Counts how an attempt ended, and moves the health if that says anything new.
    pub(crate) fn report(&self, attempt: Attempt, now: Instant) -> Option<Transition> {
        let Attempt {
            outcome,
            elapsed,
            claim,
            chance,
        } = attempt;
        let (record, checks) = (&self.record, &self.group.checks);
        record.count(outcome);
        if let Some(ewma) = &self.group.ewma {
            if outcome.is_failure() {
                record.latency.fail(elapsed, ewma.penalty, now);
            } else {
                record.latency.observe(elapsed, now, ewma.decay);
            }
        }
        if claim.is_none() {
            match checks.passive.verdict(outcome) {
                Verdict::Failure(_) => {}
                Verdict::Success if record.heeds_success.load(Relaxed) => {}
                Verdict::Success | Verdict::Nothing => return None,
            }
        }
        let transition = self.change(now, |health, room| {
            let report = Report {
                outcome,
                // One whose ticket has expired meanwhile counts like any other attempt.
                trial: claim.is_some_and(|claim| record.trial.load(Relaxed) == claim.0),
                seen: record.seen(),
                chance,
            };
            health.observe(checks, &report, room, now)
        });
        if let Some(claim) = claim {
            self.let_go(claim);
        }
        transition
    }

    /// Moves the health by how a probe ended.
    pub(crate) fn probed(&self, outcome: Outcome, now: Instant) -> Option<Transition> {
        self.change(now, |health, room| {
            let report = Report {
                outcome,
                trial: false,
                seen: self.record.seen(),
                chance: 0,
            };
            health.probed(&self.group.checks, &report, room, now)
        })
    }

    /// Changes the health, keeping the books.
    pub(crate) fn change(
        &self,
        now: Instant,
        change: impl FnOnce(&mut Health, &mut dyn FnMut() -> bool) -> Option<Transition>,
    ) -> Option<Transition> {
        let Group { checks, places, .. } = &*self.group;
        let mut kept = kept(&self.record);
        let (listed, before) = (kept.listed, kept.health.is_healthy());
        let mut taken = false;
        let transition = change(&mut kept.health, &mut || {
            taken = listed && places.take();
            taken
        });
        match (before, kept.health.is_healthy()) {
            (true, false) if listed && !taken => places.add(),
            (false, true) if listed => places.free(),
            _ => {}
        }
        if !before && kept.health.is_healthy() {
            kept.started = Some(now);
        }
        if transition.is_some() {
            self.record.trial.store(next_ticket(&self.record), Relaxed);
        }
        let heeds = kept.health.heeds_success(checks);
        self.record.heeds_success.store(heeds, Relaxed);
        transition
    }

    /// Claims the trial of a target that is out: one request at a time gets it.
    pub(crate) fn claim(&self, ticket: u64) -> Option<Claim> {
        let claim = ticket | 1;
        let claimed = self
            .record
            .trial
            .compare_exchange(ticket, claim, Relaxed, Relaxed);
        claimed.is_ok().then_some(Claim(claim))
    }

    /// Ends a trial that has decided nothing: another request may make it.
    pub(crate) fn let_go(&self, claim: Claim) {
        // Fails if something was decided, or the ticket has expired: then there is nothing to let go.
        let (Ok(_) | Err(_)) = self
            .record
            .trial
            .compare_exchange(claim.0, claim.0 & !1, Relaxed, Relaxed);
    }

    pub(crate) fn standing(&self) -> Standing {
        let kept = kept(&self.record);
        Standing {
            condition: kept.health.condition(),
            ticket: self.record.trial.load(Relaxed) & !1,
            started: kept.started,
        }
    }

    /// Whether the target counts among the targets from now on. One that does, and did not, starts at `started`.
    pub(crate) fn list(record: &Record, places: &Places, listed: bool, started: Option<Instant>) {
        let mut kept = kept(record);
        if listed && !kept.listed {
            kept.started = started;
        }
        if kept.listed != listed && !kept.health.is_healthy() {
            if listed { places.add() } else { places.free() }
        }
        kept.listed = listed;
    }
}

impl Places {
    /// Lets at most so many be out.
    pub(crate) fn limit(&self, most: usize) {
        self.most.store(u32::try_from(most).unwrap_or(u32::MAX), Relaxed);
    }

    pub(crate) fn is_crowded(&self) -> bool {
        self.out.load(Relaxed) > self.most.load(Relaxed)
    }

    fn take(&self) -> bool {
        let most = self.most.load(Relaxed);
        let taken = self
            .out
            .fetch_update(Relaxed, Relaxed, |out| (out < most).then_some(out + 1));
        taken.is_ok()
    }

    fn add(&self) {
        self.out.fetch_add(1, Relaxed);
    }

    fn free(&self) {
        self.out.fetch_sub(1, Relaxed);
    }
}

impl Total {
    fn part(&self, target: TargetIdx) -> &AtomicU64 {
        &self.parts[target.index() % PARTS].0
    }

    fn sum(&self) -> u64 {
        let parts = self.parts.iter().map(|part| part.0.load(Relaxed));
        parts.fold(0, u64::wrapping_add)
    }
}

/// What algorithms may ask of the targets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loads<'b>(pub(crate) &'b [Arc<Seat>]);

impl Load for Loads<'_> {
    fn in_flight(&self, target: TargetIdx) -> u32 {
        let seat = self.0.get(target.index());
        seat.map_or(0, |seat| seat.record.in_flight())
    }

    fn total_in_flight(&self) -> u64 {
        let total = self.0.first().and_then(|seat| seat.group.total.as_ref());
        total.map_or(0, |total| total.sum())
    }

    fn latency(&self, target: TargetIdx, now: Instant) -> Option<f64> {
        let seat = self.0.get(target.index())?;
        seat.record.latency.seconds(now, seat.group.ewma.as_ref()?.decay)
    }
}

/// A poisoned lock is sound to use: a health is never left half changed.
fn kept(record: &Record) -> MutexGuard<'_, Kept> {
    record.health.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Invariant: called with the record's lock held. Whoever has claimed the one before finds it expired.
fn next_ticket(record: &Record) -> u64 {
    (record.trial.load(Relaxed) | 1).wrapping_add(1)
}
