//! So many calls in a window of any length: one that begins with its first call, or one that slides.

use crate::limits::table::Kept;

/// How a window lies in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WindowType {
    /// It begins with its first call.
    Fixed,
    /// It ends now: of the window before, the share counts that lies within.
    Sliding,
}

/// How many calls in which window, its length in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) window_type: WindowType,
    pub(crate) count: u64,
    pub(crate) length: u64,
}

/// What one caller has used. Times are Unix milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quota {
    begin: u64,
    over: u64,
    used: u64,
    /// In the window before, if it slides.
    before: u64,
}

/// What was used when a call came, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    /// With the call, if it passes.
    pub(crate) used: u64,
    pub(crate) passes: bool,
    /// Milliseconds to the window's end.
    pub(crate) reset: u64,
}

/// How long a call may have been under way before it is counted. If a window begins further ahead, it is the clock that was
/// set back.
const LATE: u64 = 300_000;

impl Quota {
    /// Counts a call, if there is room for it.
    pub(crate) fn take(&mut self, terms: Terms, now: u64) -> Spent {
        let now = self.advance(terms, now);
        let end = self.begin.saturating_add(terms.length);
        let reset = end.saturating_sub(now);
        let used = self.used + share(self.before, reset, terms.length);
        let passes = used < terms.count;
        if passes {
            self.used += 1;
        }
        self.over = match terms.window_type {
            WindowType::Fixed => end,
            WindowType::Sliding => end.saturating_add(terms.length),
        };
        let used = used + u64::from(passes);
        Spent { used, passes, reset }
    }

    /// Takes back a call that has just been counted.
    pub(crate) fn take_back(&mut self) {
        self.used = self.used.saturating_sub(1);
    }

    /// Begins a new window if it is time; gives the time to go by.
    fn advance(&mut self, terms: Terms, now: u64) -> u64 {
        let late = now < self.begin && self.begin - now <= LATE;
        let now = if late { self.begin } else { now };
        let begin = match terms.window_type {
            WindowType::Fixed if now >= self.begin && now < self.begin.saturating_add(terms.length) => {
                self.begin
            }
            WindowType::Fixed => now,
            WindowType::Sliding => now - now % terms.length.max(1),
        };
        if begin != self.begin {
            let follows =
                terms.window_type == WindowType::Sliding && self.begin.saturating_add(terms.length) == begin;
            *self = Self {
                begin,
                over: self.over,
                used: 0,
                before: if follows { self.used } else { 0 },
            };
        }
        if terms.window_type == WindowType::Fixed {
            self.before = 0;
        }
        now
    }
}

/// Of a whole, what `part` of `length` comes to, rounded up.
fn share(whole: u64, part: u64, length: u64) -> u64 {
    let product = u128::from(whole) * u128::from(part);
    u64::try_from(product.div_ceil(u128::from(length.max(1)))).unwrap_or(u64::MAX)
}

impl Kept for Quota {
    fn is_over(&self, now: u64) -> bool {
        self.over <= now
    }

    fn weight(&self) -> u64 {
        self.used.max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn check(window_type: WindowType, calls: &[(u64, bool, u64, u64)]) {
        let terms = Terms {
            window_type,
            count: 2,
            length: MINUTE,
        };
        let mut quota = Quota::default();
        for (at, passes, used, reset) in calls {
            let spent = quota.take(terms, *at);
            assert_eq!(
                (spent.passes, spent.used, spent.reset),
                (*passes, *used, *reset),
                "at {at}"
            );
        }
    }

    #[test]
    fn a_fixed_window_begins_with_its_first_call() {
        check(
            WindowType::Fixed,
            &[
                (1_000_000, true, 1, 60_000),
                (1_059_999, true, 2, 1),
                (1_059_999, false, 2, 1),
                (1_060_000, true, 1, 60_000),
                (1_059_990, true, 2, 60_000),
                (1_060_001, false, 2, 59_999),
                // The clock was set back.
                (500_000, true, 1, 60_000),
            ],
        );
    }

    #[test]
    fn a_sliding_window_counts_its_share_of_the_one_before() {
        check(
            WindowType::Sliding,
            &[
                (MINUTE, true, 1, 60_000),
                (MINUTE + 1, true, 2, 59_999),
                (2 * MINUTE, false, 2, 60_000),
                (2 * MINUTE + 30_000, true, 2, 30_000),
                (2 * MINUTE + 59_999, false, 2, 1),
                (3 * MINUTE + 1, true, 2, 59_999),
                (5 * MINUTE, true, 1, 60_000),
            ],
        );
    }

    #[test]
    fn a_changed_count_keeps_what_was_used() {
        let mut quota = Quota::default();
        let terms = |count| Terms {
            window_type: WindowType::Fixed,
            count,
            length: MINUTE,
        };
        for _ in 0..3 {
            assert!(quota.take(terms(3), 1_000_000).passes);
        }
        assert!(!quota.take(terms(3), 1_000_001).passes);
        assert_eq!(quota.take(terms(5), 1_000_002).used, 4);
        quota.take_back();
        assert_eq!(quota.take(terms(5), 1_000_002).used, 4);
        assert!(!quota.is_over(1_059_999));
        assert!(quota.is_over(1_060_000));
    }
}
