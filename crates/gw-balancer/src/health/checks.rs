//! What health is judged by: limits, windows, times. Configuration, no state.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::health::StatusSet;
use crate::{Failover, Outcome, SlowStart};

/// How the health of a balancer's targets is judged, and what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// What counts against a target that answers requests, and for it.
    pub passive: Passive,
    /// What probes count, if targets are probed; none = they are not.
    pub active: Option<Box<Counters>>,
    /// Whether a request tries a target that is out also where targets are probed: for where those are not that are
    /// out.
    pub trials_beside_probes: bool,
    /// How long a target is left alone.
    pub ejection: Ejection,
    /// How much must be available for any request to be sent at all.
    pub threshold: Threshold,
    /// When so little is healthy that health is no guide any more.
    pub panic: Panic,
    /// How targets of the next priority take over.
    pub failover: Failover,
    /// How a target that is new or has come back gets its share; none = at once.
    pub slow_start: Option<SlowStart>,
    /// How many requests may be in flight to one target; beyond, another is picked. None = any number.
    pub max_in_flight: Option<NonZeroU32>,
}

/// What the outcomes of ordinary requests do to a target's health.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Passive {
    /// Nothing.
    Off,
    /// Failures in a row, or many of the recent ones. At most half of the targets go out by this.
    Window(Window),
    /// Kong's counters, which have no window. All targets may be out at a time.
    Counters(Box<Counters>),
}

/// When too much has failed lately. A failure is a connection that cannot be had, breaks or brings no answer in time;
/// an answer is a success, unless its status is among `statuses`.
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
    /// Answers that are failures; none by default.
    pub statuses: StatusSet,
}

/// Kong's counters, of requests or of probes. Each kind of failure counts apart, a success clears them, a limit of 0 counts nothing.
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
    /// By how many percent a pause may be shorter, by chance, so that not all who balance over a target try it at once.
    pub jitter: u8,
}

/// The percentage of targets below which all are sent requests, healthy or not, but those that an operator keeps out:
/// the few that are left would only be overrun. Counted apart in each group of a priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panic {
    percent: u8,
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
            statuses: StatusSet::new(),
        }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            jitter: 20,
        }
    }
}

impl Default for Panic {
    /// Below half.
    fn default() -> Self {
        Self::below(50)
    }
}

impl Panic {
    /// Health is always heeded, even if it leaves nothing.
    pub const NEVER: Self = Self { percent: 0 };

    /// Where less than this percentage of the targets is healthy; more than 100 is brought down to it.
    #[must_use]
    pub fn below(percent: u8) -> Self {
        Self {
            percent: percent.min(100),
        }
    }

    /// Whether so few of so many are too few.
    #[must_use]
    pub fn is_due(self, healthy: usize, of: usize) -> bool {
        (healthy as u128) * 100 < (of as u128) * u128::from(self.percent)
    }
}

impl Passive {
    pub(crate) fn verdict(&self, outcome: Outcome) -> Verdict {
        match self {
            Self::Off => Verdict::Nothing,
            Self::Window(window) => match outcome {
                Outcome::Status(status) if window.statuses.contains(status) => {
                    Verdict::Failure(FailureKind::Http)
                }
                other => other
                    .transport_failure()
                    .map_or(Verdict::Success, Verdict::Failure),
            },
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

    /// What the outcome of a request is, where its limit is above 0.
    pub(crate) fn verdict(&self, outcome: Outcome) -> Verdict {
        self.limited(match outcome {
            // The target is a gateway itself, and what is behind it was late.
            Outcome::Status(504) if self.statuses => Verdict::Failure(FailureKind::Timeout),
            other => self.judge(other),
        })
    }

    /// The verdict, unless its limit is 0.
    pub(crate) fn limited(&self, verdict: Verdict) -> Verdict {
        let limit = match verdict {
            Verdict::Success => self.successes,
            Verdict::Failure(kind) => self.limit(kind),
            Verdict::Nothing => 0,
        };
        if limit == 0 { Verdict::Nothing } else { verdict }
    }

    /// What the outcome of a probe is, whatever the limits.
    pub(crate) fn judge(&self, outcome: Outcome) -> Verdict {
        match outcome {
            Outcome::Status(_) if !self.statuses => Verdict::Success,
            Outcome::Status(status) if self.healthy.contains(status) => Verdict::Success,
            Outcome::Status(status) if self.unhealthy.contains(status) => Verdict::Failure(FailureKind::Http),
            Outcome::Status(_) => Verdict::Nothing,
            other => other
                .transport_failure()
                .map_or(Verdict::Success, Verdict::Failure),
        }
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

    /// The same, shortened by `chance`: a number whose every value is as likely.
    pub(crate) fn jittered(&self, doublings: u8, chance: u32) -> Duration {
        let pause = self.pause(doublings);
        let most = u64::from(self.jitter.min(100)) * u64::from(chance);
        // At most 100 · 2³², so that the share is below 2³² again.
        let share = u32::try_from(most / 100).unwrap_or(u32::MAX);
        let off = (pause.as_nanos() * u128::from(share)) >> 32;
        pause.saturating_sub(Duration::from_nanos(u64::try_from(off).unwrap_or(u64::MAX)))
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

    /// Whether none is set.
    pub(crate) fn is_zero(self) -> bool {
        self.millionths == 0
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
    /// The kind of failure, if there was no status.
    pub(crate) fn transport_failure(self) -> Option<FailureKind> {
        match self {
            Self::ConnectFailed | Self::TlsFailed | Self::Broken => Some(FailureKind::Tcp),
            Self::TimedOut => Some(FailureKind::Timeout),
            Self::Unreadable | Self::NotServing => Some(FailureKind::Http),
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
            jitter: 100,
        };
        assert_eq!(endless.pause(255), Duration::MAX);
        assert!(endless.jittered(255, u32::MAX) < Duration::MAX);
    }

    #[test]
    fn jitter_shortens_a_pause_by_its_part_at_most() {
        let pause = |jitter, chance| {
            Ejection {
                jitter,
                ..Ejection::default()
            }
            .jittered(3, chance)
            .as_millis()
        };
        assert_eq!(
            [0, 1 << 31, u32::MAX].map(|chance| pause(20, chance)),
            [8000, 7200, 6400]
        );
        assert_eq!([0, 1 << 31, u32::MAX].map(|chance| pause(0, chance)), [8000; 3]);
        assert_eq!(pause(255, u32::MAX), 0, "no pause is negative");
    }

    #[test]
    fn statuses_are_failures_where_a_window_lists_them() {
        let window = Window {
            statuses: [503].into_iter().collect(),
            ..Window::default()
        };
        let passive = Passive::Window(window);
        assert_eq!(
            passive.verdict(Outcome::Status(503)),
            Verdict::Failure(FailureKind::Http)
        );
        assert_eq!(passive.verdict(Outcome::Status(500)), Verdict::Success);
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
