//! Kong's counter machine: four phases, four counters, no window.

use crate::health::{Counters, FailureKind, Verdict};

/// Kong's states of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Healthy,
    /// In, with failures counted.
    MostlyHealthy,
    Unhealthy,
    /// Out, with successes counted.
    MostlyUnhealthy,
}

/// What has been counted. A success clears the failures, a failure the successes; nothing fades with time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    successes: u8,
    tcp: u8,
    timeout: u8,
    http: u8,
}

impl Tally {
    /// Counts a verdict that has a limit above 0, and moves the phase.
    pub(super) fn count(&mut self, phase: &mut Phase, counters: &Counters, verdict: Verdict) {
        match verdict {
            Verdict::Nothing => {}
            Verdict::Success if *phase == Phase::Healthy => {}
            Verdict::Success => {
                let successes = self.successes.saturating_add(1);
                *self = Self {
                    successes,
                    ..Self::default()
                };
                if successes >= counters.successes {
                    *phase = Phase::Healthy;
                } else if *phase == Phase::Unhealthy {
                    *phase = Phase::MostlyUnhealthy;
                }
            }
            Verdict::Failure(_) if *phase == Phase::Unhealthy => {}
            Verdict::Failure(kind) => {
                self.successes = 0;
                let count = match kind {
                    FailureKind::Tcp => &mut self.tcp,
                    FailureKind::Timeout => &mut self.timeout,
                    FailureKind::Http => &mut self.http,
                };
                *count = count.saturating_add(1);
                if *count >= counters.limit(kind) {
                    *phase = Phase::Unhealthy;
                } else if *phase == Phase::Healthy {
                    *phase = Phase::MostlyHealthy;
                }
            }
        }
    }
}
