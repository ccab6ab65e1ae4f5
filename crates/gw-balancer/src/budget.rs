//! How many retries an upstream may be sent: a share of its requests, so that an outage is not multiplied.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How many retries there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetPolicy {
    /// Retries for each request of the window.
    pub ratio: Ratio,
    /// So many retries in a second are allowed whatever the ratio.
    pub min_per_second: u32,
    /// How far back requests and retries are counted.
    pub window: Duration,
}

/// A number from 0 on, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    millionths: u32,
}

/// Counts requests and decides whether one more retry may be made. One for each upstream, shared by all who send to it.
///
/// Pure, like all here: time is an argument. Without locks: a request costs one compare-and-swap, as does a retry.
///
/// ```
/// use gw_balancer::{Budget, BudgetPolicy};
/// use std::time::Instant;
///
/// let (budget, now) = (Budget::new(BudgetPolicy::default()), Instant::now());
/// let retries = (0..1000).filter(|_| {
///     budget.request(now);
///     budget.try_retry(now)
/// });
/// assert_eq!(retries.count(), 200, "each fifth, however many fail");
/// ```
#[derive(Debug)]
pub struct Budget {
    policy: BudgetPolicy,
    /// Time is counted from the first call.
    origin: OnceLock<Instant>,
    requests: Counts,
    retries: Counts,
}

/// Counts of the last steps of the window. Each is one word, so that a count and the time it belongs to change together.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counts {
    // The upper half says which step since the origin, counted from 1; the lower half how many.
    steps: [AtomicU64; STEPS],
}

const STEPS: usize = 10;

impl Default for BudgetPolicy {
    /// A fifth of the requests of the last 10 seconds, and 10 each second at least.
    fn default() -> Self {
        Self {
            ratio: Ratio::of(0.2),
            min_per_second: 10,
            window: Duration::from_secs(10),
        }
    }
}

impl Ratio {
    /// The nearest that can be held: nothing below 0, nothing above 1000, 0 for what is no number.
    #[must_use]
    pub fn of(ratio: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 1000 millions; not a number becomes 0"
        )]
        let millionths = (ratio.clamp(0.0, 1000.0) * 1e6).round() as u32;
        Self { millionths }
    }
}

impl Budget {
    /// One that has counted nothing.
    #[must_use]
    pub fn new(policy: BudgetPolicy) -> Self {
        Self {
            policy,
            origin: OnceLock::new(),
            requests: Counts::default(),
            retries: Counts::default(),
        }
    }

    /// One with another policy that has counted what this one has. By another window it begins anew.
    #[must_use]
    pub fn rebuild(&self, policy: BudgetPolicy) -> Self {
        let next = Self::new(policy);
        if policy.window != self.policy.window {
            return next;
        }
        Self {
            origin: self.origin.clone(),
            requests: self.requests.copy(),
            retries: self.retries.copy(),
            ..next
        }
    }

    /// What it allows.
    #[must_use]
    pub fn policy(&self) -> &BudgetPolicy {
        &self.policy
    }

    /// Counts a request, once, before its first attempt.
    pub fn request(&self, now: Instant) {
        self.requests.add(self.step(now));
    }

    /// Counts a retry if one more may be made.
    pub fn try_retry(&self, now: Instant) -> bool {
        let step = self.step(now);
        loop {
            let seen = self.retries.read(step);
            if !self.allows(step, count(seen, step)) {
                return false;
            }
            if self.retries.replace(step, seen) {
                return true;
            }
        }
    }

    /// Takes a retry off the count, if it has not left the window: one that was answered, after a connection that was
    /// refused or broke.
    ///
    /// It has added nothing to anybody's load. So a dead target costs no request its answer, however many it would
    /// have had, and retries are bounded where they are of no use.
    pub fn refund(&self, now: Instant) {
        let step = self.step(now);
        for back in 0..STEPS as u32 {
            if step.checked_sub(back).is_some_and(|step| self.retries.take(step)) {
                return;
            }
        }
    }

    /// How many retries the window holds, and how many its requests allow, the least of each second left aside.
    #[must_use]
    pub fn usage(&self, now: Instant) -> (u64, u64) {
        let step = self.step(now);
        (self.retries.sum(step), self.earned(step))
    }

    /// `lately` are the retries of this step. Threads that race for one step look again when they lose; those at its
    /// border may together count one more each.
    fn allows(&self, step: u32, lately: u32) -> bool {
        let least = u128::from(self.policy.min_per_second) * self.length().as_nanos();
        if u128::from(lately) * NANOS < least {
            return true;
        }
        self.retries.sum(step) < self.earned(step)
    }

    fn earned(&self, step: u32) -> u64 {
        let earned = u128::from(self.requests.sum(step)) * u128::from(self.policy.ratio.millionths);
        u64::try_from(earned / 1_000_000).unwrap_or(u64::MAX)
    }

    fn length(&self) -> Duration {
        (self.policy.window / STEPS as u32).max(Duration::from_millis(1))
    }

    /// A time before the origin, of another thread, counts as the origin.
    fn step(&self, now: Instant) -> u32 {
        let origin = self.origin.get_or_init(|| now);
        let passed = now.saturating_duration_since(*origin).as_nanos() / self.length().as_nanos();
        u32::try_from(passed).unwrap_or(u32::MAX).saturating_add(1)
    }
}

const NANOS: u128 = 1_000_000_000;

// Relaxed throughout: these are counts, nothing else is published through them.
impl Counts {
    fn add(&self, step: u32) {
        while !self.replace(step, self.read(step)) {}
    }

    fn read(&self, step: u32) -> u64 {
        self.steps[step as usize % STEPS].load(Relaxed)
    }

    /// Counts one more if the word is still as it was seen. What is counted late, for a step that has been left behind,
    /// counts for the step that has taken its place.
    fn replace(&self, step: u32, seen: u64) -> bool {
        let next = if number(seen) < step {
            (u64::from(step) << 32) | 1
        } else {
            ((seen >> 32) << 32) | u64::from((seen as u32).saturating_add(1))
        };
        let word = &self.steps[step as usize % STEPS];
        word.compare_exchange_weak(seen, next, Relaxed, Relaxed).is_ok()
    }

    /// Counts one less in this step; false if it has none.
    fn take(&self, step: u32) -> bool {
        let word = &self.steps[step as usize % STEPS];
        let fewer = |seen: u64| (number(seen) == step && seen as u32 > 0).then(|| seen - 1);
        word.fetch_update(Relaxed, Relaxed, fewer).is_ok()
    }

    fn sum(&self, step: u32) -> u64 {
        let words = self.steps.iter().map(|word| word.load(Relaxed));
        let recent = words.filter(|word| number(*word).saturating_add(STEPS as u32) > step);
        recent.map(|word| u64::from(word as u32)).sum()
    }

    fn copy(&self) -> Self {
        Self {
            steps: std::array::from_fn(|place| AtomicU64::new(self.steps[place].load(Relaxed))),
        }
    }
}

fn number(word: u64) -> u32 {
    (word >> 32) as u32
}

fn count(word: u64, step: u32) -> u32 {
    if number(word) < step { 0 } else { word as u32 }
}

#[cfg(test)]
mod tests;
