//! Failures in a row, and failures in a sliding window.

use std::time::{Duration, Instant};

/// The failures of a sliding window, in steps of a fifth of it.
///
/// Successes are not kept one by one: each step remembers how many attempts there had been before its first failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recent {
    in_a_row: u32,
    /// Time is counted from the first failure.
    origin: Option<Instant>,
    /// The newest step.
    newest: u32,
    steps: [Step; STEPS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step {
    failures: u32,
    /// Attempts before the first of them, modulo 2³²: only differences matter.
    before: u32,
}

const STEPS: usize = 5;

impl Recent {
    pub(super) fn succeed(&mut self) {
        self.in_a_row = 0;
    }

    pub(super) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// Counts a failure, the attempt number `seen`; returns how many of the window's attempts failed and of how many,
    /// from its first failure on.
    pub(super) fn fail(&mut self, span: Duration, seen: u64, now: Instant) -> (u32, u64) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let step = (span / STEPS as u32).as_nanos().max(1);
        let since = now.saturating_duration_since(*self.origin.get_or_insert(now));
        let number = u32::try_from(since.as_nanos() / step).unwrap_or(u32::MAX);
        self.advance(number);
        let seen = seen as u32;
        let newest = &mut self.steps[place(self.newest)];
        if newest.failures == 0 {
            newest.before = seen.wrapping_sub(1);
        }
        newest.failures = newest.failures.saturating_add(1);
        let failures = self
            .steps
            .iter()
            .fold(0_u32, |sum, step| sum.saturating_add(step.failures));
        let failing = self.steps.iter().filter(|step| step.failures > 0);
        let of = failing.map(|step| seen.wrapping_sub(step.before)).max();
        (failures, of.unwrap_or_default().max(failures).into())
    }

    /// Forgets what is older than the window. A time before the newest step, of another thread, counts as now.
    fn advance(&mut self, number: u32) {
        for gone in 1..=number.saturating_sub(self.newest).min(STEPS as u32) {
            self.steps[place(self.newest.wrapping_add(gone))] = Step::default();
        }
        self.newest = self.newest.max(number);
    }
}

fn place(number: u32) -> usize {
    number as usize % STEPS
}
