//! Whether a target is sent requests: thresholds over what is reported, as a pure state machine.

mod checks;
mod counters;
mod recent;
mod status_set;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, Instant};

use crate::Outcome;
use counters::{Phase, Tally};
use recent::Recent;

pub(crate) use checks::Verdict;
pub use checks::{Checks, Counters, Ejection, FailureKind, Passive, Threshold, Window};
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
}

/// A change of a target's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// Whether it is sent requests from now on.
    pub healthy: bool,
    /// Why.
    pub reason: Reason,
    /// If it is out: after how long one request tries it. None = not before somebody says so.
    pub pause: Option<Duration>,
}

/// How a target is, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Condition {
    /// Whether it is sent requests.
    pub healthy: bool,
    /// Why it is in or out; none if it has always been in.
    pub reason: Option<Reason>,
    /// Since when.
    pub since: Option<Instant>,
    /// If it is out: when one request tries it. None = not before somebody says so.
    pub trial: Option<Instant>,
}

/// Why a target's health changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Too many failures without a success in between.
    InARow {
        /// How many.
        failures: u32,
        /// The last of them.
        last: Outcome,
    },
    /// Too many of the recent attempts failed.
    Recent {
        /// How many failed.
        failures: u32,
        /// Of how many.
        of: u64,
        /// The last of them.
        last: Outcome,
    },
    /// One of Kong's limits was reached.
    Limit {
        /// Which one.
        kind: FailureKind,
        /// The limit.
        failures: u8,
        /// The last of them.
        last: Outcome,
    },
    /// The request that tried it failed too.
    TrialFailed {
        /// How.
        last: Outcome,
    },
    /// The request that tried it succeeded.
    TrialSucceeded,
    /// Enough successes, by Kong's limit.
    Successes {
        /// The limit.
        successes: u8,
    },
    /// An operator said so.
    Operator,
    /// The targets have changed, and more than half of them would be out.
    TooFewLeft,
    /// Nothing is held against a target any more.
    ChecksOff,
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
            return self.tried(checks, verdict, report.outcome, now);
        }
        match &checks.passive {
            Passive::Off => None,
            Passive::Window(window) => {
                let reason = self.too_much(window, verdict, report, now)?;
                room().then(|| self.eject(checks.ejection, reason, now))
            }
            Passive::Counters(counters) => self.count(checks, counters, verdict, report.outcome, now),
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

    fn count(
        &mut self,
        checks: &Checks,
        counters: &Counters,
        verdict: Verdict,
        last: Outcome,
        now: Instant,
    ) -> Option<Transition> {
        let before = self.is_healthy();
        self.tally.count(&mut self.phase, counters, verdict);
        match (before, self.is_healthy(), verdict) {
            (true, false, Verdict::Failure(kind)) => {
                let failures = counters.limit(kind);
                Some(self.eject(checks.ejection, Reason::Limit { kind, failures, last }, now))
            }
            (false, true, _) => {
                let successes = counters.successes;
                Some(self.recover(Reason::Successes { successes }, now))
            }
            _ => None,
        }
    }

    /// What does not speak against it lets it in again: it would not have gone out for that.
    fn tried(
        &mut self,
        checks: &Checks,
        verdict: Verdict,
        last: Outcome,
        now: Instant,
    ) -> Option<Transition> {
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
            return Some(self.leave_alone(checks.ejection, Reason::TrialFailed { last }, since, now));
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

    fn eject(&mut self, ejection: Ejection, reason: Reason, now: Instant) -> Transition {
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
        self.leave_alone(ejection, reason, now, now)
    }

    fn leave_alone(
        &mut self,
        ejection: Ejection,
        reason: Reason,
        since: Instant,
        now: Instant,
    ) -> Transition {
        let pause = ejection.pause(self.doublings).min(LONGEST_PAUSE);
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

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InARow { failures, last } => write!(f, "{failures} failures in a row, the last: {last}"),
            Self::Recent { failures, of, last } => {
                write!(f, "{failures} of the last {of} attempts failed, the last: {last}")
            }
            Self::Limit { kind, failures, last } => {
                write!(f, "{} reached {failures}, the last: {last}", kind.name())
            }
            Self::TrialFailed { last } => write!(f, "tried again in vain: {last}"),
            Self::TrialSucceeded => f.write_str("tried again with success"),
            Self::Successes { successes } => write!(f, "successes reached {successes}"),
            Self::Operator => f.write_str("set by an operator"),
            Self::TooFewLeft => f.write_str("more than half of the targets would be out"),
            Self::ChecksOff => f.write_str("health checks were turned off"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("success"),
            Self::ConnectFailed => f.write_str("no connection"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Broken => f.write_str("the connection broke"),
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}
