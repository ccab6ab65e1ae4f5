//! What probes do to a target's health.

use std::time::Instant;

use crate::Outcome;
use crate::health::{Checks, Counters, Health, Passive, Reason, Report, Transition, Verdict, Window};

impl Checks {
    /// Whether it is probes that let in a target which is out; if not, one request tries it.
    #[must_use]
    pub fn probes_heal(&self) -> bool {
        match (&self.active, &self.passive) {
            (None, _) => false,
            _ if self.trials_beside_probes => false,
            (Some(limits), Passive::Counters(_)) => limits.successes > 0,
            (Some(_), Passive::Window(_) | Passive::Off) => true,
        }
    }
}

impl Health {
    /// Takes in how a probe ended at `now`; hands back what that changed. Nothing without [`Checks::active`].
    ///
    /// Beside Kong's counters of requests, probes count with them, by limits of their own. Beside a window they are
    /// counted apart: their limits put a target out and let it in, though not before the pause is over that failing
    /// requests have brought it. Probes without a limit of failures count there as requests do.
    ///
    /// `room` is asked whether one more target may go out, when this one is about to by the window.
    pub fn probed(
        &mut self,
        checks: &Checks,
        report: &Report,
        room: impl FnOnce() -> bool,
        now: Instant,
    ) -> Option<Transition> {
        let limits = checks.active.as_deref()?;
        if self.is_held() {
            return None;
        }
        let verdict = match &checks.passive {
            Passive::Counters(_) => limits.limited(limits.judge(report.outcome)),
            Passive::Window(window) if self.is_healthy() && !limits.is_in_use() => {
                return self.probed_as_request(checks, window, limits, report, room, now);
            }
            Passive::Window(_) | Passive::Off => match limits.judge(report.outcome) {
                // What requests have put out is in again when it answers at all: no request would have minded.
                Verdict::Nothing | Verdict::Failure(_)
                    if self.is_missed() && !self.is_paused(now) && is_answer(limits, report.outcome) =>
                {
                    Verdict::Success
                }
                Verdict::Success if self.is_paused(now) => Verdict::Nothing,
                Verdict::Failure(kind) if limits.limit(kind) == 0 => Verdict::Nothing,
                // Whatever their limit: one success clears failures, and lets in.
                verdict => verdict,
            },
        };
        let before = self.is_healthy();
        self.tally.count(&mut self.phase, limits, verdict);
        match (before, self.is_healthy(), verdict) {
            (true, false, Verdict::Failure(kind)) => {
                let (failures, last) = (limits.limit(kind), report.outcome);
                let reason = Reason::Probes { kind, failures, last };
                Some(self.eject(checks.ejection, reason, report.chance, now))
            }
            (false, true, _) => {
                let successes = limits.successes.max(1);
                Some(self.recover(Reason::ProbesSucceeded { successes }, now))
            }
            _ => None,
        }
    }

    fn probed_as_request(
        &mut self,
        checks: &Checks,
        window: &Window,
        limits: &Counters,
        report: &Report,
        room: impl FnOnce() -> bool,
        now: Instant,
    ) -> Option<Transition> {
        let verdict = match limits.judge(report.outcome) {
            Verdict::Nothing => return None,
            verdict => verdict,
        };
        let reason = self.too_much(window, verdict, report, now)?;
        room().then(|| self.eject(checks.ejection, reason, report.chance, now))
    }

    /// Whether it is out, and not by probes.
    fn is_missed(&self) -> bool {
        let by_probes = self
            .cause
            .is_some_and(|(reason, _)| matches!(reason, Reason::Probes { .. }));
        !self.is_healthy() && !by_probes
    }

    /// Whether failing requests have put it out, and its pause is not over: a probe that succeeds may not see what
    /// they see.
    fn is_paused(&self, now: Instant) -> bool {
        let by_probes = self
            .cause
            .is_some_and(|(reason, _)| matches!(reason, Reason::Probes { .. }));
        !by_probes && self.trial.is_some_and(|due| now < due)
    }
}

/// Whether a target has answered a probe, with a status that no limit is set for.
fn is_answer(limits: &Counters, outcome: Outcome) -> bool {
    let judged = limits.judge(outcome);
    let unlimited = !matches!(judged, Verdict::Failure(kind) if limits.limit(kind) > 0);
    unlimited && matches!(outcome, Outcome::Status(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed(passive: Passive, successes: u8, trials_beside_probes: bool) -> Checks {
        Checks {
            passive,
            active: Some(Box::new(Counters {
                statuses: true,
                successes,
                healthy: [200].into_iter().collect(),
                tcp_failures: 2,
                timeouts: 2,
                http_failures: 2,
                unhealthy: [500, 504].into_iter().collect(),
            })),
            trials_beside_probes,
            ..Checks::default()
        }
    }

    #[test]
    fn what_a_probe_finds_counts_as_its_kind() {
        let kind = |last| {
            let checks = probed(Passive::Off, 1, false);
            let (mut health, now) = (Health::default(), Instant::now());
            let report = Report {
                outcome: last,
                trial: false,
                seen: 0,
                chance: 0,
            };
            let mut probe = || health.probed(&checks, &report, || true, now);
            assert_eq!(probe(), None, "one is not enough: {last:?}");
            probe().map(|transition| match transition.reason {
                Reason::Probes {
                    kind, failures: 2, ..
                } if !transition.healthy => kind.name(),
                other => panic!("{other:?}"),
            })
        };
        for (outcome, expected) in [
            (Outcome::Status(500), Some("http_failures")),
            // The target says so itself: it is no gateway before it that waits.
            (Outcome::Status(504), Some("http_failures")),
            (Outcome::Unreadable, Some("http_failures")),
            (Outcome::NotServing, Some("http_failures")),
            (Outcome::ConnectFailed, Some("tcp_failures")),
            (Outcome::TlsFailed, Some("tcp_failures")),
            (Outcome::Broken, Some("tcp_failures")),
            (Outcome::TimedOut, Some("timeouts")),
            (Outcome::Status(404), None),
            (Outcome::Status(200), None),
            (Outcome::Success, None),
        ] {
            assert_eq!(kind(outcome), expected, "{outcome:?}");
        }
    }

    #[test]
    fn there_is_always_a_way_back() {
        let counters = |limits: &Checks| Passive::Counters(limits.active.clone().expect("they are there"));
        let kong = counters(&probed(Passive::Off, 1, false));
        for (passive, successes, beside, heal) in [
            (Passive::Off, 0, false, true),
            (Passive::default(), 0, false, true),
            (kong.clone(), 1, false, true),
            (kong.clone(), 0, false, false),
            (Passive::Off, 1, true, false),
            (Passive::default(), 1, true, false),
            (kong, 1, true, false),
        ] {
            let checks = probed(passive, successes, beside);
            assert_eq!(checks.probes_heal(), heal, "{checks:?}");
        }
    }
}
