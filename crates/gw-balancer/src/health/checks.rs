//! What health is judged by: limits, windows, times. Configuration, no state.

use std::time::Duration;

use crate::Outcome;
use crate::health::StatusSet;

/// How the health of a balancer's targets is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// What counts against a target that answers requests, and for it.
    pub passive: Passive,
    /// How long a target is left alone.
    pub ejection: Ejection,
    /// How much must be available for any request to be sent at all.
    pub threshold: Threshold,
}

/// What the outcomes of ordinary requests do to a target's health.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Passive {
    /// Nothing.
    Off,
    /// Failures in a row, or many of the recent ones. At most half of the targets are out at a time.
    Window(Window),
    /// Kong's counters, which have no window. All targets may be out at a time.
    Counters(Box<Counters>),
}

/// When too much has failed lately. A failure is a connection that cannot be had, breaks or brings no answer in time;
/// an answer, whatever its status, is a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// So many failures without a success in between are too many.
    pub in_a_row: u32,
    /// How far back recent failures are remembered.
    pub span: Duration,
    /// So many of the recent attempts must have failed …
    pub failures: u32,
    /// … and be this share of all attempts since the first of these failures.
    pub percent: u8,
}

/// Kong's passive counters. Each kind of failure counts apart, a success clears them, a limit of 0 counts nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Whether statuses say anything. If not, each answer is a success: Kong's type `tcp`.
    pub statuses: bool,
    /// Successes that make a target healthy again.
    pub successes: u8,
    /// Statuses that are successes.
    pub healthy: StatusSet,
    /// Failed or broken connections that make a target unhealthy.
    pub tcp_failures: u8,
    /// Answers that did not come in time, or have status 504, that make a target unhealthy.
    pub timeouts: u8,
    /// Answers with a status of `unhealthy` that make a target unhealthy.
    pub http_failures: u8,
    /// Statuses that are failures.
    pub unhealthy: StatusSet,
}

/// How long a target is left alone before one request tries it again: `first`, doubled with each trial that fails and
/// each relapse, up to `longest`. A target that has kept well for `longest` starts over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// At first.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
}

/// The percentage of weight that must be exceeded by what is available; else nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threshold {
    millionths: u32,
}

/// What an outcome is to a target's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    Failure(FailureKind),
    Nothing,
}

/// The kinds of failure that Kong counts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The connection failed, or broke.
    Tcp,
    /// No answer came in time.
    Timeout,
    /// The status says so.
    Http,
}

impl Default for Passive {
    fn default() -> Self {
        Self::Window(Window::default())
    }
}

impl Default for Window {
    fn default() -> Self {
        Self {
            in_a_row: 3,
            span: Duration::from_secs(10),
            failures: 10,
            percent: 50,
        }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
        }
    }
}

impl Passive {
    pub(crate) fn verdict(&self, outcome: Outcome) -> Verdict {
        match self {
            Self::Off => Verdict::Nothing,
            Self::Window(_) => outcome
                .transport_failure()
                .map_or(Verdict::Success, Verdict::Failure),
            Self::Counters(counters) => counters.verdict(outcome),
        }
    }
}

impl Counters {
    /// Whether any failure counts: if none does, no target ever becomes unhealthy by them.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.tcp_failures > 0 || self.timeouts > 0 || self.http_failures > 0
    }

    fn verdict(&self, outcome: Outcome) -> Verdict {
        let failure = |kind| Verdict::Failure(kind);
        let verdict = match outcome {
            Outcome::Status(_) if !self.statuses => Verdict::Success,
            Outcome::Status(504) => failure(FailureKind::Timeout),
            Outcome::Status(status) if self.healthy.contains(status) => Verdict::Success,
            Outcome::Status(status) if self.unhealthy.contains(status) => failure(FailureKind::Http),
            Outcome::Status(_) => Verdict::Nothing,
            other => other.transport_failure().map_or(Verdict::Success, failure),
        };
        let limit = match verdict {
            Verdict::Success => self.successes,
            Verdict::Failure(kind) => self.limit(kind),
            Verdict::Nothing => 0,
        };
        if limit == 0 { Verdict::Nothing } else { verdict }
    }

    pub(crate) fn limit(&self, kind: FailureKind) -> u8 {
        match kind {
            FailureKind::Tcp => self.tcp_failures,
            FailureKind::Timeout => self.timeouts,
            FailureKind::Http => self.http_failures,
        }
    }
}

impl Ejection {
    /// How long after so many doublings.
    #[must_use]
    pub fn pause(&self, doublings: u8) -> Duration {
        let factor = 1_u32.checked_shl(doublings.into()).unwrap_or(u32::MAX);
        self.first
            .saturating_mul(factor)
            .min(self.longest.max(self.first))
    }
}

impl Threshold {
    /// A percentage from 0 to 100; what is beyond is brought to the nearest.
    #[must_use]
    pub fn percent(percent: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 100 millions; not a number becomes 0"
        )]
        let millionths = (percent.clamp(0.0, 100.0) * 1e6).round() as u32;
        Self { millionths }
    }

    /// Whether so much of the weight is enough.
    #[must_use]
    pub fn is_met(self, available: u64, total: u64) -> bool {
        let (available, total) = (u128::from(available), u128::from(total));
        available * 100_000_000 > total * u128::from(self.millionths)
    }
}

impl FailureKind {
    /// The name of Kong's limit of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp_failures",
            Self::Timeout => "timeouts",
            Self::Http => "http_failures",
        }
    }
}

impl Outcome {
    /// The kind of failure, if there was no answer.
    pub(crate) fn transport_failure(self) -> Option<FailureKind> {
        match self {
            Self::ConnectFailed | Self::Broken => Some(FailureKind::Tcp),
            Self::TimedOut => Some(FailureKind::Timeout),
            Self::Success | Self::Status(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_the_longest() {
        let ejection = Ejection::default();
        let seconds = |doublings| ejection.pause(doublings).as_secs();
        assert_eq!(
            [0, 1, 2, 3, 5, 6, 7, 31, 32, 255].map(seconds),
            [1, 2, 4, 8, 32, 60, 60, 60, 60, 60]
        );
        let long = Ejection {
            first: Duration::from_secs(100),
            ..ejection
        };
        assert_eq!(long.pause(0).as_secs(), 100, "never shorter than the first");
        let endless = Ejection {
            first: Duration::MAX,
            longest: Duration::MAX,
        };
        assert_eq!(endless.pause(255), Duration::MAX);
    }

    #[test]
    fn the_threshold_must_be_exceeded() {
        for (percent, available, total, met) in [
            (0.0, 0, 100, false),
            (0.0, 1, u64::MAX, true),
            (75.0, 75, 100, false),
            (74.999_999, 75, 100, true),
            (75.000_001, 75, 100, false),
            (33.3, 1, 3, true),
            (100.0, 100, 100, false),
            (-1.0, 0, 0, false),
            (1e9, 5, 5, false),
            (f64::NAN, 1, 2, true),
        ] {
            let threshold = Threshold::percent(percent);
            assert_eq!(
                threshold.is_met(available, total),
                met,
                "{percent}: {available} of {total}"
            );
        }
    }

    #[test]
    fn what_kong_counts_as_what() {
        let counters = |statuses| Counters {
            statuses,
            successes: 1,
            healthy: [200, 302, 504].into_iter().collect(),
            tcp_failures: 1,
            timeouts: 1,
            http_failures: 1,
            unhealthy: [200, 429, 500].into_iter().collect(),
        };
        let failure = Verdict::Failure;
        for (outcome, by_status, by_connection) in [
            (Outcome::Success, Verdict::Success, Verdict::Success),
            (
                Outcome::ConnectFailed,
                failure(FailureKind::Tcp),
                failure(FailureKind::Tcp),
            ),
            (
                Outcome::Broken,
                failure(FailureKind::Tcp),
                failure(FailureKind::Tcp),
            ),
            (
                Outcome::TimedOut,
                failure(FailureKind::Timeout),
                failure(FailureKind::Timeout),
            ),
            (Outcome::Status(200), Verdict::Success, Verdict::Success),
            (Outcome::Status(404), Verdict::Nothing, Verdict::Success),
            (Outcome::Status(500), failure(FailureKind::Http), Verdict::Success),
            (
                Outcome::Status(504),
                failure(FailureKind::Timeout),
                Verdict::Success,
            ),
            (Outcome::Status(u16::MAX), Verdict::Nothing, Verdict::Success),
        ] {
            assert_eq!(counters(true).verdict(outcome), by_status, "{outcome:?}");
            assert_eq!(counters(false).verdict(outcome), by_connection, "{outcome:?}");
            let off = Counters {
                successes: 0,
                tcp_failures: 0,
                timeouts: 0,
                http_failures: 0,
                ..counters(true)
            };
            assert_eq!(off.verdict(outcome), Verdict::Nothing, "{outcome:?}");
            assert!(!off.is_in_use() && counters(true).is_in_use());
        }
    }

    #[test]
    fn by_default_only_missing_answers_are_failures() {
        let passive = Passive::default();
        for status in [200, 404, 500, 503, 504] {
            assert_eq!(
                passive.verdict(Outcome::Status(status)),
                Verdict::Success,
                "{status}"
            );
        }
        for outcome in [Outcome::ConnectFailed, Outcome::TimedOut, Outcome::Broken] {
            assert!(
                matches!(passive.verdict(outcome), Verdict::Failure(_)),
                "{outcome:?}"
            );
            assert_eq!(Passive::Off.verdict(outcome), Verdict::Nothing);
        }
    }
}
