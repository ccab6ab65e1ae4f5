//! What is known of one name, as a pure function of the answers that came: time and chance are arguments.

use std::time::{Duration, Instant};

use super::{Answer, Records, ResolveError};
use crate::settings::DnsSettings;

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Found {
    /// It has never been answered.
    #[default]
    Pending,
    /// These, in order, without repetition.
    Records(Records),
    /// It does not exist, or nobody has been able to say for too long.
    Nothing,
}

/// What is known of a name, and what has come of the last look-ups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) found: Found,
    /// As it was answered.
    pub(crate) ttl: Duration,
    /// Until when the last good answer holds.
    pub(crate) expires: Option<Instant>,
    /// When it is looked up again.
    pub(crate) next: Option<Instant>,
    /// Why the last look-up brought nothing.
    pub(crate) error: Option<Box<str>>,
    /// Look-ups in a row that brought nothing.
    vain: u32,
    /// How many of these said that there is no such name.
    missing: u32,
}

/// Bound: how long an answer holds at least, whatever the settings say.
const SHORTEST: Duration = Duration::from_millis(100);
/// The pause after the first look-up that brought nothing; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Bound: of that.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often a name must be denied before it is believed: one server may be behind the others, or starting.
const DENIALS: u32 = 2;
/// How much earlier than its time a name is looked up, at most: so that names found together part ways.
const JITTER: f64 = 0.1;

impl Known {
    /// Takes what a look-up has brought; `chance` is between 0 and 1. Whether that is news, and the pause until the
    /// next look-up.
    pub(crate) fn settle(
        &mut self,
        result: Result<Answer, ResolveError>,
        now: Instant,
        settings: &DnsSettings,
        chance: f64,
    ) -> (bool, Duration) {
        let early = 1.0 - JITTER * chance.clamp(0.0, 1.0);
        let (found, pause) = match result {
            Ok(answer) if !answer.records.is_empty() => {
                let holds = answer
                    .ttl
                    .min(settings.max_ttl)
                    .max(settings.min_ttl)
                    .max(SHORTEST);
                *self = Self {
                    found: std::mem::take(&mut self.found),
                    ttl: answer.ttl,
                    expires: Some(now + holds),
                    ..Self::default()
                };
                (
                    Some(Found::Records(answer.records.in_order())),
                    holds.mul_f64(early),
                )
            }
            Ok(_) => self.denied("the answer has no addresses".into(), early),
            Err(error @ ResolveError::NotFound { .. }) => self.denied(error.to_string().into(), early),
            Err(error) => self.failed(told(&error), now, settings, early),
        };
        self.next = Some(now + pause);
        match found {
            Some(found) if found != self.found => {
                self.found = found;
                (true, pause)
            }
            _ => (false, pause),
        }
    }

    /// Whether the last answer is used though it does not hold any more.
    pub(crate) fn is_stale(&self) -> bool {
        self.vain > 0 && matches!(self.found, Found::Records(_))
    }

    fn denied(&mut self, error: Box<str>, early: f64) -> (Option<Found>, Duration) {
        self.missing += 1;
        let pause = self.in_vain(error, early);
        let believed = self.missing >= DENIALS || !matches!(self.found, Found::Records(_));
        (believed.then_some(Found::Nothing), pause)
    }

    fn failed(
        &mut self,
        error: Box<str>,
        now: Instant,
        settings: &DnsSettings,
        early: f64,
    ) -> (Option<Found>, Duration) {
        let pause = self.in_vain(error, early);
        match (&self.found, self.expires) {
            (Found::Records(_), Some(expires)) => {
                let left = (expires + settings.stale).saturating_duration_since(now);
                match left.is_zero() {
                    true => (Some(Found::Nothing), pause),
                    false => (None, pause.min(left)),
                }
            }
            _ => (Some(Found::Nothing), pause),
        }
    }

    fn in_vain(&mut self, error: Box<str>, early: f64) -> Duration {
        self.error = Some(error);
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.vain.min(8));
        self.vain = self.vain.saturating_add(1);
        doubled.min(LONGEST_PAUSE).mul_f64(early)
    }
}

/// An error with its cause, in one line.
fn told(error: &ResolveError) -> Box<str> {
    match error {
        ResolveError::Failed { source, .. } => format!("{error}: {source}").into(),
        error => error.to_string().into(),
    }
}

#[cfg(test)]
mod tests;
