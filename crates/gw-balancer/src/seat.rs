//! A target's record as one balancer judges it, and how many may be out.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use crate::Outcome;
use crate::health::{Checks, Condition, Health, Report, Transition, Verdict};
use crate::state::{Kept, Record};

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
}

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
}

impl Seat {
    /// Counts how an attempt ended, and moves the health if that says anything new.
    pub(crate) fn report(&self, outcome: Outcome, claim: Option<Claim>, now: Instant) -> Option<Transition> {
        let (record, checks) = (&self.record, &self.group.checks);
        record.count(outcome);
        if claim.is_none() {
            match checks.passive.verdict(outcome) {
                Verdict::Failure(_) => {}
                Verdict::Success if record.heeds_success.load(Relaxed) => {}
                Verdict::Success | Verdict::Nothing => return None,
            }
        }
        let transition = self.change(|health, room| {
            let report = Report {
                outcome,
                // One whose ticket has expired meanwhile counts like any other attempt.
                trial: claim.is_some_and(|claim| record.trial.load(Relaxed) == claim.0),
                seen: record.seen(),
            };
            health.observe(checks, &report, room, now)
        });
        if let Some(claim) = claim {
            self.let_go(claim);
        }
        transition
    }

    /// Changes the health, keeping the books.
    pub(crate) fn change(
        &self,
        change: impl FnOnce(&mut Health, &mut dyn FnMut() -> bool) -> Option<Transition>,
    ) -> Option<Transition> {
        let Group { checks, places } = &*self.group;
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
        }
    }

    /// Whether the target counts among the targets from now on.
    pub(crate) fn list(record: &Record, places: &Places, listed: bool) {
        let mut kept = kept(record);
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

/// A poisoned lock is sound to use: a health is never left half changed.
fn kept(record: &Record) -> MutexGuard<'_, Kept> {
    record.health.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Invariant: called with the record's lock held. Whoever has claimed the one before finds it expired.
fn next_ticket(record: &Record) -> u64 {
    (record.trial.load(Relaxed) | 1).wrapping_add(1)
}
