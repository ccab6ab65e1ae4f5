//! How a target that is new or has come back gets its share little by little.

use std::time::Duration;

/// How the share of a target grows from a little to all of it, by Envoy's formula: after the time `t` of the `window`
/// it is `max(least, (t / window)^(1 / aggression))` of its weight.
///
/// A target is new when it joins targets that are there already: those that all start together get their shares at
/// once. It does not apply to policies that hash, whose keys would move with each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowStart {
    /// How long it takes.
    pub window: Duration,
    /// In hundredths: at 100 the share grows in a straight line, above it grows more at first, below more at last.
    pub aggression: u16,
    /// The least share, in percent.
    pub least: u8,
}

/// How many steps a window has: the table is made anew for each.
const STEPS: u32 = 20;

impl Default for SlowStart {
    /// Half a minute, in a straight line from a tenth.
    fn default() -> Self {
        Self {
            window: Duration::from_secs(30),
            aggression: 100,
            least: 10,
        }
    }
}

impl SlowStart {
    /// How much of its weight a target has so long after its start, in thousandths from 1 to 1000.
    #[must_use]
    pub fn thousandths(&self, since: Duration) -> u32 {
        if since >= self.window {
            return 1000;
        }
        let passed = since.as_secs_f64() / self.window.as_secs_f64();
        let share = passed.powf(100.0 / f64::from(self.aggression.max(1)));
        let least = f64::from(self.least.min(100)) / 100.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share from 0 to 1"
        )]
        let thousandths = (share.max(least) * 1000.0).round() as u32;
        thousandths.clamp(1, 1000)
    }

    /// After how long the next step is due.
    pub(crate) fn step(&self) -> Duration {
        self.window / STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(20);

    fn check(aggression: u16, least: u8, shares: [u32; 6]) {
        let slow = SlowStart {
            window: WINDOW,
            aggression,
            least,
        };
        let seconds = [0, 1, 5, 10, 19, 20];
        let found = seconds.map(|seconds| slow.thousandths(Duration::from_secs(seconds)));
        assert_eq!(found, shares, "aggression {aggression}, at least {least} %");
    }

    #[test]
    fn the_share_grows_by_envoy_s_formula() {
        check(100, 10, [100, 100, 250, 500, 950, 1000]);
        check(200, 10, [100, 224, 500, 707, 975, 1000]);
        check(50, 10, [100, 100, 100, 250, 903, 1000]);
        check(100, 0, [1, 50, 250, 500, 950, 1000]);
        check(0, 0, [1, 1, 1, 1, 6, 1000]);
        check(100, 255, [1000; 6]);
    }
}
