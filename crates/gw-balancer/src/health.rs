//! Whether a target is sent requests: thresholds over what is reported, as a pure state machine.

mod checks;
mod counters;
mod probes;
mod reason;
mod recent;
mod status_set;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::Outcome;
use counters::{Phase, Tally};
use recent::Recent;

pub(crate) use checks::Verdict;
pub use checks::{Checks, Counters, Ejection, FailureKind, Panic, Passive, Threshold, Window};
pub use reason::{Breaker, Condition, Reason, Transition};
pub use status_set::StatusSet;

/// The health of one target: healthy at first, out when too much fails, in again when a trial succeeds.
///
/// Pure: it is told what happened and when. Whoever keeps one keeps those that are out from being picked, and lets one
/// request try a target whose [trial](Condition::trial) is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    phase: Phase,
    tally: Tally,
    recent: Recent,
    /// Why and since when it is as it is; none if it has never changed.
    cause: Option<(Reason, Instant)>,
    /// When a trial is due, if it is out and comes back by itself.
    trial: Option<Instant>,
    /// How often its pause has been doubled.
    doublings: u8,
}

/// What is reported about one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it was the trial of a target that is out.
    pub trial: bool,
    /// How many attempts at this target have ended so far, this one included. Successes that come while
    /// [`Health::heeds_success`] is false need not be reported if they are counted here.
    pub seen: u64,
    /// A number by chance, of which every value is as likely: it shortens the pause that this may begin.
    pub chance: u32,
}

/// Bound: a hundred years, which every clock can add.
const LONGEST_PAUSE: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Health {
    /// Takes in how an attempt ended at `now`; hands back what that changed.
    ///
    /// `room` is asked whether one more target may go out, when this one is about to; Kong's counters do not ask.
    pub fn observe(
        &mut self,
        checks: &Checks,
        report: &Report,
        room: impl FnOnce() -> bool,
        now: Instant,
    ) -> Option<Transition> {
        let verdict = checks.passive.verdict(report.outcome);
        if self.is_held() {
            return None;
        }
        if report.trial && !self.is_healthy() {
            return self.tried(checks, verdict, report, now);
        }
        match &checks.passive {
            Passive::Off => None,
            Passive::Window(window) => {
                let reason = self.too_much(window, verdict, report, now)?;
                room().then(|| self.eject(checks.ejection, reason, report.chance, now))
            }
            Passive::Counters(counters) => {
                let before = self.is_healthy();
                self.tally.count(&mut self.phase, counters, verdict);
                match (before, self.is_healthy(), verdict) {
                    (true, false, Verdict::Failure(kind)) => {
                        let (failures, last) = (counters.limit(kind), report.outcome);
                        let reason = Reason::Limit { kind, failures, last };
                        Some(self.eject(checks.ejection, reason, report.chance, now))
                    }
                    (false, true, _) => {
                        let successes = counters.successes;
                        Some(self.recover(Reason::Successes { successes }, now))
                    }
                    _ => None,
                }
            }
        }
    }

    /// Puts it in or takes it out because an operator says so. Out is out until they say otherwise; in starts afresh.
    pub fn set(&mut self, healthy: bool, now: Instant) -> Option<Transition> {
        let changes = self.is_healthy() != healthy || (!healthy && !self.is_held());
        if !changes {
            (self.tally, self.recent) = (Tally::default(), Recent::default());
            return None;
        }
        *self = Self {
            phase: if healthy { Phase::Healthy } else { Phase::Unhealthy },
            cause: Some((Reason::Operator, now)),
            ..Self::default()
        };
        Some(Transition {
            healthy,
            reason: Reason::Operator,
            pause: None,
        })
    }

    /// Puts it in, unless an operator keeps it out.
    pub fn release(&mut self, reason: Reason, now: Instant) -> Option<Transition> {
        (!self.is_healthy() && !self.is_held()).then(|| self.recover(reason, now))
    }

    /// Whether it is sent requests.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        matches!(self.phase, Phase::Healthy | Phase::MostlyHealthy)
    }

    /// Whether an operator keeps it out.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.is_healthy() && self.trial.is_none()
    }

    /// Whether a success would change anything; if not, it is enough that it is counted.
    #[must_use]
    pub fn heeds_success(&self, checks: &Checks) -> bool {
        match &checks.passive {
            Passive::Off => false,
            Passive::Window(_) => self.is_healthy() && self.recent.in_a_row() > 0,
            Passive::Counters(counters) => {
                counters.successes > 0 && self.phase != Phase::Healthy && !self.is_held()
            }
        }
    }

    /// How it is, and why.
    #[must_use]
    pub fn condition(&self) -> Condition {
        Condition {
            healthy: self.is_healthy(),
            reason: self.cause.map(|(reason, _)| reason),
            since: self.cause.map(|(_, since)| since),
            trial: self.trial,
            held: self.is_held(),
        }
    }

    fn too_much(
        &mut self,
        window: &Window,
        verdict: Verdict,
        report: &Report,
        now: Instant,
    ) -> Option<Reason> {
        if !self.is_healthy() {
            return None; // it was under way when the target went out
        }
        if !matches!(verdict, Verdict::Failure(_)) {
            self.recent.succeed();
            return None;
        }
        let last = report.outcome;
        let (failures, of) = self.recent.fail(window.span, report.seen, now);
        let in_a_row = self.recent.in_a_row();
        if in_a_row >= window.in_a_row {
            return Some(Reason::InARow {
                failures: in_a_row,
                last,
            });
        }
        let share = u128::from(failures) * 100 >= u128::from(of) * u128::from(window.percent);
        (failures >= window.failures && share).then_some(Reason::Recent { failures, of, last })
    }

    /// What does not speak against it lets it in again: it would not have gone out for that.
    fn tried(
        &mut self,
        checks: &Checks,
        verdict: Verdict,
        report: &Report,
        now: Instant,
    ) -> Option<Transition> {
        let last = report.outcome;
        let counters = match &checks.passive {
            Passive::Counters(counters) => Some(counters),
            Passive::Window(_) | Passive::Off => None,
        };
        if last.transport_failure().is_some() || matches!(verdict, Verdict::Failure(_)) {
            if let Some(counters) = counters {
                self.tally.count(&mut self.phase, counters, verdict);
            }
            self.doublings = self.doublings.saturating_add(1);
            let since = self.cause.map_or(now, |(_, since)| since);
            let pause = checks.ejection.jittered(self.doublings, report.chance);
            return Some(self.leave_alone(pause, Reason::TrialFailed { last }, since, now));
        }
        match counters.filter(|counters| counters.successes > 0) {
            Some(counters) => {
                self.tally.count(&mut self.phase, counters, Verdict::Success);
                let successes = counters.successes;
                self.is_healthy()
                    .then(|| self.recover(Reason::Successes { successes }, now))
            }
            None => Some(self.recover(Reason::TrialSucceeded, now)),
        }
    }

    fn eject(&mut self, ejection: Ejection, reason: Reason, chance: u32, now: Instant) -> Transition {
        // In since then, if it has been out before; what an operator set starts afresh.
        let relapse = self.cause.is_some_and(|(reason, since)| {
            reason != Reason::Operator && now.saturating_duration_since(since) < ejection.longest
        });
        self.doublings = if relapse {
            self.doublings.saturating_add(1)
        } else {
            0
        };
        self.phase = Phase::Unhealthy;
        // Where the window has put it out, what probes had counted before says nothing of the way back.
        self.tally = Tally::default();
        self.leave_alone(ejection.jittered(self.doublings, chance), reason, now, now)
    }

    fn leave_alone(&mut self, pause: Duration, reason: Reason, since: Instant, now: Instant) -> Transition {
        let pause = pause.min(LONGEST_PAUSE);
        self.cause = Some((reason, since));
        self.trial = Some(now.checked_add(pause).unwrap_or(now));
        Transition {
            healthy: false,
            reason,
            pause: Some(pause),
        }
    }

    fn recover(&mut self, reason: Reason, now: Instant) -> Transition {
        self.phase = Phase::Healthy;
        (self.tally, self.recent) = (Tally::default(), Recent::default());
        self.trial = None;
        self.cause = Some((reason, now));
        Transition {
            healthy: true,
            reason,
            pause: None,
        }
    }
}
